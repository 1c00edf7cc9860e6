"""Fit a latency preset to the iteration log of a real engine, and say how far off it is on rows that it has not seen.

The fitted time is affine in what an iteration holds, and convex and piecewise linear in its tokens:

    fixed + token * n + sum over knots k of bend_k * max(0, n - k) + decode * D + context * K + chunk * C + pair * 2S

with no coefficient below 0, as weights read, matrix products, attention and launches can only add time. Least squares
of relative errors on two rows of three; errors on every third. Left out: the steps of real kernels, drifts, and
anything that the log does not show, such as batches larger than its largest.
"""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from glia_bench.errors import InvalidSpecError
from glia_bench.sim.latency_file import FORMAT

Floats: TypeAlias = npt.NDArray[np.float64]

COLUMNS = ("tokens", "decodes", "context", "chunks", "pairs", "time_s")
"""Of each iteration: tokens in the batch; decodes among them; sum of the decodes' contexts, this token included;
prefill chunks; sum over those of 2 * chunk * cached + chunk^2; seconds."""

MIN_ROWS = 30
HELD_BACK = 3
"""Every third row is held back."""

KNOTS = tuple(2**k for k in range(5, 17))


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """A fitted preset and its errors on the rows that were held back, in percent.

    Attributes:
        path: The log.
        num_fitted, num_held_back: Rows.
        mape_percent, p95_percent: Mean and 95th percentile of the absolute relative error.
        decode_mape_percent, prefill_mape_percent: The mean over rows without and with a prefill chunk; None for none.
        total_percent: Relative error of the summed time, signed.
        notes: What the log could not tell.
        preset: What `latency_table` reads from a .json file.
    """

    path: Path
    num_fitted: int
    num_held_back: int
    mape_percent: float
    p95_percent: float
    decode_mape_percent: float | None
    prefill_mape_percent: float | None
    total_percent: float
    notes: tuple[str, ...]
    preset: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON: the preset with its errors, itself a file that `latency_table` reads."""
        return {
            **self.preset,
            "rows_fitted": self.num_fitted,
            "rows_held_back": self.num_held_back,
            "held_back_mape_percent": self.mape_percent,
            "held_back_p95_percent": self.p95_percent,
            "held_back_decode_mape_percent": self.decode_mape_percent,
            "held_back_prefill_mape_percent": self.prefill_mape_percent,
            "held_back_total_percent": self.total_percent,
            "notes": list(self.notes),
        }

    def write(self, path: Path) -> None:
        """Write the report as a preset file."""
        path.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    def lines(self) -> list[str]:
        """Return the report for a terminal."""
        preset = self.preset
        rows = [
            f"fitted to {self.num_fitted} iterations of {self.path}, checked on {self.num_held_back} others:",
            f"  mean error {self.mape_percent:.1f} %, 95th percentile {self.p95_percent:.1f} %, "
            f"total time {self.total_percent:+.1f} %",
        ]
        for what, error in (("without", self.decode_mape_percent), ("with", self.prefill_mape_percent)):
            if error is not None:
                rows.append(f"  mean error {error:.1f} % over iterations {what} prefill")
        first, last = preset["points"][0], preset["points"][-1]
        rows += [
            f"  batch of {first[0]} / {last[0]} tokens: {first[1] / 1e9:.3f} / {last[1] / 1e9:.3f} ms",
            f"  per decode {preset['decode_ps'] / 1e6:.3f} us, per 1000 context tokens "
            f"{preset['context_fs'] / 1e6:.3f} us, per chunk {preset['chunk_ps'] / 1e6:.3f} us, "
            f"per 1000 x 1000 pairs {preset['pair_fs'] / 1e3:.3f} us",
        ]
        return rows + [f"  note: {note}" for note in self.notes]


def calibrate_file(path: Path) -> CalibrationReport:
    """Fit a preset to an iteration log.

    Args:
        path: A CSV with the columns of `COLUMNS`, in any order; others are ignored.

    Raises:
        InvalidSpecError: If the log cannot be read as one; the message names the line.
    """
    log = _read(path)
    held = np.arange(len(log)) % HELD_BACK == HELD_BACK - 1
    knots = [knot for knot in KNOTS if knot < log[:, 0].max()]
    design = _design(log, knots)
    times = log[:, 5]
    coefficients = _non_negative(design[~held] / times[~held, None])
    errors = design[held] @ coefficients / times[held] - 1
    with_chunk = log[held, 3] > 0
    return CalibrationReport(
        path=path,
        num_fitted=int((~held).sum()),
        num_held_back=int(held.sum()),
        mape_percent=_percent(errors) or 0.0,
        p95_percent=round(100 * float(np.percentile(np.abs(errors), 95)), 2),
        decode_mape_percent=_percent(errors[~with_chunk]),
        prefill_mape_percent=_percent(errors[with_chunk]),
        total_percent=round(100 * float((design[held] @ coefficients).sum() / times[held].sum() - 1), 2),
        notes=_notes(log),
        preset=_preset(path, coefficients, knots, int(log[:, 0].max())),
    )


def _read(path: Path) -> Floats:
    """Return the log; float64, shape (rows, columns of COLUMNS)."""
    rows = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise InvalidSpecError(f"{path} lacks the column {missing[0]!r}; it needs {', '.join(COLUMNS)}")
            rows = [_checked(row, f"{path}, line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidSpecError(f"cannot read an iteration log from {path}: {error}") from error
    if len(rows) < MIN_ROWS:
        raise InvalidSpecError(f"an iteration log needs at least {MIN_ROWS} rows (got {len(rows)} in {path})")
    return np.array(rows)


def _checked(row: dict[str, str | None], where: str) -> list[float]:
    values = []
    for column in COLUMNS:
        try:
            value = float(row[column] or "")
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0 or (column != "time_s" and value != int(value)):
            kind = "a number of seconds" if column == "time_s" else "a whole number, at least 0"
            raise InvalidSpecError(f"{column} in {where} must be {kind} (got {row[column]!r})")
        values.append(value)
    tokens, decodes, context, chunks, pairs, time_s = values
    if time_s <= 0:
        raise InvalidSpecError(f"time_s in {where} must be above 0 (got {row['time_s']!r})")
    if tokens < 1 or decodes + chunks > tokens:
        raise InvalidSpecError(f"tokens in {where} must be at least 1, and one for each decode and chunk")
    if context < decodes or (not decodes and context) or (pairs > 0) != (chunks > 0):
        raise InvalidSpecError(f"{where} needs context for its decodes, pairs for its chunks, and neither without them")
    return values


def _design(log: Floats, knots: list[int]) -> Floats:
    """Return one column per coefficient: fixed, token, bends, decode, context, chunk, pair."""
    tokens = log[:, 0]
    bends = [np.maximum(0.0, tokens - knot) for knot in knots]
    return np.column_stack([np.ones(len(log)), tokens, *bends, log[:, 1:5]])


def _non_negative(design: Floats) -> Floats:
    """Return the x >= 0 that makes design @ x closest to 1: Lawson and Hanson (1974), chapter 23."""
    norms = np.linalg.norm(design, axis=0)
    norms[norms == 0] = 1.0  # what never occurs stays at 0
    scaled = design / norms
    target = np.ones(len(design))
    x = np.zeros(design.shape[1])
    free = np.zeros(design.shape[1], dtype=bool)
    for _ in range(10 * len(x)):
        gradient = scaled.T @ (target - scaled @ x)
        gradient[free] = -np.inf
        if gradient.max() <= 1e-9 * len(design):
            break
        free[gradient.argmax()] = True
        while True:
            trial = np.zeros(len(x))
            trial[free] = np.linalg.lstsq(scaled[:, free], target, rcond=None)[0]
            if trial[free].min() > 0:
                break
            falling = free & (trial <= 0)
            step = (x[falling] / (x[falling] - trial[falling])).min() if np.any(x[falling] > 0) else 0.0
            x = x + step * (trial - x)
            free &= x > 1e-12
            x[~free] = 0.0
            if not free.any():
                break
        x = np.where(free, trial, 0.0)
    result: Floats = x / norms
    return result


def _preset(path: Path, coefficients: Floats, knots: list[int], largest: int) -> dict[str, Any]:
    fixed, per_token, *bends = coefficients[: 2 + len(knots)].tolist()
    decode, context, chunk, pair = coefficients[2 + len(knots) :].tolist()
    points = []
    for tokens in sorted({1, *knots, largest}):
        bent = sum(bend * max(0, tokens - knot) for bend, knot in zip(bends, knots, strict=True))
        points.append([tokens, max(1, round((fixed + per_token * tokens + bent) * 1e12))])
    return {
        "format": FORMAT,
        "title": f"calibrated on {path.name}",
        "source": path.name,
        "points": points,
        "decode_ps": round(decode * 1e12),
        "context_fs": round(context * 1e15),
        "chunk_ps": round(chunk * 1e12),
        "pair_fs": round(pair * 1e15),
    }


def _notes(log: Floats) -> tuple[str, ...]:
    notes = []
    if not log[:, 3].any():
        notes.append("no iteration has a prefill chunk: prefill attention is taken as free")
    if not log[:, 1].any():
        notes.append("no iteration has a decode: decode attention is taken as free")
    notes.append(f"batches beyond {int(log[:, 0].max())} tokens are extrapolated")
    return tuple(notes)


def _percent(errors: Floats) -> float | None:
    return round(100 * float(np.abs(errors).mean()), 2) if len(errors) else None
