"""Events of a Chrome trace: processes and threads, counters, and what replicas did.

Each function yields the events of one track, in order of time; what they are called is what a reader of the trace sees.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from glia_bench.cluster import PS_PER_S
from glia_bench.timeline.lives import Span, rows_by_replica
from glia_bench.timeline.series import ReplicaSeries, Steps
from glia_bench.timeline.window import Window
from glia_bench.types import RunResult

Event: TypeAlias = dict[str, Any]

ROUTER_PID = 1
FIRST_REPLICA_PID = 1000
FIRST_TID = 10_000
PS_PER_NS = 1000


def us(time_ps: int) -> float:
    """Return a time in microseconds, the unit of traces, cut to nanoseconds.

    Viewers count in nanoseconds. Some cut times off and some round them, and slices that then overlap by one are
    dropped. A fifth of a nanosecond more comes out the same either way, whatever the last bit of the float.
    """
    return round((time_ps // PS_PER_NS + 0.2) / 1000, 4)


def duration_us(start_ps: int, end_ps: int) -> float:
    """Return the time from one to the other, a little less: however it is read, it ends by the next slice's start."""
    return round(max(end_ps // PS_PER_NS - start_ps // PS_PER_NS - 0.3, 0.0) / 1000, 4)


def process(pid: int, name: str, label: str, place: int) -> Iterator[Event]:
    """Yield the events that name a process and give it its place from the top."""
    for key, args in (
        ("process_name", {"name": name}),
        ("process_labels", {"labels": label}),
        ("process_sort_index", {"sort_index": place}),
    ):
        yield {"ph": "M", "name": key, "pid": pid, "tid": pid, "args": args}


def _thread(replica: int, name: str, place: int) -> tuple[int, Event]:
    """Return a thread's id and the event that names it."""
    tid = FIRST_TID + 2 * replica + place
    return tid, {
        "ph": "M",
        "name": "thread_name",
        "pid": FIRST_REPLICA_PID + replica,
        "tid": tid,
        "args": {"name": name},
    }


def lifecycle(replica: int, spans: list[Span], window: Window) -> Iterator[Event]:
    """Yield the spans of a replica's states."""
    tid, named = _thread(replica, "lifecycle", 0)
    yield named
    for span in spans:
        cut = span.cut(window)
        if cut is not None:
            yield {
                "ph": "X",
                "cat": "lifecycle",
                "name": span.name,
                "pid": FIRST_REPLICA_PID + replica,
                "tid": tid,
                "ts": us(cut.start_ps),
                "dur": duration_us(cut.start_ps, cut.end_ps),
                "args": {"from_s": span.start_ps / PS_PER_S, "to_s": span.end_ps / PS_PER_S},
            }


def faults(replica: int, faults: list[Span], window: Window) -> Iterator[Event]:
    """Yield faults: a mark where each begins and, since they may overlap, an asynchronous span."""
    pid = FIRST_REPLICA_PID + replica
    for number, span in enumerate(faults):
        common = {"cat": "fault", "name": span.name, "pid": pid, "tid": pid}
        if window.start_ps <= span.start_ps < window.end_ps:
            yield {"ph": "i", **common, "ts": us(span.start_ps), "s": "p"}
        cut = span.cut(window)
        if cut is not None:
            key = {"local": f"{number}"}
            args = {"from_s": span.start_ps / PS_PER_S, "to_s": span.end_ps / PS_PER_S}
            yield {"ph": "b", **common, "id2": key, "ts": us(cut.start_ps), "args": args}
            yield {"ph": "e", **common, "id2": key, "ts": us(cut.end_ps)}


def counters(replica: int, series: ReplicaSeries, window: Window) -> Iterator[Event]:
    """Yield a replica's counters; KV blocks where they are known."""
    pid = FIRST_REPLICA_PID + replica
    if series.allocated is not None:
        yield from counter(pid, "KV blocks", {"allocated": series.allocated}, window)
    yield from counter(pid, "requests", {"running": series.running, "waiting": series.waiting}, window)


def counter(pid: int, name: str, series: dict[str, Steps], window: Window) -> Iterator[Event]:
    """Yield a counter's values at the window's start and wherever one of them changes."""
    times = np.unique(np.concatenate([steps.time_ps for steps in series.values()]))
    times = times[(times > window.start_ps) & (times < window.end_ps)]
    times = np.concatenate([np.array([window.start_ps], dtype=np.int64), times])
    values = np.stack([steps.at(times) for steps in series.values()])
    is_new = np.append(True, np.any(np.diff(values, axis=1) != 0, axis=0))
    for time_ps, row in zip(times[is_new].tolist(), values[:, is_new].T.tolist(), strict=True):
        args = dict(zip(series, row, strict=True))
        yield {"ph": "C", "name": name, "pid": pid, "tid": pid, "ts": us(time_ps), "args": args}


def slice_name(prefill_tokens: int, num_decodes: int, count: int) -> str:
    """Return what an iteration is called: "prefill 512 + 31 decodes", "128 x decode 31"."""
    if not prefill_tokens:
        return f"decode {num_decodes}" if count == 1 else f"{count} x decode {num_decodes}"
    decodes = f" + {num_decodes} decode{'s' * (num_decodes != 1)}" if num_decodes else ""
    return f"prefill {prefill_tokens}{decodes}"


SLICE_ARGS = {
    "prefill_tokens": "prefill_tokens",
    "chunks": "num_chunks",
    "decodes": "num_decodes",
    "context_tokens": "context_tokens",
    "kv_blocks": "allocated_blocks",
    "waiting": "waiting",
    "running": "running",
    "preempted": "preempted",
    "count": "count",
}
"""Argument of a slice to the column of `Iterations`."""


def iterations(result: RunResult, num_replicas: int, window: Window) -> Iterator[Event]:
    """Yield every replica's iterations as slices, with a mark where requests were preempted."""
    logged = result.iterations
    if logged is None:
        return
    for g, rows in enumerate(rows_by_replica(logged, num_replicas)):
        is_in = (logged.end_ps[rows] > window.start_ps) & (logged.start_ps[rows] < window.end_ps)
        if not is_in.any():
            continue
        tid, named = _thread(g, "iterations", 1)
        yield named
        common = {"pid": FIRST_REPLICA_PID + g, "tid": tid}
        columns = [getattr(logged, name)[rows[is_in]].tolist() for name in SLICE_ARGS.values()]
        starts, ends = logged.start_ps[rows[is_in]].tolist(), logged.end_ps[rows[is_in]].tolist()
        for start_ps, end_ps, *values in zip(starts, ends, *columns, strict=True):
            args = dict(zip(SLICE_ARGS, values, strict=True))
            name = slice_name(args["prefill_tokens"], args["decodes"], args["count"])
            times = {"ts": us(start_ps), "dur": duration_us(start_ps, end_ps)}
            yield {"ph": "X", "cat": "iteration", "name": name, **common, **times, "args": args}
            if args["preempted"] and start_ps >= window.start_ps:
                mark = {"preempted": args["preempted"]}
                yield {
                    "ph": "i",
                    "cat": "preemption",
                    "name": "preempted",
                    **common,
                    "ts": times["ts"],
                    "s": "t",
                    "args": mark,
                }
