"""The kernel for compiled policies in the full engine; importing this module compiles it or loads it from the cache."""

from typing import Any

import numpy as np
from numba import types

from glia_bench.features import Inflight, Replicas
from glia_bench.sim.jit import kernel
from glia_bench.sim.kernel import advance_full
from glia_bench.sim.queue_columns import AssignBuffers
from glia_bench.sim.replica import Scheduler
from glia_bench.sim.signatures import FULL_ROUTER_TYPES, SCHEDULER_TYPES, SERVICES, STATE, functions
from glia_bench.sim.state import State


@kernel(types.int64(STATE, types.int64, *functions(FULL_ROUTER_TYPES), *functions(SCHEDULER_TYPES), *SERVICES))
def run_full(
    state: State,
    stop_arrivals: int,
    route: Any,
    rank: Any,
    assign: Any,
    on_dispatch: Any,
    on_first_token: Any,
    on_finish: Any,
    s_rank: Any,
    s_admit: Any,
    s_evict_rank: Any,
    s_tokens: Any,
    s_plan: Any,
    s_on_step: Any,
    replicas: Replicas,
    buffers: AssignBuffers,
    nobody: Inflight,
    key: np.uint64,
    scenario_key: np.uint64,
) -> int:
    """Advance a single run; see `kernel.make_advance`."""
    return advance_full(
        state,
        0,
        stop_arrivals,
        route,
        rank,
        assign,
        on_dispatch,
        on_first_token,
        on_finish,
        Scheduler(s_rank, s_admit, s_evict_rank, s_tokens, s_plan, s_on_step, key),
        replicas,
        buffers,
        nobody,
        key,
        scenario_key,
    )
