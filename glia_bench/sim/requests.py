"""Live requests: opening a slot at arrival, applying a router's answer, releasing the slot, events for the hooks."""

from glia_bench.features import Memory
from glia_bench.sim import held_queue
from glia_bench.sim import state as st
from glia_bench.sim.batching import dispatch
from glia_bench.sim.jit import inlined
from glia_bench.sim.lists import release
from glia_bench.sim.state import State
from glia_bench.sim.views import fold
from glia_bench.types import REJECTED


@inlined
def open_slot(s: State, memory: Memory, e: int) -> int:
    """Take a free slot for the next arrival; -1 if there is none."""
    top = s.ctl[e, st.C_FREE_TOP] - 1
    if top < 0:
        return -1
    slot = s.free_slots[e, top]
    s.ctl[e, st.C_FREE_TOP] = top
    number = s.ctl[e, st.C_NEXT]
    prompt = s.prompt_tokens[e, number]
    s.slots[slot, st.S_ROW] = e * s.arrival_ps.shape[1] + number
    s.slots[slot, st.S_PREFILL] = prompt
    s.slots[slot, st.S_TOTAL] = prompt + s.output_tokens[e, number]
    s.slots[slot, st.S_START] = -1
    s.slots[slot, st.S_PROMPT] = prompt
    s.slots[slot, st.S_RESTARTS] = 0
    s.slots[slot, st.S_ARRIVED] = s.arrival_ps[e, number]
    s.slots[slot, st.S_DISPATCHED] = -1
    s.slots[slot, st.S_SCHEDULED] = -1
    s.slots[slot, st.S_FIRST] = -1
    s.slots[slot, st.S_REPLICA] = -1
    s.slots[slot, st.S_MEMORY] = 0
    if s.params[st.P_REQUEST_MEMORY]:
        if s.ctl[e, st.C_MEMORY_TOP] > 0:
            s.ctl[e, st.C_MEMORY_TOP] -= 1
            row = s.free_rows[e, s.ctl[e, st.C_MEMORY_TOP]]
        else:
            row = s.ctl[e, st.C_MEMORY_NEW]
            s.ctl[e, st.C_MEMORY_NEW] += 1
        s.slots[slot, st.S_MEMORY] = row
        memory.request[row, :] = 0.0
        memory.tag[row] = 0.0
    s.ctl[e, st.C_NEXT] = number + 1
    s.ctl[e, st.C_LIVE] += 1
    s.ctl[e, st.C_SUM] -= s.slots[slot, st.S_ARRIVED]
    return slot


@inlined
def apply_answer(s: State, e: int, position: int, answer: int) -> int:
    """Apply an answer for the held request at a position. Returns 1 if it left the queue, 0 if held, -1 if invalid."""
    slot = s.queue_slot[e, s.ctl[e, st.C_QHEAD] + position]
    replicas = s.params[st.P_REPLICAS]
    s.ctl[e, st.C_SLOT] = slot
    s.ctl[e, st.C_ANSWER] = answer
    g = e * replicas + answer
    if answer < -2 or answer >= replicas or (answer >= 0 and s.view_int[st.V_READY, g] == 0):
        return -1
    now = s.ctl[e, st.C_NOW]
    number = s.slots[slot, st.S_ROW] - e * s.arrival_ps.shape[1]
    s.hash[e] = fold(fold(fold(s.hash[e], number), answer + 2), now)
    s.ctl[e, st.C_DECISIONS] += 1
    if answer == -1:
        return 0
    held_queue.remove(s, e, position)
    if answer == -2:
        s.records[s.slots[slot, st.S_ROW], 0] = REJECTED
        s.ctl[e, st.C_LAST] = now
        s.ctl[e, st.C_LIVE] -= 1
        s.ctl[e, st.C_SUM] += s.ctl[e, st.C_HORIZON]
        release(s, e, slot)
    else:
        s.ctl[e, st.C_IDLE_SINCE] = -1
        dispatch(s, g, slot, now)
    if s.ctl[e, st.C_QLEN] == 0:
        s.ctl[e, st.C_IDLE_SINCE] = -1
    return 1


@inlined
def sort_events(s: State, e: int) -> None:
    """Order the pending events: first tokens, then finishes, each in request order."""
    for k in range(1, s.ctl[e, st.C_EVENTS]):
        kind = s.events[e, k, 0]
        slot = s.events[e, k, 1]
        row = s.slots[slot, st.S_ROW]
        i = k
        while i > 0 and (
            s.events[e, i - 1, 0] > kind
            or (s.events[e, i - 1, 0] == kind and s.slots[s.events[e, i - 1, 1], st.S_ROW] > row)
        ):
            s.events[e, i, 0] = s.events[e, i - 1, 0]
            s.events[e, i, 1] = s.events[e, i - 1, 1]
            i -= 1
        s.events[e, i, 0] = kind
        s.events[e, i, 1] = slot
