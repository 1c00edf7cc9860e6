"""Live requests: opening a slot at arrival, applying a router's answer, events for the hooks."""

import numpy as np

from glia_bench.sim import batching, queues
from glia_bench.sim import columns as col
from glia_bench.sim.hashes import draw, fold
from glia_bench.sim.jit import inlined
from glia_bench.sim.lists import release
from glia_bench.sim.replica import charge
from glia_bench.sim.state import State
from glia_bench.types import REJECTED


@inlined
def open_slot(s: State, e: int, i: int, key: np.uint64) -> int:
    """Take a free slot for row i, which arrives now; -1 if there is none."""
    top = s.ctl[e, col.C_FREE_TOP] - 1
    if top < 0:
        return -1
    slot = s.free_slots[e, top]
    s.ctl[e, col.C_FREE_TOP] = top
    number = s.ctl[e, col.C_NUMBER]
    now = s.ctl[e, col.C_NOW]
    prompt = s.prompt_tokens[e, i]
    s.slots[slot, col.S_NUMBER] = number
    s.slots[slot, col.S_ROW] = e * s.arrival_ps.shape[1] + i
    s.slots[slot, col.S_PREFILL] = prompt
    s.slots[slot, col.S_TOTAL] = prompt + s.output_tokens[e, i]
    s.slots[slot, col.S_START] = -1
    s.slots[slot, col.S_PROMPT] = prompt
    s.slots[slot, col.S_RESTARTS] = 0
    s.slots[slot, col.S_ARRIVED] = now
    s.slots[slot, col.S_DISPATCHED] = -1
    s.slots[slot, col.S_SCHEDULED] = -1
    s.slots[slot, col.S_FIRST] = -1
    s.slots[slot, col.S_REPLICA] = -1
    if s.params[col.P_REQUEST_MEMORY]:
        if s.ctl[e, col.C_MEMORY_TOP] > 0:
            s.ctl[e, col.C_MEMORY_TOP] -= 1
            row = s.free_rows[e, s.ctl[e, col.C_MEMORY_TOP]]
        else:
            row = s.ctl[e, col.C_MEMORY_NEW]
            s.ctl[e, col.C_MEMORY_NEW] += 1
        s.slots[slot, col.S_MEMORY] = row
        s.memory.request[row, :] = 0.0
        s.memory.tag[row] = 0.0
    if s.params[col.P_FULL]:
        s.slots[slot, col.S_ROUTER] = 0
        s.slots[slot, col.S_GENERATED] = 0
        s.slots[slot, col.S_COMPUTED] = 0
        s.slots[slot, col.S_BLOCKS] = 0
        s.slots[slot, col.S_KEYED] = 0
        s.slots[slot, col.S_TOKENS] = 0
        s.slots[slot, col.S_ADMITTED] = 0
        s.slots[slot, col.S_CACHED] = -1
        s.extra[e * s.arrival_ps.shape[1] + i, 0] = now
        s.came[e, i] = 1
        s.second[e, 0, col.A_ARRIVALS] += 1
        s.second[e, 0, col.A_TOKENS] += prompt
        if s.params[col.P_ROUTERS] > 1:
            s.slots[slot, col.S_ROUTER] = np.int64(draw(key, 2, number) % np.uint64(s.params[col.P_ROUTERS]))
    s.ctl[e, col.C_NUMBER] = number + 1
    s.ctl[e, col.C_LIVE] += 1
    s.ctl[e, col.C_SUM] -= now
    return slot


@inlined
def apply_answer(s: State, e: int, position: int, answer: int) -> int:
    """Apply an answer for the held request at a position. Returns 1 if it left the queue, 0 if held, -1 if invalid.

    A dispatch is complete only in the plain engine; the full one goes on with `steps.dispatch`.
    """
    q = e * s.params[col.P_ROUTERS] + s.ctl[e, col.C_ROUTER]
    slot = s.held_slot[q, s.held_meta[q, col.Q_HEAD] + position]
    replicas = s.params[col.P_REPLICAS]
    s.ctl[e, col.C_SLOT] = slot
    s.ctl[e, col.C_ANSWER] = answer
    g = e * replicas + answer
    if answer < -2 or answer >= replicas or (answer >= 0 and s.view_int[col.V_READY, g] == 0):
        return -1
    now = s.ctl[e, col.C_NOW]
    s.hash[e] = fold(fold(fold(s.hash[e], s.slots[slot, col.S_NUMBER]), answer + 2), now)
    s.ctl[e, col.C_DECISIONS] += 1
    if answer == -1:
        return 0
    queues.remove(s.held_rank, s.held_slot, s.held_meta, q, position)
    s.ctl[e, col.C_HELD] -= 1
    if answer == -2:
        s.ctl[e, col.C_LAST] = now
        if s.params[col.P_FULL]:
            charge(s, e, slot, REJECTED)
        else:
            s.records[s.slots[slot, col.S_ROW], 0] = REJECTED
            s.ctl[e, col.C_LIVE] -= 1
            s.ctl[e, col.C_SUM] += s.ctl[e, col.C_HORIZON]
        release(s, e, slot)
    else:
        s.ctl[e, col.C_IDLE_SINCE] = -1
        if s.params[col.P_FULL] == 0:
            batching.dispatch(s, g, slot, now)
    if s.ctl[e, col.C_HELD] == 0:
        s.ctl[e, col.C_IDLE_SINCE] = -1
    return 1


@inlined
def sort_events(s: State, e: int) -> None:
    """Order the pending events: first tokens, then finishes, each in request order."""
    for k in range(1, s.ctl[e, col.C_EVENTS]):
        kind = s.events[e, k, 0]
        slot = s.events[e, k, 1]
        number = s.slots[slot, col.S_NUMBER]
        i = k
        while i > 0 and (
            s.events[e, i - 1, 0] > kind
            or (s.events[e, i - 1, 0] == kind and s.slots[s.events[e, i - 1, 1], col.S_NUMBER] > number)
        ):
            s.events[e, i, 0] = s.events[e, i - 1, 0]
            s.events[e, i, 1] = s.events[e, i - 1, 1]
            i -= 1
        s.events[e, i, 0] = kind
        s.events[e, i, 1] = slot
