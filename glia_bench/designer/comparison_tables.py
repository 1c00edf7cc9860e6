"""A comparison of designers as tables: what the page, the Markdown and the terminal show. Numbers are rounded here."""

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from glia_bench.designer.curves import CURVE_AXES
from glia_bench.scoring.columns import DASH, RATIO_DECIMALS, Column, Table, TableRow, span
from glia_bench.scoring.svg import Style

Json = Mapping[str, Any]

SHORT_AXES = {"simulations": "simulations", "wall_s": "wall time", "tokens": "tokens", "usd": "dollars"}


def amount_text(axis: str, amount: float | None) -> str:
    """Return an amount on an axis with its unit, in three digits."""
    if amount is None:
        return "unknown"
    if axis == "wall_s":
        for unit, seconds in (("h", 3600.0), ("min", 60.0)):
            if amount >= 2 * seconds or (unit == "h" and amount >= seconds):
                return f"{_three(amount / seconds)} {unit}"
        return f"{_three(amount)} s"
    return f"${_three(amount)}" if axis == "usd" else f"{_three(amount)}"


def _three(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 1000 else f"{amount:.3g}"


def ratio_text(cell: Json | None) -> str:
    """Return a ratio with its interval, or a dash."""
    if cell is None:
        return DASH
    low, high = cell["expert_ratio_low"], cell["expert_ratio_high"]
    return f"{cell['expert_ratio']:.{RATIO_DECIMALS}f} {span(low, high, RATIO_DECIMALS)}".rstrip()


def cell_text(cell: Json | None) -> str:
    """Return the ratio of a cell with its runs."""
    if cell is None:
        return DASH
    runs = f"{cell['num_runs']}" if cell["num_runs"] == cell["of_runs"] else f"{cell['num_runs']} of {cell['of_runs']}"
    return f"{ratio_text(cell)} ({runs})"


def to_level_text(found: Json | None) -> str:
    """Return how many runs came to expert level, and the median of what that cost."""
    if found is None:
        return "unknown"
    return f"{found['reached']} of {found['runs']}"


def median_text(axis: str, found: Json | None) -> str:
    """Return the median cost of coming to expert level; between two ends where runs that never did hide it."""
    if found is None:
        return "unknown"
    low, high = (found["median_low"], found["median_high"])
    if high is None:
        return f"above {amount_text(axis, low)}"
    if math.isclose(low, high):
        return amount_text(axis, low)
    return f"{amount_text(axis, low)} to {amount_text(axis, high)}"


def tables_of(content: Json, styles: Mapping[str, Style] | None = None) -> list[tuple[str, list[Table]]]:
    """Return the tables of a comparison by task; those over all tasks stand first, under the empty name.

    Args:
        content: Of `comparison.compare`.
        styles: Label of an arm to its style, for swatches.
    """
    styles = styles or {}
    over = [_overview(content, styles)] if len(content["tasks"]) > 1 else []
    return [
        ("", over),
        *(
            (
                str(task["task"]),
                [_matched(task, styles), _costs(task, styles), _runs(task, styles)],
            )
            for task in content["tasks"]
        ),
    ]


def _rows(names: Sequence[str], cells: Sequence[Sequence[str]], styles: Mapping[str, Style]) -> tuple[TableRow, ...]:
    return tuple(
        TableRow(name=name, cells=tuple(found), swatch=styles[name].swatch if name in styles else "")
        for name, found in zip(names, cells, strict=True)
    )


def _overview(content: Json, styles: Mapping[str, Style]) -> Table:
    """Return designer by task, at the number of simulations at which most can be compared."""
    places = [place for place, mark in enumerate(content["marks"]) if mark["axis"] == "simulations"]
    filled = {
        place: sum(arm["matched"][place]["num_there"] > 0 for task in content["tasks"] for arm in task["arms"])
        for place in places
    }
    best = max(places, key=lambda place: (filled[place], place), default=None)
    labels = list(dict.fromkeys(arm["label"] for task in content["tasks"] for arm in task["arms"]))
    cells = [
        [
            next(
                (
                    cell_text(arm["matched"][best]["cell"] if best is not None else arm["end"])
                    for arm in task["arms"]
                    if arm["label"] == label
                ),
                DASH,
            )
            for task in content["tasks"]
        ]
        for label in labels
    ]
    at = "at their end" if best is None else f"at {content['marks'][best]['amount']:g} simulations"
    heads = [Column(title="designer"), *(Column(title=str(task["task"]), style="num") for task in content["tasks"])]
    return Table(
        caption=f"Expert ratio {at}, with its interval and (runs)",
        columns=tuple(heads),
        rows=_rows(labels, cells, styles),
    )


def _matched(task: Json, styles: Mapping[str, Style]) -> Table:
    """Return the ratios at matched expenses; those that no run of the task came to are left out, and named."""
    arms = task["arms"]
    marks = [
        (place, mark["axis"], mark["amount"])
        for place, mark in enumerate(arms[0]["matched"] if arms else ())
        if any(arm["matched"][place]["num_there"] for arm in arms)
    ]
    heads = [
        Column(title=amount_text(axis, amount) + (" simulations" if axis == "simulations" else ""), style="num")
        for _, axis, amount in marks
    ]
    cells = [
        [*(cell_text(arm["matched"][place]["cell"]) for place, _, _ in marks), cell_text(arm["end"])] for arm in arms
    ]
    missing = [
        amount_text(mark["axis"], mark["amount"]) + (" simulations" if mark["axis"] == "simulations" else "")
        for place, mark in enumerate(arms[0]["matched"] if arms else ())
        if place not in [known for known, _, _ in marks]
    ]
    caption = "Expert ratio at matched expenses, with its interval and (runs)"
    if missing:
        caption += f"; no run came to {', '.join(missing)}"
    columns = (Column(title="designer"), *heads, Column(title="at the end of each run", style="num"))
    return Table(caption=caption, columns=columns, rows=_rows([arm["label"] for arm in arms], cells, styles))


def _costs(task: Json, styles: Mapping[str, Style]) -> Table:
    """Return the mean over the curve, and what it costs to come to expert level."""
    arms, spans = task["arms"], task["area_spans"]
    shown = [axis for axis in SHORT_AXES if any(arm["curves"][axis] for arm in arms)]
    columns = [Column(title="designer"), Column(title="at expert level, runs", style="num")]
    columns += [Column(title=f"median {SHORT_AXES[axis]}", style="num") for axis in shown]
    columns += [
        Column(
            title=f"mean ratio, {amount_text(axis, spans[axis][0])} to {amount_text(axis, spans[axis][1])}"
            + (" simulations" if axis == "simulations" else ""),
            style="num",
        )
        for axis in shown
        if axis in spans
    ]
    cells = [
        [
            to_level_text(arm["to_expert_level"]["simulations"]),
            *(median_text(axis, arm["to_expert_level"][axis]) if _has_spent(arm, axis) else DASH for axis in shown),
            *(cell_text(arm["area"][axis]) for axis in shown if axis in spans),
        ]
        for arm in arms
    ]
    caption = "What it costs to come to expert level, and the ratio averaged over the logarithm of the expense"
    return Table(caption=caption, columns=tuple(columns), rows=_rows([arm["label"] for arm in arms], cells, styles))


def _has_spent(arm: Json, axis: str) -> bool:
    return any(run["spent"][axis] != 0.0 for run in arm["runs"])


def _runs(task: Json, styles: Mapping[str, Style]) -> Table:
    """Return every run with what it spent and what its design is worth."""
    pairs = [(arm, run) for arm in task["arms"] for run in arm["runs"]]
    parts = list(dict.fromkeys(part for _, run in pairs for part in (run["design"] or {}).get("gaps", ())))
    has_tokens = any(run["spent"]["tokens"] != 0.0 for _, run in pairs)
    is_compared = any(run["design"] and run["design"]["likeness"] for _, run in pairs)
    axes = ["simulations", "wall_s", *(["tokens"] if has_tokens else []), "usd"]
    columns = [
        Column(title="run"),
        Column(title="designer"),
        Column(title="ended"),
        *(Column(title=SHORT_AXES[axis], style="num") for axis in axes),
        Column(title="score, development", style="num"),
        Column(title="expert ratio, development", style="num"),
        Column(title=f"expert ratio, {task['split']}", style="num"),
        *(Column(title=f"gap, {part}, ln", style="num") for part in parts),
        *([Column(title="most like (decisions, text)")] if is_compared else []),
        Column(title="remarks"),
    ]
    rows = []
    for arm, run in pairs:
        design = run["design"]
        cells = [arm["label"], ended_text(run), *(amount_text(axis, run["spent"][axis]) for axis in axes)]
        if design:
            gaps = [design["gaps"].get(part) for part in parts]
            cells += [f"{design['score'] + 0.0:.2f}", ratio_text(design["dev"]), ratio_text(design)]
            cells += [_gap(gap) for gap in gaps]
            cells += [_likeness(design["likeness"])] if is_compared else []
        else:
            cells += [DASH] * (3 + len(parts) + is_compared)
        cells.append(_remarks(run, is_guard=bool(task["is_guard"])))
        swatch = styles[arm["label"]].swatch if arm["label"] in styles else ""
        rows.append(TableRow(name=run_name(run["folder"]), cells=tuple(cells), swatch=swatch))
    return Table(caption="Every run, and the design that it chose", columns=tuple(columns), rows=tuple(rows))


def run_name(folder: str) -> str:
    """Return the last two parts of a run's folder."""
    return "/".join(PurePath(folder).parts[-2:])


def ended_text(run: Json) -> str:
    """Return how a run ended."""
    if run["status"] != "done":
        return str(run["status"])
    return "by itself" if run["is_carried"] else "budget spent"


def _gap(gap: Json | None) -> str:
    if gap is None:
        return DASH
    return f"{gap['gap']:+.2f} {span(gap['gap_low'], gap['gap_high'], 2)}".rstrip()


def _likeness(found: Json | None) -> str:
    if not found:
        return DASH
    if "failure" in found:
        return f"not compared: {found['failure']}"
    name, closest = max(found["designs"].items(), key=lambda item: (item[1]["decisions"], item[1]["tree"], item[0]))
    return f"{name} ({100 * closest['decisions']:.0f} %, {100 * closest['tree']:.0f} %)"


def _remarks(run: Json, *, is_guard: bool) -> str:
    design = run["design"]
    if design is None:
        return "no design"
    words = ["expert level"] if design["is_expert_level"] and not is_guard else []
    words += [f"starves {', '.join(design['starves'])}"] if design["starves"] else []
    words += [f"fails: {design['failure']}"] if design["failure"] else []
    return "; ".join(words)


def axis_name(axis: str) -> str:
    """Return the name of an axis, for a figure."""
    return CURVE_AXES[axis]
