"""What a design loses from the seeds that it was developed on to sealed ones: the sign of a design made for its seeds.

Per seed and over its loads, the mean of ln(reference cost / cost), each clipped, and a failed trial counting as the
worst, as in the headline. The gap is the mean of that over sealed seeds less the mean over development seeds, with
Welch's interval, since the two have no seeds in common. Below 0: worse on sealed seeds than on those it could know.
Fresh draws ask whether it learnt its seeds by heart, perturbed ones whether it holds beside the setting that it was
made for.
"""

import math
from collections.abc import Sequence
from typing import Any

from glia_bench.scoring.intervals import CONFIDENCE, Interval, t_quantile
from glia_bench.scoring.record import TrialRecord
from glia_bench.scoring.summary import PLAIN_REFERENCE
from glia_bench.tasks.catalog import TASKS

CLIP = math.log(4.0)
"""Bound of a log-ratio, and minus the value of a failed trial."""


def gap_rows(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Return a row per task, policy and part of the sealed split.

    Args:
        trials: Trial records of both splits; those that our own machinery failed are left out.

    Returns:
        Rows of task, policy, part ("fresh" or "perturbed"), reference (the task's expert, where it was run, else the
        track's plain reference), num_dev and num_sealed seeds, and gap, gap_low, gap_high in units of ln. Tasks without
        a reference on both splits have none.
    """
    rows = []
    for task in sorted({trial["task"] for trial in trials}):
        here = [trial for trial in trials if trial["task"] == task and trial["status"] != "infra_error"]
        policies = sorted({trial["policy"] for trial in here})
        wanted = [TASKS[task].expert if task in TASKS else "", PLAIN_REFERENCE.get(task.split("/")[0], "")]
        reference = next((name for name in wanted if name in policies), None)
        if reference is None:
            continue
        costs = {(t["policy"], t["load"], t["seed"]): t["cost"] if t["status"] == "ok" else None for t in here}
        splits = {(_part(trial), trial["seed"]) for trial in here}
        for policy in policies:
            ratios = {
                part: _ratios(costs, policy, reference, sorted(seed for of, seed in splits if of == part))
                for part in ("dev", "fresh", "perturbed")
            }
            for part in ("fresh", "perturbed"):
                if ratios["dev"] and ratios[part]:
                    gap = difference_interval(ratios[part], ratios["dev"])
                    rows.append(
                        {
                            "task": task,
                            "policy": policy,
                            "part": part,
                            "reference": reference,
                            "num_dev": len(ratios["dev"]),
                            "num_sealed": len(ratios[part]),
                            "gap": gap.value,
                            "gap_low": gap.low,
                            "gap_high": gap.high,
                        }
                    )
    return rows


def _part(trial: TrialRecord) -> str:
    return "dev" if trial["split"] == "dev" else str(trial["seed"]).rpartition("-")[0]


def _ratios(
    costs: dict[tuple[str, float, int | str], float | None], policy: str, reference: str, seeds: Sequence[int | str]
) -> list[float]:
    """Return the mean log-ratio over loads of every seed that both have run."""
    loads = sorted({load for _, load, _ in costs})
    found = []
    for seed in seeds:
        cells = [((policy, load, seed), (reference, load, seed)) for load in loads]
        logs = [_log(costs[ours], costs[theirs]) for ours, theirs in cells if ours in costs and theirs in costs]
        if logs:
            found.append(math.fsum(logs) / len(logs))
    return found


def _log(cost: float | None, reference: float | None) -> float:
    """Return ln(reference / cost) within the clip; a failed trial, or a cost that is not positive, is the worst."""
    if not cost or cost <= 0.0 or not reference or reference <= 0.0:
        return -CLIP
    return min(CLIP, max(-CLIP, math.log(reference) - math.log(cost)))


def difference_interval(values: Sequence[float], others: Sequence[float]) -> Interval:
    """Return mean(values) - mean(others) with Welch's 95 % t interval; no ends where one of them is a single value.

    Degrees of freedom are rounded down, which widens the interval.

    Source:
        B. L. Welch, The generalization of "Student's" problem ..., Biometrika 34 (1947).
    """
    means = [math.fsum(sample) / len(sample) for sample in (values, others)]
    difference, count = means[0] - means[1], min(len(values), len(others))
    if count < 2:
        return Interval(value=difference, low=None, high=None, count=count)
    parts = [
        math.fsum((value - mean) ** 2 for value in sample) / (len(sample) - 1) / len(sample)
        for sample, mean in zip((values, others), means, strict=True)
    ]
    variance = math.fsum(parts)
    if variance == 0.0:
        return Interval(value=difference, low=difference, high=difference, count=count)
    spread = parts[0] ** 2 / (len(values) - 1) + parts[1] ** 2 / (len(others) - 1)
    half = t_quantile(0.5 + 0.5 * CONFIDENCE, max(1, int(variance**2 / spread))) * math.sqrt(variance)
    return Interval(value=difference, low=difference - half, high=difference + half, count=count)
