"""Capacities that task files state, measured again: below, the backlog settles; a tenth above, it grows.

The backlog is the mean number of requests in the system, pooled over three seeds; it grows if it is over 1.3 times as
large in the last fifth of the arrivals' span as in the middle one. Random walks at capacity stay within that over these
spans; a tenth of overload does not.
"""

import dataclasses

import numpy as np
import pytest

from glia_bench.case import Case, Trace
from glia_bench.loading import load_policy
from glia_bench.sim.engine import simulate
from glia_bench.tasks.autoscaling import burst_v0
from glia_bench.tasks.catalog import get_task
from glia_bench.tasks.task import Task, open_loop_trace
from glia_bench.types import NEVER_PS, RunResult
from glia_bench.workloads.arrivals import US_PER_S, renewal_arrivals_us
from glia_bench.workloads.lengths import sharegpt_lengths
from glia_bench.workloads.lengths_file import Lengths
from glia_bench.workloads.quantile_table import shipped_table
from glia_bench.workloads.streams import Stream

NUM_REPLICAS, SPAN_S = 4, 1200


def steady_burst_task() -> Task:
    """Return the autoscaling task with four replicas that stay, and Poisson arrivals at their capacity."""
    task = burst_v0.TASK
    pool = dataclasses.replace(task.cluster.pools[0], num_replicas=NUM_REPLICAS, min_replicas=None, max_replicas=None)

    def trace(rate_urps: int, seed: int, lengths: Lengths | None) -> Trace:
        stream, gaps = Stream("capacity", seed, "gaps"), shipped_table("exponential_gaps")
        arrivals_us = renewal_arrivals_us(stream, gaps, rate_urps=rate_urps, horizon_us=SPAN_S * US_PER_S)
        return open_loop_trace(arrivals_us, *sharegpt_lengths("capacity", seed, len(arrivals_us)))

    return dataclasses.replace(
        task,
        track="routing",
        cluster=dataclasses.replace(task.cluster, pools=(pool,)),
        reference_rate_rps=burst_v0.CAPACITY_RPS * NUM_REPLICAS,
        trace=trace,
    )


def backlogs(case: Case, result: RunResult) -> np.ndarray:
    """Return the mean number of requests in the system in each fifth of the arrivals' span; shape (5,)."""
    finished_ps = result.records.finished_ps
    gone_ps = np.sort(np.where(finished_ps == NEVER_PS, case.horizon_ps, finished_ps))
    times_ps = np.linspace(0, int(case.trace.arrival_ps[case.trace.num_clock - 1]), 501)[1:]
    present = np.searchsorted(np.sort(result.arrival_ps), times_ps) - np.searchsorted(gone_ps, times_ps)
    return present.reshape(5, 100).mean(axis=1)


@pytest.mark.parametrize(
    ("task", "policy"),
    [
        (get_task("scheduling/chat-v0"), "vllm_v1_fcfs"),
        (get_task("routing/sessions-v0"), "lor"),
        (steady_burst_task(), "lor"),
    ],
    ids=["chat", "sessions", "burst"],
)
def test_the_backlog_settles_at_capacity_and_grows_above_it(task: Task, policy: str) -> None:
    """At load 1 the plain policy keeps up over the task's own span, at 1.15 it does not."""
    growth = []
    for load in (1.0, 1.15):
        cases = [task.case(load, seed) for seed in range(3)]
        fifths = sum(backlogs(case, simulate(case, load_policy(policy, task.track))) for case in cases)
        growth.append(float(fifths[4] / fifths[2]))  # type: ignore[index]
    assert growth[0] < 1.3 < growth[1], growth
