"""The KV cache of one replica equals an obvious model: a list of free blocks and a dictionary of ids."""

import itertools
from dataclasses import dataclass, field

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glia_bench.features import IntArray
from glia_bench.sim import block_table as bt
from glia_bench.sim import prefix_cache as pc
from glia_bench.sim.block_table import KvCache
from glia_bench.sim.jit import kernel
from glia_bench.sim.prefix_view import VIEW_NONE, PrefixView, make_view

pytestmark = pytest.mark.nojit

LISTED = 12  # ids of every request
RESET, LOOKUP, UNREFERENCED, TAKE_HITS, TAKE_FREE, ENTER, RELEASE = range(7)

_int64 = numba.int64
_view = make_view(VIEW_NONE, 1, 1, 1, 1, 0)
_arrays = [numba.typeof(x) for x in (pc.make_cache(1, 1), _view, np.zeros(1, np.int64), np.zeros(1, np.int64))]


@kernel(_int64(_int64, *_arrays, _int64, _int64, _int64, _int64, _int64))
def operate(
    code: int,
    cache: KvCache,
    view: PrefixView,
    ids: IntArray,
    held: IntArray,
    g: int,
    start: int,
    a: int,
    b: int,
    c: int,
) -> int:
    """Do one operation on row g: one function to compile for all, and kept on the disk."""
    if code == RESET:
        pc.reset(cache, g, a)
    elif code == LOOKUP:
        return pc.lookup(cache, g, ids, held, start, a)
    elif code == UNREFERENCED:
        return pc.unreferenced(cache, g, held, start, a)
    elif code == TAKE_HITS:
        return pc.take_hits(cache, g, held, start, a)
    elif code == TAKE_FREE:
        pc.take_free(cache, view, g, a, 0)
    elif code == ENTER:
        return pc.enter(cache, view, g, ids, held, start, a, b, 0)
    else:
        return pc.release(cache, view, g, ids, held, start, a, b, c, 0)
    return 0


@dataclass(eq=False)
class Block:
    """A block of the model: its id or None, and who references it."""

    key: int | None = None
    references: int = 0


@dataclass(eq=False)
class Model:
    """The rules as the page says them, one block at a time."""

    free: list[Block]
    known: dict[int, Block] = field(default_factory=dict)

    def reference(self, key: int) -> Block:
        """Reference a known block, which leaves the free queue."""
        block = self.known[key]
        if block.references == 0:
            self.free.remove(block)
        block.references += 1
        return block

    def take(self, count: int) -> list[Block]:
        """Take blocks from the head of the free queue."""
        taken, self.free = self.free[:count], self.free[count:]
        for block in taken:
            if block.key is not None:
                del self.known[block.key]
            block.key, block.references = None, 1
        return taken

    def give(self, block: Block) -> None:
        """Drop a reference; a block without any goes to the tail of the free queue."""
        block.references -= 1
        if block.references == 0:
            self.free.append(block)

    def enter(self, blocks: list[Block], ids: list[int], first: int, last: int) -> None:
        """Let a request's blocks become known, or be replaced by those that are."""
        for b in range(first, last):
            if ids[b] in self.known:
                own, blocks[b] = blocks[b], self.reference(ids[b])
                self.give(own)
            else:
                blocks[b].key = ids[b]
                self.known[ids[b]] = blocks[b]

    def release(self, blocks: list[Block], ids: list[int], keyed: int, stored: int) -> None:
        """Let stored blocks become known where they are not, then give all back."""
        for b in range(keyed, stored):
            if ids[b] not in self.known:
                blocks[b].key = ids[b]
                self.known[ids[b]] = blocks[b]
        for block in sorted(reversed(blocks), key=lambda block: block.key is not None):  # stable
            self.give(block)


class Pair:
    """Cache and model side by side; every operation is done to both and then they are compared."""

    def __init__(self, num_blocks: int, ids: IntArray, *, row: int = 1) -> None:
        self.ids = ids
        self.row = row
        self.num_blocks = num_blocks
        self.cache = pc.make_cache(row + 2, num_blocks + row)  # rows beside it, and more room than it has blocks
        self.view = make_view(VIEW_NONE, 1, 1, row + 2, num_blocks, 0)
        self.held = np.zeros_like(ids)
        self.num_free = num_blocks
        self.requests: dict[int, tuple[list[Block], int]] = {}
        self.reset()

    def do(self, code: int, request: int, a: int = 0, b: int = 0, c: int = 0) -> int:
        """Do one operation of the cache."""
        return operate(code, self.cache, self.view, self.ids, self.held, self.row, request * LISTED, a, b, c)

    def reset(self) -> None:
        """Start a new life."""
        self.do(RESET, 0, self.num_blocks)
        self.model = Model([Block() for _ in range(self.num_blocks)])
        self.requests.clear()
        self.num_free = self.num_blocks

    def listed(self, request: int) -> list[int]:
        """Return a request's ids."""
        return [int(key) for key in self.ids[request * LISTED : (request + 1) * LISTED]]

    def admit(self, request: int, limit: int, blocks: int) -> bool:
        """Admit a request if it fits; at most `limit` of its blocks may be hits."""
        known = itertools.takewhile(lambda key: key in self.model.known, self.listed(request)[:limit])
        wanted = len(list(known))
        hits = self.do(LOOKUP, request, limit)
        assert hits == wanted
        unreferenced = self.do(UNREFERENCED, request, hits)
        assert unreferenced == sum(self.model.known[key].references == 0 for key in self.listed(request)[:hits])
        if self.num_free - unreferenced - (blocks - hits) < 0:
            return False
        assert self.do(TAKE_HITS, request, hits) == unreferenced
        self.do(TAKE_FREE, request, blocks - hits)
        self.num_free -= unreferenced + blocks - hits
        mine = [self.model.reference(key) for key in self.listed(request)[:hits]]
        self.requests[request] = (mine + self.model.take(blocks - hits), hits)
        return True

    def enter(self, request: int, count: int) -> None:
        """Let the next blocks of a request become known."""
        blocks, keyed = self.requests[request]
        last = min(keyed + count, len(blocks), LISTED)
        self.num_free += self.do(ENTER, request, keyed, last)
        self.model.enter(blocks, self.listed(request), keyed, last)
        self.requests[request] = (blocks, last)

    def grow(self, request: int, count: int) -> None:
        """Give a request more blocks, if there are any."""
        count = min(count, self.num_free)
        self.do(TAKE_FREE, request, count)
        self.num_free -= count
        self.requests[request][0].extend(self.model.take(count))

    def release(self, request: int, stored: int) -> None:
        """Release a request of which `stored` more blocks are stored."""
        blocks, keyed = self.requests.pop(request)
        stored = min(keyed + stored, len(blocks), LISTED)
        self.num_free += self.do(RELEASE, request, keyed, stored, len(blocks))
        self.model.release(blocks, self.listed(request), keyed, stored)

    def check(self) -> None:
        """Free queue, known ids with their references, and counts agree."""
        queue = free_queue(self.cache, self.row)
        assert queue == [block.key for block in self.model.free]
        assert self.num_free == len(queue)
        known = {key: block.references for key, block in self.model.known.items()}
        assert references(self.cache, self.row) == known


def free_queue(cache: KvCache, g: int) -> list[int | None]:
    """Return the ids of row g's free blocks, from the head; None for a block without one."""
    queue: list[int | None] = []
    for place in range(cache.meta[g, bt.M_FIRST], cache.meta[g, bt.M_LAST]):
        entry = int(cache.queue[g, place & (cache.queue.shape[1] - 1)])
        if entry > 0:
            assert cache.links[g, entry, bt.L_PLACE] == place & (cache.queue.shape[1] - 1)
            assert cache.links[g, entry, bt.L_REFS] == 0
        queue += [None] * -entry if entry <= 0 else [int(cache.keys[g, entry])]
    return queue


def references(cache: KvCache, g: int) -> dict[int, int]:
    """Return the known ids of row g with their references, found through the table."""
    found = {}
    for head in cache.heads[g]:
        node = int(head)
        while node:
            key = int(cache.keys[g, node])
            assert key not in found
            found[key] = int(cache.links[g, node, bt.L_REFS])
            node = int(cache.links[g, node, bt.L_CHAIN])
    assert len(found) == cache.meta[g, bt.M_KNOWN]
    return found


def tree_ids(paths: list[list[int]], multiplier: int) -> IntArray:
    """Return ids of requests whose content forks as `paths` say: equal ids after equal ids only."""
    numbers: dict[tuple[int, ...], int] = {}
    prefixes = (tuple(path[: b + 1]) for path in paths for b in range(LISTED))
    return np.array([numbers.setdefault(prefix, len(numbers)) * multiplier for prefix in prefixes], dtype=np.int64)


forks = st.lists(st.integers(0, 1), min_size=3, max_size=3).map(lambda fork: [0, 0, *fork * 3, *fork][:LISTED])
multipliers = st.sampled_from([1, 64, 2**20, 2**32, 0x1234_5678_9ABC])


@settings(max_examples=150, deadline=None)
@given(data=st.data(), num_blocks=st.integers(1, 40), multiplier=multipliers)
def test_any_sequence_of_operations_leaves_cache_and_model_equal(
    data: st.DataObject, num_blocks: int, multiplier: int
) -> None:
    """8 requests of shared prefixes in up to 40 blocks: hits, free counts, queue order and references agree."""
    pair = Pair(num_blocks, tree_ids(data.draw(st.lists(forks, min_size=8, max_size=8)), multiplier))
    operation = st.tuples(st.sampled_from("aaegr" * 3 + "x"), st.integers(0, 7), st.integers(0, 13), st.integers(0, 4))
    for name, request, first, second in data.draw(st.lists(operation, max_size=60)):
        if name == "x":
            pair.reset()
        elif request not in pair.requests:
            blocks = min(first + second + 1, num_blocks)
            pair.admit(request, min(first, blocks - 1, LISTED), blocks)
        elif name == "g":
            pair.grow(request, second)
        elif name == "e":
            pair.enter(request, first)
        else:
            pair.release(request, first)
        pair.check()


def test_a_released_request_is_forgotten_from_its_last_block_on() -> None:
    """Three blocks of ids 10 to 12 and a bare one in 5 blocks: the bare ones go first, then 12, then 11."""
    pair = Pair(5, np.arange(10, 10 + LISTED))
    assert pair.admit(0, 0, 4)
    pair.enter(0, 3)
    pair.release(0, 0)
    assert free_queue(pair.cache, 1) == [None, None, 12, 11, 10]
    pair.do(TAKE_FREE, 0, 3)
    assert pair.do(LOOKUP, 0, LISTED) == 2
    assert free_queue(pair.cache, 1) == [11, 10]


def test_a_block_that_is_known_already_is_shared_and_the_copy_given_back() -> None:
    """Two requests compute ids 0 and 1 at the same time in 6 blocks: 4 are free again, and two after one release."""
    ids = np.tile(np.arange(LISTED), 2)
    pair = Pair(6, ids)
    assert pair.admit(0, 0, 2)
    assert pair.admit(1, 0, 2)
    assert pair.num_free == 2
    pair.enter(0, 2)
    pair.enter(1, 2)
    assert pair.num_free == 4
    assert references(pair.cache, 1) == {0: 2, 1: 2}
    pair.release(0, 0)
    assert pair.num_free == 4
    pair.release(1, 0)
    assert free_queue(pair.cache, 1) == [None] * 4 + [1, 0]


def test_output_blocks_enter_on_release() -> None:
    """Of 4 blocks one is entered and 3 are stored: 3 ids are known afterwards, and a bare block goes first."""
    pair = Pair(4, np.arange(LISTED))
    pair.admit(0, 0, 4)
    pair.enter(0, 1)
    pair.release(0, 2)
    assert free_queue(pair.cache, 1) == [None, 2, 1, 0]


def test_an_id_that_comes_twice_in_one_request_loses_no_block() -> None:
    """Ids 0, 0, 0, 0 make no sense, but free blocks still add up: 5 of 9, then 7 when 3 of 4 are one, then all."""
    pair = Pair(9, np.zeros(LISTED, dtype=np.int64))
    pair.do(TAKE_FREE, 0, 4)
    assert pair.do(ENTER, 0, 0, 3) == 2
    assert len(free_queue(pair.cache, 1)) == 7
    assert pair.do(RELEASE, 0, 3, 4, 4) == 2
    assert free_queue(pair.cache, 1) == [None] * 8 + [0]
    assert pair.do(LOOKUP, 0, 3) == 3
    assert pair.do(TAKE_HITS, 0, 3) == 1
    assert pair.do(RELEASE, 0, 3, 3, 3) == 1
    assert free_queue(pair.cache, 1) == [None] * 8 + [0]


def test_holes_in_the_queue_are_closed_in_time() -> None:
    """The same 6 of 8 blocks taken as hits and released a hundred times: the queue keeps its order and its size."""
    pair = Pair(8, np.arange(LISTED))
    pair.admit(0, 0, 6)
    pair.enter(0, 6)
    pair.release(0, 0)
    for _ in range(100):
        pair.admit(0, 6, 6)
        pair.release(0, 0)
    assert free_queue(pair.cache, 1) == [None, None, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("step", [1, 2**16, 2**20, 2**31, 2**32, 2**32 + 1, 2**40])
def test_ids_of_any_step_scatter(step: int) -> None:
    """4096 ids in equal steps take at least 85 % as many of 32768 places; random ones would take 94 %."""
    ids = np.arange(4096, dtype=np.int64) * step
    places = {int(bt.hash_of(int(key))) & 32767 for key in ids}
    assert len(places) >= 0.85 * 4096


def test_other_rows_stay_untouched() -> None:
    """Whatever happens in row 1 of 3 leaves the arrays of rows 0 and 2 as they were."""
    pair = Pair(5, np.arange(LISTED))
    for array in pair.cache:
        array[[0, 2]] = 7
    pair.admit(0, 0, 5)
    pair.enter(0, 5)
    pair.release(0, 0)
    pair.admit(0, 4, 5)
    for array in pair.cache:
        assert (array[[0, 2]] == 7).all()


def test_arrays_are_integers_of_the_declared_types() -> None:
    """Ids and counts without end are int64; nodes and places, whose size counts, are int32."""
    cache = pc.make_cache(2, 3)
    wide = {name for name in cache._fields if getattr(cache, name).dtype == np.int64}
    assert wide == {"keys", "masks", "meta"}
    assert {getattr(cache, name).dtype for name in {*cache._fields} - wide} == {np.dtype(np.int32)}
