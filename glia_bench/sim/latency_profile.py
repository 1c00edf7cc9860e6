"""Latency grids from files: Vidur's predictor tables (.npz) and profiles per operation (.csv), by path.

A profile holds microseconds on one GPU in the three files that LLMServingSim's profiler writes
(github.com/casys-kaist/LLMServingSim, MIT): dense operations by tokens, operations per sequence, attention by chunk,
cached tokens, decodes and their context. An iteration is the sum of all of them. Left out, since the files do not hold
them: launch and scheduling overhead, communication between GPUs, and the spread of contexts within a batch, for which
`context_scale` stands in.
"""

import csv
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from glia_bench.cluster import Ints, LatencyGrid
from glia_bench.errors import InvalidSpecError
from glia_bench.sim.latency_grid import PROFILE_AXES, pack_profile, pack_vidur

PER_LAYER = {
    "layernorm": 2,
    "qkv_proj": 1,
    "rotary_emb": 1,
    "o_proj": 1,
    "gate_up_proj": 1,
    "act_fn": 1,
    "down_proj": 1,
}
"""Dense operations to how often a layer runs them."""

ONCE = ("embedding", "final_layernorm")
"""Dense operations that run once per iteration."""

PER_SEQUENCE = ("lm_head", "sampler")

_VIDUR_TABLES = (
    "linear_ms_by_tokens_rounded_to_8",
    "kv_save_ms_by_tokens",
    "attn_decode_ms",
    "attn_prefill_ms",
)

Line = dict[int, int]
"""Measured picoseconds by size."""


def vidur_grid(path: Path, *, layers: int, name: str = "Vidur tables") -> LatencyGrid:
    """Return Vidur's tables with its lookup rules.

    Args:
        path: .npz with milliseconds per layer: `linear_ms_by_tokens_rounded_to_8` and `kv_save_ms_by_tokens`, both by
            tokens; `attn_decode_ms` by decodes and 64s of context; `attn_prefill_ms` by 64s of cached tokens and the
            root of the sum of squared chunks.
        layers: Layers of the model.
        name: For records.

    Raises:
        InvalidSpecError: If the file is not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            tables = {key: np.asarray(data[key], dtype=np.float64) for key in _VIDUR_TABLES}
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InvalidSpecError(f"cannot read Vidur tables from {path}: {error}") from error
    linear, kv_save, decode, prefill = tables.values()
    if linear.ndim != 1 or linear.shape != kv_save.shape or decode.ndim != 2 or prefill.ndim != 2:
        raise InvalidSpecError(f"tables of {path} must have 1, 1, 2 and 2 dimensions, the first two of equal length")
    if any(not np.all(np.isfinite(table) & (table >= 0)) for table in tables.values()):
        raise InvalidSpecError(f"times of {path} must be finite and not negative")
    last = (len(linear) - 1) // 8 * 8
    counts = np.arange(last + 1)
    per_token = linear[-(-counts // 8) * 8] + kv_save[: last + 1]
    ps = [np.rint(table * (layers * 1e9)).astype(np.int64) for table in (per_token, decode, prefill)]
    return LatencyGrid(
        name=name, packed=pack_vidur(ps[0], ps[1], ps[2]), max_tokens=last, max_decodes=decode.shape[0] - 1
    )


def profile_grid(
    *, dense: Path, per_sequence: Path, attention: Path, layers: int, name: str, context_scale: float = 1.0
) -> LatencyGrid:
    """Return a profile per operation, with straight lines between measurements.

    Args:
        dense: Columns layer, tokens, time_us; the layers of `PER_LAYER` and `ONCE`, all at the same token counts.
        per_sequence: Columns layer, sequences, time_us; the layers of `PER_SEQUENCE`.
        attention: Columns prefill_chunk, kv_prefill, n_decode, kv_decode, time_us: one layer; kv_decode is the context
            of each decode.
        layers: Layers of the model.
        name: For records.
        context_scale: Factor on contexts. Batches of equal contexts, as profiled, are faster than real ones: a measured
            t = t(mean) + alpha * (t(max) - t(mean)) gives about 1 + alpha * (max / mean - 1).

    Raises:
        InvalidSpecError: If a file lacks something or holds anything but times.
    """
    if layers < 1:
        raise InvalidSpecError(f"layers must be at least 1 (got {layers})")
    if not (math.isfinite(context_scale) and 0.5 <= context_scale <= 2):
        raise InvalidSpecError(f"context_scale must be between 0.5 and 2 (got {context_scale})")
    operations = _lines(dense, "tokens", (*PER_LAYER, *ONCE))
    times = {**{key: layers * count for key, count in PER_LAYER.items()}, **dict.fromkeys(ONCE, 1)}
    token_ps = _filled(_total(operations, times, dense))
    sequence_ps = _filled(
        _total(_lines(per_sequence, "sequences", PER_SEQUENCE), dict.fromkeys(PER_SEQUENCE, 1), per_sequence)
    )
    axes, attention_ps = _attention(attention)
    axes[3] = [round(context / context_scale) for context in axes[3]]
    if any(a >= b for a, b in zip(axes[3], axes[3][1:], strict=False)):
        raise InvalidSpecError(f"contexts of {attention} lie too close together for context_scale {context_scale}")
    a, b, c, d = (np.array(axis, dtype=np.int64) for axis in axes)
    return LatencyGrid(
        name=name,
        packed=pack_profile(token_ps, sequence_ps, (a, b, c, d), layers * attention_ps),
        max_tokens=len(token_ps) - 1,
        max_decodes=min(int(c[-1]), len(sequence_ps) - 1),
    )


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[list[str], int]]:
    """Yield the named columns and the picoseconds of each row."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in (*columns, "time_us") if column not in (reader.fieldnames or ())]
            if missing:
                raise InvalidSpecError(f"{path} lacks the column {missing[0]!r}")
            for row in reader:
                yield [row[column] for column in columns], _picoseconds(row["time_us"], path, reader.line_num)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpecError(f"cannot read {path}: {error}") from error


def _picoseconds(text: str | None, path: Path, line: int) -> int:
    try:
        time_us = Decimal(text or "")
    except InvalidOperation:
        time_us = Decimal("NaN")
    if not time_us.is_finite() or not 0 <= time_us < 10**9:
        raise InvalidSpecError(f"time_us of {path}, line {line}, must be a number of microseconds (got {text!r})")
    return int((time_us * 10**6).to_integral_value())


def _count(text: str, path: Path) -> int:
    if not (text or "").isdecimal():
        raise InvalidSpecError(f"sizes in {path} must be whole numbers, at least 0 (got {text!r})")
    return int(text)


def _lines(path: Path, size: str, names: tuple[str, ...]) -> dict[str, Line]:
    """Return the measured times of each operation by size."""
    lines: dict[str, Line] = {name: {} for name in names}
    for (name, count), ps in _rows(path, ("layer", size)):
        if name not in lines:
            raise InvalidSpecError(f"{path} holds the unknown operation {name!r} (known: {', '.join(names)})")
        lines[name][_count(count, path)] = ps
    for name, line in lines.items():
        if len(line) < 2:
            raise InvalidSpecError(f"{path} needs at least two rows of {name!r} (got {len(line)})")
    return lines


def _total(lines: dict[str, Line], times: dict[str, int], path: Path) -> Line:
    """Return the sum of operations, each run so many times, at their common sizes."""
    sizes = {tuple(sorted(line)) for line in lines.values()}
    if len(sizes) > 1:
        raise InvalidSpecError(f"all operations of {path} must be measured at the same sizes")
    return {size: sum(times[name] * line[size] for name, line in lines.items()) for size in sizes.pop()}


def _filled(line: Line) -> Ints:
    """Return times of 0, 1, ... up to the largest size; 0 takes as long as the smallest size measured."""
    return np.array([_on_line(line, sorted(line), x) for x in range(max(line) + 1)], dtype=np.int64)


def _on_line(line: Line, sizes: list[int], x: int) -> int:
    """Return the time at a size: straight between measurements, flat below the first, going on beyond the last."""
    if x <= sizes[0] or len(sizes) == 1:
        return line[sizes[0]]
    i = min(bisect_right(sizes, x) - 1, len(sizes) - 2)
    low, high = sizes[i], sizes[i + 1]
    return line[low] + (line[high] - line[low]) * (x - low) // (high - low)


def _attention(path: Path) -> tuple[list[list[int]], Ints]:
    """Return the axes and the full grid of one layer's attention, in picoseconds.

    Profiles measure other contexts for other chunks. So each (chunk, decodes) is first brought to all cached sizes and
    contexts, by straight lines. Batches with more decodes than were measured together with a chunk continue the line
    of the last two.
    """
    slices: dict[tuple[int, int], dict[int, Line]] = defaultdict(lambda: defaultdict(dict))
    seen: list[set[int]] = [set(), {0}, {0}, {0}]
    for texts, ps in _rows(path, PROFILE_AXES):
        chunk, cached, decodes, context = sizes = [_count(text, path) for text in texts]
        slices[chunk, decodes][cached][context] = ps
        for axis, size in zip(seen, sizes, strict=True):
            axis.add(size)
    slices[0, 0] = {0: {0: 0}}
    seen[0].add(0)
    axes = [sorted(axis) for axis in seen]
    if min(len(axis) for axis in axes) < 2:
        raise InvalidSpecError(f"{path} needs at least two values of each of {', '.join(PROFILE_AXES)}")
    values = np.zeros([len(axis) for axis in axes], dtype=np.int64)
    for i, chunk in enumerate(axes[0]):
        for k, decodes in enumerate(axes[2]):
            if (chunk, decodes) in slices:
                values[i, :, k, :] = _plane(slices[chunk, decodes], axes[1], axes[3])
            elif k >= 2 and decodes > max(d for c, d in slices if c == chunk):
                before, last, here = axes[2][k - 2 : k + 1]
                slope = values[i, :, k - 1, :] - values[i, :, k - 2, :]
                values[i, :, k, :] = values[i, :, k - 1, :] + slope * (here - last) // (last - before)
            else:
                raise InvalidSpecError(f"{path} has no row of prefill_chunk {chunk} with n_decode {decodes}")
    return axes, values


def _plane(rows: dict[int, Line], cached: list[int], contexts: list[int]) -> Ints:
    """Return one (chunk, decodes) at all cached sizes and contexts; shape (cached, contexts)."""
    own = sorted(rows)
    wide = {size: [_on_line(rows[size], sorted(rows[size]), x) for x in contexts] for size in own}
    columns = [{size: wide[size][j] for size in own} for j in range(len(contexts))]
    return np.array([[_on_line(column, own, x) for column in columns] for x in cached], dtype=np.int64)
