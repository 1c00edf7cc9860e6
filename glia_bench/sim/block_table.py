"""Ids found by hash, with a queue, one of each per row; in place on integer arrays.

A row is the KV memory of one replica (prefix_cache.py), what a router has noted of one, or the ids that a router sees
anywhere (prefix_view.py). A node is one known id: a block of that content. Blocks without an id are mere numbers in the
queue. Nodes of one hash form a chain that is hardly ever longer than one, so that few branches come unforeseen. The
queue is an array and not a list of links, so that what follows its head can be read ahead; what leaves it from the
middle leaves a hole, and holes are closed now and then.
"""

from typing import NamedTuple

import numpy as np

from glia_bench.features import IntArray
from glia_bench.sim.jit import inlined

L_CHAIN, L_REFS, L_PLACE, L_HEAD = range(4)
_LINK_WIDTH = 4
"""L_CHAIN next node of the same hash, 0 for none; L_REFS references to the block, or what else its user counts; L_PLACE
index in the queue; L_HEAD where its chain begins."""

M_FIRST, M_LAST, M_KNOWN, M_MOST = range(4)
META_WIDTH = 4
"""M_FIRST number of the queue's first entry, M_LAST of the next new one; entries are counted without end. M_KNOWN known
ids, each with its node; M_MOST the most that there ever were: no node has a higher number."""

_LOW = 0xFFFFFFFF
_FACTOR_LOW, _FACTOR_HIGH = 0x4F1BBCDD, 0x2545F491  # odd, below 2^31: products of 32-bit halves stay below 2^63


SmallInts = np.ndarray[tuple[int, ...], np.dtype[np.int32]]


class KvCache(NamedTuple):
    """Rows of known ids, each with a queue. Small integers are int32: what is often touched should stay in reach.

    Attributes:
        heads: First node of each hash, 0 for none; shape (num_rows, a power of two).
        keys: Id of each node; int64, shape (num_rows, most ids + 1); node 0 is none.
        links: The rest of each node, L_*; shape (num_rows, most ids + 1, 4).
        masks: Words that a user keeps with each node; int64, shape (num_rows, most ids + 1, words); without words
            (num_rows, 1, 0).
        spare: Nodes not in use, from M_KNOWN on, node n at index i written as n - i - 1; shape (num_rows, most ids).
        queue: Ring of entries: a node, minus a number of blocks without ids, or 0 for a hole; shape (num_rows, a power
            of two).
        meta: Shape (num_rows, META_WIDTH).
    """

    heads: SmallInts
    keys: IntArray
    links: SmallInts
    masks: IntArray
    spare: SmallInts
    queue: SmallInts
    meta: IntArray


def make_rows(num_rows: int, num_ids: int, *, num_words: int, num_heads: int, queue_length: int) -> KvCache:
    """Allocate empty rows.

    Args:
        num_rows: How many.
        num_ids: Most ids that a row may know, at least 1. Memory that no id has reached yet is not touched.
        num_words: Words of each node's mask.
        num_heads: Least length of the hash table.
        queue_length: Least length of the queue.
    """

    def small(*shape: int) -> SmallInts:
        return np.zeros((num_rows, *shape), dtype=np.int32)

    return KvCache(
        heads=small(1 << (num_heads - 1).bit_length()),
        keys=np.zeros((num_rows, num_ids + 1), dtype=np.int64),
        links=small(num_ids + 1, _LINK_WIDTH),
        masks=np.zeros((num_rows, num_ids + 1 if num_words else 1, num_words), dtype=np.int64),
        spare=small(num_ids),
        queue=small(1 << (queue_length - 1).bit_length()),
        meta=np.zeros((num_rows, META_WIDTH), dtype=np.int64),
    )


def make_cache(num_rows: int, max_blocks: int) -> KvCache:
    """Allocate rows of at most `max_blocks` blocks, at least 1; a row with blocks to begin with needs a `reset`."""
    # A wide hash table: a chain of two costs a branch that was not foreseen. A long queue: holes are seldom closed.
    return make_rows(num_rows, max_blocks, num_words=0, num_heads=8 * max_blocks, queue_length=2 * max_blocks)


@inlined
def reset(cache: KvCache, g: int, num_blocks: int) -> None:
    """Put row g at its start: no id known, `num_blocks` blocks in the queue."""
    cache.heads[g, :] = 0
    cache.spare[g, :] = 0
    cache.queue[g, 0] = -num_blocks
    cache.meta[g, M_FIRST] = 0
    cache.meta[g, M_LAST] = 1 if num_blocks > 0 else 0
    cache.meta[g, M_KNOWN] = 0
    cache.meta[g, M_MOST] = 0


@inlined
def hash_of(key: int) -> int:
    """Return 32 well-mixed bits of an id; nothing overflows, so that plain Python agrees.

    Sixteen ids in a row, as the blocks of one request often are, follow each other: one line of the processor's cache
    holds their places.
    """
    run = key >> 4
    product = (run & _LOW) * _FACTOR_LOW ^ (run >> 32) * _FACTOR_HIGH
    folded = product ^ product >> 32
    return ((folded ^ folded >> 15) + (key & 15)) & _LOW


@inlined
def find(cache: KvCache, g: int, key: int) -> int:
    """Return the node of an id in row g, 0 if there is none."""
    return find_at(cache, g, key, place_of(cache, key))


@inlined
def place_of(cache: KvCache, key: int) -> int:
    """Return where the chain of an id's hash begins, for `find_at` and `add_at`."""
    return hash_of(key) & (cache.heads.shape[1] - 1)


@inlined
def find_at(cache: KvCache, g: int, key: int, place: int) -> int:
    """Return as `find`, given the id's place."""
    node = int(cache.heads[g, place])
    while node != 0 and cache.keys[g, node] != key:
        node = int(cache.links[g, node, L_CHAIN])
    return node


@inlined
def add(cache: KvCache, g: int, key: int, refs: int) -> int:
    """Enter an id that row g does not know and return its node, which is not in the queue."""
    return add_at(cache, g, key, refs, place_of(cache, key))


@inlined
def add_at(cache: KvCache, g: int, key: int, refs: int, place: int) -> int:
    """Do as `add`, given the id's place."""
    known = cache.meta[g, M_KNOWN]
    node = int(cache.spare[g, known]) + known + 1
    cache.meta[g, M_KNOWN] = known + 1
    cache.meta[g, M_MOST] = max(cache.meta[g, M_MOST], known + 1)
    cache.keys[g, node] = key
    cache.links[g, node, L_REFS] = refs
    cache.links[g, node, L_CHAIN] = cache.heads[g, place]
    cache.links[g, node, L_HEAD] = place
    cache.heads[g, place] = node
    return node


@inlined
def remove(cache: KvCache, g: int, node: int) -> None:
    """Forget the id of a node that is not in the queue, and give the node back."""
    i = int(cache.links[g, node, L_HEAD])
    rest = int(cache.links[g, node, L_CHAIN])
    before = int(cache.heads[g, i])
    if before == node:
        cache.heads[g, i] = rest
    else:
        while cache.links[g, before, L_CHAIN] != node:
            before = int(cache.links[g, before, L_CHAIN])
        cache.links[g, before, L_CHAIN] = rest
    known = cache.meta[g, M_KNOWN]
    cache.spare[g, known - 1] = node - known
    cache.meta[g, M_KNOWN] = known - 1


@inlined
def reserve(cache: KvCache, g: int, count: int) -> None:
    """See to it that `count` entries can be added to row g's queue: close its holes if they could not."""
    mask = cache.queue.shape[1] - 1
    first = cache.meta[g, M_FIRST]
    last = cache.meta[g, M_LAST]
    if last - first + count > mask + 1:
        end = first
        for place in range(first, last):
            entry = cache.queue[g, place & mask]
            if entry != 0:
                cache.queue[g, end & mask] = entry
                if entry > 0:
                    cache.links[g, entry, L_PLACE] = end & mask
                end += 1
        cache.meta[g, M_LAST] = end


@inlined
def append(cache: KvCache, g: int, node: int) -> None:
    """Put a node at the tail of row g's queue, where room is reserved."""
    last = cache.meta[g, M_LAST]
    place = last & (cache.queue.shape[1] - 1)
    cache.queue[g, place] = node
    cache.links[g, node, L_PLACE] = place
    cache.meta[g, M_LAST] = last + 1


@inlined
def append_bare(cache: KvCache, g: int, count: int) -> int:
    """Put `count` blocks without ids at the tail of row g's queue, where room is reserved; returns their index."""
    mask = cache.queue.shape[1] - 1
    last = cache.meta[g, M_LAST]
    i = (last - 1) & mask
    if last == cache.meta[g, M_FIRST] or cache.queue[g, i] >= 0:
        i = last & mask
        cache.queue[g, i] = 0
        cache.meta[g, M_LAST] = last + 1
    cache.queue[g, i] -= count
    return i


@inlined
def unlink(cache: KvCache, g: int, node: int) -> None:
    """Take a node out of row g's queue."""
    cache.queue[g, cache.links[g, node, L_PLACE]] = 0
