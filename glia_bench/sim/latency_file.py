"""Latency presets as JSON files: what a calibration writes and `latency_table` reads.

    {"format": "glia-bench-latency/1", "title": "my GPU", "source": "iterations.csv",
     "points": [[tokens, ps], ...], "decode_ps": 0, "context_fs": 0, "chunk_ps": 0, "pair_fs": 0}

Picoseconds of a batch by its tokens, with straight lines in between; picoseconds per decode and per prefill chunk;
femtoseconds per context token of the decodes and per unit of 2 * chunk * cached + chunk^2. Other keys are notes.
"""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from glia_bench.cluster import LatencyTable
from glia_bench.errors import InvalidSpecError
from glia_bench.sim.latency_lines import interpolated, rounded

FORMAT = "glia-bench-latency/1"

_COEFFICIENTS = ("decode_ps", "context_fs", "chunk_ps", "pair_fs")
_LARGEST = 10**15
"""About 17 minutes: beyond any iteration, and far from int64's end."""


def read_latency_file(path: Path, *, token_budget: int, scale: Fraction, suffix: str) -> LatencyTable:
    """Return a file's preset as integers for batches of up to `token_budget` tokens, times `scale`.

    Raises:
        InvalidSpecError: If the file cannot be read as one; the message names what is wrong.
    """
    data = _checked(path)
    ps = np.array([0, *interpolated(data["points"], token_budget, scale)], dtype=np.int64)
    # the time of each decode, by their number: linear, so that the array must reach as far as the batch
    decode_ps = [rounded(data["decode_ps"] * count * scale) for count in range(token_budget + 1)]
    return LatencyTable(
        name=data["title"] + suffix,
        token_ps=ps,
        decode_ps=np.array(decode_ps if data["decode_ps"] else [0], dtype=np.int64),
        context_ps=np.array([rounded(data["context_fs"] * scale / 1000)], dtype=np.int64),
        chunk_ps=rounded(data["chunk_ps"] * scale),
        pair_ps=rounded(data["pair_fs"] * scale / 1000),
    )


def _checked(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidSpecError(f"cannot read a latency preset from {path}: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InvalidSpecError(f'{path} is no latency preset: it must hold "format": "{FORMAT}"')
    if not isinstance(data.get("title"), str):
        raise InvalidSpecError(f"title in {path} must be a text (got {data.get('title')!r})")
    for key in _COEFFICIENTS:
        if not _is_count(data.get(key)):
            raise InvalidSpecError(f"{key} in {path} must be a whole number, at least 0 (got {data.get(key)!r})")
    points = data.get("points")
    if not isinstance(points, list) or not points:
        raise InvalidSpecError(f"points in {path} must be a list of [tokens, ps], at least one")
    before = 0
    for point in points:
        if not (isinstance(point, list) and len(point) == 2 and all(_is_count(number) for number in point)):
            raise InvalidSpecError(f"points in {path} must be pairs [tokens, ps] of whole numbers (got {point!r})")
        if point[0] <= before or point[1] < 1:
            raise InvalidSpecError(f"points in {path} must rise in tokens from 1 and take time (got {point!r})")
        before = point[0]
    return data


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
