"""Two results side by side: what they have in common, cell by cell, and how much it costs in one and in the other.

A cell is a task, policy, load and seed. Cells of both results pair if their workloads are equal; per task and policy
the costs are compared as the second over the first, in logarithms averaged over loads and then over seeds. Policies
pair by name, and a pair whose sources differ says so: two versions of a design are the usual question. Nothing is
averaged over tasks, and a cell that failed on either side leaves its row without a ratio.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from glia_bench.scoring.intervals import Interval, exp_interval, log_ratio, mean_interval
from glia_bench.scoring.record import ResultRecord, TrialRecord

_OF_THE_RUN = {"command", "started_at", "ended_at", "wall_s", "num_planned", "refused", "interrupted"}
"""Fields of an environment that differ between any two runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy on one task, in both results.

    Attributes:
        task, policy: Which.
        num_cells: Pairs of (load, seed).
        num_seeds: Seeds among them.
        num_equal: Pairs that gave the same decisions and records.
        is_same_source: Whether the design's text is the same.
        ratio, ratio_low, ratio_high: Cost of the second over the first with its paired 95 % interval; below 1: the
            second is better.
        remark: Why there is no ratio; empty if there is one.
    """

    task: str
    policy: str
    num_cells: int
    num_seeds: int
    num_equal: int
    is_same_source: bool
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    remark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two results.

    Attributes:
        ids: `id` of both.
        is_same_results: Whether their `results_id` is the same.
        rows: What both have, by task and policy.
        only_in_first, only_in_second: Task and policy to the number of cells that the other does not have.
        other_workloads: Task to the number of cells whose workloads differ, although load and seed are equal.
        environment: Field to its two values, where they differ.
    """

    ids: tuple[str, str]
    is_same_results: bool
    rows: tuple[Row, ...]
    only_in_first: Mapping[str, int]
    only_in_second: Mapping[str, int]
    other_workloads: Mapping[str, int]
    environment: Mapping[str, tuple[Any, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def compare_records(first: ResultRecord, second: ResultRecord) -> Comparison:
    """Compare two result records."""
    sides = [{_cell(trial): trial for trial in record["trials"]} for record in (first, second)]
    shared = [cell for cell in sides[0] if cell in sides[1]]
    other = [cell for cell in shared if _workloads_differ(sides[0][cell], sides[1][cell])]
    paired = [(sides[0][cell], sides[1][cell]) for cell in shared if cell not in other]
    names = sorted({(trial["task"], trial["policy"]) for trial, _ in paired})
    groups = [[pair for pair in paired if (pair[0]["task"], pair[0]["policy"]) == name] for name in names]
    environments = (first["environment"], second["environment"])
    return Comparison(
        ids=(first["id"], second["id"]),
        is_same_results=first["results_id"] == second["results_id"],
        rows=tuple(_row(group) for group in groups),
        only_in_first=_counted(cell for cell in sides[0] if cell not in sides[1]),
        only_in_second=_counted(cell for cell in sides[1] if cell not in sides[0]),
        other_workloads=_counted(other),
        environment={
            name: (environments[0].get(name), environments[1].get(name))
            for name in sorted(environments[0].keys() | environments[1].keys())
            if name not in _OF_THE_RUN and environments[0].get(name) != environments[1].get(name)
        },
    )


def _cell(trial: TrialRecord) -> tuple[str, str, float, int | str]:
    return trial["task"], trial["policy"], trial["load"], trial["seed"]


def _workloads_differ(first: TrialRecord, second: TrialRecord) -> bool:
    """Return whether two trials are known to have run other workloads; one that was never started has none."""
    hashes = first["workload_sha256"], second["workload_sha256"]
    return None not in hashes and hashes[0] != hashes[1]


def _counted(cells: Iterator[Any] | Sequence[Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for task, policy, *_ in cells:
        name = f"{policy} on {task}"
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def _row(pairs: Sequence[tuple[TrialRecord, TrialRecord]]) -> Row:
    """Return the comparison of one policy on one task."""
    first, second = pairs[0]
    interval, remark = _ratio(pairs)
    return Row(
        task=first["task"],
        policy=first["policy"],
        num_cells=len(pairs),
        num_seeds=len({ours["seed"] for ours, _ in pairs}),
        num_equal=sum(ours["records_sha256"] == theirs["records_sha256"] is not None for ours, theirs in pairs),
        is_same_source=first["policy_sha256"] == second["policy_sha256"],
        ratio=interval.value if interval else None,
        ratio_low=interval.low if interval else None,
        ratio_high=interval.high if interval else None,
        remark=remark,
    )


def _ratio(pairs: Sequence[tuple[TrialRecord, TrialRecord]]) -> tuple[Interval | None, str]:
    """Return the second's cost over the first's, or why there is none; seeds that lack a load are left out."""
    failed = [trial for pair in pairs for trial in pair if trial["status"] != "ok"]
    if failed:
        return None, f"{len(failed)} failed ({failed[0]['status']})"
    loads = {ours["load"] for ours, _ in pairs}
    logs: dict[int | str, list[float]] = {}
    for ours, theirs in pairs:
        if ours["cost"] <= 0.0 or theirs["cost"] <= 0.0:
            return None, "a cost is not positive"
        logs.setdefault(ours["seed"], []).append(log_ratio(theirs["cost"], ours["cost"]))
    means = [math.fsum(of_seed) / len(of_seed) for of_seed in logs.values() if len(of_seed) == len(loads)]
    return (exp_interval(mean_interval(means)), "") if means else (None, "no seed has every load")
