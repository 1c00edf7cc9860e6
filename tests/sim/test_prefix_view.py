"""What routers see of prefix caches equals an obvious model: sets of ids, a list of changes, ordered dictionaries."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glia_bench.features import IntArray
from glia_bench.sim import block_table as bt
from glia_bench.sim import prefix_cache as pc
from glia_bench.sim import prefix_view as pv
from glia_bench.sim.block_table import KvCache
from glia_bench.sim.jit import kernel
from glia_bench.sim.prefix_view import VIEW_EVENTS, VIEW_NONE, VIEW_OWN, VIEW_TRUTH, PrefixView

pytestmark = pytest.mark.nojit

CHANGED, NOTED, FORGET, HITS, NEEDS_ROOM, LOOKUP, CHURN = range(7)
DELAY_PS = 5
ENV, NUM_ENVS, NUM_ROUTERS = 1, 2, 3
MOST_CHANGES = 6  # of one operation of the tests

_int64 = numba.int64
_view = pv.make_view(VIEW_NONE, 1, 1, 1, 1, 0)
_arrays = [numba.typeof(x) for x in (_view, pc.make_cache(1, 1), np.zeros(1, np.int64), np.zeros((1, 1), np.int64))]


@kernel(_int64(_int64, *_arrays, _int64, _int64, _int64, _int64, _int64))
def operate(
    code: int, view: PrefixView, cache: KvCache, ids: IntArray, out: IntArray, a: int, b: int, c: int, d: int, now: int
) -> int:
    """Do one operation in environment 1: one function to compile for all, and kept on the disk."""
    if code == CHANGED:
        pv.changed(view, a, b, c == 1, now)
    elif code == NOTED:
        pv.noted(view, 1, a, b, ids, 0, c, d)
    elif code == FORGET:
        pv.forget(view, 1, a)
    elif code == HITS:
        pv.hits(view, 1, a, ids, 0, b, now, c, out, 1, d)
    elif code == NEEDS_ROOM:
        return int(pv.needs_room(view, 1, a))
    elif code == LOOKUP:
        return pc.lookup(cache, a, ids, out[0], 0, b)
    else:  # a requests of b blocks one after the other on replica row d, of c blocks
        pc.reset(cache, d, c)
        for request in range(a):
            hits = pc.lookup(cache, d, ids, out[0], request * b, b)
            pc.take_hits(cache, d, out[0], request * b, hits)
            pc.take_free(cache, view, d, b - hits, now + request)
            pc.enter(cache, view, d, ids, out[0], request * b, hits, b - 1, now + request)
            pc.release(cache, view, d, ids, out[0], request * b, b - 1, b, b, now + request)
    return 0


@dataclass
class Model:
    """The rules as the page says them."""

    mode: int
    num_replicas: int
    changes: list[tuple[int, int, int, bool]] = field(default_factory=list)
    caches: dict[int, set[int]] = field(default_factory=dict)
    notes: dict[tuple[int, int], OrderedDict[int, None]] = field(default_factory=dict)

    def changed(self, replica: int, key: int, is_added: bool, now: int) -> None:
        """Write a change of a cache down."""
        self.changes.append((now, replica, key, is_added))
        self.caches.setdefault(replica, set()).symmetric_difference_update({key})

    def noted(self, router: int, replica: int, ids: list[int], capacity: int) -> None:
        """Note a dispatch, last block first."""
        notes = self.notes.setdefault((router, replica), OrderedDict())
        for key in reversed(ids):
            notes[key] = None
            notes.move_to_end(key)
            if len(notes) > capacity:
                notes.popitem(last=False)

    def forget(self, replica: int) -> None:
        """Forget a replica."""
        self.changes = [change for change in self.changes if change[1] != replica]
        self.caches.pop(replica, None)
        for router in range(NUM_ROUTERS):
            self.notes.pop((router, replica), None)

    def hits(self, router: int, ids: list[int], now: int) -> list[int]:
        """Return the leading ids that the router sees, per replica."""
        delay = {VIEW_EVENTS: DELAY_PS, VIEW_TRUTH: 0}
        result = []
        for replica in range(self.num_replicas):
            seen: set[int] = set()
            if self.mode == VIEW_OWN:
                seen = set(self.notes.get((router, replica), ()))
            elif self.mode != VIEW_NONE:
                for time, where, key, is_added in self.changes:
                    if where == replica and time <= now - delay[self.mode]:
                        (seen.add if is_added else seen.remove)(key)
            result.append(next((k for k, key in enumerate(ids) if key not in seen), len(ids)))
        return result


class Pair:
    """View and model side by side, in the second of two environments; the first stays empty."""

    def __init__(self, mode: int, num_replicas: int, max_blocks: int) -> None:
        self.num_replicas, self.max_blocks, self.now = num_replicas, max_blocks, 0
        with mock.patch.object(pv, "_FIRST_CHANGES", 2):  # so short that it must grow
            self.view = pv.make_view(mode, NUM_ENVS, NUM_ROUTERS, num_replicas, max_blocks, DELAY_PS)
        self.cache = pc.make_cache(1, 1)
        self.model = Model(mode, num_replicas)
        self.ids = np.zeros(1, dtype=np.int64)
        self.out = np.full((2, NUM_ENVS * num_replicas), -1)

    def do(self, code: int, a: int, b: int = 0, c: int = 0, d: int = 0) -> int:
        """Do one operation of the view."""
        return operate(code, self.view, self.cache, self.ids, self.out, a, b, c, d, self.now)

    def make_room(self) -> None:
        """Let the log grow if the next operation could need it, as an engine does."""
        if self.do(NEEDS_ROOM, MOST_CHANGES):
            self.view = pv.grown(self.view, MOST_CHANGES)
        assert not self.do(NEEDS_ROOM, MOST_CHANGES)

    def changed(self, replica: int, key: int) -> None:
        """Let a replica's cache lose the id or get it, as far as it has room."""
        cache = self.model.caches.get(replica, set())
        if key in cache or len(cache) < self.max_blocks:
            self.make_room()
            self.do(CHANGED, ENV * self.num_replicas + replica, key, int(key not in cache))
            self.model.changed(replica, key, key not in cache, self.now)

    def noted(self, router: int, replica: int, ids: list[int], capacity: int) -> None:
        """Note a dispatch."""
        self.ids = np.array(ids, dtype=np.int64)
        self.do(NOTED, router, replica, len(ids), capacity)
        if self.model.mode == VIEW_OWN:
            self.model.noted(router, replica, ids, capacity)

    def forget(self, replica: int) -> None:
        """Forget a replica."""
        self.do(FORGET, replica)
        self.model.forget(replica)

    def check(self, router: int, ids: list[int]) -> None:
        """A router sees the same hits, and nothing else is written."""
        self.ids = np.array(ids, dtype=np.int64)
        self.out[:] = -1
        self.do(HITS, router, len(ids), self.num_replicas, self.num_replicas)
        assert self.out[1, self.num_replicas :].tolist() == self.model.hits(router, ids, self.now)
        self.out[1, self.num_replicas :] = -1
        assert (self.out == -1).all()


MODES = [VIEW_NONE, VIEW_OWN, VIEW_EVENTS, VIEW_TRUTH]
keys = st.integers(0, 7).map(lambda key: key * 2**31)
operations = st.tuples(
    st.sampled_from("cccnnnf"), st.integers(0, 2), st.integers(0, 3), st.lists(keys, max_size=MOST_CHANGES, unique=True)
)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), num_replicas=st.sampled_from([1, 2, 5, 62, 63, 130]), max_blocks=st.integers(1, 8))
def test_any_sequence_of_operations_leaves_view_and_model_equal(
    mode: int, data: st.DataObject, num_replicas: int, max_blocks: int
) -> None:
    """8 ids come and go on four replicas, the first and last ones, while the log grows: routers see the same."""
    pair = Pair(mode, num_replicas, max_blocks)
    for name, router, which, ids in data.draw(st.lists(operations, max_size=40)):
        replica = [0, num_replicas // 2, max(0, num_replicas - 2), num_replicas - 1][which]
        pair.now += data.draw(st.integers(0, 3))
        if name == "c" and mode != VIEW_OWN:
            for key in ids:
                pair.changed(replica, key)
        elif name == "n":
            pair.noted(router, replica, ids, max(1, max_blocks - replica % 3))
        elif name == "f":
            pair.forget(replica)
        pair.check(router, ids[::-1])


def test_events_are_seen_after_the_delay() -> None:
    """An id that comes at 10 and goes at 12 is seen from 15 to 16, with a delay of 5."""
    pair = Pair(VIEW_EVENTS, 2, 4)
    pair.now = 10
    pair.changed(1, 7)
    pair.now = 12
    pair.changed(1, 7)
    seen = []
    for pair.now in range(12, 19):
        pair.check(0, [7])
        pair.ids = np.array([7])
        pair.do(HITS, 0, 1, 2, 0)
        seen.append(int(pair.out[1, 1]))
    assert seen == [0, 0, 0, 1, 1, 0, 0]


def test_a_replica_that_fails_takes_its_unseen_changes_with_it() -> None:
    """Id 7 comes at 10 on both replicas, 1 fails at 12 and gets it again at 13: seen there from 18 only."""
    pair = Pair(VIEW_EVENTS, 2, 4)
    pair.now = 10
    pair.changed(0, 7)
    pair.changed(1, 7)
    pair.now = 12
    pair.forget(1)
    pair.now = 13
    pair.changed(1, 7)
    for pair.now in range(13, 20):
        pair.check(0, [7])
    assert pair.model.hits(0, [7], 17) == [1, 0]
    assert pair.model.hits(0, [7], 18) == [1, 1]


def test_routers_know_only_their_own_dispatches() -> None:
    """Router 0 notes ids 1 to 3 at a replica of 2 blocks: it remembers 1 and 2, router 1 nothing."""
    pair = Pair(VIEW_OWN, 3, 2)
    pair.noted(0, 2, [1, 2, 3], 2)
    assert pair.model.hits(0, [1, 2, 3], 0) == [0, 0, 2]
    pair.check(0, [1, 2, 3])
    pair.check(1, [1, 2, 3])


@pytest.mark.parametrize("mode", [VIEW_OWN, VIEW_EVENTS, VIEW_TRUTH])
def test_all_replicas_can_be_full_of_different_ids(mode: int) -> None:
    """5 replicas of 7 blocks with 35 ids: each is seen at its place; forgetting all replicas leaves nothing."""
    pair = Pair(mode, 5, 7)
    for key in range(35):
        pair.now += DELAY_PS + 1
        if mode == VIEW_OWN:
            pair.noted(2, key % 5, [key], 7)
        else:
            pair.changed(key % 5, key)
    pair.now += DELAY_PS
    for key in range(35):
        pair.check(2, [key, (key + 5) % 35])
    for replica in range(5):
        pair.forget(replica)
    for cache in (pair.view.known, pair.view.notes):
        assert not cache.meta[:, bt.M_KNOWN].any()


def test_the_log_grows_without_losing_a_change() -> None:
    """Twenty changes within the delay, room asked for one at a time: all are seen when it is over, none before."""
    pair = Pair(VIEW_EVENTS, 1, 20)
    lengths = set()
    for key in range(20):
        pair.changed(0, key)
        lengths.add(pair.view.log.shape[1])
    assert lengths == {8, 16, 32}
    for pair.now in (DELAY_PS - 1, DELAY_PS):
        pair.check(0, list(range(20)))


@pytest.mark.parametrize("mode", MODES)
def test_a_new_run_starts_empty(mode: int) -> None:
    """After reset_view nothing of environment 1 is left, and environment 0 is as it was."""
    pair = Pair(mode, 3, 4)
    pair.make_room()
    before = [array.copy() for array in _arrays_of(pair.view)]
    pair.changed(0, 5)
    pair.noted(1, 0, [5, 6], 4)
    pv.reset_view(pair.view, ENV)
    pair.model = Model(mode, 3)
    pair.now = 100
    for router in range(NUM_ROUTERS):
        pair.check(router, [5, 6])
    for old, new in zip(before, _arrays_of(pair.view), strict=True):
        assert np.array_equal(old[: len(old) // 2], new[: len(old) // 2])


def _arrays_of(view: PrefixView) -> list[np.ndarray[Any, Any]]:
    return [*view.known, view.log, view.ends, *view.notes]


@pytest.mark.parametrize("mode", [VIEW_EVENTS, VIEW_TRUTH])
def test_the_caches_report_all_that_comes_and_goes(mode: int) -> None:
    """150 requests of 6 of 60 ids on two replicas of 13 blocks: in the end routers see exactly what is cached."""
    rng = np.random.default_rng(11)
    num, length = 150, 6
    view = pv.make_view(mode, 2, NUM_ROUTERS, 2, 13, DELAY_PS)
    cache = pc.make_cache(4, 13)
    for row in (2, 3):
        ids = np.concatenate([rng.permutation(60)[:length] for _ in range(num)])
        out = np.zeros((2, num * length), dtype=np.int64)
        operate(CHURN, view, cache, ids, out, num, length, 13, row, 1000 * row)
    cached: list[set[int]] = [set(), set()]
    seen: list[set[int]] = [set(), set()]
    for key in range(60):
        operate(HITS, view, cache, np.array([key]), out, 0, 1, 2, 0, 10**6)
        for replica in (0, 1):
            if out[1, replica]:
                seen[replica].add(key)
            if operate(LOOKUP, view, cache, np.array([key]), out, 2 + replica, 1, 0, 0, 0):
                cached[replica].add(key)
    assert seen == cached
    assert min(len(ids) for ids in cached) > 8
