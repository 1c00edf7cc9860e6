"""Trials to table rows: per task, policy and load, and over all loads, means over seeds with their intervals.

A row's cost and metrics are means over the same trials: the seeds that were run at every one of its loads,
`num_seeds` of them. An interval of a cost never reaches below 0, which no cost does. A row's ratio compares with the
track's plain reference on the very same seeds: per seed the mean log-ratio over loads, then a t interval over seeds.
A policy with a failed trial has no cost and no ratio in that row, only the reason: an average over the seeds that
went well would hide it. The fields `expert_ratio` and `score` are named here and null: this version does not define
them.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glia_bench.scoring.intervals import Interval, exp_interval, log_ratio, mean_interval
from glia_bench.scoring.metrics import METRICS
from glia_bench.scoring.record import TrialRecord

PLAIN_REFERENCE: dict[str, str] = {
    "routing": "llq",
    "scheduling": "vllm_v1_fcfs",
    "autoscaling": "fixed",
    "cluster": "stack_plain",
}
"""Track to the shipped policy that ratios refer to."""

ALL_LOADS = "all"

_NO_INTERVAL: tuple[None, None, None] = (None, None, None)


def summarise(
    trials: Sequence[TrialRecord],
    published: Mapping[str, Mapping[str, float]] | None = None,
    objectives: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return one row per (task, policy, load) and per (task, policy) over all loads.

    Args:
        trials: Trial records, in any order; trials that our own machinery failed are left out.
        published: Task to policy to published mean end-to-end latency at load 1, where there is one.
        objectives: Task to the name of its cost, where it is known.

    Returns:
        Rows ordered by task and load ("all" last), then by cost; failed ones at the end.
    """
    usable = [trial for trial in trials if trial["status"] != "infra_error"]
    rows = []
    for task in sorted({trial["task"] for trial in usable}):
        here = [trial for trial in usable if trial["task"] == task]
        loads = sorted({trial["load"] for trial in here})
        reference = PLAIN_REFERENCE.get(task.split("/")[0])
        for load in [*loads, ALL_LOADS]:
            wanted = loads if load == ALL_LOADS else [load]
            groups = {
                policy: [t for t in here if t["policy"] == policy and t["load"] in wanted]
                for policy in sorted({trial["policy"] for trial in here})
            }
            known = (published or {}).get(task, {}) if load == 1.0 else {}
            objective = (objectives or {}).get(task)
            block = [
                _row(load, wanted, group, reference, groups.get(reference or "", []), known.get(policy))
                | {"objective": objective}
                for policy, group in groups.items()
                if group
            ]
            rows += sorted(block, key=lambda row: (row["cost_mean"] is None, row["cost_mean"] or 0.0, row["policy"]))
    return rows


def _row(
    load: float | str,
    loads: Sequence[float],
    trials: Sequence[TrialRecord],
    reference: str | None,
    reference_trials: Sequence[TrialRecord],
    published: float | None,
) -> dict[str, Any]:
    """Return the summary of one policy's trials at the given loads."""
    failed = [trial for trial in trials if trial["status"] != "ok"]
    costs = {} if failed else _costs_by_seed(trials, loads)
    reference_costs = (
        {} if any(t["status"] != "ok" for t in reference_trials) else _costs_by_seed(reference_trials, loads)
    )
    mean = mean_interval([math.fsum(c) / len(c) for c in costs.values()]) if costs else None
    used = trials if failed else [trial for trial in trials if trial["seed"] in costs]
    ratio = _ratio(costs, reference_costs)
    first = trials[0]
    worst = Counter(trial["status"] for trial in failed).most_common(1)
    return {
        "task": first["task"],
        "policy": first["policy"],
        "kind": first["kind"],
        "load": load,
        "num_seeds": len({trial["seed"] for trial in used}),
        "status": worst[0][0] if worst else "ok",
        "num_failed": len(failed),
        "message": failed[0]["message"] if failed else "",
        **dict(zip(("cost_mean", "cost_low", "cost_high"), _ends(mean, least=0.0), strict=True)),
        "reference": reference if ratio else None,
        "num_paired": ratio.count if ratio else 0,
        **dict(zip(("ratio", "ratio_low", "ratio_high"), _ends(ratio), strict=True)),
        "published_s": published,
        "expert_ratio": None,
        "expert_ratio_low": None,
        "expert_ratio_high": None,
        "score": None,
        "sim_s": _mean(trial["sim_s"] for trial in used if trial["sim_s"] is not None),
        "metrics": {name: None if failed else _mean_metric(used, name) for name in METRICS},
    }


def _costs_by_seed(trials: Sequence[TrialRecord], loads: Sequence[float]) -> dict[int, list[float]]:
    """Return seed to its costs in the order of `loads`, for the seeds that have been run at every load."""
    by_cell = {(trial["seed"], trial["load"]): trial["cost"] for trial in trials}
    seeds = sorted({trial["seed"] for trial in trials})
    return {
        seed: [by_cell[seed, load] for load in loads]
        for seed in seeds
        if all((seed, load) in by_cell for load in loads)
    }


def _ratio(costs: dict[int, list[float]], reference: dict[int, list[float]]) -> Interval | None:
    """Return cost over reference cost, paired by seed and load; None if no seed has both or a cost is 0."""
    logs = []
    for seed in sorted(costs.keys() & reference.keys()):
        if min(*costs[seed], *reference[seed]) <= 0.0:
            return None
        pairs = zip(costs[seed], reference[seed], strict=True)
        logs.append(math.fsum(log_ratio(ours, theirs) for ours, theirs in pairs) / len(costs[seed]))
    return exp_interval(mean_interval(logs)) if logs else None


def _ends(interval: Interval | None, least: float = -math.inf) -> tuple[float | None, float | None, float | None]:
    if interval is None:
        return _NO_INTERVAL
    return interval.value, None if interval.low is None else max(interval.low, least), interval.high


def _mean_metric(trials: Sequence[TrialRecord], name: str) -> float | None:
    """Return the mean of a metric, None where the task does not have it."""
    return _mean(trial["metrics"][name] for trial in trials if trial["metrics"].get(name) is not None)


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else None
