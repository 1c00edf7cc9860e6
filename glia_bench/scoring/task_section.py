"""A task in the report: its tables, figures and groups, load by load, as what the templates print.

Numbers come from the record's summary; figures of requests and of cluster state from the tables of the first seed,
where they were kept.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from glia_bench.scoring import figures, group_tables, kept, tables
from glia_bench.scoring.columns import Row, objective
from glia_bench.scoring.pages import Context, case_anchor, cases_page, link
from glia_bench.scoring.summary import ALL_LOADS
from glia_bench.scoring.svg import Style

if TYPE_CHECKING:
    import pandas as pd

    from glia_bench.tasks.task import Task

MAIN_LOAD = 1.0
"""Where a task has several loads, the one nearest to this is unfolded."""


def catalogued(task_id: str) -> "Task | None":
    """Return the task if this version still knows it."""
    from glia_bench.tasks.catalog import find_task

    return find_task(task_id)


def highlighted(task_id: str, rows: Sequence[Row]) -> list[str]:
    """Return the policies of a task that get a colour, judged over all its loads or, failing that, one of them."""
    task = catalogued(task_id)
    published = {row["policy"]: row["published_s"] for row in rows if row.get("published_s") is not None}
    for load in [ALL_LOADS, *sorted({row["load"] for row in rows if row["load"] != ALL_LOADS}, reverse=True)]:
        here = [{**row, "published_s": published.get(row["policy"])} for row in rows if row["load"] == load]
        chosen = figures.highlighted(here, naive=task.naive if task else None, expert=task.expert if task else None)
        if chosen:
            return chosen
    return []


def address_from(page: str, task: str) -> tables.Address:
    """Return where the cases of a policy on a task are listed, as seen from a page."""

    def address(policy: str, load: float | None) -> str:
        anchor = "" if load is None else case_anchor(load)
        return link(cases_page(task, policy), from_page=page, anchor=anchor)

    return address


def task_section(
    key: str,
    task_id: str,
    rows: Sequence[Row],
    trials: Sequence[Row],
    styles: Mapping[str, Style],
    result_dir: Path,
    page: str,
) -> Context:
    """Return one task: what it is, all its loads together where there are several, then load by load.

    Args:
        key: Prefix of ids, unique in the page.
        task_id: The task.
        rows: Its summary rows.
        trials: Its trials.
        styles: Policy to style, for those that have one.
        result_dir: Where tables of requests and samples lie.
        page: The page that it will stand on.
    """
    task = catalogued(task_id)
    address = address_from(page, task_id)
    loads = sorted({row["load"] for row in rows if row["load"] != ALL_LOADS})
    overall = [row for row in rows if row["load"] == ALL_LOADS]
    has_several = len(loads) > 1
    main = min(loads, key=lambda load: abs(load - MAIN_LOAD), default=None)
    sections = []
    for index, load in enumerate(loads):
        here = [trial for trial in trials if trial["load"] == load]
        section = _load_section(
            f"{key}-{index}", rows_at(rows, load), here, styles, task, result_dir if load == main else None, address
        )
        sections.append({**section, "title": f"Load {load:g}", "folded": load != main if has_several else None})
    return {
        "anchor": key,
        "id": task_id,
        "title": task.title if task else "This task is not in the catalog of the installed version.",
        "why": task.why_hard if task else "",
        "source": task.source if task else "",
        "sweep": _sweep(key, loads, rows, overall, styles, address) if has_several else None,
        "sections": sections,
    }


def rows_at(rows: Sequence[Row], load: float) -> list[Row]:
    """Return a task's summary rows at one load."""
    return [row for row in rows if row["load"] == load]


def load_caption(rows: Sequence[Row]) -> str:
    """Return the title of the table of one task at one load."""
    task, load = catalogued(rows[0]["task"]), rows[0]["load"]
    rate = f" ({task.reference_rate_rps * load:.3g} requests/s)" if task else ""
    seeds = plural(max(row.get("num_seeds", 0) for row in rows), "seed")
    return f"{rows[0]['task']} at load {load:g}{rate}, {seeds}, best first"


def _sweep(
    key: str,
    loads: Sequence[float],
    rows: Sequence[Row],
    overall: Sequence[Row],
    styles: Mapping[str, Style],
    address: tables.Address,
) -> Context:
    """Return table and figures of cost and ratio against load."""
    title = axis(rows)
    by_load = {load: {row["policy"]: row for row in rows if row["load"] == load} for load in loads}
    each = [row for here in by_load.values() for row in here.values()]
    caption = f"{title[:1].upper()}{title[1:]}, by load"
    left_out = figures.off_scale(overall)
    order = [row["policy"] for row in overall if row["policy"] not in left_out]
    drawn = (
        figures.load_figure(key, each, order, styles, title),
        figures.ratio_figure(key, each, order, styles),
        figures.front_figure(key, [row for row in overall if row["policy"] in order], styles),
    )
    return {
        "table": tables.sweep_table(overall, by_load, styles, caption, address),
        "figures": [figure for figure in drawn if figure],
        "remarks": _off_scale_remark(left_out),
    }


def _off_scale_remark(policies: Sequence[str]) -> list[str]:
    return [f"Off the scale of the figures, so in the table only: {', '.join(policies)}."] if policies else []


def _load_section(
    key: str,
    rows: Sequence[Row],
    trials: Sequence[Row],
    styles: Mapping[str, Style],
    task: "Task | None",
    result_dir: Path | None,
    address: tables.Address,
) -> Context:
    """Return one task at one load: table, figures, groups; without `result_dir` no figures of requests and states."""
    left_out = figures.off_scale(rows)
    shown = [row for row in rows if row["policy"] not in left_out]
    order = [row["policy"] for row in shown]
    kept_here = [trial for trial in trials if trial.get("records") or trial.get("samples")] if result_dir else []
    first_seed = min((trial["seed"] for trial in kept_here), default=None)
    frames: dict[str, pd.DataFrame] = {}
    sampled: dict[str, figures.Samples] = {}
    for trial in sorted(kept_here, key=lambda trial: order.index(trial["policy"]) if trial["policy"] in order else 0):
        if result_dir and trial["policy"] in order and trial["seed"] == first_seed and trial["status"] == "ok":
            frame = kept.read_requests(result_dir, trial, ["prompt_tokens", "restarts", "e2e_s"])
            samples = kept.read_samples(result_dir, trial) if trial["policy"] in styles else None
            frames |= {} if frame is None else {trial["policy"]: frame}
            sampled |= {} if samples is None else {trial["policy"]: samples}
    drawn = (
        figures.mean_figure(key, shown, styles, axis(rows)),
        figures.front_figure(key, shown, styles),
        figures.cdf_figure(key, frames, styles),
        figures.restarts_figure(key, frames, styles),
    )
    remarks = []
    if any(row.get("published_s") is not None for row in rows):
        remarks.append("Published values are the source's own, on its own trace.")
    if frames or sampled:
        remarks.append(f"Distributions, restarts and states over time below are those of seed {first_seed}.")
    elif result_dir is None:
        remarks.append(
            "Distributions and states over time are drawn for the load that is unfolded; for single cases of "
            "this one follow the numbers."
        )
    else:
        remarks.append("No request records were kept here, so there are no figures of distributions and states.")
    return {
        "table": tables.headline_table(rows, styles, load_caption(rows), address),
        "metrics": tables.metrics_table(rows, address),
        "remarks": [" ".join([*remarks, *_off_scale_remark(left_out)])],
        "figures": [figure for figure in drawn if figure],
        "panels": figures.time_panels(key, sampled, styles, _capacity_blocks(task)),
        "groups": group_tables.by_policy(trials, [str(row["policy"]) for row in rows], address),
    }


def _capacity_blocks(task: "Task | None") -> int | None:
    """Return the KV blocks of each replica, if they all have the same."""
    found = {pool.engine.num_blocks for pool in task.cluster.pools} if task else set()
    return found.pop() if len(found) == 1 else None


def axis(rows: Sequence[Row]) -> str:
    """Return the objective with its unit, as axes name it."""
    return ", ".join(part for part in objective(rows) if part)


def plural(count: int, word: str) -> str:
    """Return a count with its noun."""
    if count == 1:
        return f"1 {word}"
    return f"{count} {word[:-1]}ies" if word.endswith("y") else f"{count} {word}s"
