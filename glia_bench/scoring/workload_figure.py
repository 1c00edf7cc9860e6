"""A picture of a task's workload over a few seeds, as SVG for light and dark or as PNG: `info --plot`.

Numbers come from `workload_facts`, the look from `svg`. An SVG stands alone: it carries the report's colours and takes
the dark ones where the reader's screen is dark. A PNG is light.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glia_bench.errors import GliaBenchError
from glia_bench.scoring.svg import DASHES, FOREGROUND, GRID, HUES, MUTED, PAPER, RC, drawing, new_figure, render, short
from glia_bench.scoring.workload_facts import IOD_WINDOWS_S, Floats, WorkloadFacts, workload_facts
from glia_bench.tasks.task import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_SEEDS = 3
SUFFIXES = (".svg", ".png")

WIDTH = 860
_LEFT, _RIGHT, _GAP = 58, 16, 74
_ROW, _FIRST_ROW, _TABLE_LINE = 230, 210, 19
_MAX_POINTS = 400
_MAX_BARS, _NAMES = 12, 36
"""Bars of a panel, and the pixels that their names need beside the margin of others."""

_SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", Arial, sans-serif'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ink:
    """Colours of a drawing: sentinels that become CSS variables, or those of the light page."""

    foreground: str
    muted: str
    paper: str
    hues: tuple[str, ...]


_SENTINELS = _Ink(foreground=FOREGROUND, muted=MUTED, paper=PAPER, hues=HUES)


def write_workload_figure(task: Task, path: Path) -> Path:
    """Draw a task's workload at its first default load, for its first seeds.

    Args:
        task: One that needs no file to have a workload.
        path: Where to, by its ending as SVG or PNG.

    Raises:
        GliaBenchError: If the ending is another, the file cannot be written, or the task has no workload to draw.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise GliaBenchError(f"--out must end in {' or '.join(SUFFIXES)} (got {str(path)!r})")
    if task.needs_lengths:
        raise GliaBenchError(f"the workload of {task.id} takes its lengths from a file of yours; plot another task")
    load = task.default_loads[0]
    facts = [workload_facts(task, load, seed) for seed in task.dev_seeds[:NUM_SEEDS]]
    try:
        if path.suffix.lower() == ".svg":
            path.write_text(_standalone(task, load, facts), encoding="utf-8")
        else:
            _save_png(task, load, facts, path)
    except OSError as error:
        raise GliaBenchError(f"{path} cannot be written ({error.strerror}); give another --out") from None
    return path


def _standalone(task: Task, load: float, facts: Sequence[WorkloadFacts]) -> str:
    with drawing():
        figure = _figure(task, load, facts, _SENTINELS)
        height = figure.get_figheight() * 72
        markup = render(figure, "workload", f"Workload of {task.id} at load {load:g}")
    light, dark = _palettes()
    style = (
        f":root{{color-scheme:light dark;{_declared(light)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{_declared(dark)}}}}}"
        f"text{{font-family:{_SANS}}}"
    )
    size = f'xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}"'
    head, body = markup.split(">", 1)
    head = head.replace('<svg class="plot"', f"<svg {size}", 1)
    return f'{head}>\n<style>{style}</style>\n<rect width="100%" height="100%" style="fill: var(--bg)"/>{body}\n'


def _save_png(task: Task, load: float, facts: Sequence[WorkloadFacts], path: Path) -> None:
    light, _ = _palettes()
    hues = tuple(light[f"c{index}"] for index in range(len(HUES)))
    ink = _Ink(foreground=light["fg"], muted=light["muted"], paper=light["bg"], hues=hues)
    colours = {FOREGROUND: light["fg"], MUTED: light["muted"], GRID: light["grid"]}
    changed = {name: colours[value] for name, value in RC.items() if value in colours}
    with drawing(**changed):
        _figure(task, load, facts, ink).savefig(path, dpi=144, facecolor=ink.paper, metadata={"Software": None})


def _palettes() -> tuple[dict[str, str], dict[str, str]]:
    """Return the report's colours by name, for light and for dark."""
    css = (resources.files("glia_bench.scoring") / "templates" / "report.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root\s*\{(.*?)\}", css, flags=re.DOTALL)
    light, dark = (dict(re.findall(r"--(\w+):\s*(#[0-9a-fA-F]+)", block)) for block in blocks[:2])
    return light, dark


def _declared(palette: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in palette.items())


def _figure(task: Task, load: float, facts: Sequence[WorkloadFacts], ink: _Ink) -> "Figure":
    """Return the whole picture: rate, lengths, what is shared and among whom, and a table."""
    panels = _small_panels(task, facts)
    num_rows = (len(panels) + 1) // 2
    table_height = 26 + _TABLE_LINE * (len(facts) + 1)
    height = 74 + _FIRST_ROW + num_rows * _ROW + table_height
    half = (WIDTH - _LEFT - _GAP - _RIGHT) / 2
    boxes: list[tuple[float, float, float, float]] = [(_LEFT, 94, _RIGHT, height - 74 - _FIRST_ROW + 48)]
    for index in range(len(panels)):
        top = 74 + _FIRST_ROW + (index // 2) * _ROW + 26
        left = _LEFT + (index % 2) * (half + _GAP)
        is_alone = index % 2 == 0 and index == len(panels) - 1
        right = _RIGHT if is_alone else WIDTH - left - half
        left += _NAMES if panels[index][0] is _draw_shares else 0
        boxes.append((left, top, right, height - top - _ROW + 26 + 50))
    boxes.append((16, height - table_height + 6, _RIGHT, 8))
    figure, axes = new_figure(WIDTH, height, boxes)
    _write(figure, 16, 22, task.id, ink, height, size=15, weight="bold")
    subtitle = f"{task.title} · load {load:g} = {task.reference_rate_rps * load:.3g} requests/s"
    _write(figure, 16, 42, short(subtitle, 118), ink, height, size=12)
    _legend(figure, facts, ink, height)
    _draw_rate(axes[0], facts, ink)
    for area, (draw, arguments) in zip(axes[1:-1], panels, strict=True):
        draw(area, facts, ink, *arguments)
    _draw_table(axes[-1], facts, ink)
    return figure


def _small_panels(task: Task, facts: Sequence[WorkloadFacts]) -> list[tuple[Any, tuple[Any, ...]]]:
    """Return what is drawn below the rate, two a row: functions and their last arguments."""
    panels: list[tuple[Any, tuple[Any, ...]]] = [
        (_draw_lengths, ("Prompt length", "prompt_tokens")),
        (_draw_lengths, ("Output length", "output_tokens")),
    ]
    if any(len(one.common_shares) for one in facts):
        panels.append((_draw_common, ()))
    names = [slo.name for slo in task.cluster.slo_classes]
    if len(facts[0].class_shares):
        panels.append((_draw_shares, ("Requests by service class", "class_shares", names)))
    if number := len(facts[0].tenant_shares):
        panels.append((_draw_shares, ("Requests by tenant", "tenant_shares", [f"tenant {k}" for k in range(number)])))
    return panels


def _write(figure: "Figure", x: float, y: float, text: str, ink: _Ink, height: float, **style: Any) -> None:
    """Write at pixels from the upper left corner, on a base line."""
    figure.text(x / WIDTH, 1 - y / height, text, color=style.pop("color", ink.foreground), va="baseline", **style)


def _line(ink: _Ink, index: int) -> dict[str, Any]:
    dash = DASHES[index]
    return {"color": ink.hues[index], "linestyle": (0, dash) if dash else "-", "linewidth": 1.5}


def _legend(figure: "Figure", facts: Sequence[WorkloadFacts], ink: _Ink, height: float) -> None:
    from matplotlib.lines import Line2D

    x, y = 16.0, 1 - 58 / height
    for index, one in enumerate(facts):
        ends = [x / WIDTH, (x + 26) / WIDTH]
        figure.add_artist(Line2D(ends, [y, y], transform=figure.transFigure, **_line(ink, index)))
        _write(figure, x + 32, 62, f"seed {one.seed}", ink, height, size=12)
        x += 94
    if any(one.onsets_s for one in facts):
        mark = Line2D([x / WIDTH], [y], transform=figure.transFigure, marker="v", color=ink.foreground, markersize=6)
        figure.add_artist(mark)
        text = "onset: the rate, smoothed, rises above 1.5 times its median"
        _write(figure, x + 10, 62, text, ink, height, size=12)


def _title(axes: "Axes", text: str) -> None:
    axes.set_title(text, loc="left", fontsize=12.5, fontweight="bold", pad=7)


def _draw_rate(axes: "Axes", facts: Sequence[WorkloadFacts], ink: _Ink) -> None:
    from matplotlib.ticker import MaxNLocator

    unit, per_unit = _time_unit(max(one.span_s for one in facts))
    top = max(float(one.rate_rps.max()) for one in facts)
    for index, one in enumerate(facts):
        edges = np.arange(len(one.rate_rps) + 1) * one.window_s / per_unit
        axes.stairs(one.rate_rps, edges, baseline=None, zorder=3 - 0.1 * index, **_line(ink, index))
        onsets = np.array(one.onsets_s) / per_unit
        heights = np.full(len(onsets), top * (1.17 - 0.055 * index))
        axes.plot(onsets, heights, linestyle="none", marker="v", color=ink.hues[index], markersize=6, clip_on=False)
    has_onsets = any(one.onsets_s for one in facts)
    axes.set_ylim(0, top * (1.22 if has_onsets else 1.06))
    axes.set_xlim(0, max(one.span_s for one in facts) / per_unit)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    _title(axes, f"Arrivals per second, in windows of {facts[0].window_s:g} s")
    axes.set_ylabel("requests/s")
    axes.set_xlabel(f"time, {unit}")


def _time_unit(span_s: float) -> tuple[str, float]:
    return ("s", 1.0) if span_s < 7200 else ("h", 3600.0) if span_s < 3 * 86400 else ("days", 86400.0)


def _shares_below(values: Any) -> tuple[Floats, Floats]:
    """Return a sorted column as the points of its distribution function, few enough to draw."""
    places = np.unique(np.linspace(0, len(values) - 1, _MAX_POINTS).astype(np.int64))
    return np.asarray(values, dtype=np.float64)[places], 100 * (places + 1) / len(values)


def _draw_lengths(axes: "Axes", facts: Sequence[WorkloadFacts], ink: _Ink, title: str, column: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low = max(1, min(int(getattr(one, column)[0]) for one in facts))
    high = max(max(int(getattr(one, column)[-1]) for one in facts), 2 * low)
    for index, one in enumerate(facts):
        x, share = _shares_below(getattr(one, column))
        axes.plot(x, share, zorder=3 - 0.1 * index, **_line(ink, index))
    axes.set_xscale("log")
    axes.set_xlim(low / 1.1, high * 1.1)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if high / low < 60 else (1.0,)))
    axes.xaxis.set_minor_locator(LogLocator(base=10, subs=tuple(range(2, 10))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    _percent_axis(axes)
    _title(axes, title)
    axes.set_xlabel("tokens (log scale)")


def _draw_common(axes: "Axes", facts: Sequence[WorkloadFacts], ink: _Ink) -> None:
    for index, one in enumerate(facts):
        if len(one.common_shares):
            x, share = _shares_below(100 * one.common_shares)
            axes.plot(x, share, zorder=3 - 0.1 * index, **_line(ink, index))
    axes.set_xlim(0, 100)
    _percent_axis(axes)
    _title(axes, "Prompt that an earlier request began with")
    axes.set_xlabel("share of a request's prompt tokens, %")


def _percent_axis(axes: "Axes") -> None:
    axes.set_ylim(0, 101)
    axes.set_yticks([0, 25, 50, 75, 90, 100])
    axes.set_ylabel("requests, %")


def _draw_shares(
    axes: "Axes", facts: Sequence[WorkloadFacts], ink: _Ink, title: str, column: str, names: Sequence[str]
) -> None:
    """Draw one bar a group: the mean over seeds, and a tick for each of them."""
    shares = 100 * np.array([getattr(one, column) for one in facts])
    order = np.argsort(-shares.mean(axis=0), kind="stable")
    if left_out := max(len(order) - _MAX_BARS, 0):
        order = order[:_MAX_BARS]
        title += f" ({left_out} smaller ones left out)"
    rows = np.arange(len(order))
    axes.barh(rows, shares.mean(axis=0)[order], height=0.66, color=ink.muted, alpha=0.45, zorder=2)
    for index in range(len(facts)):
        ends = shares[index][order]
        axes.vlines(ends, rows - 0.33, rows + 0.33, colors=ink.hues[index], linewidth=1.6, zorder=3)
    axes.set_ylim(max(len(order), 3) - 0.4, -0.6)
    axes.set_yticks(rows, [short(names[place], 14) for place in order])
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, max(float(shares.max()) * 1.06, 1.0))
    _title(axes, title)
    axes.set_xlabel("requests, % (bar: mean over seeds; line: one seed)")


def _draw_table(axes: "Axes", facts: Sequence[WorkloadFacts], ink: _Ink) -> None:
    """Write one line a seed: numbers that a curve does not show."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(facts) + 1, 0)
    has_common = any(len(one.common_shares) for one in facts)
    headings = [
        *("seed", "requests", "requests/s", "gap CV"),
        *(f"IoD {window} s" for window in IOD_WINDOWS_S),
        *("mean prompt", "mean output", *(["known prefix"] if has_common else [])),
    ]
    widths = np.array([len(text) + 3 for text in headings])
    ends = np.cumsum(widths) / widths.sum()
    for x, text in zip(ends, headings, strict=True):
        axes.text(x, 0.5, text, ha="right", va="center", fontsize=11, color=ink.foreground, fontweight="bold")
    axes.axhline(1.0, color=ink.muted, linewidth=0.8)
    for row, one in enumerate(facts, start=1):
        cells = [
            *(str(one.seed), f"{one.num_requests:,}", f"{one.mean_rate_rps:.3g}", _number(one.gap_cv)),
            *(_number(value) for value in one.dispersion),
            *(f"{one.prompt_tokens.mean():,.0f}", f"{one.output_tokens.mean():,.0f}"),
        ]
        if has_common:
            cells.append(f"{100 * one.common_tokens:.1f} %")
        for x, text in zip(ends, cells, strict=True):
            axes.text(x, row + 0.5, text, ha="right", va="center", fontsize=11, color=ink.foreground)


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3g}" if value < 100 else f"{value:,.0f}"
