"""The straight line through iteration times that policies are granted, with its largest relative error.

Exact rational arithmetic: policies read these numbers, so that they must be the same on every CPU.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import TypedDict

import numpy as np

from glia_bench.cluster import PS_PER_S, Latency, LatencyTable
from glia_bench.features import Perf
from glia_bench.sim.reference_latency import iteration_ps

CONTEXTS = (128, 512, 2048)
"""Mean contexts of the sample of batches that a line is fitted to."""


@lru_cache(maxsize=256)
def linear_perf(latency: Latency) -> Perf:
    """Return the line fixed + token * n + context * K + pair * S that is granted for a latency model.

    Where attention is the same for any number of decodes, its terms are the table's own, and the rest is the
    least-squares fit of relative errors at n = 1, 2, 4, ... tokens up to the table's end, so that small batches count
    like large ones; `relative_error` is then the largest over all batch sizes with attention left out, and attention
    can only make a real batch's error smaller. Otherwise all four are the same fit, none below 0, to a sample of
    batches: decodes alone, one chunk alone, and both, with n in powers of two and contexts of 128 to 2048 tokens;
    `relative_error` is the largest over the sample.
    """
    if isinstance(latency, LatencyTable) and _has_plain_attention(latency):
        return _line_through_table(latency)
    return _line_through_sample(latency)


def _has_plain_attention(table: LatencyTable) -> bool:
    is_constant = bool(np.all(table.context_ps == table.context_ps[0]))
    return is_constant and table.chunk_ps == 0 and not np.any(table.decode_ps[1:]) and table.decode_ps[-1] == 0


def _line_through_table(table: LatencyTable) -> Perf:
    last = table.max_tokens
    weight = weight_n = weight_nn = value = value_n = Fraction(0)
    for n in _powers_of_two(last):
        time_ps = int(table.token_ps[n])
        w = Fraction(1, time_ps * time_ps)
        weight += w
        weight_n += w * n
        weight_nn += w * n * n
        value += w * time_ps
        value_n += w * time_ps * n
    spread = weight * weight_nn - weight_n * weight_n
    per_token = (weight * value_n - weight_n * value) / spread if spread else Fraction(0)
    fixed = (value - per_token * weight_n) / weight
    # element by element: no sum whose order a library may choose
    times_ps = table.token_ps[1:].astype(np.float64)
    line_ps = float(fixed) + float(per_token) * np.arange(1, last + 1)
    return Perf(
        fixed_s=float(fixed / PS_PER_S),
        token_s=float(per_token / PS_PER_S),
        context_token_s=float(Fraction(int(table.context_ps[0]), PS_PER_S)),
        prefill_pair_s=float(Fraction(2 * table.pair_ps, PS_PER_S)),
        relative_error=float(np.abs(line_ps / times_ps - 1).max()),
    )


def _line_through_sample(latency: Latency) -> Perf:
    rows = [(1, b["tokens"], b["context"], Fraction(b["pairs"], 2)) for b in _batches(latency)]
    times = [iteration_ps(latency, **batch) for batch in _batches(latency)]
    # the fifth column is what the other four must add up to
    relative = [(*(Fraction(x) / time for x in row), Fraction(1)) for row, time in zip(rows, times, strict=True)]
    kept = [0, 1, 2, 3]
    while True:
        line = _solved([[_product(relative, i, j) for j in (*kept, 4)] for i in kept])
        lowest = min(line)
        if lowest >= 0:
            break
        del kept[line.index(lowest)]
    terms = [Fraction(0)] * 4
    for index, value in zip(kept, line, strict=True):
        terms[index] = value
    errors = [abs(sum((t * x for t, x in zip(terms, row, strict=False)), start=Fraction(-1))) for row in relative]
    fixed, token, context, pair = (float(term / PS_PER_S) for term in terms)
    return Perf(
        fixed_s=fixed,
        token_s=token,
        context_token_s=context,
        prefill_pair_s=pair,
        relative_error=float(max(errors)),
    )


def _product(rows: list[tuple[Fraction, ...]], i: int, j: int) -> Fraction:
    return sum((row[i] * row[j] for row in rows), start=Fraction(0))


class _Batch(TypedDict):
    tokens: int
    decodes: int
    context: int
    chunks: int
    sum_chunk: int
    sum_chunk2: int
    sum_cached: int
    sum_cached64: int
    pairs: int


def _batches(latency: Latency) -> Iterator[_Batch]:
    most = getattr(latency, "max_decodes", latency.max_tokens)
    for mean in CONTEXTS:
        for decodes in (0, *_powers_of_two(min(most, latency.max_tokens, 256))):
            for chunk in (0, *_powers_of_two(latency.max_tokens - decodes)[4:]):
                if decodes + chunk and (decodes in (0, 1, 32) or not chunk):
                    yield _Batch(
                        tokens=decodes + chunk,
                        decodes=decodes,
                        context=decodes * mean,
                        chunks=min(chunk, 1),
                        sum_chunk=chunk,
                        sum_chunk2=chunk * chunk,
                        sum_cached=0,
                        sum_cached64=0,
                        pairs=chunk * chunk,
                    )


def _powers_of_two(last: int) -> list[int]:
    return [2**k for k in range(last.bit_length())]


def _solved(rows: list[list[Fraction]]) -> list[Fraction]:
    """Solve a symmetric positive system, given with its right-hand side; a column of nothing gets 0."""
    size = len(rows)
    for i in range(size):
        if not rows[i][i]:
            continue
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for k in range(size):
            if k != i and rows[k][i]:
                rows[k] = [x - rows[k][i] * y for x, y in zip(rows[k], rows[i], strict=True)]
    return [row[-1] if row[i] else Fraction(0) for i, row in enumerate(rows)]
