"""The report's figures: one function per figure, arrays in, SVG markup out.

What a figure shows, and for whom, is decided in `figures.py`; how it becomes markup, in `svg.py`. Nothing is computed
here but what drawing needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from glia_bench.scoring.svg import FOREGROUND, MARKERS, MUTED, PAPER, Style, drawing, new_figure, render, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats: TypeAlias = npt.NDArray[np.float64]

WIDTH, HEIGHT, PANEL_HEIGHT = 400, 300, 270
"""Sizes in pixels at which a figure's text has its nominal size."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """One policy's line in a figure; without a style it is one of the thin grey others.

    Attributes:
        style: Or None.
        x, y: Points, shape (num_points,).
        low, high: Interval of y, or None.
    """

    style: Style | None
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One row of the dot plot: a mean with its interval and, where there is one, the published value."""

    name: str
    style: Style | None
    mean: float
    low: float | None = None
    high: float | None = None
    published: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One policy's cluster over time, shape (num_points,) each.

    Attributes:
        time_s: Grid.
        held: Requests held by the router.
        waiting: Requests waiting on replicas, summed.
        kv_low, kv_mean, kv_high: KV occupancy over replicas: lowest, mean, highest.
    """

    time_s: Floats
    held: Floats
    waiting: Floats
    kv_low: Floats
    kv_mean: Floats
    kv_high: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelAxes:
    """Ends of the axes that all panels over time share, and the unit of KV occupancy ("%" or "blocks")."""

    time_s: float
    queue: float
    kv: float
    kv_unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One policy in the plane of GPU hours (x) and SLO attainment (y, %)."""

    name: str
    style: Style | None
    x: float
    y: float


def _plain(value: float, _position: int | None = None) -> str:
    return f"{value:g}"


def _thousands(value: float, _position: int | None = None) -> str:
    return f"{value:g}" if abs(value) < 1000 else f"{value / 1000:.2g}k"


def log_axis(axis: Any, low: float, high: float) -> None:
    """Tick a logarithmic axis with plain numbers; 1-2-5 where it spans less than two decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if high / low < 120 else (1.0,)))
    axis.set_minor_locator(LogLocator(base=10, subs=tuple(range(2, 10))))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _others_first(curves: Sequence[Curve]) -> list[Curve]:
    return sorted(curves, key=lambda curve: curve.style is not None)


def _draw(axes: "Axes", curve: Curve, *, markers: bool = False) -> None:
    """Draw one curve, with its interval as thin bars."""
    if curve.style is None:
        axes.plot(curve.x, curve.y, color=MUTED, linewidth=0.9, zorder=2)
        return
    marker = MARKERS[curve.style.dash] if markers else None
    axes.plot(curve.x, curve.y, marker=marker, **curve.style.line())
    if curve.low is not None and curve.high is not None:
        low = np.maximum(curve.low, 1e-9)  # a t interval may reach below 0, where a logarithmic axis has no place
        axes.vlines(curve.x, low, curve.high, colors=curve.style.sentinel, linewidth=1, alpha=0.6, zorder=2.9)


def response_time_cdf(key: str, label: str, curves: Sequence[Curve]) -> str:
    """Return the share of requests (y, %) that were answered within a response time (x, seconds, logarithmic)."""
    with drawing():
        figure, (axes,) = new_figure(WIDTH, HEIGHT, [(52, 10, 14, 44)])
        low = max(1e-3, min(float(curve.x[0]) for curve in curves))
        high = max(2 * low, max(float(curve.x[-1]) for curve in curves))
        axes.set_xscale("log")
        axes.set_xlim(low / 1.1, high * 1.1)
        log_axis(axes.xaxis, low, high)
        for curve in _others_first(curves):
            _draw(axes, curve)
        axes.set_ylim(0, 101)
        axes.set_yticks([0, 25, 50, 75, 90, 100])
        axes.set_xlabel("end-to-end latency, s (log scale)")
        axes.set_ylabel("requests, %")
        return render(figure, key, label)


def state_over_time(key: str, label: str, style: Style, state: State, limits: PanelAxes) -> str:
    """Return one policy's two aligned panels: queue (held below, waiting on top) and KV occupancy over time."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    colour, time_s = style.sentinel, state.time_s
    with drawing():
        figure, (queue, cache) = new_figure(WIDTH, PANEL_HEIGHT, [(52, 8, 10, 146), (52, 138, 10, 44)])
        queue.fill_between(time_s, 0, state.held, color=colour, alpha=0.35, linewidth=0)
        queue.fill_between(time_s, state.held, state.held + state.waiting, color=colour, alpha=0.85, linewidth=0)
        queue.set_ylim(0, limits.queue * 1.04)
        queue.set_ylabel("queue, requests")
        queue.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        queue.yaxis.set_major_formatter(FuncFormatter(_thousands))
        queue.tick_params(labelbottom=False)
        cache.fill_between(time_s, state.kv_low, state.kv_high, color=colour, alpha=0.3, linewidth=0)
        cache.plot(time_s, state.kv_mean, color=colour, linewidth=1.1)
        cache.set_ylim(0, limits.kv * 1.04)
        cache.set_ylabel(f"KV, {limits.kv_unit}")
        if limits.kv_unit == "%":
            cache.set_yticks([0, 25, 50, 75, 100])
        else:
            cache.yaxis.set_major_locator(MaxNLocator(4))
            cache.yaxis.set_major_formatter(FuncFormatter(_thousands))
        cache.set_xlabel("time, s")
        for axes in (queue, cache):
            axes.set_xlim(0, limits.time_s)
            axes.xaxis.set_major_locator(MaxNLocator(5))
        figure.align_ylabels([queue, cache])
        return render(figure, key, label)


def restarts_by_prompt_length(key: str, label: str, curves: Sequence[Curve], edges: Sequence[int]) -> str:
    """Return the share of restarted requests (y, %) per prompt-length decile, named by its upper end in tokens."""
    with drawing():
        figure, (axes,) = new_figure(WIDTH, HEIGHT, [(52, 10, 14, 44)])
        for curve in _others_first(curves):
            _draw(axes, curve, markers=True)
        top = max((float(curve.y.max(initial=0.0)) for curve in curves), default=0.0)
        axes.set_ylim(0, max(1.0, top * 1.06))
        axes.set_xlim(-0.3, len(edges) - 0.7)
        axes.set_xticks(range(len(edges)), [_thousands(edge) for edge in edges])
        axes.set_xlabel("prompt length, tokens (upper end of each tenth)")
        axes.set_ylabel("restarted requests, %")
        return render(figure, key, label)


def mean_dot_plot(key: str, label: str, dots: Sequence[Dot], axis_label: str) -> str:
    """Return means with intervals, one row per policy from the top; a hollow diamond is the published value."""
    from matplotlib.ticker import MaxNLocator

    left = min(180.0, 20 + 6.6 * max(len(short(dot.name)) for dot in dots))
    height = 22 * len(dots) + 56
    values = [value for dot in dots for value in (dot.mean, dot.published) if value is not None]
    low, high = min(values), max([*values, *(dot.high for dot in dots if dot.high is not None)])
    with drawing(**{"axes.grid.axis": "x"}):
        figure, (axes,) = new_figure(WIDTH, height, [(left, 8, 14, 44)])
        for row, dot in enumerate(dots):
            colour = dot.style.sentinel if dot.style else MUTED
            marker = MARKERS[dot.style.dash] if dot.style else "o"
            if dot.low is not None and dot.high is not None:
                axes.hlines(row, dot.low, dot.high, colors=colour, linewidth=1.4)
            axes.plot([dot.mean], [row], marker=marker, color=colour, markersize=6, linestyle="none", zorder=3)
            if dot.published is not None:
                hollow: dict[str, Any] = {"markerfacecolor": PAPER, "markeredgecolor": FOREGROUND, "zorder": 2.5}
                axes.plot(
                    [dot.published], [row], marker="D", markersize=6.5, linestyle="none", markeredgewidth=1.1, **hollow
                )
        if low > 0 and max(values) / low > 10:
            axes.set_xscale("log")
            axes.set_xlim(low / 1.3, high * 1.15)
            log_axis(axes.xaxis, low, high)
            axis_label += " (log scale)"
        else:
            axes.set_xlim(0, high * 1.05 or 1.0)
            axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_ylim(len(dots) - 0.4, -0.6)
        axes.set_yticks(range(len(dots)), [f"@row{row:03d}@" for row in range(len(dots))])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(axis_label)
        return render(figure, key, label, {f"@row{row:03d}@": short(dot.name) for row, dot in enumerate(dots)})


def cost_against_load(key: str, label: str, curves: Sequence[Curve], axis_label: str) -> str:
    """Return cost (y) against load (x, share of the reference rate), one line per policy with its intervals."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    with drawing():
        figure, (axes,) = new_figure(WIDTH, HEIGHT, [(52, 10, 14, 44)])
        loads = sorted({float(load) for curve in curves for load in curve.x})
        step = 0.008 * (loads[-1] - loads[0])  # side by side, or bars at one load would hide each other
        styled = [curve for curve in curves if curve.style]
        for curve in _others_first(curves):
            place = styled.index(curve) - (len(styled) - 1) / 2 if curve.style else 0.0
            _draw(axes, replace(curve, x=curve.x + place * step), markers=True)
        values = np.concatenate([curve.y for curve in curves])
        low, high = float(values.min()), float(values.max())
        if low > 0 and high / low > 5:
            axes.set_yscale("log")
            axes.set_ylim(low / 1.15, high * 1.15)
            log_axis(axes.yaxis, low, high)
            axis_label += " (log scale)"
        else:
            tallest = max((float(curve.high.max()) for curve in curves if curve.high is not None), default=high)
            axes.set_ylim(0, max(high * 1.06, min(tallest * 1.02, 1.6 * high)) or 1.0)
        if len(loads) <= 8:
            axes.set_xticks(loads)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
        axes.set_xlabel("load, share of the reference rate")
        axes.set_ylabel(axis_label)
        return render(figure, key, label)


def front(key: str, label: str, spots: Sequence[Spot]) -> str:
    """Return SLO attainment (y, %) over GPU hours (x), and the line of those that none beats in both."""
    from matplotlib.ticker import MaxNLocator

    best, line = -1.0, []
    for spot in sorted(spots, key=lambda spot: (spot.x, -spot.y)):
        if spot.y > best:
            best = spot.y
            line.append(spot)
    with drawing():
        figure, (axes,) = new_figure(WIDTH, HEIGHT, [(52, 12, 14, 44)])
        steps: dict[str, Any] = {"drawstyle": "steps-post", "color": MUTED, "linewidth": 1, "zorder": 2}
        axes.plot([spot.x for spot in line], [spot.y for spot in line], **steps)
        for spot in spots:
            colour = spot.style.sentinel if spot.style else MUTED
            marker = MARKERS[spot.style.dash] if spot.style else "o"
            size = 7 if spot.style else 4.5
            axes.plot([spot.x], [spot.y], marker=marker, color=colour, markersize=size, linestyle="none", zorder=3)
        widest = max(spot.x for spot in spots) or 1.0
        narrowest = min(spot.x for spot in spots)
        pad = max(0.08 * (widest - narrowest), 0.03 * widest)
        low = min(spot.y for spot in spots)
        axes.set_xlim(max(0.0, narrowest - pad), widest + pad)
        axes.set_ylim(max(0.0, low - 0.08 * (100 - low) - 1.0), 101)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_yticks(
            [tick for tick in MaxNLocator(5).tick_values(axes.get_ylim()[0], 100.0) if 0.0 <= tick <= 100.0]
        )
        axes.set_ylim(max(0.0, low - 0.08 * (100 - low) - 1.0), 101)
        axes.set_xlabel("GPU hours")
        axes.set_ylabel("SLO attained, %")
        return render(figure, key, label)


def profiles(key: str, label: str, curves: Sequence[Curve]) -> str:
    """Return the share of cells (y, %) whose expert ratio is above x (logarithmic), one line per policy."""
    with drawing():
        figure, (axes,) = new_figure(WIDTH, HEIGHT, [(52, 10, 14, 44)])
        axes.axvline(1.0, color=MUTED, linewidth=0.8, zorder=1.5)
        for curve in _others_first(curves):
            _draw(axes, curve)
        axes.set_xscale("log")
        axes.set_xlim(float(curves[0].x[0]), float(curves[0].x[-1]))
        log_axis(axes.xaxis, float(curves[0].x[0]), float(curves[0].x[-1]))
        axes.set_ylim(0, 101)
        axes.set_yticks([0, 25, 50, 75, 100])
        axes.set_xlabel("expert ratio (log scale)")
        axes.set_ylabel("cells above it, %")
        return render(figure, key, label)
