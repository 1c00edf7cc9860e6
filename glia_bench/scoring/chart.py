"""Small charts written directly as SVG: what the pages of single cases need by the hundred.

Matplotlib takes tens of milliseconds a figure, too long for a page per policy and task; these take less than one.
Colours are the report's CSS variables, text is escaped. There are two charts and no more: pairs of costs by seed, and
distributions of latencies.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glia_bench.scoring.svg import short

Floats = npt.NDArray[np.float64]

WIDTH, MARGIN_RIGHT, MARGIN_BOTTOM = 400, 14, 44
ROW_HEIGHT = 19
MAX_TICKS = 6
LOG_FROM = 8.0
"""Largest over smallest value from which an axis is logarithmic."""
MIN_LOG = 1e-3
"""Where a logarithmic axis begins for values at or below 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One row of a paired chart: a policy's value on a seed beside its reference's; None where a run failed."""

    name: str
    value: float | None
    reference: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distribution:
    """One curve of a distribution chart.

    Attributes:
        values: Sorted, shape (num_values,), at least one.
        colour: Index of the CSS variable --c0 to --c5.
        dash: SVG dash pattern, or empty for a solid line.
    """

    values: Floats
    colour: int
    dash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """An axis from `low` to `high` onto pixels `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool

    def place(self, value: float) -> float:
        """Return the pixel of a value, kept inside the axis."""
        if self.is_log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return at most about `MAX_TICKS` round values inside the axis."""
        if not self.is_log:
            step = _round_step((self.high - self.low) / (MAX_TICKS - 1))
            first = math.ceil(self.low / step - 1e-9)
            return [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for digits in ((1, 2, 5), (1, 3), (1,)):
            found = [d * 10.0**power for power in range(first, last + 1) for d in digits]
            found = [value for value in found if self.low * 0.999 <= value <= self.high * 1.001]
            if len(found) <= MAX_TICKS + 2:
                return found
        return found[:: -(-len(found) // MAX_TICKS)]


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * 0.999)


def _scale(values: Sequence[float], start: float, end: float, *, is_log: bool | None = None) -> Scale:
    """Return an axis that holds all values; logarithmic where they span much, or as told."""
    low, high = min(values), max(values)
    if is_log is None:
        is_log = low > 0 and high / low > LOG_FROM
    if is_log:
        low = max(low, MIN_LOG)
        return Scale(low=low / 1.15, high=max(high, 2 * low) * 1.15, start=start, end=end, is_log=True)
    pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return Scale(
        low=low - pad if low < 0.0 else max(0.0, low - pad), high=high + pad, start=start, end=end, is_log=False
    )


def _bottom_axis(scale: Scale, top: float, bottom: float, title: str) -> list[str]:
    """Return grid lines, tick labels and title of a horizontal axis."""
    parts = [f'<path d="M{scale.start:g} {bottom:g}H{scale.end:g}" style="stroke:var(--muted);stroke-width:.8"/>']
    for tick in scale.ticks():
        x = scale.place(tick)
        parts.append(f'<path d="M{x:.1f} {top:g}V{bottom:g}" style="stroke:var(--grid);stroke-width:.7"/>')
        parts.append(_text(x, bottom + 16, f"{tick:g}", anchor="middle"))
    title += ", log scale" if scale.is_log else ""
    parts.append(_text((scale.start + scale.end) / 2, bottom + 35, title, anchor="middle"))
    return parts


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="font-size:11.5px;fill:var(--fg)">'
        f"{html.escape(text)}</text>"
    )


def _svg(height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{html.escape(label)}">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def paired_chart(pairs: Sequence[Pair], label: str, axis_title: str) -> str:
    """Return one row per seed: the reference as a hollow dot, the policy as a full one, a line between them.

    The line is solid in blue where the policy costs less, dashed in orange where it costs more.

    Args:
        pairs: From the top; at least one value among them.
        label: Text alternative.
        axis_title: What the values are, with their unit.
    """
    values = [value for pair in pairs for value in (pair.value, pair.reference) if value is not None]
    left = 14 + 6.4 * max(len(short(pair.name)) for pair in pairs)
    top, bottom = 6.0, 6.0 + ROW_HEIGHT * len(pairs) + 4
    scale = _scale(values, left + 6, WIDTH - MARGIN_RIGHT)
    parts = _bottom_axis(scale, top, bottom, axis_title)
    for row, pair in enumerate(pairs):
        y = top + ROW_HEIGHT * (row + 0.5) + 2
        parts.append(_text(left, y + 4, short(pair.name), anchor="end"))
        if pair.value is None:
            parts.append(_text(left + 12, y + 4, "failed"))
        is_worse = None not in (pair.value, pair.reference) and (pair.value or 0) > (pair.reference or 0)
        colour, dash = ("var(--c1)", ";stroke-dasharray:4 2.5") if is_worse else ("var(--c0)", "")
        if pair.value is not None and pair.reference is not None:
            path = f"M{scale.place(pair.reference):.1f} {y:.1f}H{scale.place(pair.value):.1f}"
            parts.append(f'<path d="{path}" style="stroke:{colour};stroke-width:1.6{dash}"/>')
        if pair.reference is not None:
            hollow = "fill:var(--bg);stroke:var(--fg);stroke-width:1.2"
            parts.append(f'<circle cx="{scale.place(pair.reference):.1f}" cy="{y:.1f}" r="3.8" style="{hollow}"/>')
        if pair.value is not None:
            parts.append(f'<circle cx="{scale.place(pair.value):.1f}" cy="{y:.1f}" r="4" style="fill:{colour}"/>')
    return _svg(bottom + MARGIN_BOTTOM - 2, label, parts)


def distribution_chart(curves: Sequence[Distribution], label: str, axis_title: str) -> str:
    """Return the share of requests (y, %) within a time (x, logarithmic), one curve each.

    Args:
        curves: At least one.
        label: Text alternative.
        axis_title: What the values are, with their unit.
    """
    height, left, top = 250.0, 46.0, 12.0
    bottom = height - MARGIN_BOTTOM
    ends = [float(end) for curve in curves for end in (curve.values[0], curve.values[-1])]
    x = _scale(ends, left, WIDTH - MARGIN_RIGHT, is_log=True)
    y = Scale(low=0.0, high=100.0, start=bottom, end=top, is_log=False)
    parts = _bottom_axis(x, top, bottom, axis_title)
    for share in (0, 25, 50, 75, 90, 100):
        parts.append(
            f'<path d="M{left:g} {y.place(share):.1f}H{WIDTH - MARGIN_RIGHT}" '
            'style="stroke:var(--grid);stroke-width:.7"/>'
        )
        parts.append(_text(left - 6, y.place(share) + 4, str(share), anchor="end"))
    middle = (top + bottom) / 2
    parts.append(
        f'<text transform="translate(12 {middle:g}) rotate(-90)" text-anchor="middle" '
        'style="font-size:11.5px;fill:var(--fg)">requests, %</text>'
    )
    for curve in curves:
        count = len(curve.values)
        rank = np.unique(np.linspace(0, count - 1, 160).round().astype(np.int64))
        points = " ".join(
            f"{x.place(float(curve.values[index])):.1f},{y.place(100.0 * (index + 1) / count):.1f}" for index in rank
        )
        dash = f";stroke-dasharray:{curve.dash}" if curve.dash else ""
        style = f"fill:none;stroke:var(--c{curve.colour});stroke-width:1.8{dash}"
        parts.append(f'<polyline points="{points}" style="{style}"/>')
    return _svg(height, label, parts)


def line_swatch(colour: int, dash: str = "") -> str:
    """Return the legend's swatch of a curve."""
    dashed = f";stroke-dasharray:{dash}" if dash else ""
    return _swatch(f'<path d="M0 6H30" style="stroke:var(--c{colour});stroke-width:1.8{dashed}"/>')


def dot_swatch(*, is_hollow: bool) -> str:
    """Return the legend's swatch of the reference's dot (hollow) or the policy's (full)."""
    style = "fill:var(--bg);stroke:var(--fg);stroke-width:1.2" if is_hollow else "fill:var(--c0)"
    return _swatch(f'<circle cx="15" cy="6" r="4" style="{style}"/>')


def _swatch(content: str) -> str:
    return f'<svg class="swatch" viewBox="0 0 30 12" width="30" height="12" aria-hidden="true">{content}</svg>'
