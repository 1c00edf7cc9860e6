"""Iteration times looked up in grids of measurements: one block of int64 that a kernel can read.

Two kinds. `VIDUR`: the tables of Vidur's execution-time predictor with its own lookup rules, for exact comparisons with
it. `PROFILE`: times per operation, interpolated linearly in each direction. Beyond a grid's end the last segment goes
on. Integers only, every division floored: any CPU, compiled or not, gets the same picoseconds. Left out: the spread of
contexts within a batch (both kinds know the mean), and noise.

Layout of a block, sizes first:

    VIDUR:   kind, T, D, C, P, Q, token_ps[T + 1], decode_ps[D + 1, C + 1], prefill_ps[P + 1, Q + 1]
    PROFILE: kind, T, S, a, b, c, d, token_ps[T + 1], sequence_ps[S + 1], axes of a, b, c and d points, ps[a, b, c, d]

The axes of a profile's attention: chunk tokens, cached tokens before the chunk, decodes, mean context of the decodes.
The first three begin with 0.
"""

import math

import numpy as np

from glia_bench.cluster import Ints
from glia_bench.sim.jit import inlined

VIDUR = 1
PROFILE = 2

PROFILE_AXES = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
"""What the axes of a PROFILE block are called in profiles."""

CONTEXT_STEP = 64
"""Vidur rounds contexts up to multiples of this."""


def pack_vidur(token_ps: Ints, decode_ps: Ints, prefill_ps: Ints) -> Ints:
    """Return a VIDUR block.

    Args:
        token_ps: All but attention, by tokens in the batch (already rounded as Vidur does); shape (T + 1,).
        decode_ps: By number of decodes and mean context in steps of 64 (rounded up); shape (D + 1, C + 1).
        prefill_ps: By cached tokens in steps of 64 and by the root of the sum of squared chunks; shape (P + 1, Q + 1).
    """
    sizes = [VIDUR, len(token_ps) - 1, *(n - 1 for table in (decode_ps, prefill_ps) for n in table.shape)]
    return _joined(sizes, (token_ps, decode_ps, prefill_ps))


def pack_profile(token_ps: Ints, sequence_ps: Ints, axes: tuple[Ints, Ints, Ints, Ints], attention_ps: Ints) -> Ints:
    """Return a PROFILE block.

    Args:
        token_ps: Operations that see all tokens of the batch, by their number; shape (T + 1,).
        sequence_ps: Operations that see one token per request in the batch, by requests; shape (S + 1,).
        axes: Rising, at least two points each: chunk tokens, cached tokens, decodes, mean context.
        attention_ps: Attention at the axes' points, all layers.
    """
    sizes = [PROFILE, len(token_ps) - 1, len(sequence_ps) - 1, *(len(axis) for axis in axes)]
    return _joined(sizes, (token_ps, sequence_ps, *axes, attention_ps))


def _joined(sizes: list[int], parts: tuple[Ints, ...]) -> Ints:
    return np.concatenate([np.array(sizes, dtype=np.int64), *(part.ravel() for part in parts)])


@inlined
def grid_ps(
    packed: Ints,
    at: int,
    tokens: int,
    decodes: int,
    context: int,
    chunks: int,
    sum_chunk: int,
    sum_chunk2: int,
    sum_cached: int,
    sum_cached64: int,
    pairs: int,
) -> int:
    """Return the picoseconds of one iteration, at least 1.

    Args:
        packed: Blocks one after the other; int64.
        at: Where this replica's block begins.
        tokens: Tokens in the batch, at most T.
        decodes: Decodes in the batch, at most D or S.
        context: Sum of the decodes' contexts, the token of this iteration included.
        chunks: Prefill chunks in the batch.
        sum_chunk: Their tokens.
        sum_chunk2: Sum of their squared tokens.
        sum_cached: Sum of the tokens computed before each.
        sum_cached64: The same, each rounded up to a multiple of 64.
        pairs: Sum of 2 * chunk * cached + chunk^2.
    """
    if packed[at] == VIDUR:
        return max(1, _vidur_ps(packed, at, tokens, decodes, context, chunks, sum_chunk2, sum_cached64))
    return max(1, _profile_ps(packed, at, tokens, decodes, context, chunks, sum_chunk2, pairs))


@inlined
def _vidur_ps(
    packed: Ints, at: int, tokens: int, decodes: int, context: int, chunks: int, sum_chunk2: int, sum_cached64: int
) -> int:
    columns = packed[at + 3] + 1
    base = at + 6
    total = packed[base + tokens]
    base += packed[at + 1] + 1
    if decodes > 0:
        column = (context // decodes + CONTEXT_STEP - 1) // CONTEXT_STEP
        spent = _along(packed, base + decodes * columns, 1, columns, column)
        total += _tenth_more(spent) if decodes > 1 else spent
    if chunks > 0:
        base += (packed[at + 2] + 1) * columns
        width = packed[at + 5] + 1
        column = min(_rounded_root(sum_chunk2), width - 1)
        spent = _along(packed, base + column, width, packed[at + 4] + 1, sum_cached64 // CONTEXT_STEP)
        total += _tenth_more(spent) if chunks > 1 else spent
    return total


@inlined
def _profile_ps(
    packed: Ints, at: int, tokens: int, decodes: int, context: int, chunks: int, sum_chunk2: int, pairs: int
) -> int:
    base = at + 7
    total = packed[base + tokens]
    base += packed[at + 1] + 1
    total += packed[base + min(decodes + chunks, packed[at + 2])]
    axis = base + packed[at + 2] + 1
    # several chunks: one chunk with as many pairs of tokens among its own, and as many with cached ones
    chunk = _rounded_root(sum_chunk2)
    cached = (pairs - sum_chunk2) // (2 * chunk) if chunks > 0 else 0
    mean = context // decodes if decodes > 0 else 0
    num_b, num_c, num_d = packed[at + 4], packed[at + 5], packed[at + 6]
    axis_b = axis + packed[at + 3]
    axis_c = axis_b + num_b
    axis_d = axis_c + num_c
    values = axis_d + num_d
    a = _segment(packed, axis, packed[at + 3], chunk)
    b = _segment(packed, axis_b, num_b, cached)
    c = _segment(packed, axis_c, num_c, decodes)
    d = _segment(packed, axis_d, num_d, mean)
    step_b = num_c * num_d
    step_a = num_b * step_b
    values += a * step_a + b * step_b + c * num_d + d
    low = _volume(packed, values, step_b, num_d, axis_b + b, axis_c + c, axis_d + d, cached, decodes, mean)
    if chunk != packed[axis + a]:
        values += step_a
        high = _volume(packed, values, step_b, num_d, axis_b + b, axis_c + c, axis_d + d, cached, decodes, mean)
        low = _between(low, high, chunk, packed[axis + a], packed[axis + a + 1])
    return total + low


@inlined
def _volume(
    packed: Ints,
    at: int,
    step_b: int,
    step_c: int,
    at_b: int,
    at_c: int,
    at_d: int,
    cached: int,
    decodes: int,
    mean: int,
) -> int:
    """Interpolate along context, then decodes, then cached tokens, from the cell whose first corner is at `at`."""
    low = _plane(packed, at, step_c, at_c, at_d, decodes, mean)
    if cached == packed[at_b]:
        return low
    high = _plane(packed, at + step_b, step_c, at_c, at_d, decodes, mean)
    return _between(low, high, cached, packed[at_b], packed[at_b + 1])


@inlined
def _plane(packed: Ints, at: int, step_c: int, at_c: int, at_d: int, decodes: int, mean: int) -> int:
    low = _between(packed[at], packed[at + 1], mean, packed[at_d], packed[at_d + 1])
    if decodes == packed[at_c]:
        return low
    high = _between(packed[at + step_c], packed[at + step_c + 1], mean, packed[at_d], packed[at_d + 1])
    return _between(low, high, decodes, packed[at_c], packed[at_c + 1])


@inlined
def _between(low: int, high: int, x: int, x0: int, x1: int) -> int:
    return low + (high - low) * (x - x0) // (x1 - x0)


@inlined
def _segment(packed: Ints, start: int, count: int, x: int) -> int:
    """Return the segment of an axis that x lies in: the last one also for all that is beyond."""
    for i in range(count - 2):
        if x < packed[start + i + 1]:
            return i
    return count - 2


@inlined
def _along(packed: Ints, start: int, step: int, count: int, index: int) -> int:
    """Return entry `index` of a row of a table; beyond its end the last difference goes on."""
    if index < count:
        return packed[start + index * step]
    last = packed[start + (count - 1) * step]
    return last + (last - packed[start + (count - 2) * step]) * (index - count + 1)


@inlined
def _tenth_more(spent: int) -> int:
    """Return 1.1 times a time: what Vidur charges attention over several requests of a grouped-query model."""
    return (11 * spent + 5) // 10


@inlined
def _rounded_root(square: int) -> int:
    """Return the nearest integer to the square root of an integer; no halves can occur."""
    root = int(math.sqrt(square))
    while root * root > square:
        root -= 1
    while (root + 1) * (root + 1) <= square:
        root += 1
    return root + 1 if square - root * root > root else root
