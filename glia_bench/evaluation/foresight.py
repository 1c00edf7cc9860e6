"""What oracles are told of a case before it runs: true output lengths, true caches, a schedule from future arrivals.

Only shipped policies of kind `bound` get any of it, and none of them is ranked.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S
from glia_bench.features import FloatArray
from glia_bench.loading import with_other_constants
from glia_bench.policy import Policy

if TYPE_CHECKING:
    from glia_bench.tasks.task import Task

SCHEDULE = "SCHEDULE"
"""Constant of an oracle that is filled in: replicas to ask for at each tick."""
PROMPT_TOKEN_WEIGHT = 0.1
"""Work of a prompt token in output tokens."""


def foreseen(policy: Policy, case: Case, task: "Task") -> tuple[Policy, Case]:
    """Return an oracle that knows the case, and the case with what it may see of it."""
    cluster = replace(case.cluster, prefix_views=(*case.cluster.prefix_views, "truth"))
    case = replace(case, cluster=cluster, predicted_tokens=case.trace.output_tokens.copy())
    if policy.interval_s is None or f"\n{SCHEDULE} = " not in policy.source:
        return policy, case
    return with_other_constants(policy, {SCHEDULE: schedule(policy, case, task)}), case


def schedule(policy: Policy, case: Case, task: "Task") -> tuple[int, ...]:
    """Return the replicas to ask for at each tick of a policy with the constants UTILISATION and SMOOTH_S.

    Load is the work that arrives in a second, in replicas: the task's GPU time of a request, shared out by tokens, and
    averaged over SMOOTH_S seconds before. A follow-up turn counts when it would arrive if service took no time.
    """
    assert policy.interval_s is not None
    constants = {tunable.name: tunable.default for tunable in policy.tunable}
    pool = case.cluster.pools[0]
    work = PROMPT_TOKEN_WEIGHT * case.trace.prompt_tokens + case.trace.output_tokens
    seconds = case.trace.arrival_ps // PS_PER_S
    per_second = np.bincount(seconds, weights=work / work.mean()).astype(np.float64)
    load = trailing_mean(per_second, int(constants["SMOOTH_S"])) * task.gpu_seconds_per_request / pool.gpus_per_replica
    wanted = np.ceil(load / constants["UTILISATION"]).astype(np.int64)
    ahead_s = round(pool.cold_start.provision_s + pool.cold_start.load_s + policy.interval_s)
    ticks = np.arange(1, int(case.horizon_ps / PS_PER_S / policy.interval_s) + 2) * policy.interval_s
    return tuple(int(wanted[int(tick) : int(tick) + ahead_s + 1].max(initial=1)) for tick in ticks)


def trailing_mean(values: FloatArray, width: int) -> FloatArray:
    """Return the mean of each value and those before it, `width` in all, zeros before the first; shape as `values`."""
    sums: FloatArray = np.concatenate([np.zeros(width), np.cumsum(values)])
    means: FloatArray = (sums[width:] - sums[:-width]) / width
    return means
