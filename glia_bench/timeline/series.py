"""State of the cluster over time as step functions, from the best that a run logged, and their averages over bins.

With iterations, a replica's state is that at the start of each of its iterations (of the first one in a run of equal
iterations) and nothing while nobody is there. With samples it is theirs. With neither, waiting and running requests
follow from the records, preempted ones counting as running, and nobody knows how many KV blocks were used.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S, Ints
from glia_bench.timeline.lives import RequestLives, rows_by_replica
from glia_bench.types import REJECTED, Iterations, RunResult

Floats: TypeAlias = npt.NDArray[np.float64]
Detail: TypeAlias = Literal["iterations", "samples", "records"]

DETAILS: dict[Detail, str] = {
    "iterations": "from every iteration",
    "samples": "from samples, since no iterations were logged: without batch composition and times of preemptions",
    "records": "from request records, since neither iterations nor samples were logged: without KV use, batch "
    "composition and times of preemptions; preempted requests count as running",
}
"""What a reader is told of the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A step function: `value[i]` from `time_ps[i]` on, 0 before the first; int64, shape (num_steps,) each."""

    time_ps: Ints
    value: Ints

    def at(self, time_ps: Ints) -> Ints:
        """Return its values at the given times, steps of that instant included."""
        padded = np.concatenate([[0], self.value])
        return np.asarray(padded[np.searchsorted(self.time_ps, time_ps, side="right")], dtype=np.int64)

    def means(self, edges_ps: Ints) -> Floats:
        """Return its mean over each bin, shape (num_edges - 1,)."""
        end_ps = np.append(self.time_ps[1:], max(int(edges_ps[-1]), int(self.time_ps[-1]) if len(self.time_ps) else 0))
        return span_means(self.time_ps, end_ps[: len(self.time_ps)], self.value, edges_ps)

    def peaks(self, edges_ps: Ints) -> Floats:
        """Return its highest value within each bin, shape (num_edges - 1,)."""
        times = np.concatenate([edges_ps[:-1], self.time_ps])
        values = np.concatenate([self.at(edges_ps[:-1]), self.value])
        is_in = (times >= edges_ps[0]) & (times < edges_ps[-1])
        bins = np.searchsorted(edges_ps, times[is_in], side="right") - 1
        peaks = np.zeros(len(edges_ps) - 1, dtype=np.int64)
        np.maximum.at(peaks, bins, values[is_in])
        return peaks.astype(np.float64)


def span_means(start_ps: Ints, end_ps: Ints, value: Ints, edges_ps: Ints) -> Floats:
    """Return the mean over each bin of what has a value within spans and is 0 outside.

    Args:
        start_ps: Begin of spans in order of time that do not overlap; int64, shape (num_spans,).
        end_ps: Their ends, likewise.
        value: int64, shape (num_spans,).
        edges_ps: Rising; int64, shape (num_bins + 1,).
    """
    if not len(start_ps):
        return np.zeros(len(edges_ps) - 1)
    times = np.column_stack([start_ps, end_ps]).ravel().astype(np.float64)
    parts = np.zeros(len(times))
    parts[1::2] = value.astype(np.float64) * (end_ps - start_ps)
    integral = np.interp(edges_ps.astype(np.float64), times, np.cumsum(parts))
    return np.asarray(np.diff(integral) / np.diff(edges_ps), dtype=np.float64)


def count_per_bin(time_ps: Ints, weight: Ints, edges_ps: Ints) -> Floats:
    """Return the sum of weights of instants in each bin, shape (num_edges - 1,)."""
    is_in = (time_ps >= edges_ps[0]) & (time_ps < edges_ps[-1])
    bins = np.searchsorted(edges_ps, time_ps[is_in], side="right") - 1
    return np.bincount(bins, weights=weight[is_in], minlength=len(edges_ps) - 1).astype(np.float64)


def _steps_of_spans(start_ps: Ints, end_ps: Ints) -> Steps:
    """Return how many spans are open over time."""
    times = np.concatenate([start_ps, end_ps])
    changes = np.repeat(np.array([1, -1], dtype=np.int64), [len(start_ps), len(end_ps)])
    at, place = np.unique(times, return_inverse=True)
    change = np.zeros(len(at), dtype=np.int64)
    np.add.at(change, place, changes)
    return Steps(time_ps=at.astype(np.int64), value=np.cumsum(change))


def in_system(lives: RequestLives) -> Steps:
    """Return how many requests had arrived and not left."""
    return _steps_of_spans(lives.arrival_ps[lives.has_arrived], lives.left_ps[lives.has_arrived])


def held(result: RunResult, lives: RequestLives) -> Steps:
    """Return requests in the held queues: of the samples, else from the records.

    Records do not tell when a request was rejected, nor that it came back from a lost replica; both are left out there.
    """
    if result.samples is not None:
        return _sampled(result.samples.interval_s, result.samples.held)
    is_known = lives.has_arrived & (result.records.outcome != REJECTED)
    end_ps = np.where(lives.dispatched_ps < 0, lives.left_ps, lives.dispatched_ps)
    return _steps_of_spans(lives.arrival_ps[is_known], end_ps[is_known])


def _sampled(interval_s: float, value: Ints) -> Steps:
    interval_ps = round(interval_s * PS_PER_S)
    return Steps(time_ps=np.arange(len(value), dtype=np.int64) * interval_ps, value=value.astype(np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSeries:
    """State of one replica over time; `allocated` (KV blocks) is None where it is not known."""

    waiting: Steps
    running: Steps
    allocated: Steps | None


def detail_of(result: RunResult) -> Detail:
    """Return what the run's replica series are made from."""
    if result.iterations is not None:
        return "iterations"
    return "records" if result.samples is None else "samples"


def replica_series(case: Case, result: RunResult, lives: RequestLives) -> list[ReplicaSeries]:
    """Return the state over time of every row of the replica arrays."""
    num = case.cluster.num_replicas
    samples, iterations = result.samples, result.iterations
    if iterations is None and samples is not None:
        return [
            ReplicaSeries(
                waiting=_sampled(samples.interval_s, samples.waiting[:, g]),
                running=_sampled(samples.interval_s, samples.running[:, g]),
                allocated=_sampled(samples.interval_s, samples.allocated_blocks[:, g]),
            )
            for g in range(num)
        ]
    recorded = [_from_records(result, lives, g) for g in range(num)]
    if iterations is None:
        return recorded
    rows = rows_by_replica(iterations, num)
    lost_ps: list[list[int]] = [[] for _ in range(num)]
    for fault in case.faults:
        if fault.kind == "fail":
            lost_ps[fault.replica].append(round(fault.time_s * PS_PER_S))
    for g, gone_ps in zip(result.lifetimes.replica.tolist(), result.lifetimes.gone_ps.tolist(), strict=True):
        if gone_ps >= 0:
            lost_ps[g].append(gone_ps)
    return [_from_iterations(iterations, rows[g], recorded[g], lost_ps[g]) for g in range(num)]


def _from_records(result: RunResult, lives: RequestLives, replica: int) -> ReplicaSeries:
    is_here = (result.records.replica == replica) & (lives.dispatched_ps >= 0) & ~lives.has_moved
    is_admitted = is_here & (lives.scheduled_ps >= 0)
    waited_ps = np.where(lives.scheduled_ps >= 0, lives.scheduled_ps, lives.left_ps)
    return ReplicaSeries(
        waiting=_steps_of_spans(lives.dispatched_ps[is_here], waited_ps[is_here]),
        running=_steps_of_spans(lives.scheduled_ps[is_admitted], lives.left_ps[is_admitted]),
        allocated=None,
    )


def _from_iterations(iterations: Iterations, rows: Ints, recorded: ReplicaSeries, lost_ps: list[int]) -> ReplicaSeries:
    """Return the state at iteration starts; nothing after an iteration without a next one if the records see nobody.

    Where they see somebody, the replica pauses. When it failed or went (`lost_ps`), it lost all.
    """
    start_ps, end_ps = iterations.start_ps[rows], iterations.end_ps[rows]
    is_last = np.append(end_ps[:-1] < start_ps[1:], [True] * bool(len(rows)))
    is_empty = (recorded.waiting.at(end_ps) + recorded.running.at(end_ps)) == 0
    idle_ps = np.concatenate([end_ps[is_last.astype(bool) & is_empty], np.array(lost_ps, dtype=np.int64)])
    times = np.concatenate([start_ps, idle_ps])
    order = np.argsort(times, kind="stable")

    def steps(column: Ints) -> Steps:
        values = np.concatenate([column[rows], np.zeros(len(idle_ps), dtype=np.int64)])
        return Steps(time_ps=times[order], value=values[order])

    return ReplicaSeries(
        waiting=steps(iterations.waiting),
        running=steps(iterations.running),
        allocated=steps(iterations.allocated_blocks),
    )
