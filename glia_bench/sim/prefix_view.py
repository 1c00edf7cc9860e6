"""What routers see of the prefix caches: for each known id, the set of replicas that have it, as a bit mask.

The table of one environment follows the caches, at once ("truth") or `delay_ps` later through a log ("events"); in the
view "own" each router has a table of its own, of what it has dispatched. docs/simulator.md, "Prefix cache", has the
rules. Hits for all replicas come from one walk over a request's ids that narrows the mask. Times of one environment do
not decrease from call to call.
"""

from typing import NamedTuple

import numpy as np

from glia_bench.features import IntArray
from glia_bench.sim import block_table as bt
from glia_bench.sim.block_table import KvCache, make_cache
from glia_bench.sim.jit import inlined, plain

VIEW_NONE, VIEW_OWN, VIEW_EVENTS, VIEW_TRUTH = range(4)

P_MODE, P_REPLICAS, P_ROUTERS, P_DELAY = range(4)

L_TIME, L_ID, L_REPLICA, L_ADDED = range(4)
_LOG_WIDTH = 4
_VOID = -1
"""L_REPLICA of a change that no longer counts."""

E_FIRST, E_LAST = range(2)
"""Changes of the log applied and written so far."""

_WORD_BITS = 62  # neither a mask nor the next power of two reaches the sign
_FIRST_CHANGES = 1 << 14


class PrefixView(NamedTuple):
    """Tables of E environments with R routers and N replicas: T = E * R for the view "own", else E.

    Attributes:
        params: Constants P_*.
        known: Ids that at least one replica is seen to have, a row per table; the masks of their
            nodes have a bit per replica, and are 0 in a node that is not in use.
        log: Ring of changes L_*; shape (E, a power of two, 4).
        ends: Shape (E, 2).
        notes: For the view "own", a queue of ids per router and replica, oldest first, in row t * N + replica; L_REFS
            of their nodes is the id's node in `known`.
    """

    params: IntArray
    known: KvCache
    log: IntArray
    ends: IntArray
    notes: KvCache


def make_view(
    mode: int, num_envs: int, num_routers: int, num_replicas: int, max_blocks: int, delay_ps: int
) -> PrefixView:
    """Allocate the tables of a view; empty, ready for use.

    Args:
        mode: VIEW_NONE, VIEW_OWN, VIEW_EVENTS or VIEW_TRUTH.
        num_envs: E.
        num_routers: R.
        num_replicas: N.
        max_blocks: Blocks of the largest replica.
        delay_ps: Age of what "events" shows.
    """
    is_own = mode == VIEW_OWN
    tables = num_envs * (num_routers if is_own else 1)
    most_ids = 1 if mode == VIEW_NONE else num_replicas * max_blocks
    words = -(-num_replicas // _WORD_BITS)
    return PrefixView(
        params=np.array([mode, num_replicas, num_routers, delay_ps], dtype=np.int64),
        known=bt.make_rows(tables, most_ids, num_words=words, num_heads=4 * most_ids, queue_length=1),
        log=np.zeros((num_envs, _FIRST_CHANGES if mode == VIEW_EVENTS else 1, _LOG_WIDTH), dtype=np.int64),
        ends=np.zeros((num_envs, 2), dtype=np.int64),
        notes=make_cache(tables * num_replicas, max_blocks) if is_own else make_cache(num_envs, 1),
    )


def reset_view(view: PrefixView, e: int) -> None:
    """Forget all that environment e's routers know, for a new run."""
    view.ends[e] = 0
    for cache in (view.known, view.notes):
        rows = len(cache.meta) // len(view.ends)
        for row in range(e * rows, (e + 1) * rows):
            most = cache.meta[row, bt.M_MOST]
            if most > 0:  # memory that was never used stays so
                cache.masks[row, : most + 1] = 0
                plain(bt.reset)(cache, row, 0)


@inlined
def needs_room(view: PrefixView, e: int, margin: int) -> bool:
    """Return whether `margin` more changes of caches could be too many for environment e's log."""
    changes = view.ends[e, E_LAST] - view.ends[e, E_FIRST] + margin
    return view.params[P_MODE] == VIEW_EVENTS and changes > view.log.shape[1]


def grown(view: PrefixView, margin: int) -> PrefixView:
    """Return the view with room for `margin` more changes in every environment; the old log is not changed."""
    num_envs, size, _ = view.log.shape
    most = margin + int((view.ends[:, E_LAST] - view.ends[:, E_FIRST]).max())
    wider = np.zeros((num_envs, max(size, 1 << most.bit_length()), _LOG_WIDTH), dtype=np.int64)
    for e in range(num_envs):
        kept = np.arange(view.ends[e, E_FIRST], view.ends[e, E_LAST])
        wider[e, kept & (wider.shape[1] - 1)] = view.log[e, kept & (size - 1)]
    return view._replace(log=wider)


@inlined
def changed(view: PrefixView, g: int, key: int, is_added: bool, now: int) -> None:
    """Note that the cache of replica row g has got or lost an id."""
    mode = view.params[P_MODE]
    if mode in (VIEW_TRUTH, VIEW_EVENTS):
        e = g // view.params[P_REPLICAS]
        replica = g - e * view.params[P_REPLICAS]
        if mode == VIEW_TRUTH:
            if is_added:
                _add(view, e, key, replica)
            else:
                _drop(view, e, bt.find(view.known, e, key), replica)
        else:
            last = view.ends[e, E_LAST]
            i = last & (view.log.shape[1] - 1)
            view.log[e, i, L_TIME] = now
            view.log[e, i, L_ID] = key
            view.log[e, i, L_REPLICA] = replica
            view.log[e, i, L_ADDED] = int(is_added)
            view.ends[e, E_LAST] = last + 1
            _catch_up(view, e, now)


@inlined
def _catch_up(view: PrefixView, e: int, now: int) -> None:
    """Apply the changes of environment e that are old enough to be seen."""
    first = view.ends[e, E_FIRST]
    seen_ps = now - view.params[P_DELAY]
    mask = view.log.shape[1] - 1
    while first < view.ends[e, E_LAST] and view.log[e, first & mask, L_TIME] <= seen_ps:
        i = first & mask
        if view.log[e, i, L_REPLICA] != _VOID:
            if view.log[e, i, L_ADDED]:
                _add(view, e, view.log[e, i, L_ID], view.log[e, i, L_REPLICA])
            else:
                _drop(view, e, bt.find(view.known, e, view.log[e, i, L_ID]), view.log[e, i, L_REPLICA])
        first += 1
    view.ends[e, E_FIRST] = first


@inlined
def noted(
    view: PrefixView, e: int, router: int, replica: int, ids: IntArray, start: int, count: int, capacity: int
) -> None:
    """Note a dispatch in the router's own view: ids[start:start + count], last one first; "own" only, else nothing.

    Args:
        view: Changed in place.
        e: Environment.
        router: Who dispatched.
        replica: Where to.
        ids: Block ids.
        start: See `count`.
        count: Listed whole blocks of the prompt.
        capacity: Ids that are remembered of the replica: its number of blocks.
    """
    if view.params[P_MODE] == VIEW_OWN:
        notes = view.notes
        t = e * view.params[P_ROUTERS] + router
        row = t * view.params[P_REPLICAS] + replica
        for b in range(start + count - 1, start - 1, -1):
            bt.reserve(notes, row, 1)
            node = bt.find(notes, row, ids[b])
            if node:
                bt.unlink(notes, row, node)
            else:
                if notes.meta[row, bt.M_KNOWN] == capacity:
                    _drop_oldest(view, t, row, replica)
                node = bt.add(notes, row, ids[b], _add(view, t, ids[b], replica))
            bt.append(notes, row, node)


@inlined
def _drop_oldest(view: PrefixView, t: int, row: int, replica: int) -> None:
    """Forget what a router noted of a replica the longest time ago."""
    notes = view.notes
    mask = notes.queue.shape[1] - 1
    first = notes.meta[row, bt.M_FIRST]
    while notes.queue[row, first & mask] == 0:
        first += 1
    node = int(notes.queue[row, first & mask])
    notes.meta[row, bt.M_FIRST] = first + 1
    _drop(view, t, int(notes.links[row, node, bt.L_REFS]), replica)
    bt.remove(notes, row, node)


@inlined
def forget(view: PrefixView, e: int, replica: int) -> None:
    """Forget a replica that failed or is gone, everywhere and at once; changes not yet seen never will be."""
    mode = view.params[P_MODE]
    notes = view.notes
    if mode == VIEW_OWN:
        for t in range(e * view.params[P_ROUTERS], (e + 1) * view.params[P_ROUTERS]):
            row = t * view.params[P_REPLICAS] + replica
            for place in range(notes.meta[row, bt.M_FIRST], notes.meta[row, bt.M_LAST]):
                node = int(notes.queue[row, place & (notes.queue.shape[1] - 1)])
                if node != 0:
                    _drop(view, t, int(notes.links[row, node, bt.L_REFS]), replica)
                    bt.remove(notes, row, node)
            notes.meta[row, bt.M_FIRST] = notes.meta[row, bt.M_LAST]
    elif mode != VIEW_NONE:
        for k in range(view.ends[e, E_FIRST], view.ends[e, E_LAST]):
            i = k & (view.log.shape[1] - 1)
            if view.log[e, i, L_REPLICA] == replica:
                view.log[e, i, L_REPLICA] = _VOID
        _clear(view, e, replica)


@inlined
def hits(
    view: PrefixView,
    e: int,
    router: int,
    ids: IntArray,
    start: int,
    limit: int,
    now: int,
    num_replicas: int,
    out: IntArray,
    row: int,
    offset: int,
) -> None:
    """Write how many leading ids of ids[start:start + limit] a router sees at each replica to out[row, offset + r]."""
    mode = view.params[P_MODE]
    t = e * view.params[P_ROUTERS] + router if mode == VIEW_OWN else e
    if mode == VIEW_EVENTS:
        _catch_up(view, e, now)
    most = 0 if mode == VIEW_NONE else limit
    for word in range(view.known.masks.shape[2]):
        first = word * _WORD_BITS
        alive = (1 << min(_WORD_BITS, num_replicas - first)) - 1
        b = 0
        while b < most and alive != 0:
            seen = view.known.masks[t, bt.find(view.known, t, ids[start + b]), word]  # of node 0: nobody
            if alive & ~seen:
                _write(out, row, offset + first, alive & ~seen, b)
                alive &= seen
            b += 1
        _write(out, row, offset + first, alive, most)


@inlined
def _write(out: IntArray, row: int, offset: int, bits: int, value: int) -> None:
    """Write a value to out[row, offset + r] for every bit r."""
    i = offset
    while bits != 0:
        if bits & 1:
            out[row, i] = value
        bits >>= 1
        i += 1


@inlined
def _add(view: PrefixView, t: int, key: int, replica: int) -> int:
    """Set a replica's bit of an id in table t; returns the id's node."""
    node = bt.find(view.known, t, key)
    if node == 0:
        node = bt.add(view.known, t, key, 0)
    view.known.masks[t, node, replica // _WORD_BITS] |= 1 << (replica % _WORD_BITS)
    return node


@inlined
def _drop(view: PrefixView, t: int, node: int, replica: int) -> None:
    """Clear a replica's bit of a node of table t; an id without bits leaves the table."""
    view.known.masks[t, node, replica // _WORD_BITS] &= ~(1 << (replica % _WORD_BITS))
    rest = 0
    for column in range(view.known.masks.shape[2]):
        rest |= view.known.masks[t, node, column]
    if rest == 0:
        bt.remove(view.known, t, node)


@inlined
def _clear(view: PrefixView, t: int, replica: int) -> None:
    """Clear a replica's bit of every id in table t."""
    word = replica // _WORD_BITS
    bit = 1 << (replica % _WORD_BITS)
    for node in range(1, view.known.meta[t, bt.M_MOST] + 1):
        if view.known.masks[t, node, word] & bit:
            _drop(view, t, node, replica)
