"""What the command line shows of a run: tables of a result, and progress while it runs.

Tables go to stdout and fit its width: columns that matter least go first. Colour is decoration only and absent from
pipes. Progress goes to stderr and only to a terminal. Names and messages that users chose are printed as they are,
never read as markup. Nothing is computed here but layout.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from glia_bench.scoring.metrics import OBJECTIVES
from glia_bench.scoring.record import RESULT_FILE, ResultRecord
from glia_bench.scoring.summary import ALL_LOADS

Row = Mapping[str, Any]

ID_DIGITS = 12
_GAP = 2
_KINDS = {"published_ai": "AI, published", "user": "yours"}


def number(value: float | None, digits: int = 3) -> str:
    """Return a value with about `digits` significant digits and no exponent; a dash for None."""
    if value is None:
        return "-"
    return f"{value:.{_decimals(value, digits)}f}"


def _decimals(value: float, digits: int = 3) -> int:
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return max(0, digits - whole)


def plus_minus(value: float | None, low: float | None, high: float | None) -> str:
    """Return "value ± half width" in the value's own decimals."""
    if value is None or low is None or high is None:
        return number(value)
    decimals = _decimals(value)
    return f"{value:.{decimals}f} ± {(high - low) / 2:.{decimals}f}"


def ratio(value: float | None, low: float | None, high: float | None) -> str:
    """Return "value [low, high]", without the interval where there is none."""
    if value is None:
        return "-"
    text = number(value) if value >= 10 else f"{value:.3f}"
    return text if low is None or high is None else f"{text} [{_end(low)}, {_end(high)}]"


def _end(value: float) -> str:
    return number(value) if value >= 10 else f"{value:.2f}"


def percent(share: float | None) -> str:
    """Return a share as per cent."""
    return "-" if share is None else "0" if share == 0 else f"{100 * share:.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the results table.

    Attributes:
        heading: Two short lines at most.
        cell: Row to text.
        rank: Columns with the highest rank are dropped first where the width does not suffice.
        is_wanted: Whether these rows give it something to say.
        is_text: Text is aligned to the left, numbers to the right.
    """

    heading: str
    cell: Callable[[Row], str]
    rank: int
    is_wanted: Callable[[Sequence[Row]], bool] = lambda rows: True
    is_text: bool = False

    def width(self, rows: Sequence[Row]) -> int:
        """Return the cells that it needs."""
        return max(len(text) for text in (*self.heading.split("\n"), *(self.cell(row) for row in rows)))


def _metric(name: str, show: Callable[[float | None], str] = number) -> Callable[[Row], str]:
    return lambda row: show(row["metrics"].get(name))


def _any(name: str) -> Callable[[Sequence[Row]], bool]:
    return lambda rows: any(row["metrics"].get(name) for row in rows)


def _has(name: str) -> Callable[[Sequence[Row]], bool]:
    return lambda rows: any(row["metrics"].get(name) is not None for row in rows)


def _columns(reference: str, objective: str, *, has_intervals: bool) -> list[Column]:
    """Return the columns of a results table, in order from left to right."""
    spread, span = (" ± 95 %", "\n[95 %]") if has_intervals else ("", "")
    goal = OBJECTIVES[objective]
    is_latency = objective == "mean_e2e_s"
    return [
        Column(heading="policy", cell=lambda row: str(row["policy"]), rank=0, is_text=True),
        Column(heading="kind", cell=lambda row: kind_of(row), rank=8, is_text=True),
        Column(
            heading=f"{goal.head}\n{goal.unit}{spread}",
            cell=lambda row: plus_minus(row["cost_mean"], row["cost_low"], row["cost_high"]),
            rank=1,
        ),
        Column(
            heading="published\ns",
            cell=lambda row: number(row["published_s"]),
            rank=5,
            is_wanted=lambda rows: any(row["published_s"] is not None for row in rows),
        ),
        Column(
            heading=f"ratio to {reference}{span}",
            cell=lambda row: (
                "1" if row["policy"] == reference else ratio(row["ratio"], row["ratio_low"], row["ratio_high"])
            ),
            rank=2,
            is_wanted=lambda rows: any(row["ratio"] is not None for row in rows),
        ),
        Column(
            heading="SLO met\n%",
            cell=_metric("slo_attainment", percent),
            rank=3,
            is_wanted=lambda rows: any(row["metrics"]["slo_attainment"] != 1 for row in rows),
        ),
        Column(heading="GPU\nhours", cell=_metric("gpu_hours"), rank=3, is_wanted=_has("replicas_started")),
        Column(heading="mean\nE2E s", cell=_metric("e2e_mean_s"), rank=6, is_wanted=lambda rows: not is_latency),
        Column(heading="p99\ns", cell=_metric("e2e_p99_s"), rank=4),
        Column(heading="TTFT\ns", cell=_metric("ttft_mean_s"), rank=7),
        Column(heading="restarted\n%", cell=_metric("restarted_fraction", percent), rank=6),
        Column(
            heading="cached\n%",
            cell=_metric("cached_token_fraction", percent),
            rank=6,
            is_wanted=_has("cached_token_fraction"),
        ),
        Column(
            heading="rejected\n%",
            cell=_metric("rejected_fraction", percent),
            rank=3,
            is_wanted=_any("rejected_fraction"),
        ),
        Column(
            heading="expired\n%",
            cell=_metric("expired_fraction", percent),
            rank=3,
            is_wanted=_any("expired_fraction"),
        ),
        Column(
            heading="unfinished\n%",
            cell=_metric("unfinished_fraction", percent),
            rank=3,
            is_wanted=_any("unfinished_fraction"),
        ),
        Column(heading="sim\nms", cell=lambda row: number(row["sim_s"] and 1000 * row["sim_s"], 2), rank=9),
    ]


def print_result(record: ResultRecord) -> None:
    """Print a table per task and load, failed policies below it, and how to read them."""
    console = Console(highlight=False)
    summary = [row for row in record["summary"] if row["load"] != ALL_LOADS]
    for task, load in dict.fromkeys((row["task"], row["load"]) for row in summary):
        rows = [row for row in summary if row["task"] == task and row["load"] == load]
        _print_block(console, task, load, rows)
    notes = ["Lower is better."]
    if any(row["cost_low"] is not None for row in summary):
        notes.append("± and [ ] are 95 % t intervals over seeds; ratios are paired seed by seed.")
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


def _print_block(console: Console, task: str, load: float, rows: Sequence[Row]) -> None:
    """Print one task at one load."""
    good = [row for row in rows if row["status"] == "ok"]
    failed = [row for row in rows if row["status"] != "ok"]
    title = Text.assemble("\n", (task, "bold"), f" · load {load:g}", f" · {_plural(_num_seeds(rows), 'seed')}")
    if good:
        title.append(f" · {good[0]['metrics']['num_requests']:,.0f} requests a seed")
    console.print(title)
    if good:
        console.print(_results_table(good, console.width))
    if failed:
        console.print(*([""] if good else []), _failures_table(failed), sep="\n")


def _results_table(rows: Sequence[Row], width: int) -> Table:
    reference = next((str(row["reference"]) for row in rows if row["reference"]), "")
    has_intervals = any(row["cost_low"] is not None for row in rows)
    objective = rows[0].get("objective") or "mean_e2e_s"
    columns = [
        column for column in _columns(reference, objective, has_intervals=has_intervals) if column.is_wanted(rows)
    ]
    while len(columns) > 2 and sum(column.width(rows) + _GAP for column in columns) - _GAP > width:
        columns.remove(max(columns, key=lambda column: column.rank))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            Text(column.heading), justify="left" if column.is_text else "right", no_wrap=True, vertical="bottom"
        )
    for row in rows:
        style = "bold green" if row["kind"] == "user" else "dim" if row["kind"] == "null" else ""
        table.add_row(*(Text(column.cell(row)) for column in columns), style=style)
    return table


def _failures_table(rows: Sequence[Row]) -> Table:
    """Return the policies that have no mean, each with its reason."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("failed", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for row in rows:
        is_partial = row["num_failed"] != row["num_seeds"]
        extent = f" ({row['num_failed']} of {row['num_seeds']} seeds)" if is_partial else ""
        table.add_row(Text(row["policy"]), Text(row["status"], style="red"), Text(_one_line(row["message"]) + extent))
    return table


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


def kind_of(row: Row) -> str:
    """Return the kind of a policy, in words."""
    kind = str(row["kind"])
    return _KINDS.get(kind, kind)


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
            self._running[trial.task, trial.design.name, trial.load, trial.seed] = None
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
