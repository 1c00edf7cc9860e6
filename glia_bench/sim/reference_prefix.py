"""KV blocks of one replica of the reference simulator: one free queue, a cache of shared content, its delayed view.

Also a router's own notes of what it has sent where. Follows the section "Prefix cache" of docs/simulator.md. Without a
cache no block ever gets an id and the free queue is just a number.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Block:
    """A physical block: its id while it stands in the cache, and how many requests reference it."""

    cache_id: int | None = None
    references: int = 0


class BlockStore:
    """All blocks of one replica.

    Attributes:
        free: Blocks that nobody references, the next to be taken first.
        cache: Id to the block that holds its content, referenced or not.
    """

    def __init__(self, num_blocks: int, block_size_tokens: int, now_ps: Callable[[], int], delay_ps: int) -> None:
        self.num_blocks = num_blocks
        self.block_size_tokens = block_size_tokens
        self.now_ps = now_ps
        self.delay_ps = delay_ps
        self.free = [Block() for _ in range(num_blocks)]
        self.cache: dict[int, Block] = {}
        self._reported: set[int] = set()
        self._reports: list[tuple[int, int, bool]] = []

    def blocks_for(self, tokens: int) -> int:
        """Return the blocks that hold this many tokens."""
        return -(-tokens // self.block_size_tokens)

    def hit_blocks(self, ids: tuple[int, ...], tokens: int) -> int:
        """Return how many leading blocks of these ids are in the cache, one token of `tokens` being left out of it."""
        return leading(ids, (tokens - 1) // self.block_size_tokens, self.cache)

    def reported_hit_blocks(self, ids: tuple[int, ...], tokens: int) -> int:
        """Return the same as of `delay_ps` ago."""
        while self._reports and self._reports[0][0] + self.delay_ps <= self.now_ps():
            _, cache_id, enters = self._reports.pop(0)
            (self._reported.add if enters else self._reported.remove)(cache_id)
        return leading(ids, (tokens - 1) // self.block_size_tokens, self._reported)

    def num_unreferenced(self, ids: tuple[int, ...]) -> int:
        """Return how many blocks of these cached ids nobody references."""
        return sum(self.cache[cache_id].references == 0 for cache_id in ids)

    def take(self) -> Block:
        """Return a block from the head of the free queue; what was cached there is forgotten."""
        block = self.free.pop(0)
        if block.cache_id is not None:
            del self.cache[block.cache_id]
            self._report(block.cache_id, enters=False)
            block.cache_id = None
        block.references = 1
        return block

    def reference(self, cache_id: int) -> Block:
        """Return the block of a cached id, referenced once more."""
        block = self.cache[cache_id]
        if block.references == 0:
            self.free.remove(block)
        block.references += 1
        return block

    def enter_computed(self, blocks: list[Block], ids: tuple[int, ...], before_tokens: int, tokens: int) -> None:
        """Let a request's prefill blocks that have just been completed enter the cache, or share what is there."""
        for b in range(before_tokens // self.block_size_tokens, tokens // self.block_size_tokens):
            if b >= len(ids):
                return
            if ids[b] not in self.cache:
                self._enter(blocks[b], ids[b])
            elif self.cache[ids[b]] is not blocks[b]:
                own = blocks[b]
                blocks[b] = self.reference(ids[b])
                self._let_go(own)

    def release(self, blocks: list[Block], ids: tuple[int, ...], stored_tokens: int) -> None:
        """Take back all blocks of a request, of which the first `stored_tokens` tokens are stored."""
        for b, cache_id in enumerate(ids[: stored_tokens // self.block_size_tokens]):
            if cache_id not in self.cache:
                self._enter(blocks[b], cache_id)
        last_first = blocks[::-1]
        for block in [x for x in last_first if x.cache_id is None] + [x for x in last_first if x.cache_id is not None]:
            self._let_go(block)
        blocks.clear()

    def _enter(self, block: Block, cache_id: int) -> None:
        assert block.cache_id is None
        block.cache_id = cache_id
        self.cache[cache_id] = block
        self._report(cache_id, enters=True)

    def _let_go(self, block: Block) -> None:
        block.references -= 1
        if block.references == 0:
            self.free.append(block)

    def _report(self, cache_id: int, *, enters: bool) -> None:
        self._reports.append((self.now_ps(), cache_id, enters))


class Notes:
    """What one router remembers of the prompts that it has sent to one replica: ids, least recently noted first."""

    def __init__(self, num_blocks: int, block_size_tokens: int) -> None:
        self.num_blocks = num_blocks
        self.block_size_tokens = block_size_tokens
        self.ids: OrderedDict[int, None] = OrderedDict()

    def note(self, ids: tuple[int, ...], prompt_tokens: int) -> None:
        """Note the listed whole blocks of a prompt, last block first."""
        for cache_id in reversed(ids[: prompt_tokens // self.block_size_tokens]):
            self.ids.pop(cache_id, None)
            self.ids[cache_id] = None
            if len(self.ids) > self.num_blocks:
                self.ids.popitem(last=False)

    def hit_blocks(self, ids: tuple[int, ...], tokens: int) -> int:
        """Return how many leading blocks are remembered."""
        return leading(ids, (tokens - 1) // self.block_size_tokens, self.ids)


def leading(ids: tuple[int, ...], most: int, known: object) -> int:
    """Return how many of the first ids, at most so many, are known without a gap."""
    count = 0
    for cache_id in ids[:most]:
        if cache_id not in known:  # type: ignore[operator]
            break
        count += 1
    return count
