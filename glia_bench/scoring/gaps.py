"""What a design loses from the seeds that it was developed on to sealed ones: the sign of a design made for its seeds.

The gap is its mean log-gain over the expert (`score.gains`) on sealed seeds less that on development seeds, with an
interval for two samples that share no seeds. Below 0: worse on sealed seeds than on those it could know. Fresh draws
ask whether it learnt its seeds by heart, perturbed ones whether it holds beside the setting that it was made for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from glia_bench.scoring.intervals import Interval, strata_interval
from glia_bench.scoring.record import TrialRecord
from glia_bench.scoring.score import gains


def gap_rows(trials: Sequence[TrialRecord], experts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a row per task, policy and part of the sealed split.

    Args:
        trials: Trial records of both splits; those that our own machinery failed are left out.
        experts: Task to its expert.

    Returns:
        Rows of task, policy, part ("fresh" or "perturbed"), reference (the expert), num_dev and num_sealed seeds, and
        gap, gap_low, gap_high in units of ln. A task whose expert was not run on both splits has none.
    """
    usable = [trial for trial in trials if trial["status"] != "infra_error"]
    rows = []
    for task, policy in sorted({(trial["task"], trial["policy"]) for trial in usable}):
        loads = sorted({trial["load"] for trial in usable if trial["task"] == task})
        found = {}
        for part in ("dev", "fresh", "perturbed"):
            here = [trial for trial in usable if trial["task"] == task and _part(trial) == part]
            ours, theirs = ([t for t in here if t["policy"] == name] for name in (policy, experts.get(task)))
            found[part] = list(gains(ours, theirs, loads).values())
        for part in ("fresh", "perturbed"):
            if found["dev"] and found[part]:
                gap = difference_interval(found[part], found["dev"])
                counts = {"num_dev": len(found["dev"]), "num_sealed": len(found[part])}
                ends = {"gap": gap.value, "gap_low": gap.low, "gap_high": gap.high}
                which = {"task": task, "policy": policy, "part": part, "reference": experts[task]}
                rows.append({**which, **counts, **ends})
    return rows


def _part(trial: TrialRecord) -> str:
    return "dev" if trial["split"] == "dev" else str(trial["seed"]).rpartition("-")[0]


def difference_interval(values: Sequence[float], others: Sequence[float]) -> Interval:
    """Return mean(values) - mean(others) with its 95 % interval.

    The difference is twice the mean of two strata, the second with its sign turned.
    """
    half = strata_interval([list(values), [-value for value in others]])
    low, high = (None if end is None else 2.0 * end for end in (half.low, half.high))
    return Interval(value=2.0 * half.value, low=low, high=high, count=half.count, p=half.p)
