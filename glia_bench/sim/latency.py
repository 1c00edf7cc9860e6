"""Iteration times of named presets and of calibration files as integers, and the line that policies are granted.

An iteration with n tokens in the batch, D of them decodes, lasts token_ps[n] + decode_ps[D] + context_ps[D] * K +
chunk_ps * chunks + pair_ps * 2S picoseconds (K: context tokens that decodes read; 2S: sum over prefill chunks of
2*chunk*cached + chunk^2). Integer and decimal arithmetic with one rounding at the end: every CPU makes the same table.
"""

import json
import math
from fractions import Fraction
from importlib import resources
from pathlib import Path

import numpy as np

from glia_bench.cluster import PS_PER_S, LatencyTable
from glia_bench.errors import InvalidSpecError, did_you_mean
from glia_bench.sim.latency_file import read_latency_file
from glia_bench.sim.latency_formula import formula_table
from glia_bench.sim.latency_lines import interpolated, rounded
from glia_bench.sim.latency_parts import Formula, Points
from glia_bench.sim.latency_perf import linear_perf
from glia_bench.sim.latency_presets import PRESETS

__all__ = ["PRESETS", "latency_table", "linear_perf"]

SCALE_UNIT = 1_000_000
"""A time scale is used as an integer number of millionths."""


def latency_table(preset: str | Path, *, token_budget: int, time_scale: float = 1.0) -> LatencyTable:
    """Return a preset as integers for batches of up to `token_budget` tokens.

    Between measured token counts the time is interpolated linearly. Beyond the last it grows by the mean slope of the
    upper half of the counts: the last segment alone is eight tokens of noise, and its slope, a tenth of the mean one,
    would make the largest batches nearly free. The profile's own dips (24 tokens are faster than 16) are kept.

    Args:
        preset: A key of `PRESETS`, or the path of a calibration file (*.json).
        token_budget: Largest batch.
        time_scale: Factor on all times, used to the nearest millionth.

    Raises:
        InvalidSpecError: If no preset has this name, a file is none, or a number is out of range.
    """
    if token_budget < 1:
        raise InvalidSpecError(f"token_budget must be at least 1 (got {token_budget})")
    if not (math.isfinite(time_scale) and 0.001 <= time_scale <= 1000):
        raise InvalidSpecError(f"time_scale must be between 0.001 and 1000 (got {time_scale})")
    scale = Fraction(round(time_scale * SCALE_UNIT), SCALE_UNIT)
    suffix = f", times x {float(scale):g}"
    if isinstance(preset, Path) or preset.endswith(".json"):
        return read_latency_file(Path(preset), token_budget=token_budget, scale=scale, suffix=suffix)
    if preset not in PRESETS:
        raise InvalidSpecError(
            f"no latency preset {preset!r} (known: {', '.join(PRESETS)}){did_you_mean(preset, PRESETS)}"
        )
    chosen = PRESETS[preset]
    if isinstance(chosen, Formula):
        return formula_table(chosen, name=chosen.title + suffix, token_budget=token_budget, scale=scale)
    return _points_table(chosen, name=chosen.title + suffix, token_budget=token_budget, scale=scale)


def _points_table(chosen: Points, *, name: str, token_budget: int, scale: Fraction) -> LatencyTable:
    text = resources.files("glia_bench.sim").joinpath("tables", chosen.table).read_text(encoding="utf-8")
    points = [(tokens, 1000 * nanoseconds) for tokens, nanoseconds in json.loads(text)["points"]]
    token_ps = np.zeros(token_budget + 1, dtype=np.int64)
    token_ps[1:] = interpolated(points, token_budget, scale)
    context = scale * Fraction(chosen.kv_bytes_per_token * PS_PER_S, chosen.bandwidth_bytes_per_s)
    # per unit of 2S, hence half a pair
    pair = scale * Fraction(chosen.attention_flop_per_pair * PS_PER_S, 2 * chosen.attention_flop_per_s)
    return LatencyTable(
        name=name,
        token_ps=token_ps,
        decode_ps=np.zeros(1, dtype=np.int64),
        context_ps=np.array([rounded(context)], dtype=np.int64),
        pair_ps=rounded(pair),
    )
