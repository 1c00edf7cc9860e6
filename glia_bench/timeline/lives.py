"""When each request was held, waiting, prefilled and decoded, and when each replica came, served and went.

Read from records and lifetimes, which keep a request's first dispatch, first admission and first token, and its last
replica. Not kept, and so not told: when a request was preempted (the iterations say how many were, not who), where it
was before its replica failed or went, when the router rejected it, and when a failed replica was ready again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S, Ints
from glia_bench.timeline.window import Window
from glia_bench.types import EXPIRED, FINISHED, NEVER_PS, REJECTED, UNFINISHED, Iterations, RunResult

OUTCOMES = {FINISHED: "finished", UNFINISHED: "unfinished", REJECTED: "rejected", EXPIRED: "given up"}
"""What is shown for `Records.outcome`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLives:
    """One row per request; times int64, shape (num_requests,), NEVER_PS where it did not happen.

    Attributes:
        has_arrived: False for follow-up turns whose session ended early and for what a failed run never reached.
        arrival_ps: Arrival.
        dispatched_ps: First dispatch.
        scheduled_ps: First admission.
        first_token_ps: First output token.
        left_ps: Finished, given up or the end of the run; of a rejected request, the last that is known of it.
        has_moved: Whether it was first admitted by another replica than that of its record; told from iterations.
    """

    has_arrived: npt.NDArray[np.bool_]
    arrival_ps: Ints
    dispatched_ps: Ints
    scheduled_ps: Ints
    first_token_ps: Ints
    left_ps: Ints
    has_moved: npt.NDArray[np.bool_]

    def within(self, window: Window) -> Ints:
        """Return the rows of requests that were in the system at some time of the window."""
        is_in = self.has_arrived & (self.arrival_ps < window.end_ps) & (self.left_ps >= window.start_ps)
        return np.flatnonzero(is_in).astype(np.int64)


def request_lives(case: Case, result: RunResult) -> RequestLives:
    """Return when each request was where."""
    records, arrival_ps = result.records, result.arrival_ps
    dispatched_ps, scheduled_ps = records.dispatched_ps, records.scheduled_ps
    known_ps = np.maximum.reduce([arrival_ps, dispatched_ps, scheduled_ps, records.first_token_ps])
    classes = np.zeros_like(arrival_ps) if case.trace.slo_class is None else case.trace.slo_class
    patience_ps = np.array(
        [min(slo.patience_s * PS_PER_S, 2.0**61) for slo in case.cluster.slo_classes], dtype=np.float64
    ).astype(np.int64)[classes]
    left_ps = np.where(records.finished_ps >= 0, records.finished_ps, result.end_ps)
    left_ps = np.where(records.outcome == EXPIRED, np.minimum(arrival_ps + patience_ps, result.end_ps), left_ps)
    left_ps = np.where(records.outcome == REJECTED, known_ps, left_ps)
    return RequestLives(
        has_arrived=_has_arrived(case, result),
        arrival_ps=arrival_ps,
        dispatched_ps=dispatched_ps,
        scheduled_ps=scheduled_ps,
        first_token_ps=records.first_token_ps,
        left_ps=np.maximum(left_ps, known_ps),
        has_moved=_has_moved(case, result),
    )


def rows_by_replica(iterations: Iterations, num_replicas: int) -> list[Ints]:
    """Return the rows of each replica, in order of time."""
    order = np.argsort(iterations.replica, kind="stable")
    ends = np.searchsorted(iterations.replica[order], np.arange(num_replicas), side="right")
    return [part.astype(np.int64) for part in np.split(order, ends[:-1])]


def _has_moved(case: Case, result: RunResult) -> npt.NDArray[np.bool_]:
    """Return which requests were admitted when their replica began no prefill."""
    records, logged = result.records, result.iterations
    has_moved = np.zeros(len(records.replica), dtype=np.bool_)
    if logged is None:
        return has_moved
    is_suspect = (records.restarts > 0) & (records.scheduled_ps >= 0)
    if not is_suspect.any():
        return has_moved
    begun = rows_by_replica(logged, case.cluster.num_replicas)
    for replica in np.unique(records.replica[is_suspect]):
        rows = np.flatnonzero(is_suspect & (records.replica == replica))
        at = begun[replica][logged.num_chunks[begun[replica]] > 0]
        has_moved[rows] = ~np.isin(records.scheduled_ps[rows], logged.start_ps[at])
    return has_moved


def _has_arrived(case: Case, result: RunResult) -> npt.NDArray[np.bool_]:
    """Return which requests arrived: a follow-up turn does its think time after the turn before it, or never."""
    trace, finished_ps = case.trace, result.records.finished_ps
    has_arrived = result.arrival_ps <= result.end_ps
    if trace.num_clock < len(trace) and trace.think_ps is not None:
        following = trace.next_row
        before = np.flatnonzero(following >= 0)
        row = following[before]
        due_ps = finished_ps[before] + trace.think_ps[row]
        has_arrived[row] &= (finished_ps[before] >= 0) & (result.arrival_ps[row] == due_ps)
    return has_arrived


FAILED = "failed"
"""Name of the span of a failure."""


class Span(NamedTuple):
    """A named stretch of time of a replica, in picoseconds."""

    name: str
    start_ps: int
    end_ps: int

    def cut(self, window: Window) -> "Span | None":
        """Return the part in the window, if there is any."""
        start_ps, end_ps = max(self.start_ps, window.start_ps), min(self.end_ps, window.end_ps)
        return Span(self.name, start_ps, end_ps) if start_ps < end_ps else None


def replica_spans(case: Case, result: RunResult) -> dict[int, list[Span]]:
    """Return replica row to its spans "requested", "loading", "ready", "failed" and "draining", in order of time.

    When loading began is told by the parts of the cold start, which are stretched by one factor; of a replica that
    never became ready the factor is unknown, and both parts are one span, "starting". A failed replica is "failed" for
    the time of repair, and then "starting or idle" until its next iteration.
    """
    spans: dict[int, list[Span]] = {}
    lives = result.lifetimes
    columns = (lives.replica, lives.requested_ps, lives.ready_ps, lives.draining_ps, lives.gone_ps)
    for replica, *times_ps in zip(*(column.tolist() for column in columns), strict=True):
        found = (span for span in _life(case, result, replica, times_ps) if span.end_ps > span.start_ps)
        spans.setdefault(replica, []).extend(found)
    return {replica: sorted(found, key=lambda span: span.start_ps) for replica, found in sorted(spans.items())}


def _life(case: Case, result: RunResult, replica: int, times_ps: list[int]) -> Iterator[Span]:
    """Yield the spans of one life; times are requested, ready, draining, gone."""
    requested_ps, ready_ps, draining_ps, gone_ps = times_ps
    last_ps = result.end_ps if gone_ps == NEVER_PS else gone_ps
    if ready_ps == NEVER_PS:
        yield Span("starting", requested_ps, last_ps)
        return
    cold = case.cluster.pools[case.cluster.pool_of[replica]].cold_start
    whole_s = cold.provision_s + cold.load_s
    share = cold.provision_s / whole_s if whole_s > 0 else 0.0
    loading_ps = requested_ps + round(share * (ready_ps - requested_ps))
    yield Span("requested", requested_ps, loading_ps)
    yield Span("loading", loading_ps, ready_ps)
    yield from _ready(case, result, replica, ready_ps, last_ps if draining_ps == NEVER_PS else draining_ps)
    if draining_ps != NEVER_PS:
        yield Span("draining", draining_ps, last_ps)


def _ready(case: Case, result: RunResult, replica: int, start_ps: int, end_ps: int) -> Iterator[Span]:
    """Yield the spans from ready to draining or gone, in which a replica may fail and come back."""
    logged = result.iterations
    for span in sorted(fault_spans(case).get(replica, []), key=lambda span: span.start_ps):
        if span.name == FAILED and start_ps <= span.start_ps < end_ps:
            yield Span("ready", start_ps, span.start_ps)
            back_ps = min(span.end_ps, end_ps)
            yield Span(FAILED, span.start_ps, back_ps)
            start_ps = end_ps
            if logged is not None:
                is_next = (logged.replica == replica) & (logged.start_ps >= back_ps)
                start_ps = int(logged.start_ps[is_next].min(initial=end_ps))
            yield Span("starting or idle", back_ps, start_ps)
    yield Span("ready", start_ps, end_ps)


def fault_spans(case: Case) -> dict[int, list[Span]]:
    """Return replica row to its faults as the case has them: "failed" (the time of repair), "slow x2"."""
    spans: dict[int, list[Span]] = {}
    for fault in case.faults:
        name = FAILED if fault.kind == "fail" else f"slow x{fault.factor:g}"
        start_ps = round(fault.time_s * PS_PER_S)
        end_ps = start_ps + round(fault.duration_s * PS_PER_S)
        spans.setdefault(fault.replica, []).append(Span(name, start_ps, end_ps))
    return spans
