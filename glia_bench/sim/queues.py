"""Sorted queues of live requests: routers' held queues and replicas' waiting queues, rows of the same kind of arrays.

Order is (rank, request number). Requests mostly leave at the head, so removal there is one addition; insertion and
removal elsewhere move a contiguous stretch.
"""

from glia_bench.features import FloatArray, IntArray
from glia_bench.sim import columns as col
from glia_bench.sim.jit import inlined


@inlined
def insert(
    ranks: FloatArray, entries: IntArray, meta: IntArray, slots: IntArray, q: int, slot: int, rank: float
) -> None:
    """Insert a request into queue q by (rank, request number)."""
    head = meta[q, col.Q_HEAD]
    length = meta[q, col.Q_LENGTH]
    if length == 0:
        head = 0
        meta[q, col.Q_HEAD] = 0
    elif head + length == entries.shape[1]:
        for k in range(length):
            ranks[q, k] = ranks[q, head + k]
            entries[q, k] = entries[q, head + k]
        head = 0
        meta[q, col.Q_HEAD] = 0
    number = slots[slot, col.S_NUMBER]
    low = head
    high = head + length
    while low < high:
        middle = (low + high) >> 1
        other = ranks[q, middle]
        if other < rank or (other == rank and slots[entries[q, middle], col.S_NUMBER] < number):
            low = middle + 1
        else:
            high = middle
    for k in range(head + length, low, -1):
        ranks[q, k] = ranks[q, k - 1]
        entries[q, k] = entries[q, k - 1]
    ranks[q, low] = rank
    entries[q, low] = slot
    meta[q, col.Q_LENGTH] = length + 1


@inlined
def remove(ranks: FloatArray, entries: IntArray, meta: IntArray, q: int, position: int) -> None:
    """Remove the request at a position counted from the head of queue q."""
    head = meta[q, col.Q_HEAD]
    for k in range(head + position, head, -1):
        ranks[q, k] = ranks[q, k - 1]
        entries[q, k] = entries[q, k - 1]
    meta[q, col.Q_HEAD] = head + 1
    meta[q, col.Q_LENGTH] -= 1


@inlined
def sort(ranks: FloatArray, entries: IntArray, meta: IntArray, slots: IntArray, q: int) -> None:
    """Restore the order of queue q after its ranks have changed; cheap where they hardly did."""
    head = meta[q, col.Q_HEAD]
    for k in range(head + 1, head + meta[q, col.Q_LENGTH]):
        rank = ranks[q, k]
        slot = entries[q, k]
        number = slots[slot, col.S_NUMBER]
        i = k
        while i > head and (
            ranks[q, i - 1] > rank or (ranks[q, i - 1] == rank and slots[entries[q, i - 1], col.S_NUMBER] > number)
        ):
            ranks[q, i] = ranks[q, i - 1]
            entries[q, i] = entries[q, i - 1]
            i -= 1
        ranks[q, i] = rank
        entries[q, i] = slot
