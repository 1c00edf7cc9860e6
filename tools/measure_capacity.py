"""Find the capacity of tasks: the highest arrival rate at which the backlog does not grow over the case's own duration.

The backlog B is the number of requests in the system, pooled over ten development seeds and averaged over the middle
fifth of the arrivals' span (40 to 60 %) and over the last one; A is what it would be if every request were alone. It
grows if B / A is more than 1.3 times as large at the end as in the middle and B - A more than 1 % of all requests (a
random walk exactly at capacity grows as the square root of time: 1.34 times; a system that keeps up does not grow), or
if in either fifth B - A is more than 5 % of them, which catches phases and bursts that overload it for a while.
Routing, autoscaling and cluster tasks run under `lor` with all replicas that they may have, scheduling tasks under
`vllm_v1_fcfs`. Faults and staleness are the task's.

    python tools/measure_capacity.py routing/sessions-v0 ...     (no task: all but the paper's)
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import ClusterSpec, Ints
from glia_bench.features import FloatArray
from glia_bench.loading import load_policy
from glia_bench.policy import Policy
from glia_bench.scoring.unloaded import unloaded_ps
from glia_bench.sim.engine import simulate
from glia_bench.tasks.catalog import TASKS, get_task
from glia_bench.tasks.task import Task
from glia_bench.types import NEVER_PS, RunResult

MOST_GROWTH = 1.3
NOTICEABLE, MOST_LEFT = 0.01, 0.05
NUM_SEEDS = 10
PRECISION = 1.01
_SAMPLES = 500


def full_fleet(cluster: ClusterSpec) -> ClusterSpec:
    """Return the cluster with all replicas that it may have, there from the start and for ever."""
    pools = tuple(
        replace(pool, num_replicas=pool.largest, min_replicas=None, max_replicas=None) for pool in cluster.pools
    )
    return replace(cluster, pools=pools)


def plain_policy(task: Task) -> Policy:
    """Return the policy under which a task's capacity is measured."""
    return load_policy("vllm_v1_fcfs", "scheduling") if task.track == "scheduling" else load_policy("lor", "routing")


def presence(case: Case, arrival_ps: Ints, gone_ps: Ints) -> FloatArray:
    """Return the mean number of requests present in the middle and in the last fifth of the arrivals' span."""
    last_ps = int(case.trace.arrival_ps[case.trace.num_clock - 1])
    times_ps = np.linspace(0, last_ps, _SAMPLES + 1)[1:]
    present = np.searchsorted(np.sort(arrival_ps), times_ps) - np.searchsorted(np.sort(gone_ps), times_ps)
    fifths = present.reshape(5, _SAMPLES // 5).mean(axis=1)
    return np.array([fifths[2], fifths[4]])


def backlogs(case: Case, result: RunResult) -> tuple[FloatArray, FloatArray]:
    """Return presence in a run, and presence if each request were alone."""
    finished_ps = np.where(result.records.finished_ps == NEVER_PS, case.horizon_ps, result.records.finished_ps)
    alone = presence(case, result.arrival_ps, result.arrival_ps + unloaded_ps(case))
    return presence(case, result.arrival_ps, finished_ps), alone


def growth(task: Task, load: float, seeds: Sequence[int] = range(NUM_SEEDS)) -> tuple[float, float]:
    """Return how many times as large the backlog is at the end as in the middle, and its part of all requests."""
    policy = plain_policy(task)
    present, alone, num = np.zeros(2), np.zeros(2), 0
    for seed in seeds:
        case = task.case(load, seed)
        case = replace(case, cluster=full_fleet(case.cluster))
        parts = backlogs(case, simulate(case, policy))
        present, alone, num = present + parts[0], alone + parts[1], num + len(case.trace)
    middle, last = (float(ratio) for ratio in present / alone)
    return last / middle, float((present - alone).max()) / num


def keeps_up(task: Task, load: float, seeds: Sequence[int] = range(NUM_SEEDS)) -> bool:
    """Return whether the backlog does not grow."""
    ratio, left = growth(task, load, seeds)
    return left <= NOTICEABLE or (ratio <= MOST_GROWTH and left <= MOST_LEFT)


def capacity_rps(task: Task) -> float:
    """Return the highest rate without growth, to one per cent, by bisection from the task's own rate."""
    low = high = 1.0
    while not keeps_up(task, low):
        high, low = low, low / 1.3
    while high <= low or keeps_up(task, high):
        low, high = high, high * 1.3
    while high / low > PRECISION:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if keeps_up(task, middle) else (low, middle)
    return low * task.reference_rate_rps


def main() -> None:
    """Print the capacity of tasks beside the number in their files."""
    parser = argparse.ArgumentParser(description="capacity of tasks, in requests per second")
    parser.add_argument("task", nargs="*", help="task ids; left out: all but the paper's")
    chosen = parser.parse_args().task or [task for task in TASKS if "/paper-" not in task]
    for task in map(get_task, chosen):
        print(f"{task.id:32s} stated {task.reference_rate_rps:g}, found {capacity_rps(task):.4g}", flush=True)


if __name__ == "__main__":
    main()
