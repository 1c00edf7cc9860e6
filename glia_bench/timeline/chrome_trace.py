"""One run as a Chrome trace: JSON that ui.perfetto.dev and chrome://tracing open.

A process per replica with threads "iterations" and "lifecycle", counters, faults and its requests as asynchronous
spans; a process for the router with the requests that it held. Arrows (flows) lead from a held request to its replica
and from one turn of a session to the next. The viewers' event format: "Trace Event Format", Google, 2016 (catapult
project); how ui.perfetto.dev reads it: Perfetto's JSON importer, which names asynchronous tracks by their first event
and shows those of one process and name together, hence the plain name "request"; ids of such spans are local to a
process (`id2`), or it would show them apart from their replica, and those of threads are unique over all.
Same run, same bytes. What a run did not log is left out, and `otherData.detail` says what it was made from.
"""

import gzip
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S
from glia_bench.errors import InvalidSpecError
from glia_bench.timeline.events import (
    FIRST_REPLICA_PID,
    ROUTER_PID,
    Event,
    counter,
    counters,
    faults,
    iterations,
    lifecycle,
    process,
)
from glia_bench.timeline.lives import OUTCOMES, RequestLives, fault_spans, replica_spans, request_lives
from glia_bench.timeline.request_events import RequestEvents
from glia_bench.timeline.series import DETAILS, detail_of, held, in_system, replica_series
from glia_bench.timeline.window import Window, existing_replicas, replica_names, window_of
from glia_bench.types import RunResult

MAX_EVENTS = 1_000_000
"""About 150 MB of JSON, 10 MB compressed: what the viewers still open in seconds."""
EVENTS_PER_ITERATION, EVENTS_PER_REQUEST, EVENTS_PER_SAMPLE = 6, 16, 2
"""At most: a slice, a mark and two counters at its start and end; spans of a request and its phases, begin and end, the
time held, and the counters that it changes; two counters."""
COMPRESSION = 5


def chrome_trace(
    case: Case,
    result: RunResult,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    max_events: int = MAX_EVENTS,
    title: str = "",
) -> dict[str, Any]:
    """Return a run, or what lies between `start_s` and `end_s` of it, as a trace; times in microseconds.

    Args:
        case: What was run.
        result: What came of it.
        start_s: Begin of the window, in seconds of the run; spans that reach over it are cut, their `args` are not.
        end_s: Its end.
        max_events: Refuse to make more.
        title: Kept in the trace: task, policy, seed.

    Raises:
        InvalidSpecError: If the window lies outside the run, or the trace could have more than `max_events` events.
    """
    window = window_of(result, start_s, end_s)
    _check_size(case, result, window, max_events)
    return {**_head(case, result, window, title), "traceEvents": list(_events(case, result, window))}


def write_chrome_trace(
    path: Path,
    case: Case,
    result: RunResult,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    max_events: int = MAX_EVENTS,
    title: str = "",
) -> None:
    """Write what `chrome_trace` returns, one event a line, without holding it in memory; ".gz" is compressed."""
    window = window_of(result, start_s, end_s)
    _check_size(case, result, window, max_events)
    head = json.dumps(_head(case, result, window, title), allow_nan=False, separators=(",", ":"))
    encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
    lines = map(encode, _events(case, result, window))
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        # No name and no time of day in the header: same run, same bytes.
        packed = gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0) if path.suffix == ".gz" else None
        out = packed or file
        out.write((head[:-1] + ',"traceEvents":[\n').encode())
        separator = ""
        while chunk := list(itertools.islice(lines, 4096)):
            out.write((separator + ",\n".join(chunk)).encode())
            separator = ",\n"
        out.write(b"\n]}\n")
        if packed is not None:
            packed.close()


def busiest_window(case: Case, result: RunResult, max_events: int = MAX_EVENTS) -> Window:
    """Return the whole run, or the widest part around its most crowded instant that keeps to `max_events`."""
    whole = window_of(result)
    lives = request_lives(case, result)
    if _most_events(case, result, lives, whole) <= max_events:
        return whole
    crowd = in_system(lives)
    peak_ps = int(crowd.time_ps[crowd.value.argmax()]) if len(crowd.time_ps) else 0

    def around(half_ps: int) -> Window:
        start_ps = max(0, min(peak_ps - half_ps, whole.end_ps - 2 * half_ps))
        return Window(start_ps=start_ps, end_ps=min(whole.end_ps, start_ps + 2 * half_ps))

    fits, too_wide = 1, whole.end_ps
    while too_wide - fits > max(1, whole.end_ps // 1000):
        half_ps = (fits + too_wide) // 2
        if _most_events(case, result, lives, around(half_ps)) <= max_events:
            fits = half_ps
        else:
            too_wide = half_ps
    return around(fits)


def _most_events(case: Case, result: RunResult, lives: RequestLives, window: Window) -> int:
    """Return an upper bound of the events in a window, apart from a few per replica."""
    logged, samples = result.iterations, result.samples
    num = EVENTS_PER_REQUEST * len(lives.within(window))
    if logged is not None:
        is_in = (logged.end_ps > window.start_ps) & (logged.start_ps < window.end_ps)
        num += EVENTS_PER_ITERATION * int(is_in.sum())
    elif samples is not None:
        start_s, end_s = window.seconds
        num += EVENTS_PER_SAMPLE * case.cluster.num_replicas * math.ceil((end_s - start_s) / samples.interval_s)
    return num


def _check_size(case: Case, result: RunResult, window: Window, max_events: int) -> None:
    num = _most_events(case, result, request_lives(case, result), window)
    if num > max_events:
        fitting_s = busiest_window(case, result, max_events).seconds
        raise InvalidSpecError(
            f"this trace could hold {num:,} events, more than max_events={max_events:,}; narrow it with start_s and "
            f"end_s (start_s={fitting_s[0]:.3f}, end_s={fitting_s[1]:.3f} around the busiest instant fits) or raise "
            f"max_events"
        )


def _head(case: Case, result: RunResult, window: Window, title: str) -> dict[str, Any]:
    """Return what a trace says of the run beside its events."""
    outcome = result.records.outcome
    start_s, end_s = window.seconds
    about = {
        "title": title,
        "generator": "glia-bench",
        "status": result.status,
        "message": result.message,
        "detail": DETAILS[detail_of(result)],
        "window_start_s": start_s,
        "window_end_s": end_s,
        "run_end_s": result.end_ps / PS_PER_S,
        "requests": len(outcome),
        **{name: int((outcome == code).sum()) for code, name in OUTCOMES.items()},
        "restarts": int(result.records.restarts.sum()),
        "notes": list(result.notes),
    }
    return {"displayTimeUnit": "ms", "otherData": about}


def _events(case: Case, result: RunResult, window: Window) -> Iterator[Event]:
    """Yield all events, track by track, each track in order of time."""
    lives = request_lives(case, result)
    requests = RequestEvents(case, result, lives, window)
    yield from process(ROUTER_PID, "router", "requests held back", 0)
    yield from counter(ROUTER_PID, "held", {"requests": held(result, lives)}, window)
    yield from requests.of_router()
    names, series = replica_names(case), replica_series(case, result, lives)
    spans, befallen = replica_spans(case, result), fault_spans(case)
    for g in existing_replicas(result, window):
        pool = case.cluster.pools[case.cluster.pool_of[g]]
        engine = pool.engine
        label = (
            f"{engine.mode}, {engine.num_blocks} KV blocks of {engine.block_size_tokens} tokens, "
            f"budget {engine.token_budget} tokens, {pool.latency.name}"
        )
        yield from process(FIRST_REPLICA_PID + g, names[g], label, 1 + g)
        yield from lifecycle(g, spans.get(g, []), window)
        yield from faults(g, befallen.get(g, []), window)
        yield from counters(g, series[g], window)
        yield from requests.of_replica(g)
    yield from iterations(result, case.cluster.num_replicas, window)
