"""The router's held queue: sorted arrays with a moving head, in place on the arrays of `state`.

Order is (rank, request id). Requests mostly leave at the head, so removal there is one addition; insertion and
removal elsewhere move a contiguous stretch.
"""

from glia_bench.sim import state as st
from glia_bench.sim.jit import inlined
from glia_bench.sim.state import State


@inlined
def insert(s: State, e: int, slot: int, rank: float) -> None:
    """Insert a request by (rank, request id)."""
    head = s.ctl[e, st.C_QHEAD]
    length = s.ctl[e, st.C_QLEN]
    if length == 0:
        head = 0
        s.ctl[e, st.C_QHEAD] = 0
    elif head + length == s.queue_slot.shape[1]:
        for k in range(length):
            s.queue_rank[e, k] = s.queue_rank[e, head + k]
            s.queue_slot[e, k] = s.queue_slot[e, head + k]
        head = 0
        s.ctl[e, st.C_QHEAD] = 0
    row = s.slots[slot, st.S_ROW]
    low = head
    high = head + length
    while low < high:
        middle = (low + high) >> 1
        other = s.queue_rank[e, middle]
        if other < rank or (other == rank and s.slots[s.queue_slot[e, middle], st.S_ROW] < row):
            low = middle + 1
        else:
            high = middle
    for k in range(head + length, low, -1):
        s.queue_rank[e, k] = s.queue_rank[e, k - 1]
        s.queue_slot[e, k] = s.queue_slot[e, k - 1]
    s.queue_rank[e, low] = rank
    s.queue_slot[e, low] = slot
    s.ctl[e, st.C_QLEN] = length + 1


@inlined
def remove(s: State, e: int, position: int) -> None:
    """Remove the request at a position counted from the head."""
    head = s.ctl[e, st.C_QHEAD]
    for k in range(head + position, head, -1):
        s.queue_rank[e, k] = s.queue_rank[e, k - 1]
        s.queue_slot[e, k] = s.queue_slot[e, k - 1]
    s.ctl[e, st.C_QHEAD] = head + 1
    s.ctl[e, st.C_QLEN] -= 1
