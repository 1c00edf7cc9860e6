"""The kernel of the full engine whose answers come from outside: routing, admissions and sizes of pools.

Scheduling hooks are first-class functions also here; an agent that decides admissions is asked instead of them.
"""

from typing import Any

import numpy as np
from numba import types

from glia_bench.features import Inflight, IntArray, Replicas
from glia_bench.sim import columns as col
from glia_bench.sim.blocks import hit_blocks
from glia_bench.sim.by_reference import nth
from glia_bench.sim.jit import called, kernel
from glia_bench.sim.kernel import advance_full
from glia_bench.sim.outside import (
    OUTSIDE,
    OUTSIDE_SERVICES,
    Floats32,
    give_answer,
    no_assign,
    no_event,
    no_rank,
    no_route,
    observe,
)
from glia_bench.sim.queue_columns import AssignBuffers
from glia_bench.sim.replica import Scheduler
from glia_bench.sim.scans import ASK_ADMIT, ASK_ROUTE, BAD_ANSWER, DONE
from glia_bench.sim.scheduling import chunk_of, has_room
from glia_bench.sim.signatures import SCHEDULER_TYPES, functions
from glia_bench.sim.state import State

WAITING_SLOTS = 32
"""Waiting requests that an agent chooses from: the first of the queue."""
WAITING_FIELDS = (
    "fits",
    "prompt_tokens",
    "prefill_tokens",
    "max_tokens",
    "predicted_tokens",
    "priority",
    "slo_class",
    "generated_tokens",
    "cached_tokens",
    "waited_s",
)
"""Columns of an admission's observation; `fits` whether it can be admitted now, `prefill_tokens` what must be computed
(after a preemption more than the prompt), `waited_s` since its arrival."""
ENGINE_FIELDS = (
    "replica",
    "waiting",
    "running",
    "free_blocks",
    "capacity_blocks",
    "decode_tokens",
    "context_tokens",
    "budget_left",
    "max_running",
)
"""Columns of what is seen of the replica that admits."""


@called
def observe_admission(s: State, e: int, waiting: Floats32, engine: Floats32) -> None:
    """Write the observation of the admissions that an agent is asked about into the arrays' row e.

    Missing slots are zeros.
    """
    g = s.ctl[0, col.C_SCHEDULING]
    head = s.wait_meta[g, col.Q_HEAD]
    length = s.view_int[col.V_WAITING, g]
    for k in range(waiting.shape[1]):
        for f in range(waiting.shape[2]):
            waiting[e, k, f] = 0.0
        if k < length:
            slot = s.wait_slot[g, head + k]
            i = s.slots[slot, col.S_ROW]
            hits = hit_blocks(s, 0, g, slot)
            waiting[e, k, 0] = 1.0 if has_room(s, 0, g, slot, hits) and chunk_of(s, 0, g, slot, hits) > 0 else 0.0
            waiting[e, k, 1] = s.slots[slot, col.S_PROMPT]
            waiting[e, k, 2] = s.slots[slot, col.S_PREFILL]
            waiting[e, k, 3] = s.max_tokens[0, i]
            waiting[e, k, 4] = s.meta[0, i, col.M_PREDICTED]
            waiting[e, k, 5] = s.meta[0, i, col.M_PRIORITY]
            waiting[e, k, 6] = s.meta[0, i, col.M_CLASS]
            waiting[e, k, 7] = s.slots[slot, col.S_GENERATED]
            waiting[e, k, 8] = hits << s.params[col.P_SHIFT]
            waiting[e, k, 9] = float(s.ctl[0, col.C_NOW] - s.slots[slot, col.S_ARRIVED]) * 1e-12
    engine[e, 0] = g
    engine[e, 1] = length
    engine[e, 2] = s.view_int[col.V_RUNNING, g]
    engine[e, 3] = s.rep[g, col.R_FREE]
    engine[e, 4] = s.rep[g, col.R_BLOCKS]
    engine[e, 5] = s.rep[g, col.R_PREFILLED]
    engine[e, 6] = s.rep[g, col.R_KNOWN]
    engine[e, 7] = s.rep[g, col.R_LEFT]
    engine[e, 8] = s.rep[g, col.R_CAP]


@called
def fewest_outstanding(s: State) -> int:
    """Return the ready replica with the fewest outstanding requests in the ledger, lowest index first."""
    best = -1
    for g in range(s.params[col.P_REPLICAS]):
        if s.view_int[col.V_READY, g] and (
            best < 0 or s.view_int[col.V_INFLIGHT, g] < s.view_int[col.V_INFLIGHT, best]
        ):
            best = g
    return best


_F32 = types.float32


@kernel(
    types.void(*OUTSIDE, _F32[:, :, ::1], _F32[:, ::1], types.int64, *functions(SCHEDULER_TYPES), *OUTSIDE_SERVICES)
)
def run_outside_full(
    runs: State,
    keys: np.ndarray[tuple[int, int], np.dtype[np.uint64]],
    answers: IntArray,
    why: IntArray,
    stop_arrivals: int,
    request: Floats32,
    replica: Floats32,
    cluster: Floats32,
    waiting: Floats32,
    engine: Floats32,
    stop_at_route: int,
    s_rank: Any,
    s_admit: Any,
    s_evict_rank: Any,
    s_tokens: Any,
    s_plan: Any,
    s_on_step: Any,
    replicas: Replicas,
    buffers: AssignBuffers,
    nobody: Inflight,
) -> None:
    """Take every run of the full engine that has not ended to its next question or its end.

    Arguments as of `outside.run_outside`, and those of ASK_ADMIT: `waiting`, its observations, float32, shape
    (E, 32, fields), and `engine`, those of the replica that admits, float32, shape (E, fields), both written.
    `stop_at_route` tells whether routing is asked outside; else requests go to the replica with the fewest outstanding
    ones. The hooks s_* are the schedulers'.
    """
    for e in range(len(why)):
        if why[e] == DONE or why[e] >= BAD_ANSWER:
            continue
        s = nth(runs, e)
        give_answer(s, why[e], answers[e])
        while True:
            why[e] = advance_full(
                s,
                0,
                stop_arrivals,
                no_route,
                no_rank,
                no_assign,
                no_event,
                no_event,
                no_event,
                Scheduler(s_rank, s_admit, s_evict_rank, s_tokens, s_plan, s_on_step, keys[e, 0]),
                replicas,
                buffers,
                nobody,
                keys[e, 0],
                keys[e, 1],
            )
            if why[e] != ASK_ROUTE or stop_at_route:
                break
            s.ctl[0, col.C_ANSWER] = fewest_outstanding(s)
            s.ctl[0, col.C_ANSWERED] = 1
        if why[e] == ASK_ROUTE:
            observe(s, e, request, replica, cluster)
        elif why[e] == ASK_ADMIT:
            observe_admission(s, e, waiting, engine)
