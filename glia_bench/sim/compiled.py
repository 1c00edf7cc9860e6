"""The kernel for compiled policies in the plain engine: one run, hooks as first-class functions.

The hooks' signatures are fixed, so the kernel is compiled once, cached, and never again for a new policy. Importing
this module compiles it or loads it from the cache.
"""

from typing import Any

import numpy as np
from numba import types

from glia_bench.features import Inflight, Replicas
from glia_bench.sim.jit import kernel
from glia_bench.sim.kernel import advance_plain
from glia_bench.sim.queue_columns import AssignBuffers
from glia_bench.sim.signatures import PLAIN_ROUTER_TYPES, SERVICES, STATE, functions
from glia_bench.sim.state import State


@kernel(types.int64(STATE, types.int64, *functions(PLAIN_ROUTER_TYPES), *SERVICES))
def run_plain(
    state: State,
    stop_arrivals: int,
    route: Any,
    rank: Any,
    assign: Any,
    on_dispatch: Any,
    on_first_token: Any,
    on_finish: Any,
    replicas: Replicas,
    buffers: AssignBuffers,
    nobody: Inflight,
    key: np.uint64,
    scenario_key: np.uint64,
) -> int:
    """Advance a single run; see `kernel.make_advance`."""
    return advance_plain(
        state,
        0,
        stop_arrivals,
        route,
        rank,
        assign,
        on_dispatch,
        on_first_token,
        on_finish,
        0,
        replicas,
        buffers,
        nobody,
        key,
        scenario_key,
    )
