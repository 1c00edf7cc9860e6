"""How the full engine starts what it has formed: how long an iteration lasts, and how many follow by themselves."""

from glia_bench.sim import columns as col
from glia_bench.sim.blocks import blocks_short, known_of, take_blocks
from glia_bench.sim.jit import called
from glia_bench.sim.latency_grid import grid_ps
from glia_bench.sim.replica import STALLED, set_status
from glia_bench.sim.state import State
from glia_bench.sim.stretch import stretch_time

STALL_PS = 10_000_000_000
"""A replica that schedules nothing tries again after 10 ms."""
STALL_LIMIT_PS = 60_000_000_000_000
"""One that does so for 60 s has a bad scheduler."""


@called
def suffices(s: State, g: int) -> bool:
    """Return whether replica g has the blocks for another iteration of the same decodes."""
    need = 1 if s.rep[g, col.R_RULES] & col.RULE_SPARE else 0
    for k in range(s.view_int[col.V_RUNNING, g]):
        slot = s.run[g, k]
        if s.slots[slot, col.S_TOKENS] < 0:
            need += blocks_short(s, slot, known_of(s, slot))
    return need <= s.rep[g, col.R_FREE]


@called
def place_again(s: State, e: int, g: int, now: int) -> None:
    """Give the decodes of replica g's last iteration their blocks for another."""
    taken = 0
    for k in range(s.view_int[col.V_RUNNING, g]):
        slot = s.run[g, k]
        if s.slots[slot, col.S_TOKENS] < 0:
            need = blocks_short(s, slot, known_of(s, slot))
            taken += need
            s.slots[slot, col.S_BLOCKS] += need
    take_blocks(s, e, g, taken, now)


@called
def blocks_until(s: State, g: int, iterations: int) -> int:
    """Return the blocks that the decodes of replica g take in the iterations 2..`iterations` of a stretch."""
    total = 0
    for k in range(s.view_int[col.V_RUNNING, g]):
        slot = s.run[g, k]
        if s.slots[slot, col.S_TOKENS] < 0:
            total += blocks_short(s, slot, known_of(s, slot) + iterations - 1)
    return total


@called
def stretch_limit(s: State, g: int) -> int:
    """Return how many pure-decode iterations of replica g run until a completion or until a block could be short."""
    limit = 1 << 40
    for k in range(s.view_int[col.V_RUNNING, g]):
        slot = s.run[g, k]
        if s.slots[slot, col.S_TOKENS] < 0:
            limit = min(limit, s.slots[slot, col.S_TOTAL] - known_of(s, slot))
    free = s.rep[g, col.R_FREE]
    if s.rep[g, col.R_RULES] & col.RULE_SPARE:
        free -= 1
    if blocks_until(s, g, limit) <= free:
        return limit
    low = 1
    while limit - low > 1:
        middle = (low + limit) >> 1
        if blocks_until(s, g, middle) <= free:
            low = middle
        else:
            limit = middle
    return low


@called
def launch(s: State, e: int, g: int, now: int) -> None:
    """Start the iteration that replica g has formed, or a stretch of it; without tokens the replica stalls."""
    decodes = 0
    context = 0
    for k in range(s.view_int[col.V_RUNNING, g]):
        slot = s.run[g, k]
        if s.slots[slot, col.S_TOKENS] < 0:
            decodes += 1
            context += known_of(s, slot)
    chunks = s.rep[g, col.R_CHUNKS]
    prefill = 0
    squares = 0
    cached = 0
    cached64 = 0
    pairs = 0
    for b in range(chunks):
        slot = s.batch[g, b]
        tokens = s.slots[slot, col.S_TOKENS]
        before = s.slots[slot, col.S_COMPUTED]
        prefill += tokens
        squares += tokens * tokens
        cached += before
        cached64 += (before + 63) & ~63
        pairs += tokens * (2 * before + tokens)
    s.view_int[col.V_ALLOCATED, g] = s.rep[g, col.R_BLOCKS] - s.rep[g, col.R_FREE]
    s.rep[g, col.R_SEG] = 1
    s.rep[g, col.R_START] = now
    s.rep[g, col.R_DECODES] = decodes
    s.rep[g, col.R_QUIET] = 0
    if decodes + chunks == 0:
        s.rep[g, col.R_BUSY] = 0
        if s.view_int[col.V_RUNNING, g] + s.view_int[col.V_WAITING, g] == 0:
            s.rep[g, col.R_STALLED] = -1
            s.next_ps[g] = col.INF
            return
        if s.rep[g, col.R_STALLED] < 0:
            s.rep[g, col.R_STALLED] = now
        if now - s.rep[g, col.R_STALLED] >= STALL_LIMIT_PS:
            set_status(s, e, STALLED, 0, g, 0.0)
        s.next_ps[g] = now + STALL_PS
        return
    s.rep[g, col.R_STALLED] = -1
    s.rep[g, col.R_BUSY] = 1
    pool = s.rep[g, col.R_POOL]
    factor = s.rep[g, col.R_FACTOR] if now < s.rep[g, col.R_SLOW] else 1000
    token_ps = 0
    slope = 0
    prefill_ps = 0
    if s.rep[g, col.R_GRID] >= 0:
        token_ps = grid_ps(
            s.grids,
            s.rep[g, col.R_GRID],
            prefill + decodes,
            decodes,
            context,
            chunks,
            prefill,
            squares,
            cached,
            cached64,
            pairs,
        )
        if factor != 1000:
            token_ps = max((token_ps * factor + 500) // 1000, 1)
    else:
        token_ps = s.token_ps[pool, prefill + decodes]
        fixed = s.decode_ps[pool, decodes]
        slope = s.context_ps[pool, decodes]
        chunk_ps = s.batch_ps[pool, 0]
        pair_ps = s.batch_ps[pool, 1]
        if factor != 1000:
            token_ps = max((token_ps * factor + 500) // 1000, 1)
            fixed = (fixed * factor + 500) // 1000
            slope = (slope * factor + 500) // 1000
            chunk_ps = (chunk_ps * factor + 500) // 1000
            pair_ps = (pair_ps * factor + 500) // 1000
        token_ps += fixed
        prefill_ps = chunk_ps * chunks + pair_ps * pairs
    s.rep[g, col.R_TOKEN_PS] = token_ps
    s.rep[g, col.R_SLOPE] = slope
    s.rep[g, col.R_CONTEXT] = context
    if chunks == 0 and s.rep[g, col.R_EVICTED] == 0:
        s.rep[g, col.R_QUIET] = 1
        if s.rep[g, col.R_GRID] < 0 and factor == 1000:
            s.rep[g, col.R_SEG] = stretch_limit(s, g)
    s.next_ps[g] = now + stretch_time(s, g, s.rep[g, col.R_SEG]) + prefill_ps
    if s.params[col.P_LOG]:
        row = s.ctl[e, col.C_LOG]
        s.ctl[e, col.C_LOG] = row + 1
        s.rep[g, col.R_LOG] = row
        s.log[row, 0] = g - e * s.params[col.P_REPLICAS]
        s.log[row, 1] = now
        s.log[row, 2] = -1
        s.log[row, 3] = 0
        s.log[row, 4] = prefill
        s.log[row, 5] = chunks
        s.log[row, 6] = decodes
        s.log[row, 7] = context
        s.log[row, 8] = s.view_int[col.V_ALLOCATED, g]
        s.log[row, 9] = s.view_int[col.V_WAITING, g]
        s.log[row, 10] = s.view_int[col.V_RUNNING, g]
        s.log[row, 11] = s.rep[g, col.R_EVICTED]
