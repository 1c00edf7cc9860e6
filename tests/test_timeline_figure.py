"""The timeline's figure and page: bins, lanes, what is said, and that no run makes them large or unreadable."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timeline_runs import MS, by_hand, ints, merged, of_reference, pool, with_samples

from glia_bench.case import Case
from glia_bench.cluster import ClusterSpec
from glia_bench.errors import InvalidSpecError
from glia_bench.timeline import timeline_figure, timeline_page
from glia_bench.timeline.drawing import Canvas, compact, nice_ceiling, number, short
from glia_bench.timeline.figure import replica_lanes
from glia_bench.timeline.lives import request_lives
from glia_bench.timeline.series import Steps, count_per_bin, span_means
from glia_bench.timeline.window import Window
from glia_bench.types import Iterations, Lifetimes, RunResult

MAX_BYTES = 1_000_000


def texts(svg: str) -> list[str]:
    """Return the texts of a figure, which must be well-formed XML."""
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


# Bins


def test_means_of_spans_count_gaps_as_nothing() -> None:
    """4 for half a bin is 2; a span over two bins counts in both; outside of spans there is 0."""
    means = span_means(ints([0, 10]), ints([5, 25]), ints([4, 3]), ints([0, 10, 20, 30]))
    assert means.tolist() == pytest.approx([2.0, 3.0, 1.5])
    assert span_means(ints([]), ints([]), ints([]), ints([0, 10])).tolist() == [0.0]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50), st.integers(0, 9)), max_size=8), st.integers(1, 7))
def test_means_keep_the_integral(pieces: list[tuple[int, int, int]], num_bins: int) -> None:
    """Whatever the bins, means times widths add up to values times durations."""
    gap, length, value = (ints([piece[k] for piece in pieces]) for k in range(3))
    end = np.cumsum(gap + length)
    edges = ints(np.linspace(0, max(1000, int(end[-1]) if len(end) else 0), num_bins + 1))
    means = span_means(end - length, end, value, edges)
    assert (means * np.diff(edges)).sum() == pytest.approx((value * length).sum())


def test_steps_know_their_values_means_and_peaks() -> None:
    """A step function is 0 before its first step; a peak holds from the bin before until the next step."""
    steps = Steps(time_ps=ints([5, 12, 14]), value=ints([3, 7, 1]))
    assert steps.at(ints([0, 5, 11, 12, 30])).tolist() == [0, 3, 3, 7, 1]
    assert steps.means(ints([0, 10, 20])).tolist() == pytest.approx([1.5, 2.6])  # 3*5/10; (3*2 + 7*2 + 1*6)/10
    assert steps.peaks(ints([0, 10, 20, 30])).tolist() == [3, 7, 1]
    empty = Steps(time_ps=ints([]), value=ints([]))
    assert (empty.means(ints([0, 10])).tolist(), empty.peaks(ints([0, 10])).tolist()) == ([0], [0])


def test_instants_fall_into_the_bin_that_begins_with_them() -> None:
    """An instant at an inner edge belongs to the bin on its right; one at the end of the window to none."""
    assert count_per_bin(ints([0, 10, 19, 20]), ints([1, 1, 5, 9]), ints([0, 10, 20])).tolist() == [1, 6]


def test_rows_of_many_iterations_draw_like_single_ones() -> None:
    """Batches and their times are the same whether equal iterations are logged one by one or as one row."""
    case, result = of_reference()
    assert result.iterations is not None
    rows = replace(result, iterations=merged(result.iterations))
    assert len(merged(result.iterations).count) < len(result.iterations.count) / 3
    canvas, lives = Canvas(Window(start_ps=0, end_ps=result.end_ps)), request_lives(case, result)
    lanes = zip(replica_lanes(case, result, lives, canvas), replica_lanes(case, rows, lives, canvas), strict=True)
    for single, together in lanes:
        for name in ("decodes", "prefill_tokens", "preemptions", "waiting", "running"):
            np.testing.assert_allclose(getattr(single, name), getattr(together, name), atol=1e-6)


# Drawing


def test_numbers_are_short() -> None:
    """Coordinates lose what is not needed, values for readers keep three digits."""
    assert [number(value) for value in (3.0, 0.5, -0.5, 12.34, -0.04)] == ["3", ".5", "-.5", "12.3", "0"]
    assert [compact(value) for value in (0.25, 20, 1500, 30_000)] == ["0.25", "20", "1500", "30k"]
    assert [nice_ceiling(value) for value in (0, 0.7, 1, 31, 8100)] == [1, 0.8, 1, 40, 10_000]
    assert short("a\nname that is much too long for it") == "a\N{REPLACEMENT CHARACTER}name that is much t…"


def test_an_area_is_a_step_per_run_of_equal_columns() -> None:
    """Equal columns are one step, half pixels are kept, and what is not nothing is seen."""
    canvas = Canvas(Window(start_ps=0, end_ps=1000))
    canvas.area(50.0, np.array([0.0, 2.0, 2.0, 0.01, -3.0, 0.0]), "kv")
    assert canvas.parts == ['<path class="kv" d="M132 50v0h150v-2h300v1.5h150v3.5h150v-3h150V50z"/>']
    canvas.area(50.0, np.zeros(6), "kv")
    assert len(canvas.parts) == 1


@pytest.mark.parametrize(
    ("window_s", "labels"),
    [
        ((0.0, 95.0), ["0", "10", "20", "30", "40", "50", "60", "70", "80", "90"]),
        (
            (20.0, 20.5),
            ["20.00", "20.05", "20.10", "20.15", "20.20", "20.25", "20.30", "20.35", "20.40", "20.45", "20.50"],
        ),
        ((3.0, 4000.0), ["500", "1000", "1500", "2000", "2500", "3000", "3500", "4000"]),
    ],
)
def test_time_ticks_are_round_and_few(window_s: tuple[float, float], labels: list[str]) -> None:
    """Ticks stand at multiples of 1, 2 or 5 times a power of ten, with the decimals that they need."""
    start_s, end_s = window_s
    canvas = Canvas(Window(start_ps=round(start_s * 1e12), end_ps=round(end_s * 1e12)))
    assert [label for _, label in canvas.times()] == labels


# The figure


def test_the_figure_shows_every_lane_with_its_unit() -> None:
    """Names, summaries, units and states of the run made by hand stand in the figure."""
    shown = texts(timeline_figure(*by_hand(), title="a run"))
    assert shown[:2] == ["a run", "0 to 0.1 s, drawn from every iteration"]
    assert "3 requests, busy 100 %, KV up to 50 %, 1 preemption" in shown
    assert "1 request, busy 20 %, KV up to 20 %, 0 preemptions" in shown
    lanes = ("arrivals, 1/s", "held, requests", "prefill tokens", "KV blocks, %", "waiting, requests", "time, s")
    assert set(lanes) < set(shown)
    assert {"pool r0", "pool r1", "ready", "loading", "slow x2"} < set(shown)
    assert {"1 on r0, restarted 1x", "3, rejected", "4, given up", "5 on r0, unfinished"} < set(shown)


@pytest.mark.parametrize(
    ("form", "said", "lanes"),
    [
        ("samples", "from samples, since no iterations", {"running, requests", "KV blocks, %"}),
        ("records", "from request records, since neither", {"running, requests"}),
    ],
)
def test_without_iterations_the_figure_has_less_and_says_so(form: str, said: str, lanes: set[str]) -> None:
    """Lanes of what was not logged are left out, and the second line tells why."""
    case, result = by_hand()
    result = with_samples(result) if form == "samples" else replace(result, iterations=None)
    shown = texts(timeline_figure(case, result))
    assert said in shown[0]
    all_lanes = {"decodes", "prefill tokens", "running, requests", "KV blocks, %", "preemptions"}
    assert all_lanes & set(shown) == lanes


def test_a_run_without_trouble_has_no_lanes_of_trouble() -> None:
    """Without preemptions, waiting, held requests and states there are no lanes for them."""
    case, result = by_hand()
    shown = texts(timeline_figure(replace(case, faults=()), result, start_s=0.06, end_s=0.07, replicas=[1]))
    assert not {"preemptions", "waiting, requests", "faults"} & set(shown)
    calm = Lifetimes(
        replica=ints([0]), requested_ps=ints([0]), ready_ps=ints([0]), draining_ps=ints([-1]), gone_ps=ints([-1])
    )
    shown = texts(timeline_figure(replace(case, faults=()), replace(result, lifetimes=calm), start_s=0.0, end_s=0.004))
    assert not {"state", "held, requests", "ready"} & set(shown)


def test_the_figure_is_the_same_each_time_and_fetches_nothing() -> None:
    """Same run, same bytes; the only address in it is the name of the SVG format."""
    case, result = of_reference()
    svg = timeline_figure(case, result)
    assert svg == timeline_figure(case, result)
    assert re.findall(r"https?://[^\s\"']+", svg) == ["http://www.w3.org/2000/svg"]
    assert "prefers-color-scheme: dark" in svg


def test_names_cannot_change_the_markup() -> None:
    """Titles, pools and messages are escaped in figure and page."""
    case, result = by_hand()
    evil = "<script>alert('&')</script>"
    pools = (replace(case.cluster.pools[0], name=evil),)
    case = replace(case, cluster=replace(case.cluster, pools=pools))
    result = replace(result, status="policy_error", message=evil, notes=(evil,))
    page = timeline_page(case, result, title=evil, trace_note=evil)
    assert "<script" not in page
    assert "policy_error: &lt;script&gt;" in page
    assert evil in texts(timeline_figure(case, result, title=evil))


def test_a_replica_that_does_not_exist_is_refused() -> None:
    """The message names the rows."""
    with pytest.raises(InvalidSpecError, match=r"replicas must be rows 0\.\.1"):
        timeline_figure(*by_hand(), replicas=[0, 2])


def large_run(num_replicas: int, num_rows: int) -> tuple[Case, RunResult]:
    """Return a made-up run with many iterations, all of them different."""
    case, result = by_hand()
    random = np.random.default_rng(0)
    cluster = ClusterSpec(pools=(pool(1000, num_replicas=num_replicas),), slo_classes=case.cluster.slo_classes)
    replica = np.arange(num_rows, dtype=np.int64) % num_replicas
    start_ps = np.arange(num_rows, dtype=np.int64) // num_replicas * 20 * MS
    columns: dict[str, Any] = {
        name: random.integers(0, high, num_rows)
        for name, high in {
            "prefill_tokens": 256,
            "num_chunks": 3,
            "num_decodes": 32,
            "context_tokens": 9000,
            "allocated_blocks": 1000,
            "waiting": 50,
            "running": 32,
            "preempted": 2,
        }.items()
    }
    iterations = Iterations(
        replica=replica, start_ps=start_ps, end_ps=start_ps + 15 * MS, count=np.ones_like(replica), **columns
    )
    zeros = np.zeros(num_replicas, dtype=np.int64)
    lifetimes = Lifetimes(
        replica=np.arange(num_replicas, dtype=np.int64),
        requested_ps=zeros,
        ready_ps=zeros,
        draining_ps=zeros - 1,
        gone_ps=zeros - 1,
    )
    end_ps = int(start_ps[-1]) + 15 * MS
    run = replace(result, iterations=iterations, lifetimes=lifetimes, end_ps=end_ps)
    return replace(case, cluster=cluster, faults=()), run


def test_a_figure_of_a_long_run_on_many_replicas_stays_small() -> None:
    """300,000 different iterations on 300 replicas stay below a megabyte; those not drawn in full are strips."""
    svg = timeline_figure(*large_run(300, 300_000))
    assert len(svg) < MAX_BYTES
    shown = texts(svg)
    assert {"pool r7", "other replicas", "pool r8", "pool r263", "and 36 more"} < set(shown)
    assert "pool r264" not in shown


def test_the_page_has_totals_of_the_run() -> None:
    """A table names each replica with its requests, prompt tokens, restarts, share of time and iterations."""
    case, result = by_hand()
    page = timeline_page(case, result, title="a run")
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', page)
    cells = {name: re.findall(r"<td>(.*?)</td>", row) for name, row in rows}
    assert cells == {"pool r0": ["3", "110", "0", "1", "100.0", "7"], "pool r1": ["1", "30", "0", "0", "20.0", "1"]}
    assert "7 requests (3 finished, 2 unfinished, 1 rejected, 1 given up); the run ended at 0.1 s." in page
    assert '<p class="soft">a note</p>' in page


@pytest.mark.parametrize("policy", ["llq", "hra"])
def test_the_committed_examples_are_small_and_well_formed(policy: str) -> None:
    """The examples that docs/timeline.md shows can be read, and say what they are."""
    path = Path(__file__).parents[1] / "docs" / f"timeline_{policy}.svg"
    assert path.stat().st_size < 75_000
    title, source = texts(path.read_text())[:2]
    assert (policy in title, "drawn from every iteration" in source) == (True, True)
