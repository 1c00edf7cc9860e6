"""The Chrome trace of a run: its format, and that it says what the run's records say."""

import gzip
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from timeline_runs import MS, by_hand, ints, merged, of_reference, with_samples

from glia_bench.case import Case
from glia_bench.errors import InvalidSpecError
from glia_bench.timeline import chrome_trace, write_chrome_trace, write_timelines
from glia_bench.timeline.chrome_trace import busiest_window
from glia_bench.timeline.lives import request_lives
from glia_bench.timeline.series import replica_series
from glia_bench.types import RunResult

FORMS = ("by hand", "samples", "records", "reference", "merged", "window")


def run_of(form: str) -> tuple[Case, RunResult, dict[str, float]]:
    """Return a run with the window to look at."""
    case, result = of_reference() if form in ("reference", "merged", "window") else by_hand()
    if form == "merged":
        assert result.iterations is not None
        result = replace(result, iterations=merged(result.iterations))
    if form == "samples":
        result = with_samples(result)
    if form == "records":
        result = replace(result, iterations=None)
    return case, result, {"start_s": 5.0, "end_s": 9.5} if form == "window" else {}


def events_of(form: str) -> list[dict[str, Any]]:
    """Return the events of a run, once through JSON."""
    case, result, window = run_of(form)
    events: list[dict[str, Any]] = json.loads(json.dumps(chrome_trace(case, result, **window), allow_nan=False))[
        "traceEvents"
    ]
    return events


def ms(time_us: float) -> float:
    """Return milliseconds to the microsecond: viewers get a fraction of a nanosecond more or less."""
    return round(time_us / 1000, 3)


def track(event: dict[str, Any]) -> tuple[Any, ...]:
    """Return what identifies the track of an event: a thread, a counter, an asynchronous span."""
    if event["ph"] in "bne":
        return event["pid"], event["cat"], event["id2"]["local"]
    return event["pid"], event["tid"], event["name"] if event["ph"] == "C" else event["ph"]


@pytest.mark.parametrize("form", FORMS)
def test_events_have_the_keys_of_their_phase(form: str) -> None:
    """Every event has what the format asks of its phase, and the name of its process is known."""
    events = events_of(form)
    needed = {"X": {"dur", "args"}, "C": {"args"}, "i": {"s"}, "b": {"id2", "cat"}, "e": {"id2", "cat"}, "n": {"id2"}}
    named = {event["pid"] for event in events if event["name"] == "process_name"}
    for event in events:
        assert {"ph", "name", "pid", "tid"} <= set(event)
        assert event["ph"] == "M" or event["ts"] >= 0
        assert needed.get(event["ph"], set()) <= set(event)
        assert event["pid"] in named
    assert {event["ph"] for event in events} <= set("MXCibne")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("read", [float, round, int], ids=["exactly", "rounded", "cut off"])
def test_tracks_are_in_order_of_time(form: str, read: Callable[[float], float]) -> None:
    """Times do not decrease within a track, and slices of a thread do not overlap, however nanoseconds are made."""
    last: dict[tuple[Any, ...], float] = defaultdict(float)
    for event in events_of(form):
        if event["ph"] != "M":
            assert read(event["ts"] * 1000.0) >= last[track(event)]
            last[track(event)] = read(event["ts"] * 1000.0) + read(event.get("dur", 0.0) * 1000.0)


@pytest.mark.parametrize("form", FORMS)
def test_asynchronous_spans_are_paired_and_nested(form: str) -> None:
    """Each begin has its end, inner spans end first, and no span ends before it begins."""
    open_spans: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for event in events_of(form):
        if event["ph"] == "b":
            open_spans[track(event)].append(event)
        elif event["ph"] == "e":
            begun = open_spans[track(event)].pop()
            assert (begun["name"], True) == (event["name"], begun["ts"] < event["ts"])
    assert not any(open_spans.values())


@pytest.mark.parametrize("form", FORMS)
def test_counters_stay_within_what_there_is(form: str) -> None:
    """Counters are whole, never negative, never above a replica's KV blocks, and change at each event."""
    case, _, _ = run_of(form)
    num_blocks = case.cluster.pools[0].engine.num_blocks
    last: dict[tuple[Any, ...], Any] = {}
    for event in (event for event in events_of(form) if event["ph"] == "C"):
        assert all(isinstance(value, int) and value >= 0 for value in event["args"].values())
        assert event["args"].get("allocated", 0) <= num_blocks
        assert last.get(track(event)) != event["args"]
        last[track(event)] = event["args"]


@pytest.mark.parametrize("form", FORMS)
def test_arrows_have_both_ends(form: str) -> None:
    """Every arrow that begins at a span ends at another one, later, and of the same request or session."""
    ends: dict[str, list[tuple[float, bool, bool]]] = defaultdict(list)
    for event in (event for event in events_of(form) if "bind_id" in event):
        ends[event["bind_id"]].append((event["ts"], event.get("flow_in", False), event.get("flow_out", False)))
    assert ends or form == "records"
    for chain in map(sorted, ends.values()):
        flags = [flags for _, *flags in chain]
        assert flags[0] == [False, True]
        assert flags[-1] == [True, False]
        assert all(inner == [True, True] for inner in flags[1:-1])


def test_slices_of_the_run_made_by_hand() -> None:
    """Iterations become slices with their times in microseconds and their batch in words; a preemption is marked."""
    events = events_of("by hand")
    slices = [
        (event["pid"], event["name"], ms(event["ts"]), ms(event["dur"]))
        for event in events
        if event.get("cat") == "iteration"
    ]
    assert slices == [
        (1000, "prefill 20", 0, 20),
        (1000, "prefill 40 + 1 decode", 20, 20),
        (1000, "decode 1", 40, 10),
        (1000, "prefill 41 + 1 decode", 50, 20),
        (1000, "2 x decode 1", 70, 20),
        (1000, "prefill 50", 90, 15),
        (1001, "prefill 30", 60, 20),
    ]
    marks = [(ms(event["ts"]), event["args"]) for event in events if event.get("cat") == "preemption"]
    assert marks == [(40, {"preempted": 1})]


def test_states_and_faults_of_the_run_made_by_hand() -> None:
    """Loading begins at a quarter of the start, as 1 s of 4 s are provision; the slow time is a span with a mark."""
    events = events_of("by hand")
    states = [
        (event["pid"], event["name"], ms(event["ts"]), ms(event["ts"] + event["dur"]))
        for event in events
        if event.get("cat") == "lifecycle"
    ]
    assert states == [
        (1000, "ready", 0, 100),
        (1001, "requested", 20, 30),
        (1001, "loading", 30, 60),
        (1001, "ready", 60, 80),
    ]
    faults = [(event["ph"], event["name"], ms(event["ts"])) for event in events if event.get("cat") == "fault"]
    assert faults == [("i", "slow x2", 30), ("b", "slow x2", 30), ("e", "slow x2", 50)]


def test_requests_of_the_run_made_by_hand() -> None:
    """Each request is held, waits, is prefilled and decoded when its record says; one that never arrived is absent."""
    begun: dict[tuple[Any, ...], float] = {}
    spans = []
    for event in events_of("by hand"):
        if event.get("cat") in ("held", "request"):
            if event["ph"] == "b":
                begun[*track(event), event["name"]] = event["ts"]
            times = (ms(begun.get((*track(event), event["name"]), event["ts"])), ms(event["ts"]))
            if event["ph"] != "b":
                spans.append((event["id2"]["local"], event["name"], *times))
    assert sorted(spans) == [
        ("0", "decode", 20, 70),
        ("0", "prefill", 0, 20),
        ("0", "request", 0, 70),
        ("1", "decode", 40, 90),
        ("1", "held", 5, 12),
        ("1", "prefill", 20, 40),
        ("1", "request", 12, 90),
        ("1", "waiting", 12, 20),
        ("2", "held", 55, 60),
        ("2", "prefill", 60, 80),
        ("2", "request", 60, 80),
        ("3", "rejected", 56, 56),
        ("4", "held", 57, 97),
        ("5", "prefill", 90, 100),
        ("5", "request", 75, 100),
        ("5", "waiting", 75, 90),
    ]


def test_turns_of_a_session_are_linked() -> None:
    """The arrow of session 0 leads from its first turn to its second; the third never arrived."""
    linked = [
        (event["args"]["turn"], event.get("flow_in"), event.get("flow_out"))
        for event in events_of("by hand")
        if event.get("bind_id") == "0x1"
    ]
    assert linked == [(0, None, True), (1, True, None)]


@pytest.mark.parametrize("form", ["by hand", "reference", "merged"])
def test_tokens_add_up(form: str) -> None:
    """Decodes of the slices plus first tokens of prefills are the tokens of the records; preemptions are restarts."""
    case, result, _ = run_of(form)
    slices = [event["args"] for event in events_of(form) if event.get("cat") == "iteration"]
    assert result.iterations is not None
    logged = result.iterations
    for name, column in (
        ("decodes", logged.num_decodes * logged.count),
        ("prefill_tokens", logged.prefill_tokens),
        ("preempted", logged.preempted),
    ):
        assert sum(args[name] * (args["count"] if name == "decodes" else 1) for args in slices) == column.sum()
    if form == "by hand":
        # 0 and 1 generate 4 tokens each, 2 one: 5 decodes and 4 completed prefills (1's second one among them).
        assert sum(args["decodes"] * args["count"] for args in slices) + 4 == 9
        assert sum(args["preempted"] for args in slices) == result.records.restarts.sum()
    spans = [event for event in events_of(form) if event["ph"] == "b" and event["name"].startswith("request")]
    dispatched = (result.records.dispatched_ps >= 0) & request_lives(case, result).has_arrived
    assert len(spans) == dispatched.sum()
    assert sum(event["args"]["restarts"] for event in spans) == result.records.restarts.sum()
    ttft_s = sum(event["args"].get("ttft_s", 0.0) for event in spans)
    has_token = result.records.first_token_ps >= 0
    assert ttft_s == pytest.approx((result.records.first_token_ps - result.arrival_ps)[has_token].sum() / 1e12)


def test_state_between_iterations_is_the_sampled_one() -> None:
    """KV blocks and running requests from iterations equal the samples of the same run, failures included."""
    case, result = of_reference()
    samples = result.samples
    assert samples is not None
    time_ps = np.arange(len(samples.held), dtype=np.int64) * round(samples.interval_s * 1e12)
    for g, series in enumerate(replica_series(case, result, request_lives(case, result))):
        assert series.allocated is not None
        assert series.allocated.at(time_ps).tolist() == samples.allocated_blocks[:, g].tolist()
        assert series.running.at(time_ps).tolist() == samples.running[:, g].tolist()


def test_a_failure_shows_where_it_struck() -> None:
    """The failed replica is down for its repair, then not in use; those that it lost and others admitted are marked."""
    events = events_of("reference")
    states = [event["name"] for event in events if event.get("cat") == "lifecycle" and event["pid"] == 1000]
    assert states == ["ready", "failed", "starting or idle", "ready"]
    moved = [event for event in events if event["name"] == "request (moved)" and event["ph"] == "b"]
    assert moved
    assert all(event["args"]["restarts"] > 0 for event in moved)


@pytest.mark.parametrize(("form", "said"), [("samples", "from samples"), ("records", "from request records")])
def test_without_iterations_it_says_so(form: str, said: str) -> None:
    """Without iterations there are no slices, requests and counters are still there, and the trace says why."""
    case, result, _ = run_of(form)
    trace = chrome_trace(case, result, title="a run")
    assert said in trace["otherData"]["detail"]
    assert trace["otherData"]["title"] == "a run"
    names = {event["name"] for event in trace["traceEvents"]}
    assert {"request", "held", "requests"} <= names
    assert ("KV blocks" in names) == (form == "samples")
    assert not any(event.get("cat") == "iteration" for event in trace["traceEvents"])


def test_a_window_cuts_spans_and_keeps_the_rest_away() -> None:
    """In a window all spans but iterations lie within it; what overlaps it is there, what does not is not."""
    case, result = by_hand()
    events = chrome_trace(case, result, start_s=0.045, end_s=0.058)["traceEvents"]
    times = [ms(event["ts"]) for event in events if event["ph"] != "M" and event.get("cat") != "iteration"]
    assert (min(times), max(times)) == (45, 58)
    names = [event["name"] for event in events if event.get("cat") == "iteration"]
    assert names == ["decode 1", "prefill 41 + 1 decode"]
    assert {event["id2"]["local"] for event in events if event.get("cat") == "request"} == {"0", "1"}


@pytest.mark.parametrize("window", [(0.2, None), (0.05, 0.05), (-1.0, 0.05), (float("nan"), None)])
def test_a_window_outside_the_run_is_refused(window: tuple[float, float | None]) -> None:
    """The message names the run's end."""
    with pytest.raises(InvalidSpecError, match=r"begin within the run, which ends at 0\.1 s"):
        chrome_trace(*by_hand(), start_s=window[0], end_s=window[1])


def test_a_trace_that_is_too_large_is_refused_with_a_window_that_fits() -> None:
    """The message gives the most crowded part that keeps to the limit; that part can then be made."""
    case, result = of_reference()
    with pytest.raises(InvalidSpecError, match="more than max_events=2,000; narrow it"):
        chrome_trace(case, result, max_events=2000)
    start_s, end_s = busiest_window(case, result, 2000).seconds
    events = chrome_trace(case, result, start_s=start_s, end_s=end_s, max_events=2000)["traceEvents"]
    assert 200 < len(events) <= 2000
    assert busiest_window(case, result).seconds == (0.0, result.end_ps / 1e12)


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_a_written_trace_is_the_same_trace_and_the_same_bytes(tmp_path: Path, name: str) -> None:
    """What is written reads back as what `chrome_trace` returns, twice with the same bytes."""
    case, result = of_reference()
    first, second = tmp_path / name, tmp_path / "again" / name
    write_chrome_trace(first, case, result, title="a run")
    write_chrome_trace(second, case, result, title="a run")
    assert first.read_bytes() == second.read_bytes()
    text = gzip.decompress(first.read_bytes()) if name.endswith(".gz") else first.read_bytes()
    assert json.loads(text) == chrome_trace(case, result, title="a run")


def test_a_run_that_failed_at_once_still_has_a_trace() -> None:
    """A run that ended at its first instant is shown as one microsecond, with its message."""
    case, result = by_hand()
    never = ints([-1] * 7)
    records = replace(
        result.records,
        outcome=ints([1] * 7),
        replica=never,
        restarts=ints([0] * 7),
        dispatched_ps=never,
        scheduled_ps=never,
        first_token_ps=never,
        finished_ps=never,
    )
    lifetimes = replace(result.lifetimes, **{name: value[:1] for name, value in vars_of(result.lifetimes).items()})
    iterations = replace(result.iterations, **{name: value[:0] for name, value in vars_of(result.iterations).items()})
    failed = replace(
        result,
        status="bad_decision",
        message="route answered 9",
        records=records,
        end_ps=0,
        lifetimes=lifetimes,
        iterations=iterations,
        arrival_ps=ints([0, 5, 55, 56, 57, 0, 0]) * MS,
    )
    trace = chrome_trace(case, failed)
    assert trace["otherData"]["status"] == "bad_decision"
    assert trace["otherData"]["message"] == "route answered 9"


def vars_of(record: Any) -> dict[str, Any]:
    """Return a slotted record's columns by name."""
    return {name: getattr(record, name) for name in record.__slots__}


def test_both_files_are_written_side_by_side(tmp_path: Path) -> None:
    """`write_timelines` returns both paths; of a run that is too large the trace is a part, and the page names it."""
    case, result = of_reference()
    trace, page = write_timelines(case, result, tmp_path / "llq.seed0", "a run")
    assert (trace.name, page.name) == ("llq.seed0.trace.json.gz", "llq.seed0.html")
    assert "Every iteration and request of this run is in llq.seed0.trace.json.gz" in page.read_text()
    whole = trace.stat().st_size
    trace, page = write_timelines(case, result, tmp_path / "llq.seed0", "a run", max_events=2000)
    assert trace.stat().st_size < whole / 2
    assert "all would be too much for it" in page.read_text()
