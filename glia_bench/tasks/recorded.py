"""A task from a file of recorded requests: a catalogued task with its workload replaced.

Cluster, objective, references and faults are the base task's; requests, and when they arrive, the file's. Load 1 is the
recorded rate; another load stretches or presses the time between arrivals, not that between the turns of a session. The
trace is the same for every seed: a seed draws only what is random in the cluster, its predictor and the policy. What a
catalogued task promises of its own workload, a capacity, a published row, and that its service classes can be met, does
not carry over; the price of a miss in tasks that bill GPU time stays the base's.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from glia_bench.case import MAX_TIME_PS, Trace
from glia_bench.cluster import PS_PER_S, Ints
from glia_bench.errors import InvalidTraceError
from glia_bench.tasks.task import Task
from glia_bench.workloads.lengths_file import Lengths
from glia_bench.workloads.traces import Recording, read_recording

TRACE_MARK = "+trace:"
"""Between the id of the base task and the first digits of the file's hash."""

TRACE_DIGITS = 12
_MILLION = 1_000_000
_SLOWEST_URPS, _FASTEST_URPS = 1_000, 10**12
"""Bounds of a recorded rate, in requests per 1,000,000 s."""


def recorded_task(base: Task, path: Path, *, skip_unfit: bool = False) -> tuple[Task, Recording]:
    """Return a task whose workload is a file's, and what the file holds.

    Args:
        base: Whose cluster and objective it takes.
        path: The file: `traces.read_recording` says what it may be.
        skip_unfit: Leave out requests that no replica of the cluster can hold.

    Raises:
        InvalidTraceError: If the file cannot be read, or has no rate: one request, or all at one instant.
    """
    cluster = base.cluster
    recording = read_recording(
        path,
        max_request_tokens=cluster.max_request_tokens,
        block_size_tokens=cluster.block_size_tokens if cluster.has_prefix_cache else None,
        slo_classes=[slo.name for slo in cluster.slo_classes],
        skip_unfit=skip_unfit,
    )
    trace = _from_zero(recording.trace)
    span_ps = int(trace.arrival_ps.max())
    own_urps = (len(trace) - 1) * _MILLION * PS_PER_S // span_ps if span_ps else 0
    if not _SLOWEST_URPS <= own_urps <= _FASTEST_URPS:
        raise InvalidTraceError(
            f"the rate of {str(path)!r} must be between 0.001 and 1,000,000 requests/s (it has {len(trace):,} requests "
            f"within {span_ps / PS_PER_S:g} s); correct its arrival times"
        )
    if trace.tenant is not None:
        num_tenants = max(cluster.num_tenants, int(trace.tenant.max()) + 1)
        cluster = replace(cluster, num_tenants=num_tenants)

    @lru_cache(maxsize=1)
    def at_rate(rate_urps: int) -> Trace:
        return _at_rate(trace, own_urps, rate_urps)

    def make(rate_urps: int, seed: int, lengths: Lengths | None, *_varied: object) -> Trace:
        return at_rate(rate_urps)  # a recording is what it is: nothing of it is drawn or varied

    task = replace(
        described(base, recording.sha256[:TRACE_DIGITS]),
        cluster=cluster,
        reference_rate_rps=own_urps / _MILLION,
        trace=make,
    )
    return task, recording


def described(base: Task, digits: str) -> Task:
    """Return the task of a file that is known by its hash alone: all but its workload.

    Args:
        base: The task that it is made from.
        digits: First digits of the file's SHA-256.
    """
    task_id = f"{base.id}{TRACE_MARK}{digits}"

    def no_file(rate_urps: int, seed: int, lengths: Lengths | None, *_varied: object) -> Trace:
        raise InvalidTraceError(f"{task_id} needs the file that it was made from: pass --task {base.id} --trace FILE")

    return replace(
        base,
        id=task_id,
        title=f"Recorded requests (trace {digits}) on the cluster of {base.id}",
        why_hard="The requests of a file, at the times when they were recorded. Cluster and objective are those of "
        f"{base.id}, whose remarks on its own workload do not apply.",
        source=f"a file with SHA-256 {digits}…; cluster: {base.source}",
        suites=(),
        rate_basis="the rate of the file",
        loads=(1.0,),
        default_loads=(1.0,),
        dev_seeds=(0,),
        any_load=True,
        needs_lengths=False,
        lengths_hint="",
        separation=None,
        guard_reason="",
        published=None,
        trace=no_file,
    )


def _from_zero(trace: Trace) -> Trace:
    """Return a trace whose first request arrives at 0."""
    first_ps = int(trace.arrival_ps[0])
    return replace(trace, arrival_ps=trace.arrival_ps - first_ps) if first_ps else trace


def _at_rate(trace: Trace, own_urps: int, rate_urps: int) -> Trace:
    """Return a trace with its arrivals by the clock at another rate; follow-up turns keep their distance from them."""
    if rate_urps == own_urps:
        return trace
    factor = max((own_urps * _MILLION + rate_urps // 2) // max(rate_urps, 1), 1)  # of times, in millionths
    last_ps = int(trace.arrival_ps.max())
    if last_ps * factor > MAX_TIME_PS * _MILLION:
        span_s = last_ps // PS_PER_S * factor // _MILLION
        raise InvalidTraceError(
            f"at {rate_urps / _MILLION:g} requests/s the trace would last {span_s:,} s, more than the "
            f"{MAX_TIME_PS // PS_PER_S:,} s that a run may; raise the load (--loads), or cut the file"
        )
    num = trace.num_clock
    arrival_ps = _scaled(trace.arrival_ps, factor)
    if trace.session is not None and num < len(trace):
        opened = np.flatnonzero(trace.session[:num] >= 0)  # the row that opens each session, by its number
        first = opened[trace.session[num:]]
        arrival_ps[num:] = arrival_ps[first] + (trace.arrival_ps[num:] - trace.arrival_ps[first])
    return replace(trace, arrival_ps=arrival_ps)


def _scaled(times_ps: Ints, factor: int) -> Ints:
    whole, rest = np.divmod(times_ps, _MILLION)
    scaled: Ints = whole * factor + rest * factor // _MILLION
    return scaled
