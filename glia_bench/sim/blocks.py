"""KV blocks of the full engine's requests: how many they hold and need, and what of them is cached."""

from glia_bench.sim import columns as col
from glia_bench.sim import prefix_cache
from glia_bench.sim.jit import called, inlined
from glia_bench.sim.state import State
from glia_bench.sim.stretch import blocks_of


@inlined
def known_of(s: State, slot: int) -> int:
    """Return prompt plus generated tokens of a live request."""
    return s.slots[slot, col.S_PROMPT] + s.slots[slot, col.S_GENERATED]


@inlined
def is_prefilled(s: State, slot: int) -> bool:
    """Return whether a request's prefill is complete, so that it decodes."""
    return s.slots[slot, col.S_COMPUTED] == s.slots[slot, col.S_PREFILL]


@inlined
def blocks_short(s: State, slot: int, tokens: int) -> int:
    """Return the blocks that a running request needs beyond those it holds, for this many tokens."""
    return max(blocks_of(s, tokens) - s.slots[slot, col.S_BLOCKS], 0)


@inlined
def blocks_wanted(s: State, e: int, g: int, slot: int) -> int:
    """Return how many blocks an admission takes in all."""
    if s.rep[g, col.R_RULES] & col.RULE_RESERVE:
        i = s.slots[slot, col.S_ROW] - e * s.arrival_ps.shape[1]
        return blocks_of(s, s.slots[slot, col.S_PROMPT] + s.max_tokens[e, i])
    return blocks_of(s, s.slots[slot, col.S_PREFILL])


@inlined
def content_start(s: State, e: int, slot: int) -> int:
    """Return where a request's block ids begin."""
    return s.block_start[e, s.slots[slot, col.S_ROW] - e * s.arrival_ps.shape[1]]


@inlined
def content_count(s: State, e: int, slot: int) -> int:
    """Return how many blocks of a request are listed."""
    i = s.slots[slot, col.S_ROW] - e * s.arrival_ps.shape[1]
    return s.block_start[e, i + 1] - s.block_start[e, i]


@called
def hit_blocks(s: State, e: int, g: int, slot: int) -> int:
    """Return how many leading blocks of a waiting request are in replica g's cache."""
    if s.params[col.P_CACHE] == 0:
        return 0
    most = (s.slots[slot, col.S_PREFILL] - 1) >> s.params[col.P_SHIFT]
    limit = min(most, content_count(s, e, slot))
    return prefix_cache.lookup(s.cache, g, s.block_ids[e], s.block_nodes[e], content_start(s, e, slot), limit)


@called
def take_blocks(s: State, e: int, g: int, count: int, now: int) -> None:
    """Take free blocks of replica g; there are enough."""
    s.rep[g, col.R_FREE] -= count
    if s.params[col.P_CACHE] and count > 0:
        prefix_cache.take_free(s.cache, s.seen, g, count, now)


@called
def give_blocks(s: State, e: int, g: int, slot: int, now: int) -> None:
    """Release all blocks of a request that leaves replica g's running list."""
    blocks = s.slots[slot, col.S_BLOCKS]
    if s.params[col.P_CACHE]:
        stored = s.slots[slot, col.S_COMPUTED]
        if is_prefilled(s, slot):
            stored = known_of(s, slot) - 1
        whole = min(stored >> s.params[col.P_SHIFT], content_count(s, e, slot))
        keyed = s.slots[slot, col.S_KEYED]
        start = content_start(s, e, slot)
        s.rep[g, col.R_FREE] += prefix_cache.release(
            s.cache, s.seen, g, s.block_ids[e], s.block_nodes[e], start, keyed, max(whole, keyed), blocks, now
        )
    else:
        s.rep[g, col.R_FREE] += blocks
    s.slots[slot, col.S_BLOCKS] = 0
    s.slots[slot, col.S_KEYED] = 0
