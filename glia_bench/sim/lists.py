"""The queues of the engines: finish heap, waiting queue, running list, free slots; in place on `state`'s arrays."""

from glia_bench.sim import columns as col
from glia_bench.sim.jit import inlined
from glia_bench.sim.state import State
from glia_bench.sim.stretch import blocks_of


@inlined
def heap_push(s: State, g: int, size: int, key: int) -> None:
    """Add a key to replica g's min-heap of `size` keys."""
    i = size
    while i > 0:
        parent = (i - 1) >> 1
        if s.heap[g, parent] <= key:
            break
        s.heap[g, i] = s.heap[g, parent]
        i = parent
    s.heap[g, i] = key


@inlined
def heap_remove(s: State, g: int, size: int, i: int) -> None:
    """Remove the key at position i of replica g's min-heap of `size` keys."""
    last = size - 1
    key = s.heap[g, last]
    while i > 0 and s.heap[g, (i - 1) >> 1] > key:
        s.heap[g, i] = s.heap[g, (i - 1) >> 1]
        i = (i - 1) >> 1
    child = 2 * i + 1
    while child < last:
        # No branch on which child is smaller: it could not be predicted. At the last level the second child may be the
        # key that is being moved, which is never smaller than itself.
        child += int(s.heap[g, child + 1] < s.heap[g, child])
        if s.heap[g, child] >= key:
            break
        s.heap[g, i] = s.heap[g, child]
        i = child
        child = 2 * i + 1
    s.heap[g, i] = key


@inlined
def wait(s: State, g: int, slot: int, at_head: bool) -> None:
    """Put a request into replica g's waiting queue, at its tail or (after a preemption) its head."""
    if s.rep[g, col.R_WAIT_HEAD] < 0:
        s.slots[slot, col.S_NEXT] = -1
        s.rep[g, col.R_WAIT_HEAD] = slot
        s.rep[g, col.R_WAIT_TAIL] = slot
    elif at_head:
        s.slots[slot, col.S_NEXT] = s.rep[g, col.R_WAIT_HEAD]
        s.rep[g, col.R_WAIT_HEAD] = slot
    else:
        s.slots[slot, col.S_NEXT] = -1
        s.slots[s.rep[g, col.R_WAIT_TAIL], col.S_NEXT] = slot
        s.rep[g, col.R_WAIT_TAIL] = slot
    s.view_int[col.V_WAITING, g] += 1
    s.view_int[col.V_WAITING_TOKENS, g] += s.slots[slot, col.S_PREFILL]
    s.view_int[col.V_WAITING_BLOCKS, g] += blocks_of(s, s.slots[slot, col.S_PREFILL])


@inlined
def enter_running(s: State, g: int, slot: int) -> None:
    """Put an admitted request into replica g's running list at the place that its key asks for."""
    s.rep[g, col.R_KEYS] += 1
    key = s.slots[slot, col.S_NUMBER] if s.params[col.P_BY_ARRIVAL] else s.rep[g, col.R_KEYS]
    s.slots[slot, col.S_KEY] = key
    before = s.rep[g, col.R_RUN_TAIL]
    after = -1
    while before >= 0 and s.slots[before, col.S_KEY] > key:
        after = before
        before = s.slots[before, col.S_PREV]
    s.slots[slot, col.S_PREV] = before
    s.slots[slot, col.S_NEXT] = after
    if before >= 0:
        s.slots[before, col.S_NEXT] = slot
    else:
        s.rep[g, col.R_RUN_HEAD] = slot
    if after >= 0:
        s.slots[after, col.S_PREV] = slot
    else:
        s.rep[g, col.R_RUN_TAIL] = slot
    s.view_int[col.V_RUNNING, g] += 1


@inlined
def leave_running(s: State, g: int, slot: int) -> None:
    """Take a request out of replica g's running list."""
    before = s.slots[slot, col.S_PREV]
    after = s.slots[slot, col.S_NEXT]
    if before >= 0:
        s.slots[before, col.S_NEXT] = after
    else:
        s.rep[g, col.R_RUN_HEAD] = after
    if after >= 0:
        s.slots[after, col.S_PREV] = before
    else:
        s.rep[g, col.R_RUN_TAIL] = before
    s.view_int[col.V_RUNNING, g] -= 1


@inlined
def release(s: State, e: int, slot: int) -> None:
    """Give a slot and its row of request memory back."""
    if s.params[col.P_REQUEST_MEMORY]:
        s.free_rows[e, s.ctl[e, col.C_MEMORY_TOP]] = s.slots[slot, col.S_MEMORY]
        s.ctl[e, col.C_MEMORY_TOP] += 1
    s.slots[slot, col.S_ROW] = -1
    s.free_slots[e, s.ctl[e, col.C_FREE_TOP]] = slot
    s.ctl[e, col.C_FREE_TOP] += 1
