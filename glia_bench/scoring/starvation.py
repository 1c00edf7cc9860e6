"""Which groups of requests a design starves to polish its mean: a flag that takes it out of the ranking.

Groups are those of the trial records (`metrics.group_metrics`): deciles of prompt length, tenants, SLO classes. A group
is starved if its mean slowdown is more than 1.25 times that under the track's plain reference on the same cases. Single
requests and sessions are not looked at.
"""

import math
from collections.abc import Iterable

from glia_bench.scoring.record import TrialRecord

PLAIN_REFERENCE: dict[str, str] = {
    "routing": "llq",
    "scheduling": "vllm_v1_fcfs",
    "autoscaling": "fixed",
    "cluster": "stack_plain",
}
"""Track to the shipped policy under which nobody is starved by choice."""

MAX_SLOWDOWN_RATIO = 1.25


def starved_groups(trials: Iterable[TrialRecord], plain: Iterable[TrialRecord]) -> list[str]:
    """Return the groups that one policy starves on one task, such as "prompt_decile 10" or "tenant 3".

    A group's slowdown is the mean over its requests in all cases that both policies have finished.

    Args:
        trials: The policy's trial records.
        plain: The plain reference's.
    """
    ours = {(trial["seed"], trial["load"]): trial for trial in trials if trial["status"] == "ok"}
    theirs = {(trial["seed"], trial["load"]): trial for trial in plain if trial["status"] == "ok"}
    cases = sorted(ours.keys() & theirs.keys())
    mine, reference = (_slowdowns([found[case] for case in cases]) for found in (ours, theirs))
    starved = [group for group in mine if group in reference and mine[group] > MAX_SLOWDOWN_RATIO * reference[group]]
    # an order of their own, since a record that was read back has its groups in another; "decile 2" before "decile 10"
    return sorted(starved, key=lambda group: (group.split(" ")[0], len(group), group))


def _slowdowns(trials: Iterable[TrialRecord]) -> dict[str, float]:
    """Return group to its mean slowdown over the requests of these trials."""
    sums: dict[str, list[tuple[float, int]]] = {}
    for trial in trials:
        for kind, groups in (trial.get("groups") or {}).items():
            for name, found in groups.items():
                count = found["num_requests"]
                sums.setdefault(f"{kind} {name}", []).append((count * found["slowdown_mean"], count))
    return {
        group: math.fsum(total for total, _ in parts) / sum(count for _, count in parts)
        for group, parts in sums.items()
    }
