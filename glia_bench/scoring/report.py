"""The report of a result: pages with tables and figures, from `result.json` and what was kept beside it.

`report.html` holds the leaderboard and what is needed to verify and cite; with one task also the task itself, with more
a page for each. Every number leads to a page that lists the cases behind it. Nothing is fetched or scripted. What is
missing (an interrupted run, a failed policy, no records) leaves a gap that the page names. All text that users chose is
escaped by the templates.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glia_bench.scoring import figures, tables
from glia_bench.scoring.cases import cases_context, expert_of
from glia_bench.scoring.checks import gaps_table, robustness_table
from glia_bench.scoring.columns import RATIO_DECIMALS, Row, decimals, objective, span
from glia_bench.scoring.metrics import METRICS, OBJECTIVES
from glia_bench.scoring.pages import REPORT_FILE, Context, link, render, task_page, write_pages
from glia_bench.scoring.record import ResultRecord, read_record
from glia_bench.scoring.standings import standings
from glia_bench.scoring.suite import ALL_TASKS
from glia_bench.scoring.summary import ALL_LOADS
from glia_bench.scoring.svg import OTHER_SWATCH, Style, assign_styles
from glia_bench.scoring.task_section import highlighted, plural, task_section

ELSEWHERE = ("command", "refused", "interrupted", "num_planned")
"""Fields of the environment that have a place of their own on the page."""


MAX_KEY_TASKS = 6
"""Tasks whose results are told in sentences; the leaderboards have them all."""


def write_report(result_dir: Path) -> Path:
    """Write `report.html` and the pages it leads to, and return its path; the same result gives the same bytes.

    Args:
        result_dir: Folder that holds `result.json` and, where they were kept, request records.

    Raises:
        GliaBenchError: If there is no result, or it was altered.
    """
    record = read_record(result_dir)
    write_pages(result_dir, pages_of(record, result_dir))
    return result_dir / REPORT_FILE


def pages_of(record: ResultRecord, result_dir: Path) -> Iterator[tuple[str, str]]:
    """Yield every page of the report: its file relative to the result's folder, and its content."""
    summary = [row for row in record["summary"] if row["task"] != ALL_TASKS]
    tasks = _in_catalog_order({row["task"] for row in summary})
    rows = {task: [row for row in summary if row["task"] == task] for task in tasks}
    trials = {task: [trial for trial in _summarised(record) if trial["task"] == task] for task in tasks}
    chosen = {task: highlighted(task, rows[task]) for task in tasks}
    styles = assign_styles(list(dict.fromkeys(name for names in chosen.values() for name in names)))
    has_task_pages = len(tasks) > 1
    frame: Context = {"other_swatch": OTHER_SWATCH, "ids": _ids(record), "home": "", "suite": record.get("suite")}
    sections = []
    for index, task in enumerate(tasks):
        own: dict[str, Style] = {name: styles[name] for name in chosen[task]}
        page = task_page(task) if has_task_pages else REPORT_FILE
        section = task_section(f"task{index}", task, rows[task], trials[task], own, result_dir, page)
        if has_task_pages:
            home = link(REPORT_FILE, from_page=page)
            yield page, render("task.html", {**frame, "title": task, "task": section, "home": home})
        else:
            sections.append(section)
        expert = expert_of(rows[task], trials[task])
        for policy in sorted({trial["policy"] for trial in trials[task]}):
            of_policy = [trial for trial in trials[task] if trial["policy"] == policy]
            summed = [row for row in rows[task] if row["policy"] == policy]
            context = cases_context(task, policy, summed, of_policy, expert, result_dir, has_task_page=has_task_pages)
            yield context["page"], render("cases.html", {**frame, **context})
    yield REPORT_FILE, render("report.html", {**frame, **_front_page(record, tasks, sections, result_dir)})


def _summarised(record: ResultRecord) -> list[Row]:
    """Return the trials behind the summary: the sealed ones, where there are any, else all."""
    sealed: list[Row] = [trial for trial in record["trials"] if trial.get("split") == "sealed"]
    return sealed or list(record["trials"])


def _front_page(record: ResultRecord, tasks: Sequence[str], sections: Sequence[Context], result_dir: Path) -> Context:
    """Return what the first page prints: with `sections`, one or none, no leaderboards."""
    has_task_pages = len(tasks) > 1
    trials, summary, environment = record["trials"], record["summary"], record["environment"]
    failures = tables.failures_table(trials, environment.get("refused") or ())
    notes = sorted({(trial["policy"], str(note)) for trial in trials for note in trial.get("notes") or ()})
    found = standings(summary, _summarised(record))
    boards = found if has_task_pages else []
    contents = [(board["anchor"], board["title"]) for board in boards]
    contents += [(section["anchor"], section["id"]) for section in sections]
    checks = [robustness_table(result_dir, record), gaps_table(record.get("gaps") or ())]
    contents += [("checks", "Robustness and gaps")] if any(checks) else []
    contents += [("failures", "Failures")] if failures else []
    contents += [("notes", "Notes")] if notes else []
    contents += [("reproduce", "Verify and cite"), ("environment", "Environment"), ("terms", "Terms")]
    objectives = {str(row.get("objective") or "mean_e2e_s") for row in summary if row["task"] != ALL_TASKS}
    return {
        "title": f"Glia-Bench: {_subject(record.get('suite'), tasks)}",
        "counts": _counts(trials),
        "finished": _finished(environment),
        "notices": _notices(trials, environment),
        "key_results": [line for task in tasks[:MAX_KEY_TASKS] for line in _key_results(task, _rows(summary, task))],
        "contents": contents,
        "boards": boards,
        "task_links": [(task, link(task_page(task))) for task in tasks] if has_task_pages else [],
        "tasks": sections,
        "diagnostics": [] if has_task_pages else [board["diagnostics"] for board in found if board["diagnostics"]],
        "checks": [table for table in checks if table],
        "failures": failures,
        "notes": notes,
        "command": str(environment.get("command") or ""),
        "has_own_policies": any(trial.get("kind") == "user" for trial in trials),
        "environment": _pairs(environment),
        "designs": tables.designs_table(trials) if trials else None,
        "objectives": [(name, goal.formula) for name, goal in OBJECTIVES.items() if name in objectives],
        "metrics": {name: text[:1].upper() + text[1:] for name, text in METRICS.items()},
    }


def _ids(record: ResultRecord) -> list[tuple[str, str]]:
    return [("results_id", str(record["results_id"])), ("id", str(record["id"]))]


def _subject(suite: str | None, tasks: Sequence[str]) -> str:
    if suite:
        return f"suite {suite}"
    return tasks[0] if len(tasks) == 1 else plural(len(tasks), "task")


def _rows(summary: Sequence[Row], task: str) -> list[Row]:
    return [row for row in summary if row["task"] == task and row["load"] == ALL_LOADS]


def _in_catalog_order(task_ids: Iterable[str]) -> list[str]:
    """Return task ids in the order of the catalog, unknown ones last."""
    from glia_bench.tasks.catalog import TASKS

    known = list(TASKS)
    return sorted(task_ids, key=lambda task: (known.index(task) if task in TASKS else len(known), task))


def _counts(trials: Sequence[Row]) -> str:
    """Return how much was run, in words."""
    num_ok = sum(trial["status"] == "ok" for trial in trials)
    parts = [
        plural(len({trial[key] for trial in trials}), word)
        for key, word in (("task", "task"), ("policy", "policy"), ("seed", "seed"))
    ]
    return " · ".join([*parts, f"{plural(len(trials), 'trial')}, {num_ok} ok"])


def _key_results(task: str, rows: Sequence[Row]) -> list[str]:
    """Return a sentence on a task's lowest mean, and one on each policy of the user's own."""
    ranked = [row for row in rows if row.get("cost_mean") is not None]
    if not ranked:
        return [f"{task}: no policy has a mean; the reasons are under Failures."]
    name, unit = objective(rows)
    places = decimals(row["cost_mean"] for row in ranked)

    def sentence(row: Row) -> str:
        mean = f"{row['cost_mean']:.{places}f} {unit}".rstrip()
        text = f"{mean} {span(row.get('cost_low'), row.get('cost_high'), places)}".rstrip()
        if row.get("expert_ratio") is not None and row["policy"] != row["expert"]:
            interval = span(row.get("expert_ratio_low"), row.get("expert_ratio_high"), RATIO_DECIMALS)
            text += f", expert ratio {row['expert_ratio']:.{RATIO_DECIMALS}f} {interval}".rstrip()
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
        text = f"{plural(broken, 'trial')} failed for reasons of the benchmark or the machine and count for no policy."
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
    return [
        (name, f"{value:.1f}" if isinstance(value, float) else str(value))
        for name, value in sorted(environment.items())
        if name not in ELSEWHERE and value is not None and value != ""
    ]
