"""The report of a result: one self-contained HTML file with tables and figures, from `result.json` and request records.

Nothing in it is fetched and nothing is scripted. Numbers come from the record's summary; figures of requests and of
cluster state from the records of the first seed, where they were kept. What is missing (an interrupted run, a failed
policy, no records) leaves a gap that the page names. All text that users chose is escaped by the template.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from glia_bench.errors import GliaBenchError
from glia_bench.scoring import figures, tables
from glia_bench.scoring.metrics import METRICS, OBJECTIVES
from glia_bench.scoring.record import ResultRecord, read_record, write_atomically
from glia_bench.scoring.suite import ALL_TASKS
from glia_bench.scoring.summary import ALL_LOADS
from glia_bench.scoring.svg import OTHER_SWATCH, Style, assign_styles
from glia_bench.scoring.tables import Row

if TYPE_CHECKING:
    import pandas as pd

    from glia_bench.tasks.task import Task

REPORT_FILE = "report.html"
TEMPLATES = Path(__file__).parent / "templates"
MAIN_LOAD = 1.0
"""Where a task has several loads, the one nearest to this is unfolded."""

Context: TypeAlias = dict[str, Any]


def write_report(result_dir: Path) -> Path:
    """Write `report.html` beside a result and return its path; the same result gives the same bytes.

    Args:
        result_dir: Folder that holds `result.json` and, where they were kept, request records.

    Raises:
        GliaBenchError: If there is no result, or it was altered.
    """
    record = read_record(result_dir)
    path = result_dir / REPORT_FILE
    write_atomically(path, render(page(record, result_dir)).encode())
    return path


def render(context: Context) -> str:
    """Return the page; every value is escaped but the markup of figures."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(context)


def page(record: ResultRecord, result_dir: Path) -> Context:
    """Return all that the template prints, from a record and the request records that lie beside it."""
    trials, environment = record["trials"], record["environment"]
    summary = [row for row in record["summary"] if row["task"] != ALL_TASKS]
    tasks = _in_catalog_order({row["task"] for row in summary})
    chosen = {task: _highlighted(task, [row for row in summary if row["task"] == task]) for task in tasks}
    styles = assign_styles(list(dict.fromkeys(name for names in chosen.values() for name in names)))
    sections = [
        _task_section(
            f"task{index}",
            task,
            [row for row in summary if row["task"] == task],
            [trial for trial in trials if trial["task"] == task],
            {name: styles[name] for name in chosen[task]},
            result_dir,
        )
        for index, task in enumerate(tasks)
    ]
    failures = tables.failures_table(trials, environment.get("refused") or ())
    notes = sorted({(trial["policy"], str(note)) for trial in trials for note in trial.get("notes") or ()})
    contents = [(section["anchor"], section["id"]) for section in sections]
    contents += [("failures", "Failures")] if failures else []
    contents += [("notes", "Notes")] if notes else []
    contents += [("reproduce", "Reproduce and cite"), ("environment", "Environment"), ("terms", "Terms")]
    return {
        "title": f"Glia-Bench: {_subject(record.get('suite'), tasks)}",
        "counts": _counts(trials),
        "finished": _finished(environment),
        "notices": _notices(trials, environment),
        "key_results": [line for task in tasks for line in _key_results(task, _rows(summary, task, ALL_LOADS))],
        "contents": contents,
        "tasks": sections,
        "failures": failures,
        "notes": notes,
        "command": str(environment.get("command") or ""),
        "has_own_policies": any(trial.get("kind") == "user" for trial in trials),
        "ids": [("results_id", record["results_id"]), ("id", record["id"])],
        "environment": _pairs(environment),
        "designs": tables.designs_table(trials) if trials else None,
        "objectives": [(name, goal.formula) for name, goal in OBJECTIVES.items() if name in _objectives(summary)],
        "metrics": {name: text[:1].upper() + text[1:] for name, text in METRICS.items()},
        "other_swatch": OTHER_SWATCH,
    }


def _subject(suite: str | None, tasks: Sequence[str]) -> str:
    if suite:
        return f"suite {suite}"
    return tasks[0] if len(tasks) == 1 else _plural(len(tasks), "task")


def _rows(summary: Sequence[Row], task: str, load: float | str) -> list[Row]:
    return [row for row in summary if row["task"] == task and row["load"] == load]


def _catalogued(task_id: str) -> "Task | None":
    """Return the task if this version still knows it."""
    from glia_bench.tasks.catalog import find_task

    return find_task(task_id)


def _in_catalog_order(task_ids: Iterable[str]) -> list[str]:
    """Return task ids in the order of the catalog, unknown ones last."""
    from glia_bench.tasks.catalog import TASKS

    known = list(TASKS)
    return sorted(task_ids, key=lambda task: (known.index(task) if task in TASKS else len(known), task))


def _highlighted(task_id: str, rows: Sequence[Row]) -> list[str]:
    """Return the policies of a task that get a colour, judged over all its loads or, failing that, one of them."""
    task = _catalogued(task_id)
    published = {row["policy"]: row["published_s"] for row in rows if row.get("published_s") is not None}
    for load in [ALL_LOADS, *sorted({row["load"] for row in rows if row["load"] != ALL_LOADS}, reverse=True)]:
        here = [{**row, "published_s": published.get(row["policy"])} for row in rows if row["load"] == load]
        chosen = figures.highlighted(here, naive=task.naive if task else None, expert=task.expert if task else None)
        if chosen:
            return chosen
    return []


def _task_section(
    key: str, task_id: str, rows: Sequence[Row], trials: Sequence[Row], styles: Mapping[str, Style], result_dir: Path
) -> Context:
    """Return one task: what it is, all its loads together where there are several, then load by load."""
    task = _catalogued(task_id)
    loads = sorted({row["load"] for row in rows if row["load"] != ALL_LOADS})
    overall = [row for row in rows if row["load"] == ALL_LOADS]
    has_several = len(loads) > 1
    main = min(loads, key=lambda load: abs(load - MAIN_LOAD), default=None)
    sections = []
    for index, load in enumerate(loads):
        section = _load_section(
            f"{key}-{index}",
            [row for row in rows if row["load"] == load],
            [trial for trial in trials if trial["load"] == load],
            styles,
            task,
            result_dir,
        )
        sections.append({**section, "title": f"Load {load:g}", "folded": load != main if has_several else None})
    return {
        "anchor": key,
        "id": task_id,
        "title": task.title if task else "This task is not in the catalog of the installed version.",
        "why": task.why_hard if task else "",
        "source": task.source if task else "",
        "sweep": _sweep(key, loads, rows, overall, styles) if has_several else None,
        "sections": sections,
    }


def _sweep(
    key: str, loads: Sequence[float], rows: Sequence[Row], overall: Sequence[Row], styles: Mapping[str, Style]
) -> Context:
    """Return table and figures of cost and ratio against load."""
    objective = _axis(rows)
    by_load = {load: {row["policy"]: row for row in rows if row["load"] == load} for load in loads}
    each = [row for here in by_load.values() for row in here.values()]
    caption = f"{_capital(objective)}, by load"
    left_out = figures.off_scale(overall)
    order = [row["policy"] for row in overall if row["policy"] not in left_out]
    drawn = (
        figures.load_figure(key, each, order, styles, objective),
        figures.ratio_figure(key, each, order, styles),
    )
    return {
        "table": tables.sweep_table(overall, by_load, styles, caption),
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
    result_dir: Path,
) -> Context:
    """Return one task at one load: table and figures."""
    load, left_out = rows[0]["load"], figures.off_scale(rows)
    shown = [row for row in rows if row["policy"] not in left_out]
    order = [row["policy"] for row in shown]
    first_seed = min((trial["seed"] for trial in trials if trial.get("records") or trial.get("samples")), default=None)
    of_seed = {trial["policy"]: trial for trial in trials if trial["seed"] == first_seed and trial["status"] == "ok"}
    frames = {name: frame for name in order if (frame := _requests(result_dir, of_seed.get(name))) is not None}
    coloured = [name for name in order if name in styles]
    sampled = {name: found for name in coloured if (found := _samples(result_dir, of_seed.get(name))) is not None}
    drawn = (
        figures.mean_figure(key, shown, styles, _axis(rows)),
        figures.cdf_figure(key, frames, styles),
        figures.restarts_figure(key, frames, styles),
    )
    remarks = []
    if any(row.get("published_s") is not None for row in rows):
        remarks.append("Published values are the source's own, on its own trace.")
    if frames or sampled:
        remarks.append(f"Distributions, restarts and states over time below are those of seed {first_seed}.")
    else:
        remarks.append("No request records were kept here, so there are no figures of distributions and states.")
    rate = f" ({task.reference_rate_rps * load:.3g} requests/s)" if task else ""
    seeds = _plural(max(row.get("num_seeds", 0) for row in rows), "seed")
    caption = f"{rows[0]['task']} at load {load:g}{rate}, {seeds}, best first"
    return {
        "table": tables.headline_table(rows, styles, caption),
        "remarks": [" ".join([*remarks, *_off_scale_remark(left_out)])],
        "figures": [figure for figure in drawn if figure],
        "panels": figures.time_panels(key, sampled, styles, _capacity_blocks(task)),
    }


def _objectives(summary: Sequence[Row]) -> set[str]:
    return {str(row.get("objective") or "mean_e2e_s") for row in summary}


def _capacity_blocks(task: "Task | None") -> int | None:
    """Return the KV blocks of each replica, if they all have the same."""
    found = {pool.engine.num_blocks for pool in task.cluster.pools} if task else set()
    return found.pop() if len(found) == 1 else None


def _requests(result_dir: Path, trial: Row | None) -> "pd.DataFrame | None":
    """Return a trial's per-request table, or None if it was not kept."""
    return _table(_beside(result_dir, trial, "records"), ["prompt_tokens", "restarts", "e2e_s"])


def _samples(result_dir: Path, trial: Row | None) -> figures.Samples | None:
    """Return a trial's samples, or None if they were not kept."""
    frame = _table(_beside(result_dir, trial, "samples"))
    if frame is None:
        return None
    waiting = frame[[name for name in frame.columns if name.startswith("waiting_")]]
    allocated = frame[[name for name in frame.columns if name.startswith("allocated_blocks_")]]
    return figures.Samples(
        time_s=frame["time_s"].to_numpy(dtype=float),
        held=frame["held"].to_numpy(dtype=float),
        waiting=waiting.to_numpy(dtype=float).sum(axis=1),
        allocated=allocated.to_numpy(dtype=float),
    )


def _table(path: Path | None, columns: list[str] | None = None) -> "pd.DataFrame | None":
    """Read a table; None if there is none.

    Raises:
        GliaBenchError: If it cannot be read.
    """
    import pandas as pd

    if path is None:
        return None
    try:
        return pd.read_parquet(path, columns=columns)
    except (OSError, ValueError) as error:
        raise GliaBenchError(
            f"{path} must be a Parquet table of this benchmark ({error}); delete it, and the report does without"
        ) from error


def _beside(result_dir: Path, trial: Row | None, kind: str) -> Path | None:
    """Return the file that a record names, if it is there; a record may name files of its own folder only."""
    name = trial.get(kind) if trial else None
    if not name:
        return None
    root = result_dir.resolve()
    path = (root / str(name)).resolve()
    return path if path.is_relative_to(root) and path.is_file() else None


def _axis(rows: Sequence[Row]) -> str:
    """Return the objective with its unit, as axes name it."""
    return ", ".join(part for part in tables.objective(rows) if part)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _counts(trials: Sequence[Row]) -> str:
    """Return how much was run, in words."""
    num_ok = sum(trial["status"] == "ok" for trial in trials)
    parts = [
        _plural(len({trial[key] for trial in trials}), word)
        for key, word in (("task", "task"), ("policy", "policy"), ("seed", "seed"))
    ]
    return " · ".join([*parts, f"{_plural(len(trials), 'trial')}, {num_ok} ok"])


def _plural(count: int, word: str) -> str:
    if count == 1:
        return f"1 {word}"
    return f"{count} {word[:-1]}ies" if word.endswith("y") else f"{count} {word}s"


def _key_results(task: str, rows: Sequence[Row]) -> list[str]:
    """Return a sentence on a task's lowest mean, and one on each policy of the user's own."""
    ranked = [row for row in rows if row.get("cost_mean") is not None]
    if not ranked:
        return [f"{task}: no policy has a mean; the reasons are under Failures."]
    name, unit = tables.objective(rows)
    places = tables.decimals(row["cost_mean"] for row in ranked)

    def sentence(row: Row) -> str:
        mean = f"{row['cost_mean']:.{places}f} {unit}".rstrip()
        text = f"{mean} {tables.span(row.get('cost_low'), row.get('cost_high'), places)}".rstrip()
        if row.get("expert_ratio") is not None and row["policy"] != row["expert"]:
            ratio = tables.span(row.get("expert_ratio_low"), row.get("expert_ratio_high"), tables.RATIO_DECIMALS)
            text += f", expert_ratio {row['expert_ratio']:.{tables.RATIO_DECIMALS}f} {ratio}".rstrip()
        return text

    lines = [f"{task}: {ranked[0]['policy']} has the lowest {name}, {sentence(ranked[0])}."]
    own = [row for row in ranked[1:] if row.get("kind") == "user"][: figures.MAX_USER_POLICIES]
    return lines + [f"{task}: {row['policy']}, a policy of yours, has {sentence(row)}." for row in own]


def _notices(trials: Sequence[Row], environment: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what a reader must know before any number: an interrupted run, our own failures."""
    notices = []
    planned = environment.get("num_planned", len(trials))
    if environment.get("interrupted") or (len(trials) < planned and not environment.get("refused")):
        text = (
            f"The run stopped after {len(trials)} of {planned} trials; means are over the seeds that were run, "
            "which may differ from policy to policy. Ratios are paired and use seeds that both policies have run."
        )
        notices.append({"title": "Partial result.", "text": text})
    broken = sum(trial["status"] == "infra_error" for trial in trials)
    if broken:
        text = f"{_plural(broken, 'trial')} failed for reasons of the benchmark or the machine and count for no policy."
        notices.append({"title": "Machinery failed.", "text": text})
    return notices


def _finished(environment: Mapping[str, Any]) -> str:
    """Return when, how long and with what the run was made, as far as the record says."""
    wall_s = environment.get("wall_s")
    parts = [
        str(environment.get("ended_at") or "").replace("T", " ").replace("+00:00", " UTC"),
        "" if wall_s is None else f"{wall_s:.1f} s",
        f"glia-bench {environment['glia_bench']}" if "glia_bench" in environment else "",
    ]
    return " · ".join(part for part in parts if part)


def _pairs(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the plain values of the environment by name; what has a place of its own on the page is left out."""
    elsewhere = ("command", "refused", "interrupted", "num_planned")
    return [
        (name, f"{value:.1f}" if isinstance(value, float) else str(value))
        for name, value in sorted(environment.items())
        if name not in elsewhere and value is not None and value != ""
    ]
