"""Diagnostics beside the headline, one click away on the front page: interquartile means, improvement, profiles.

The numbers of the table stand in the record's rows over tasks; the profiles are drawn from the trials. Definitions are
those of `diagnostics.py`.
"""

import math
from collections.abc import Sequence

import numpy as np

from glia_bench.scoring import plots, score
from glia_bench.scoring.columns import RATIO_DECIMALS, Column, Columns, Row, Table, TableRow
from glia_bench.scoring.diagnostics import performance_profile
from glia_bench.scoring.figures import MAX_HIGHLIGHTED, Figure
from glia_bench.scoring.pages import Context, cases_page, link
from glia_bench.scoring.plots import Curve, Floats
from glia_bench.scoring.svg import assign_styles

NUM_LEVELS = 121


def diagnostics_section(
    key: str, rows: Sequence[Row], per_task: Sequence[Row], trials: Sequence[Row]
) -> Context | None:
    """Return table and profiles of the policies of a track; None where no row has diagnostics.

    Args:
        key: Name of the track, prefix of ids.
        rows: Rows over the track's tasks, best first.
        per_task: Rows over all loads of each of its tasks.
        trials: Trials of its tasks.
    """
    rows = [row for row in rows if row.get("diagnostics")]
    if not rows:
        return None
    tasks = list(dict.fromkeys(str(row["task"]) for row in per_task))
    return {"table": _table(rows, key, tasks), "figure": _profiles(key, rows, per_task, trials)}


def _table(rows: Sequence[Row], track: str, tasks: Sequence[str]) -> Table:
    found = [row["diagnostics"] for row in rows]
    columns = Columns(len(rows))
    columns.numbers("IQM ratio", [each["iqm"] for each in found], term="iqm", places=RATIO_DECIMALS)
    columns.intervals(found, "iqm", RATIO_DECIMALS)
    columns.numbers("P(improvement)", [each["improvement"] for each in found], term="iqm", places=2)
    columns.numbers("optimality gap", [each["optimality_gap"] for each in found], term="iqm", places=3)

    def table_row(index: int, name: str) -> TableRow:
        # with one task there is no table of tasks, but a page of cases
        href = link(cases_page(tasks[0], name)) if len(tasks) == 1 else f"#matrix-{track}"
        return TableRow(name=name, cells=columns.row(index), hrefs=columns.hrefs(index, href))

    return Table(
        caption="Diagnostics over the track's tasks and seeds, against the human expert",
        columns=(Column(title="policy"), *columns.heads),
        rows=tuple(table_row(index, str(row["policy"])) for index, row in enumerate(rows)),
    )


def _profiles(key: str, rows: Sequence[Row], per_task: Sequence[Row], trials: Sequence[Row]) -> Figure | None:
    """Return the share of cells (task and seed) above each ratio, a line per policy; None without such cells."""
    experts = {str(row["task"]): row["expert"] for row in per_task if row.get("expert") and not row.get("is_guard")}
    levels = np.linspace(-score.MAX_GAIN, score.MAX_GAIN, NUM_LEVELS)
    styles = assign_styles([str(row["policy"]) for row in rows][:MAX_HIGHLIGHTED])
    curves, drawn = [], []
    for row in rows:
        name = str(row["policy"])
        cells = [found for task, expert in experts.items() if len(found := _gains(task, name, expert, trials))]
        if cells:
            shares = 100.0 * performance_profile(cells, levels)
            curves.append(Curve(style=styles.get(name), x=np.exp(levels), y=shares))
            drawn.append(name)
    if not curves:
        return None
    label = "Share of cells above each expert ratio; above 1: "
    label += "; ".join(f"{name} {curve.y[NUM_LEVELS // 2]:.3g} %" for name, curve in zip(drawn, curves, strict=True))
    return Figure(
        title="Performance profiles",
        svg=plots.profiles(f"{key}-profiles", label, curves),
        how_to_read=(
            "A point (x, y) says that on y % of the cells, a task with a seed each, the expert ratio is above x; "
            "further right and higher is better. Lines that cross mean that one policy wins more often and the other "
            "by more, or loses less."
        ),
        legend=tuple((styles[name].swatch, name) for name in drawn if name in styles),
        others=tuple(name for name in drawn if name not in styles),
    )


def _gains(task: str, policy: str, expert: str, trials: Sequence[Row]) -> Floats:
    here = [dict(trial) for trial in trials if trial["task"] == task and trial["status"] != "infra_error"]
    ours, theirs = ([trial for trial in here if trial["policy"] == name] for name in (policy, expert))
    found = score.gains(ours, theirs, sorted({trial["load"] for trial in here}))
    return np.array([gain for gain in found.values() if math.isfinite(gain)], dtype=np.float64)
