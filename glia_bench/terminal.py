"""What the command line shows of a run: tables of a result, and progress while it runs.

Tables go to stdout and fit its width: columns that matter least go first. Colour is decoration only and absent from
pipes. Progress goes to stderr and only to a terminal. Names and messages that users chose are printed as they are,
never read as markup. Nothing is computed here but layout.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from glia_bench.evaluation.runner import Outcome, Refusal
from glia_bench.evaluation.trial import Trial
from glia_bench.scoring.record import RESULT_FILE, ResultRecord
from glia_bench.scoring.suite import ALL_TASKS
from glia_bench.terminal_columns import (
    FLAGS,
    Column,
    Row,
    columns_of,
    comparison,
    fitted,
    kind_of,
    number,
)

ID_DIGITS = 12


def print_result(record: ResultRecord) -> None:
    """Print a table per task and load, one of all its loads, one per track, and how to read them.

    Failed policies stand below each table.
    """
    console = Console(highlight=False)
    over_tasks = [row for row in record["summary"] if row["task"] == ALL_TASKS]
    summary = [row for row in record["summary"] if row["task"] != ALL_TASKS]
    for task in dict.fromkeys(row["task"] for row in summary):
        blocks = list(dict.fromkeys(row["load"] for row in summary if row["task"] == task))
        for load in blocks[:-1] if len(blocks) == 2 else blocks:  # one load and all of them are the same
            _print_block(console, task, load, [row for row in summary if row["task"] == task and row["load"] == load])
    for track in dict.fromkeys(row["track"] for row in over_tasks):
        rows = [row for row in over_tasks if row["track"] == track]
        if rows[0]["num_tasks"] + rows[0]["num_guards"] > 1:
            _print_tasks(console, track, rows)
    notes = ["Costs: lower is better."]
    if any(row["expert_ratio"] is not None for row in summary):
        notes.append(
            "Expert ratio: the expert's cost over the policy's, above 1 is better. Score: naive 0, expert 100."
        )
    if any(row["cost_low"] is not None for row in summary):
        notes.append("± and [ ] are 95 % intervals over seeds, ratios paired seed by seed; ranks tie within them.")
    if any(row["is_guard"] for row in summary):
        notes.append("Guard: its references are too close to score by; a policy fails it above 1.05 of the expert.")
    if any(row["starves"] for row in summary):
        notes.append("Starves: a group of requests fares worse than under the plain reference; see docs/scoring.md.")
    if any(row["published_s"] is not None for row in summary):
        notes.append("Published: the mean in the task's source, on its own trace.")
    unserved = ("rejected_fraction", "expired_fraction", "unfinished_fraction")
    if any(row["metrics"].get(name) for row in summary for name in unserved):
        notes.append("Rejected, expired and unfinished requests are charged until the horizon.")
    if any(row["status"] == "ok" for row in summary):
        console.print(Text("\n" + " ".join(notes), style="dim"))
    console.print(Text(_times(record["trials"]), style="dim"))


def _times(trials: Sequence[Row]) -> str:
    """Return how long each policy was simulated, slowest first; decisions are part of it."""
    spent: dict[str, list[float]] = defaultdict(list)
    for trial in trials:
        spent[trial["policy"]].append(trial["sim_s"] or 0.0)
    slowest_first = sorted(spent.items(), key=lambda item: -sum(item[1]))
    policies = ", ".join(f"{policy} {number(sum(times), 2)} ({len(times)})" for policy, times in slowest_first)
    return f"Simulated, in seconds (trials): {policies}."


def _print_block(console: Console, task: str, load: float | str, rows: Sequence[Row]) -> None:
    """Print one task at one load or over all."""
    good = [row for row in rows if row["status"] == "ok"]
    failed = [row for row in rows if row["status"] != "ok"]
    where = "all loads" if isinstance(load, str) else f"load {load:g}"
    title = Text.assemble("\n", (task, "bold"), f" · {where} · {_plural(_num_seeds(rows), 'seed')}")
    if rows[0]["is_guard"]:
        title.append(" · guard")
    if good and not isinstance(load, str):
        title.append(f" · {good[0]['metrics']['num_requests']:,.0f} requests a seed")
    console.print(title)
    if good:
        console.print(_results_table(good, console.width))
    if failed:
        console.print(*([""] if good else []), _failures_table(failed), sep="\n")


def _results_table(rows: Sequence[Row], width: int) -> Table:
    has_intervals = any(row["cost_low"] is not None for row in rows)
    return fitted(columns_of(rows[0]["objective"] or "mean_e2e_s", has_intervals=has_intervals), rows, width)


def _print_tasks(console: Console, track: str, rows: Sequence[Row]) -> None:
    """Print the rows over all tasks of a track."""
    counts = f" · {_plural(rows[0]['num_tasks'], 'task')}, {_plural(rows[0]['num_guards'], 'guard')}"
    console.print(Text.assemble("\n", (f"{track}, all tasks", "bold"), counts))
    columns = [
        Column(heading="policy", cell=lambda row: str(row["policy"]), rank=0, is_text=True),
        Column(heading="kind", cell=kind_of, rank=8, is_text=True),
        *comparison(has_intervals=any(row["expert_ratio_low"] is not None for row in rows)),
        Column(
            heading="worst task",
            cell=lambda row: f"{number(row['worst_ratio'])} {row['worst_task']}",
            rank=2,
            is_text=True,
        ),
        FLAGS,
    ]
    console.print(fitted(columns, rows, console.width))


def _failures_table(rows: Sequence[Row]) -> Table:
    """Return the policies that have no mean, each with its reason."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("failed", no_wrap=True)
    table.add_column("expert ratio", no_wrap=True, justify="right")
    table.add_column("status", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for row in rows:
        is_partial = row["num_failed"] != row["num_seeds"]
        extent = f" ({_plural(row['num_failed'], 'trial')})" if is_partial else ""
        reason = Text(_one_line(row["message"]) + extent)
        table.add_row(Text(row["policy"]), number(row["expert_ratio"]), Text(row["status"], style="red"), reason)
    return table


def print_robustness(rows: Sequence[Row]) -> None:
    """Print how rankings hold on variants of the clusters."""
    console = Console(highlight=False)
    for task in dict.fromkeys(row["task"] for row in rows):
        here = [row for row in rows if row["task"] == task]
        counts = f" · {_plural(here[0]['num_seeds'], 'seed')}"
        console.print(Text.assemble("\n", (task, "bold"), " · robustness", counts))
        columns = [
            Column(heading="variant of the cluster", cell=lambda row: str(row["variant"]), rank=0, is_text=True),
            Column(heading="designs", cell=lambda row: str(row["num_designs"]), rank=5),
            Column(heading="tau", cell=lambda row: "-" if row["tau"] is None else f"{row['tau']:.2f}", rank=1),
            Column(heading="best", cell=lambda row: str(row["best"] or "-"), rank=2, is_text=True),
            Column(heading="expert\nratio", cell=lambda row: number(row["expert_ratio"]), rank=3),
            Column(heading="reversed\npairs", cell=lambda row: str(len(row["reversed"])), rank=4),
        ]
        console.print(fitted(columns, here, console.width))
    note = "tau: Kendall's, between this ranking and the task's own; reversed: in significant order in both."
    console.print(Text("\n" + note, style="dim"))


def print_places(folder: Path, record: ResultRecord, page: Path | None) -> None:
    """Print where the files of a result lie and how to make it again."""
    console = Console(highlight=False)
    report = str(page) if page else f"glia-bench report {folder}"
    lines = [
        ("report", report),
        ("result", f"{folder / RESULT_FILE}  (results_id {record['results_id'][:ID_DIGITS]})"),
        *([("traces", f"{folder}/timelines")] if any(trial.get("timelines") for trial in record["trials"]) else []),
        ("again", record["environment"].get("command") or "-"),
    ]
    console.print()
    for name, value in lines:
        console.print(Text.assemble((f"{name:<7} ", "bold"), value), soft_wrap=True)


def _num_seeds(rows: Sequence[Row]) -> int:
    return max(int(row["num_seeds"]) for row in rows)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _one_line(text: str) -> str:
    return " ".join(text.split())


class Progress:
    """A progress line on stderr, for a terminal only; silent elsewhere.

    Args:
        total: Trials to come; 0 shows what is said and no bar.
        is_quiet: Show nothing, whatever stderr is.
    """

    def __init__(self, total: int, *, is_quiet: bool) -> None:
        console = Console(stderr=True, highlight=False)
        columns: list[Any] = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
        if total:
            columns += [BarColumn(bar_width=16), MofNCompleteColumn(), TextColumn("{task.fields[pace]}", markup=False)]
        self._bars = Bars(
            *columns, TimeElapsedColumn(), console=console, transient=True, disable=is_quiet or not console.is_terminal
        )
        self._task = self._bars.add_task("", total=total or None, pace="")
        self._total, self._reused, self._done = total, 0, 0
        self._started_at = 0.0
        self._running: dict[tuple[Any, ...], None] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Show what is being done."""
        self._bars.update(self._task, description=text, refresh=True)

    def start_at(self, num_reused: int) -> None:
        """Count trials that an earlier run settled as done, but not towards the rate."""
        self._reused = num_reused
        self._bars.update(self._task, completed=num_reused)

    def watch(self, trial: Trial | None, outcome: Outcome | None) -> None:
        """Follow `runner.run_trials`: show what has run longest, how many beside it, the rate and the time left."""
        if trial is not None:
            self._started_at = self._started_at or time.monotonic()
            self._running[trial.task, trial.design.name, trial.load, trial.shown_seed] = None
        if isinstance(outcome, Refusal):
            self._running = {place: None for place in self._running if place[1] != outcome.policy}
        elif outcome is not None:
            self._done += 1
            self._running.pop(tuple(outcome[name] for name in ("task", "policy", "load", "seed")), None)
        self._bars.update(
            self._task, completed=self._reused + self._done, description=self._what_runs(), pace=self._pace()
        )

    def _what_runs(self) -> str:
        if not self._running:
            return ""
        task, policy, load, seed = next(iter(self._running))
        others = f" +{len(self._running) - 1}" if len(self._running) > 1 else ""
        return f"{task[:28]} {policy[:20]} load {load:g} seed {seed}{others}"

    def _pace(self) -> str:
        elapsed_s = time.monotonic() - self._started_at
        if not self._done or not elapsed_s:
            return ""
        rate = self._done / elapsed_s
        left_s = round((self._total - self._reused - self._done) / rate)
        minutes, seconds = divmod(left_s, 60)
        return f"{number(rate, 2)}/s, {minutes}:{seconds:02d} left"
