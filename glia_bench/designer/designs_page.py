"""Design runs as a page: tables and anytime curves, with the same numbers for programs and for texts beside it.

`index.html` looks and is made as a result's report is: its own style, light and dark, nothing fetched, nothing
scripted. What it says is computed in `comparison`; here is layout.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from glia_bench.designer.comparison import PLOTTED, Marks, compare
from glia_bench.designer.comparison_tables import axis_name, run_name, tables_of
from glia_bench.designer.curves import CPU_USD_PER_HOUR, distinct, trajectory
from glia_bench.designer.curves_plot import figures_of
from glia_bench.designer.held_out import HELD_OUT_SEEDS, scored
from glia_bench.designer.likeness import likeness_of
from glia_bench.errors import GliaBenchError
from glia_bench.evaluation.build import describe_build
from glia_bench.evaluation.runner import Limits, Watcher
from glia_bench.evaluation.stopping import Stop
from glia_bench.scoring.export import markdown_table
from glia_bench.scoring.pages import render
from glia_bench.scoring.record import write_atomically
from glia_bench.scoring.svg import assign_styles

PAGE_FILE, TWIN_FILE, TABLE_FILE, CASES_FOLDER = "index.html", "curves.json", "table.md", "held_out"

TERMS = (
    ("Expert ratio", "The human expert's cost over the design's on the same unseen cases, geometric mean; above 1 is "
     "better than the expert."),
    ("Score, development", "0 for the naive reference, 1 for the expert, logarithmic in cost, on the seeds that the "
     "designer worked with. The best so far on these is what a designer chooses; no unseen case has a say in it."),
    ("At an expense", "What would have been chosen had every run been stopped there. A run that was cut, by its "
     "budget, by hand, or by a model that gave no answer, counts up to where it was cut, and has a dash beyond. One "
     "that ended by itself with budget left counts at every larger expense, with the design that it had. A run "
     "without a design to choose counts as one whose design fails on every case: a ratio of 0.25."),
    ("Interval, runs", "95 %. Runs are the unit: their spread, and that over cases, which all runs share. A single run "
     "has none. In brackets how many runs count, where not all do of how many."),
    ("Lines and bands", "The mean over runs as far as all of them count, with its interval; thin lines are single "
     "runs to their ends. Dotted verticals: 15, 20 and 100 simulations and $30, the Glia paper's own cut points."),
    ("Expert level", "The lower end of the ratio's interval over cases is at least 0.98. A run that never gets there "
     "enters the median as costing more than it spent; where that leaves the median open, its two ends are given, or "
     "what it lies above."),
    ("Mean ratio", "The curve's mean over the logarithm of the expense, from the point where all runs of the task have "
     "begun to the one where the first of them ends: early gains count as much as late ones."),
    ("Gap", "Mean log-gain on unseen cases less that on development seeds. Below 0: it is worse than it seemed. "
     "On a sealed season by fresh draws and by perturbed ones."),
    ("Most like", "The known design whose decisions agree most at the same moments, and how alike the texts are but "
     "for their constants. A high number says: look at both."),
    ("Starves", "A group of requests fares worse than 1.25 times its slowdown under the plain reference; such a design "
     "is not ranked on a leaderboard."),
)  # fmt: skip


def report_designs(
    folders: Iterable[Path],
    out: Path,
    *,
    marks: Marks | None = None,
    seeds: Sequence[int] = HELD_OUT_SEEDS,
    cpu_usd_per_hour: float = CPU_USD_PER_HOUR,
    limits: Limits | None = None,
    with_likeness: bool = True,
    watcher: Watcher | None = None,
    say: Callable[[str], None] = lambda text: None,
    stop: Stop | None = None,
) -> Path:
    """Compare design runs, write `index.html`, `curves.json` and `table.md`, and return the page's path.

    The designs' texts are executed, in processes of their own.

    Args:
        folders: Of the runs; nothing is written there.
        out: Folder of the report; what was simulated for an earlier one there is not simulated again.
        marks: Expenses at which designers are compared.
        seeds: Held-out seeds, for tasks that no sealed season has.
        cpu_usd_per_hour: What an hour of one processor counts in dollars.
        limits: How designs are run.
        with_likeness: Whether final designs are compared with known ones, some seconds each.
        watcher: Told what starts and what ends.
        say: Told what is done.
        stop: Ends it early; what was simulated is kept.

    Raises:
        GliaBenchError: If there are no runs, or one cannot be read.
        KeyboardInterrupt: If it was stopped.
    """
    limits = limits or Limits()
    read = [trajectory(folder, cpu_usd_per_hour=cpu_usd_per_hour) for folder in dict.fromkeys(folders)]
    if not read:
        raise GliaBenchError("a comparison needs folders of design runs (got none); `glia-bench design` makes them")
    runs, remarks = distinct(read)
    for run in runs:
        if run.status == "unfinished":
            remarks.append(f"{run.folder} was cut or still goes on: it counts as far as it came")
    build = describe_build()["source"]
    if others := [run_name(str(run.folder)) for run in runs if run.build != build]:
        remarks.append(
            f"made with another version of Glia-Bench than the one that judges here, so development scores may not "
            f"repeat: {', '.join(others)}"
        )
    say(f"simulating what {len(runs)} runs found")
    cases = out / CASES_FOLDER
    scores = scored(runs, cases, seeds=seeds, limits=limits, watcher=watcher, stop=stop)
    say("comparing with known designs")
    likeness = likeness_of(runs, cases, stop=stop) if with_likeness else {}
    content = compare(runs, scores, marks=marks, likeness=likeness, remarks=remarks)
    content["cpu_usd_per_hour"] = cpu_usd_per_hour
    out.mkdir(parents=True, exist_ok=True)
    twin = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(out / TWIN_FILE, twin.encode() + b"\n")
    write_atomically(out / TABLE_FILE, markdown_of(content).encode())
    write_atomically(out / PAGE_FILE, page_of(content).encode())
    return out / PAGE_FILE


def markdown_of(content: Mapping[str, Any]) -> str:
    """Return the tables of a comparison as Markdown."""
    origins = {task["task"]: f"{task['task']}, {_cases(task)}" for task in content["tasks"]}
    origins[""] = "All tasks."
    return "\n\n".join(markdown_table(t, origins[task]) for task, tables in tables_of(content) for t in tables) + "\n"


def page_of(content: Mapping[str, Any]) -> str:
    """Return the page of a comparison."""
    labels = list(dict.fromkeys(arm["label"] for task in content["tasks"] for arm in task["arms"]))
    styles = assign_styles(labels)
    (_, overview), *by_task = tables_of(content, styles)
    tasks = [
        {
            "anchor": f"task{number}",
            "title": task["task"],
            "cases": _cases(task),
            "tables": tables,
            "figures": figures_of(f"t{number}", task, styles),
        }
        for number, (task, (_, tables)) in enumerate(zip(content["tasks"], by_task, strict=True))
    ]
    num_runs = sum(len(arm["runs"]) for task in content["tasks"] for arm in task["arms"])
    dollars = f"What models ask, as far as it is known, and ${content['cpu_usd_per_hour']:g} an hour of processor time."
    axes = ", ".join(axis_name(axis) for axis in PLOTTED)
    context = {
        "title": "Glia-Bench: designers compared",
        "counts": f"{_plural(len(labels), 'designer')} · {_plural(len(tasks), 'task')} · {_plural(num_runs, 'run')}",
        "remarks": content["remarks"],
        "contents": [(task["anchor"], task["title"]) for task in tasks] + [("rules", "How to read it")],
        "overview": overview,
        "tasks": tasks,
        "rules": [*TERMS, ("Dollars", dollars), ("Expenses", f"Metered where designs are simulated: {axes}.")],
    }
    return render("designs.html", context)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _cases(task: Mapping[str, Any]) -> str:
    """Return what designs were judged on, in words."""
    what = (
        f"Judged on {_plural(task['num_cases'], 'sealed case')} of season {task['season']}"
        if task["split"] == "sealed"
        else f"Judged on {_plural(task['num_cases'], 'held-out seed')}, which no designer here has met, but anyone may"
    )
    naive = task["naive"]
    beside = f"; the naive reference has a ratio of {naive['expert_ratio']:.2f}" if naive else ""
    guard = " A guard: the references are so close that ratios tell little." if task["is_guard"] else ""
    return f"{what}. The expert is {task['expert']}{beside}.{guard}"
