"""Anytime curves as figures: the mean over a designer's runs with its band, the runs themselves, and the references."""

from collections.abc import Mapping, Sequence
from typing import Any

from glia_bench.designer.comparison import PLOTTED
from glia_bench.designer.curves import CURVE_AXES
from glia_bench.scoring.figures import Figure
from glia_bench.scoring.plots import HEIGHT, WIDTH, log_axis
from glia_bench.scoring.svg import FOREGROUND, MUTED, Style, drawing, new_figure, render

CUT_POINTS: Mapping[str, tuple[float, ...]] = {"simulations": (15, 20, 100), "usd": (30,)}
"""Where the Glia paper reads off its own curves."""
IN_SIGHT: Mapping[str, tuple[float, float]] = {"expert_ratio": (0.2, 2.0), "score": (-0.5, 2.0)}
"""How far bands may stretch a figure."""
SMALLEST: Mapping[str, float] = {"usd": 0.01}
"""Expenses too small for a figure: processor time alone."""
LOWEST = 1e-12

Json = Mapping[str, Any]


def figures_of(key: str, task: Json, styles: Mapping[str, Style]) -> list[Figure]:
    """Return the figures of one task of a comparison: ratio and development score against each axis that has curves.

    Args:
        key: Prefix of ids, unique in the page.
        task: Of `comparison.compare`.
        styles: Label of an arm to its style.
    """
    figures = []
    for axis in PLOTTED:
        arms = [arm for arm in task["arms"] if _has_curve(arm, axis)]
        if not arms:
            continue
        legend = tuple((styles[arm["label"]].swatch, _named(arm, axis)) for arm in arms)
        for value, title, how in (
            ("expert_ratio", f"Expert ratio, {task['split']}, against {CURVE_AXES[axis]}", _HOW_RATIO),
            ("score", f"Development score against {CURVE_AXES[axis]}", _HOW_SCORE),
        ):
            svg = _drawn(f"{key}-{axis}-{value}", title, task, arms, axis, value, styles)
            figures.append(Figure(title=title, svg=svg, how_to_read=how, legend=legend))
    return figures


_HOW_RATIO = (
    "Of the design that development seeds would have chosen, on cases that no designer has met; above the line at 1 is "
    "better than the expert, dashed is the naive reference."
)
_HOW_SCORE = "Best so far: what the designer saw. 0 is the naive reference, 1 the expert."


def _has_curve(arm: Json, axis: str) -> bool:
    return any((run["spent"][axis] or 0.0) > SMALLEST.get(axis, 0.0) for run in arm["runs"])


def _tick(value: float, _position: int | None = None) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}" if value >= 0.01 else f"{value:.0e}"


def _named(arm: Json, axis: str) -> str:
    count = len(arm["runs"])
    known = sum((run["spent"][axis] or 0.0) > 0.0 for run in arm["runs"])
    return f"{arm['label']} ({count if known == count else f'{known} of {count}'})"


def _drawn(
    key: str, label: str, task: Json, arms: Sequence[Json], axis: str, value: str, styles: Mapping[str, Style]
) -> str:
    is_ratio = value == "expert_ratio"
    ends = [float(run["spent"][axis] or 0.0) for arm in arms for run in arm["runs"]]
    starts = [
        float(point["spent"][axis] or 0.0)
        for arm in arms
        for run in arm["runs"]
        for point in run["curve"]
        if point["spent"][axis]
    ]
    starts += [point["x"] for arm in arms for point in arm["curves"][axis][:1]]
    high = max(LOWEST, *ends)
    low = min([start for start in starts if start > 0.0], default=high / 10.0)
    high = max(high, 2.0 * low)
    from matplotlib.ticker import FuncFormatter

    with drawing():
        figure, (axes,) = new_figure(WIDTH, HEIGHT, [(52, 10, 14, 44)])
        axes.set_xscale("log")
        axes.set_xlim(low / 1.1, high * 1.1)
        log_axis(axes.xaxis, low, high)
        axes.xaxis.set_major_formatter(FuncFormatter(_tick))
        for mark in CUT_POINTS.get(axis, ()):
            if low <= mark <= high:
                axes.axvline(mark, color=MUTED, linestyle=":", linewidth=1, zorder=1)
        axes.axhline(1.0, color=FOREGROUND, linewidth=0.9, zorder=1.5)
        naive = task["naive"]["expert_ratio"] if is_ratio and task["naive"] else 0.0
        if naive or not is_ratio:
            axes.axhline(naive, color=FOREGROUND, linewidth=0.9, linestyle="--", zorder=1.5)
        shown = [1.0, naive] if naive else [1.0] if is_ratio else [0.0, 1.0]
        for arm in arms:
            shown += _draw_arm(axes, arm, axis, value, styles[arm["label"]])
        if is_ratio:
            axes.set_yscale("log")
            log_axis(axes.yaxis, min(shown), max(shown))
            axes.set_ylim(min(shown) / 1.06, max(shown) * 1.06)
            axes.set_ylabel("expert ratio (log scale)")
        else:
            room = 0.05 * (max(shown) - min(shown))
            axes.set_ylim(min(shown) - room, max(shown) + room)
            axes.set_ylabel("development score")
        axes.set_xlabel(f"{CURVE_AXES[axis]} (log scale)")
        return render(figure, key, label)


def _draw_arm(axes: Any, arm: Json, axis: str, value: str, style: Style) -> list[float]:
    """Draw an arm's mean, band and runs; return the values that must be in sight."""
    shown: list[float] = []
    for run in arm["runs"]:
        points = [(point["spent"][axis], point[value]) for point in run["curve"] if point["spent"][axis]]
        if points:
            points.append((run["spent"][axis], points[-1][1]))
            xs, ys = [x for x, _ in points], [y for _, y in points]
            line = {**style.line(), "linewidth": 0.7, "alpha": 0.55, "zorder": 2.5}
            axes.plot(xs, ys, drawstyle="steps-post", **line)
            shown += ys
    mean = [point for point in arm["curves"][axis] if value in point]
    if mean:
        xs, ys = [point["x"] for point in mean], [point[value] for point in mean]
        axes.plot(xs, ys, drawstyle="steps-post", **style.line())
        shown += ys
        band = [(p["x"], p[f"{value}_low"], p[f"{value}_high"]) for p in mean if p[f"{value}_low"] is not None]
        if band:
            x, below, above = zip(*band, strict=True)
            axes.fill_between(
                x, below, above, step="post", color=style.sentinel, alpha=0.16, linewidth=0, zorder=2, clip_on=True
            )
            lowest, highest = IN_SIGHT[value]  # a band of two runs may reach anywhere
            shown += [max(lowest, min(below)), min(max(above), highest)]
    return shown
