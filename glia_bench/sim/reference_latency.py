"""Iteration times in slow plain Python: what the kernels' latency code is held against. Shares no code with it."""

from bisect import bisect_right
from math import isqrt
from typing import Any

import numpy as np

from glia_bench.cluster import Ints, Latency, LatencyTable


def iteration_ps(
    latency: Latency,
    *,
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
    """Return the picoseconds of one iteration.

    Args:
        latency: A table or a grid.
        tokens: Tokens in the batch.
        decodes: Decodes in the batch.
        context: Sum of their contexts, the token of this iteration included.
        chunks: Prefill chunks in the batch.
        sum_chunk: Their tokens.
        sum_chunk2: Sum of their squared tokens.
        sum_cached: Sum of the tokens computed before each.
        sum_cached64: The same, each rounded up to a multiple of 64.
        pairs: Sum of 2 * chunk * cached + chunk^2.
    """
    if isinstance(latency, LatencyTable):
        total = int(latency.token_ps[tokens]) + latency.chunk_ps * chunks + latency.pair_ps * pairs
        if decodes:
            fixed, slope = latency.decode_terms(decodes)
            total += fixed + slope * context
        return total
    if latency.packed[0] == 1:
        return max(1, _by_vidurs_rules(latency.packed, tokens, decodes, context, chunks, sum_chunk2, sum_cached64))
    return max(1, _by_operation(latency.packed, tokens, decodes, context, chunks, sum_chunk2, pairs))


def _cut(packed: Ints, start: int, shapes: list[tuple[int, ...]]) -> list[Any]:
    """Return consecutive tables of the given shapes."""
    tables = []
    for shape in shapes:
        size = int(np.prod(shape))
        tables.append(packed[start : start + size].reshape(shape))
        start += size
    return tables


def _by_vidurs_rules(
    packed: Ints, tokens: int, decodes: int, context: int, chunks: int, sum_chunk2: int, sum_cached64: int
) -> int:
    rows = [int(n) + 1 for n in packed[1:6]]
    token_ps, decode_ps, prefill_ps = _cut(packed, 6, [(rows[0],), (rows[1], rows[2]), (rows[3], rows[4])])
    total = int(token_ps[tokens])
    if decodes:
        mean = context // decodes
        attention = _continued(decode_ps[decodes], -(-mean // 64))
        total += attention if decodes == 1 else (22 * attention + 10) // 20
    if chunks:
        column = min(_nearest_root(sum_chunk2), rows[4] - 1)
        attention = _continued(prefill_ps[:, column], sum_cached64 // 64)
        total += attention if chunks == 1 else (22 * attention + 10) // 20
    return total


def _by_operation(
    packed: Ints, tokens: int, decodes: int, context: int, chunks: int, sum_chunk2: int, pairs: int
) -> int:
    t, s, *counts = (int(n) for n in packed[1:7])
    token_ps, sequence_ps, *axes, attention = _cut(
        packed, 7, [(t + 1,), (s + 1,), *((n,) for n in counts), tuple(counts)]
    )
    point = [0, 0, 0, 0]
    if chunks:
        point[0] = _nearest_root(sum_chunk2)
        point[1] = (pairs - sum_chunk2) // (2 * point[0])
    if decodes:
        point[2:] = decodes, context // decodes
    return int(token_ps[tokens]) + int(sequence_ps[min(decodes + chunks, s)]) + _interpolated(attention, axes, point)


def _interpolated(values: Any, axes: list[Ints], point: list[int]) -> int:
    """Return the value at a point, interpolated along the last axis first and floored each time."""
    if not axes:
        return int(values)
    axis = [int(x) for x in axes[0]]
    i = min(max(bisect_right(axis, point[0]) - 1, 0), len(axis) - 2)
    low, high = (_interpolated(values[k], axes[1:], point[1:]) for k in (i, i + 1))
    return low + (high - low) * (point[0] - axis[i]) // (axis[i + 1] - axis[i])


def _continued(row: Ints, index: int) -> int:
    """Return an entry of a row, which goes on as a straight line through its last two."""
    beyond = max(index - (len(row) - 1), 0)
    end = int(row[min(index, len(row) - 1)])
    return end + beyond * (int(row[-1]) - int(row[-2]))


def _nearest_root(square: int) -> int:
    """Return the integer nearest to a square root: half of the root of four times as much, halves up."""
    return (isqrt(4 * square) + 1) // 2
