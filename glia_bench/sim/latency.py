"""Iteration-time presets: a measured table over batch tokens plus analytic attention, turned into integers once.

An iteration with n tokens in the batch lasts token_ps[n] + context_ps * K + pair_ps * 2S picoseconds (K: context tokens
that decodes read; 2S: sum over prefill chunks of 2*chunk*cached + chunk^2). Everything here is integer arithmetic with
one rounding at the end, so every CPU makes the same table. Left out: LM head and embedding, CPU overhead, noise.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from glia_bench.errors import InvalidSpecError, did_you_mean
from glia_bench.features import Perf
from glia_bench.types import PS_PER_S, LatencyTable

SCALE_UNIT = 1_000_000
"""A time scale is used as an integer number of millionths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A GPU, a model and a parallel degree with the coefficients of an iteration.

    Attributes:
        title: For people and records.
        table: File in sim/tables with measured [tokens, nanoseconds] points of the non-attention operators.
        kv_bytes_per_token: KV cache of one token, all layers.
        bandwidth_bytes_per_s: Memory bandwidth that decode attention reaches.
        attention_flop_per_pair: Prefill attention per pair of tokens, all layers.
        attention_flop_per_s: Compute rate that prefill attention reaches.
        source: Where each number comes from.
    """

    title: str
    table: str
    kv_bytes_per_token: int
    bandwidth_bytes_per_s: int
    attention_flop_per_pair: int
    attention_flop_per_s: int
    source: str


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "a10-llama3-8b": Preset(
            title="A10, Llama-3-8B bf16, TP 1",
            table="a10_llama3_8b.json",
            # 32 layers x 8 KV heads x 128 x 2 (K and V) x 2 bytes
            kv_bytes_per_token=131_072,
            # 0.8 x 600 GB/s
            bandwidth_bytes_per_s=480_000_000_000,
            # 32 layers x 32 heads x 128 x 2 matrix products x 2 FLOP
            attention_flop_per_pair=524_288,
            # about half of the A10's 125 TFLOP/s bf16 peak
            attention_flop_per_s=60_000_000_000_000,
            source="operators: Vidur's A10 profile (github.com/pouyahmdn/vidur@cd1adc83, MIT), medians; above its last "
            "count, 4096 tokens, the mean slope of its upper half; attention: analytic, as no A10 attention profile is "
            "published; 600 GB/s and 125 TFLOP/s from NVIDIA's A10 data sheet",
        ),
    }
)


def latency_table(preset: str, *, token_budget: int, time_scale: float = 1.0) -> LatencyTable:
    """Return a preset as integers for batches of up to `token_budget` tokens.

    Between measured token counts the time is interpolated linearly. Beyond the last it grows by the mean slope of the
    upper half of the counts: the last segment alone is eight tokens of noise, and its slope, a tenth of the mean one,
    would make the largest batches nearly free. The profile's own dips (24 tokens are faster than 16) are kept.

    Args:
        preset: A key of `PRESETS`.
        token_budget: Largest batch.
        time_scale: Factor on all times, used to the nearest millionth.

    Raises:
        InvalidSpecError: If no preset has this name, or a number is out of range.
    """
    if preset not in PRESETS:
        raise InvalidSpecError(
            f"no latency preset {preset!r} (known: {', '.join(PRESETS)}){did_you_mean(preset, PRESETS)}"
        )
    if token_budget < 1:
        raise InvalidSpecError(f"token_budget must be at least 1 (got {token_budget})")
    if not (math.isfinite(time_scale) and 0.001 <= time_scale <= 1000):
        raise InvalidSpecError(f"time_scale must be between 0.001 and 1000 (got {time_scale})")
    chosen = PRESETS[preset]
    scale = round(time_scale * SCALE_UNIT)
    token_ps = np.zeros(token_budget + 1, dtype=np.int64)
    token_ps[1:] = _interpolated_ps(_points(chosen.table), token_budget, scale)
    context = Fraction(chosen.kv_bytes_per_token * PS_PER_S * scale, chosen.bandwidth_bytes_per_s * SCALE_UNIT)
    # per unit of 2S, hence half a pair
    pair = Fraction(chosen.attention_flop_per_pair * PS_PER_S * scale, 2 * chosen.attention_flop_per_s * SCALE_UNIT)
    return LatencyTable(
        name=f"{chosen.title}, times x {scale / SCALE_UNIT:g}",
        token_ps=token_ps,
        context_ps=_nearest(context.numerator, context.denominator),
        pair_ps=_nearest(pair.numerator, pair.denominator),
    )


def linear_perf(table: LatencyTable) -> Perf:
    """Return the straight line through a table that policies are granted, with its largest relative error.

    The line is the exact least-squares fit of relative errors at n = 1, 2, 4, ... tokens up to the table's end, so
    that small batches count like large ones. The attention terms are the table's own. `relative_error` is the largest
    over all batch sizes with attention left out; attention can only make a real batch's error smaller.
    """
    last = len(table.token_ps) - 1
    weight = weight_n = weight_nn = value = value_n = Fraction(0)
    for n in (2**k for k in range(last.bit_length())):
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
        context_token_s=float(Fraction(table.context_ps, PS_PER_S)),
        prefill_pair_s=float(Fraction(2 * table.pair_ps, PS_PER_S)),
        relative_error=float(np.abs(line_ps / times_ps - 1).max()),
    )


def _points(table: str) -> list[tuple[int, int]]:
    text = resources.files("glia_bench.sim").joinpath("tables", table).read_text(encoding="utf-8")
    return [(tokens, nanoseconds) for tokens, nanoseconds in json.loads(text)["points"]]


def _interpolated_ps(points: list[tuple[int, int]], last: int, scale: int) -> list[int]:
    """Return times of n = 1..last tokens from points that start at n = 1, in picoseconds times scale / SCALE_UNIT."""
    end = points[-1]
    middle = max((point for point in points if 2 * point[0] <= end[0]), default=points[0])
    segments = list(pairwise(points))
    times = []
    segment = 0
    for n in range(1, last + 1):
        while segment < len(segments) - 1 and n > segments[segment][1][0]:
            segment += 1
        (n0, t0), (n1, t1) = segments[segment] if n <= end[0] else (middle, end)
        width = n1 - n0
        times.append(_nearest((t0 * width + (t1 - t0) * (n - n0)) * 1000 * scale, width * SCALE_UNIT))
    return times


def _nearest(numerator: int, denominator: int) -> int:
    """Return the quotient of two integers, rounded to the nearest, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)
