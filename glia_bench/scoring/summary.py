"""Trials to table rows: per task, policy and load, over all loads, and over all tasks of a track.

A row's cost and metrics are means over the same trials: the seeds that were run at every one of its loads,
`num_seeds` of them. An interval of a cost never reaches below 0, which no cost does. A policy with a failed trial has
no cost and no metrics in that row, only the reason: an average over the seeds that went well would hide it. Its
`expert_ratio` stands all the same, with the failed trials counted as `score` says. What each field means is in
docs/scoring.md.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from glia_bench.scoring import score
from glia_bench.scoring.intervals import Interval, mean_interval, strata_interval
from glia_bench.scoring.metrics import METRICS
from glia_bench.scoring.record import TrialRecord
from glia_bench.scoring.score import Gains
from glia_bench.scoring.starvation import PLAIN_REFERENCE, starved_groups
from glia_bench.scoring.suite import suite_rows

if TYPE_CHECKING:
    from glia_bench.tasks.task import Task

Row: TypeAlias = dict[str, Any]

ALL_LOADS = "all"


def summarise(trials: Sequence[TrialRecord], tasks: Iterable["Task"] = ()) -> list[Row]:
    """Return one row per (task, policy, load), per (task, policy) over all loads, and per policy over all tasks.

    Args:
        trials: Trial records, in any order; trials that our own machinery failed are left out.
        tasks: The tasks; of one that is not among them references, objective and published values are unknown, so that
            its rows have no `expert_ratio`.

    Returns:
        Rows ordered by task and load ("all" last), then by cost, failed ones at the end; the rows over tasks last.
    """
    known = {task.id: task for task in tasks}
    usable = [trial for trial in trials if trial["status"] != "infra_error"]
    by_task = {
        name: [trial for trial in usable if trial["task"] == name] for name in sorted({t["task"] for t in usable})
    }
    blocks = {name: _Block(name, known.get(name), here) for name, here in by_task.items()}
    for policy in {trial["policy"] for trial in usable}:
        own = [block.rows[policy] for block in blocks.values() if policy in block.rows]
        score.correct_for_tasks([row for row in own if not row["is_guard"]])
    rows: list[Row] = []
    for block in blocks.values():
        for load in block.loads:
            rows += _ordered(block.at(load))
        rows += _ordered(block.rows.values())
    return rows + suite_rows({name: (block.rows, block.gains) for name, block in blocks.items()})


def _ordered(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["cost_mean"] is None, row["cost_mean"] or 0.0, row["policy"]))


class _Block:
    """All policies on one task, at some of its loads.

    Attributes:
        loads: Those loads.
        gains: Policy to log-gains by seed.
        rows: Policy to its row over these loads.
    """

    def __init__(
        self, name: str, task: "Task | None", trials: Sequence[TrialRecord], whole: "_Block | None" = None
    ) -> None:
        self.name, self.task, self.trials = name, task, trials
        self.loads = sorted({trial["load"] for trial in trials})
        self.track = name.split("/")[0]
        self.groups = {
            policy: [trial for trial in trials if trial["policy"] == policy]
            for policy in sorted({trial["policy"] for trial in trials})
        }
        references = (task.naive, task.expert) if task else (None, None)
        self.naive, self.expert, self.plain = (
            policy if policy in self.groups else None for policy in (*references, PLAIN_REFERENCE.get(self.track))
        )
        expert = self._reference(self.expert)
        self.gains = {policy: score.gains(group, expert, self.loads) for policy, group in self.groups.items()}
        naive = self.gains[self.naive] if self.naive else {}
        # a guard is a whole task; of other tasks, a load that does not separate designs has no score
        self.is_guard: bool = whole.is_guard if whole else score.is_guard(naive)
        has_score = bool(naive) and not self.is_guard and not score.is_guard(naive)
        self.naive_gain = math.fsum(naive.values()) / len(naive) if has_score else None
        self.is_whole = whole is None
        self.rows = {policy: self._row(policy, group) for policy, group in self.groups.items()}
        self._rank()

    def at(self, load: float) -> list[Row]:
        """Return the rows at one load."""
        if self.loads == [load]:
            rows = [dict(row) for row in self.rows.values()]
        else:
            here = [trial for trial in self.trials if trial["load"] == load]
            rows = list(_Block(self.name, self.task, here, whole=self).rows.values())
        published = (self.task.published if self.task else None) or {}
        for row in rows:
            row["load"] = load
            row["published_s"] = published.get(row["policy"]) if load == 1.0 else None
        return rows

    def _reference(self, policy: str | None) -> list[TrialRecord]:
        return self.groups.get(policy or "", [])

    def _row(self, policy: str, trials: Sequence[TrialRecord]) -> Row:
        failed = [trial for trial in trials if trial["status"] != "ok"]
        costs = {} if failed else _costs_by_seed(trials, self.loads)
        mean = mean_interval([math.fsum(c) / len(c) for c in costs.values()]) if costs else None
        used = trials if failed else [trial for trial in trials if trial["seed"] in costs]
        worst = Counter(trial["status"] for trial in failed).most_common(1)
        return {
            "task": self.name,
            "track": self.track,
            "policy": policy,
            "kind": trials[0]["kind"],
            "load": ALL_LOADS,
            "num_seeds": len({trial["seed"] for trial in used}),
            "status": worst[0][0] if worst else "ok",
            "num_failed": len(failed),
            "message": failed[0]["message"] if failed else "",
            **dict(zip(("cost_mean", "cost_low", "cost_high"), _ends(mean, least=0.0), strict=True)),
            "objective": self.task.objective if self.task else None,
            "published_s": None,
            **self._scores(policy, trials[0]["kind"]),
            "starves": starved_groups(trials, self._reference(self.plain)),
            "sim_s": _mean(trial["sim_s"] for trial in used if trial["sim_s"] is not None),
            "metrics": {name: None if failed else _mean_metric(used, name) for name in METRICS},
        }

    def _scores(self, policy: str, kind: str) -> Row:
        """Return the fields that compare a policy with the references."""
        found: Gains = self.gains[policy]
        interval = strata_interval([list(found.values())]) if found else None
        fields = score.ratio_fields(interval)
        ratio = fields["expert_ratio"]
        naive = self.naive_gain
        return {
            "naive": self.naive,
            "expert": self.expert,
            "plain": self.plain,
            "num_paired": len(found),
            **fields,
            "share_better": score.share_better(found),
            "score": score.score(interval.value, naive) if interval and naive is not None else None,
            "is_guard": self.is_guard,
            "guard_failed": self.is_whole and self.is_guard and ratio is not None and ratio < 1.0 / score.GUARD_LIMIT,
            "beyond": ratio - 1.0 if kind == "bound" and ratio is not None else None,
            "rank_low": None,
            "rank_high": None,
            "on_front": None,
        }

    def _rank(self) -> None:
        """Fill in what depends on all rows: rank bands, and who lies on the front of GPU hours and attainment."""
        ranked = {
            policy: {self.name: self.gains[policy]}
            for policy, row in self.rows.items()
            if self.gains[policy] and score.is_ranked(row)
        }
        for policy, band in score.rank_bands(ranked).items():
            self.rows[policy]["rank_low"], self.rows[policy]["rank_high"] = band
        if self.task and self.task.objective == "gpu_seconds_slo":
            self._mark_front()

    def _mark_front(self) -> None:
        points = {
            policy: (row["metrics"]["gpu_hours"], -row["metrics"]["slo_attainment"])
            for policy, row in self.rows.items()
            if row["cost_mean"] is not None and row["kind"] != "bound"
        }
        for policy, (hours, missed) in points.items():
            others = [point for point in points.values() if point != (hours, missed)]
            self.rows[policy]["on_front"] = not any(h <= hours and m <= missed for h, m in others)


def _costs_by_seed(trials: Sequence[TrialRecord], loads: Sequence[float]) -> dict[int, list[float]]:
    """Return seed to its costs in the order of `loads`, for the seeds that have been run at every load."""
    by_cell = {(trial["seed"], trial["load"]): trial["cost"] for trial in trials}
    seeds = sorted({trial["seed"] for trial in trials})
    return {
        seed: [by_cell[seed, load] for load in loads]
        for seed in seeds
        if all((seed, load) in by_cell for load in loads)
    }


def _ends(interval: Interval | None, least: float = -math.inf) -> tuple[float | None, float | None, float | None]:
    if interval is None:
        return None, None, None
    return interval.value, None if interval.low is None else max(interval.low, least), interval.high


def _mean_metric(trials: Sequence[TrialRecord], name: str) -> float | None:
    """Return the mean of a metric, None where the task does not have it."""
    return _mean(trial["metrics"][name] for trial in trials if trial["metrics"].get(name) is not None)


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else None
