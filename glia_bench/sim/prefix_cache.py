"""The prefix cache of each replica: computed blocks under their ids, shared, and forgotten in the order of release.

docs/simulator.md, "Prefix cache", has the rules. One row of `KvCache` per replica and environment, g = e * N + replica;
the queue of a row is its free queue. Only blocks with an id have nodes of their own: what a request holds beyond those
is a number that its engine knows, and so is the number of free blocks, which the results of these functions keep exact.

`held` has the length of `ids`, the listed blocks of all requests of an environment: for the leading blocks that a live
request references by id, or that a lookup has just found, it keeps the node of each, so that nobody searches twice. The
ids of one request differ from each other; where a trace repeats one, its block is simply referenced twice.
"""

from glia_bench.features import IntArray
from glia_bench.sim import block_table as bt
from glia_bench.sim import prefix_view
from glia_bench.sim.block_table import KvCache, SmallInts, make_cache, reset
from glia_bench.sim.jit import inlined
from glia_bench.sim.prefix_view import PrefixView

__all__ = [
    "KvCache",
    "SmallInts",
    "enter",
    "lookup",
    "make_cache",
    "release",
    "reset",
    "take_free",
    "take_hits",
    "unreferenced",
]


@inlined
def lookup(cache: KvCache, g: int, ids: IntArray, held: SmallInts, start: int, limit: int) -> int:
    """Return how many leading ids of ids[start:start + limit] row g knows; `held` gets their nodes."""
    for k in range(start, start + limit):
        node = bt.find(cache, g, ids[k])
        if node == 0:
            return k - start
        held[k] = node
    return limit


@inlined
def unreferenced(cache: KvCache, g: int, held: SmallInts, start: int, hits: int) -> int:
    """Return how many of the blocks that a lookup has just found are in row g's free queue."""
    count = 0
    for k in range(start, start + hits):
        count += int(cache.links[g, held[k], bt.L_REFS] == 0)
    return count


@inlined
def take_hits(cache: KvCache, g: int, held: SmallInts, start: int, hits: int) -> int:
    """Reference the blocks that a lookup has just found; comes before any block is taken from the head of the queue.

    Returns:
        How many of them leave the free queue.
    """
    count = 0
    for k in range(start, start + hits):
        count += _reference(cache, g, int(held[k]))
    return count


@inlined
def take_free(cache: KvCache, view: PrefixView, g: int, count: int, now: int) -> None:
    """Take `count` blocks from the head of row g's free queue, which has as many; what is cached there is forgotten."""
    mask = cache.queue.shape[1] - 1
    first = cache.meta[g, bt.M_FIRST]
    while count > 0:
        entry = int(cache.queue[g, first & mask])
        if entry > 0:
            prefix_view.changed(view, g, cache.keys[g, entry], False, now)
            bt.remove(cache, g, entry)
            first += 1
            count -= 1
        elif -entry <= count:
            first += 1
            count += entry
        else:
            cache.queue[g, first & mask] = entry + count
            count = 0
    cache.meta[g, bt.M_FIRST] = first


@inlined
def enter(
    cache: KvCache,
    view: PrefixView,
    g: int,
    ids: IntArray,
    held: SmallInts,
    start: int,
    first: int,
    last: int,
    now: int,
) -> int:
    """Make blocks first..last-1 of a request known, referenced by it; their ids are ids[start + first:start + last].

    Returns:
        How many more blocks are free now: one for each id that was known and referenced already. Where one was known
        and free, the request's own block takes its place among the free ones.
    """
    freed = 0
    bt.reserve(cache, g, last - first)
    for k in range(start + first, start + last):
        place = bt.place_of(cache, ids[k])
        node = bt.find_at(cache, g, ids[k], place)
        if node:
            freed += 1 - _reference(cache, g, node)
            bt.append_bare(cache, g, 1)
        else:
            node = bt.add_at(cache, g, ids[k], 1, place)
            prefix_view.changed(view, g, ids[k], True, now)
        held[k] = node
    return freed


@inlined
def release(
    cache: KvCache,
    view: PrefixView,
    g: int,
    ids: IntArray,
    held: SmallInts,
    start: int,
    keyed: int,
    stored: int,
    blocks: int,
    now: int,
) -> int:
    """Release all blocks of a request: to the tail of the free queue goes what nobody else references.

    Args:
        cache: The blocks of all rows. Changed in place.
        view: What routers see of them. Changed in place.
        g: Row.
        ids: Listed ids; the request's begin at `start`.
        held: Nodes of the blocks that are referenced by id.
        start: See `ids`.
        keyed: Leading blocks that the request references by id.
        stored: Leading blocks that are listed and whose tokens are all stored; at least `keyed`. Those among them that
            are not known enter.
        blocks: Blocks that it holds; at least `stored`.
        now: Time; ps.

    Returns:
        How many more blocks are free now.
    """
    freed = blocks - keyed
    bt.reserve(cache, g, blocks + 1)
    bare = bt.append_bare(cache, g, freed) if freed > 0 else 0
    for k in range(start + stored - 1, start + keyed - 1, -1):
        place = bt.place_of(cache, ids[k])
        if bt.find_at(cache, g, ids[k], place) == 0:  # else the request's own block is one without an id
            bt.append(cache, g, bt.add_at(cache, g, ids[k], 0, place))
            cache.queue[g, bare] += 1
            prefix_view.changed(view, g, ids[k], True, now)
    for k in range(start + keyed - 1, start - 1, -1):
        node = int(held[k])
        refs = int(cache.links[g, node, bt.L_REFS]) - 1
        cache.links[g, node, bt.L_REFS] = refs
        if refs == 0:
            bt.append(cache, g, node)
            freed += 1
    return freed


@inlined
def _reference(cache: KvCache, g: int, node: int) -> int:
    """Reference a known block; returns 1 if it leaves the free queue for that, else 0."""
    refs = int(cache.links[g, node, bt.L_REFS])
    cache.links[g, node, bt.L_REFS] = refs + 1
    if refs == 0:
        bt.unlink(cache, g, node)
        return 1
    return 0
