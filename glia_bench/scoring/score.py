"""Costs to the headline ratio, the score, what may be claimed of a design, and rank bands: the definitions.

Everything is built on log-gains, ln(cost of the expert / cost of the design) on the very same case, clipped to ± ln 4:
0 is the expert's own level, ln 2 half its cost. A failed trial has the gain -ln 4 and is never dropped. Per seed the
gains are averaged over loads, then over seeds, then over tasks. Which groups a design starves is `starvation`'s to
find; intervals come from `intervals`, rows from `summary`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from glia_bench.scoring.intervals import Interval, exp_interval, holm, strata_interval
from glia_bench.scoring.record import TrialRecord

MAX_GAIN = math.log(4.0)
"""Log-gains are clipped to plus and minus this; a failed trial counts minus this."""

EXPERT_LEVEL = 0.98
"""A design is at expert level if the interval of its `expert_ratio` does not reach below this."""

MIN_SEPARATION, MIN_SEPARATION_LOW = 1.10, 1.05
"""naive cost / expert cost, and the lower end of its interval, from which a task separates designs."""

MIN_SEEDS_OF_SEPARATION = 10
"""Seeds from which that interval is asked for: of fewer it says more about the seeds than about the task."""

GUARD_LIMIT = 1.05
"""A guard is failed by a design that is worse than this times the expert's cost."""

SIGNIFICANT_P = 0.05
UNRANKED_KINDS = ("bound", "null")

Gains: TypeAlias = Mapping[int, float]
"""Seed to log-gain, averaged over the loads in question."""


def log_gain(expert_cost: float, cost: float | None) -> float:
    """Return ln(expert cost / cost), clipped to ± ln 4; no cost, of a failed trial, counts as -ln 4.

    A cost of 0, which no objective of a real workload gives, is the limit that it tends to.
    """
    if cost is None:
        return -MAX_GAIN
    if cost == expert_cost:
        return 0.0
    if cost <= 0.0 or expert_cost <= 0.0:
        return MAX_GAIN if cost < expert_cost else -MAX_GAIN
    return min(max(math.log(expert_cost) - math.log(cost), -MAX_GAIN), MAX_GAIN)


def gains(trials: Iterable[TrialRecord], expert: Iterable[TrialRecord], loads: Sequence[float]) -> dict[int, float]:
    """Return the log-gains of one policy on one task, for the seeds that it and the expert have run at every load.

    Args:
        trials: The policy's, without those that our own machinery failed.
        expert: The expert's; cases on which it failed itself compare nothing and are left out.
        loads: Loads to average over.
    """
    ours = {(trial["seed"], trial["load"]): trial for trial in trials}
    theirs = {(trial["seed"], trial["load"]): trial["cost"] for trial in expert if trial["status"] == "ok"}
    seeds = sorted({seed for seed, _ in ours})
    return {
        seed: math.fsum(log_gain(theirs[seed, load], _cost(ours[seed, load])) for load in loads) / len(loads)
        for seed in seeds
        if all((seed, load) in ours and (seed, load) in theirs for load in loads)
    }


def _cost(trial: TrialRecord) -> float | None:
    cost: float | None = trial["cost"] if trial["status"] == "ok" else None
    return cost


def is_guard(naive: Gains) -> bool:
    """Return whether a task does not separate designs, so that it stands outside `expert_ratio` and has no score.

    It separates them if the naive reference costs at least 1.10 times what the expert does, and the interval of that
    ratio lies above 1.05; with fewer than 10 seeds the ratio alone decides.

    Args:
        naive: Log-gains of the naive reference; all 0 where it is the expert itself, none where it was not run.
    """
    if not naive:
        return False
    found = exp_interval(strata_interval([[-gain for gain in naive.values()]]))
    is_close = found.low is not None and found.low <= MIN_SEPARATION_LOW
    return found.value < MIN_SEPARATION or (len(naive) >= MIN_SEEDS_OF_SEPARATION and is_close)


def score(gain: float, naive_gain: float) -> float:
    """Return 100 * ln(naive / cost) / ln(naive / expert): 0 for the naive reference, 100 for the expert.

    Args:
        gain: Mean log-gain of the design.
        naive_gain: That of the naive reference, below 0.
    """
    return 100.0 * (1.0 - gain / naive_gain)


def ratio_fields(interval: Interval | None) -> dict[str, Any]:
    """Return `expert_ratio` with its interval, p-value and the two claims, from an interval of log-gains.

    `beats_expert`: the lower end of the 95 % interval lies above 1. `expert_level`: it is at least 0.98.
    """
    found = exp_interval(interval) if interval else None
    low = found.low if found else None
    return {
        "expert_ratio": found.value if found else None,
        "expert_ratio_low": low,
        "expert_ratio_high": found.high if found else None,
        "p_expert": found.p if found else None,
        "beats_expert": low is not None and low > 1.0,
        "expert_level": low is not None and low >= EXPERT_LEVEL,
    }


def correct_for_tasks(rows: Sequence[dict[str, Any]]) -> None:
    """Correct one policy's claims for the number of tasks they are made on: Holm's method, in place.

    Args:
        rows: One row per task, of `ratio_fields`; those without a p-value are passed over.
    """
    tested = [row for row in rows if row["p_expert"] is not None]
    for row, p in zip(tested, holm([row["p_expert"] for row in tested]), strict=True):
        row["p_expert"] = p
        row["beats_expert"] = row["beats_expert"] and p < SIGNIFICANT_P


def is_paper(task: str) -> bool:
    """Return whether a task repeats a published experiment, which ranks designs as they come, starving or not."""
    return task.split("/")[-1].startswith("paper")


def is_ranked(row: Mapping[str, Any]) -> bool:
    """Return whether a row takes part in the ranking: no oracle, no null policy, repeatable, and starving nobody."""
    is_fair = not row["starves"] or is_paper(row["task"])
    return is_fair and row["kind"] not in UNRANKED_KINDS and row["status"] != "nondeterministic"


def rank_bands(policies: Mapping[str, Mapping[str, Gains]]) -> dict[str, tuple[int, int]]:
    """Return the best and worst rank that the seeds leave possible for each policy.

    Best: 1 + how many are significantly better. Worst: how many are not significantly worse, itself included. Two tie
    where the interval of their difference, paired by seed and averaged over tasks, covers 0, or where a single seed
    gives no interval.

    Args:
        policies: Policy to task to log-gains; only those that are ranked.
    """
    better = {name: 0 for name in policies}
    worse = {name: 0 for name in policies}
    names = list(policies)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            sign = significant_order(policies[one], policies[other])
            winner, loser = (one, other) if sign > 0 else (other, one)
            if sign:
                better[loser] += 1
                worse[winner] += 1
    return {name: (1 + better[name], len(names) - worse[name]) for name in names}


def significant_order(one: Mapping[str, Gains], other: Mapping[str, Gains]) -> int:
    """Return 1 if the first is significantly better, -1 if the second is, 0 if they tie."""
    strata = [
        [ours[seed] - other[task][seed] for seed in ours if seed in other[task]]
        for task, ours in one.items()
        if task in other
    ]
    if not strata or not all(strata):
        return 0
    found = strata_interval(strata)
    if found.low is None or found.high is None or found.low <= 0.0 <= found.high:
        return 0
    return 1 if found.low > 0.0 else -1


def share_better(found: Gains) -> float | None:
    """Return the share of seeds on which a policy does better than the expert, draws counting one half."""
    wins = [1.0 if gain > 0.0 else 0.5 if gain == 0.0 else 0.0 for gain in found.values()]
    return math.fsum(wins) / len(wins) if wins else None
