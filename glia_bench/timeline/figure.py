"""A run as a picture: arrivals and held requests, then, replica by replica, batches, KV use, preemptions, waiting.

All rows share the time axis, and each kind of lane its scale, so that replicas can be compared by eye. Values are means
over pixel columns, idle time counting as 0; the pale area of KV use is the highest value within the column. What a
run did not log is left out, and the figure says so. Requests one by one are drawn only where there are few.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S
from glia_bench.errors import InvalidSpecError
from glia_bench.timeline.drawing import LEFT, PLOT_WIDTH, Canvas, compact, legend, nice_ceiling, short
from glia_bench.timeline.lives import (
    RequestLives,
    Span,
    fault_spans,
    replica_spans,
    request_lives,
    rows_by_replica,
)
from glia_bench.timeline.series import (
    DETAILS,
    Floats,
    count_per_bin,
    detail_of,
    held,
    replica_series,
    span_means,
)
from glia_bench.timeline.strips import kv_strips, request_bars
from glia_bench.timeline.window import Window, existing_replicas, replica_names, window_of
from glia_bench.types import RunResult

MAX_DETAILED = 8
"""Replicas that are drawn in full; the others get a strip of KV use each."""
NUM_BINS = PLOT_WIDTH
ARRIVAL_BINS, MANY = (30, 150), 300
"""Bins of arrival rates: the second number where there are many requests."""
BATCH, KV, PREEMPT, QUEUE = 30, 38, 12, 26
"""Heights of lanes in pixels; the batch lane has this above its base line and again below."""


STATES = {
    "requested": "requested",
    "loading": "loading",
    "starting": "requested",
    "ready": "ready",
    "failed": "fault",
    "starting or idle": "requested",
    "draining": "draining",
}
"""State of a replica to the style of its span."""
STATE_LEGEND = (
    ("requested", "requested, starting"),
    ("loading", "loading"),
    ("ready", "ready"),
    ("draining", "draining"),
    ("fault", "fault"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """What is drawn of one replica, one value per bin; shape (NUM_BINS,) each, None where it is not known.

    Attributes:
        decodes, prefill_tokens: Mean in the batch.
        running, waiting: Mean requests.
        kv_mean, kv_peak: Share of its KV blocks, 0..1.
        preemptions: In each bin.
        summary: Totals of the window, in words.
    """

    decodes: Floats | None
    prefill_tokens: Floats | None
    running: Floats
    waiting: Floats
    kv_mean: Floats | None
    kv_peak: Floats | None
    preemptions: Floats | None
    summary: str


def timeline_figure(
    case: Case,
    result: RunResult,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    replicas: Sequence[int] | None = None,
    title: str = "",
) -> str:
    """Return a run, or what lies between `start_s` and `end_s` of it, as a self-contained SVG for light and dark.

    Args:
        case: What was run.
        result: What came of it.
        start_s: Begin of the window, in seconds of the run.
        end_s: Its end.
        replicas: Rows to draw in full, in this order; None: the first that were there.
        title: Task, policy, seed.

    Raises:
        InvalidSpecError: If the window lies outside the run or a row does not exist.
    """
    window = window_of(result, start_s, end_s)
    there = existing_replicas(result, window)
    drawn = there[:MAX_DETAILED] if replicas is None else list(replicas)
    if not set(drawn) <= set(range(case.cluster.num_replicas)):
        raise InvalidSpecError(f"replicas must be rows 0..{case.cluster.num_replicas - 1} (got {drawn})")
    lives = request_lives(case, result)
    canvas = Canvas(window)
    lanes, names = replica_lanes(case, result, lives, canvas), replica_names(case)
    shown = {g: lanes[g] for g in drawn}
    has = _contents(shown)
    _head(canvas, case, result, title, has)
    top, at_top = canvas.y, len(canvas.parts)
    _cluster_lanes(canvas, result, lives)
    _replica_rows(canvas, case, result, shown, has)
    others = [g for g in there if g not in shown]
    kv_strips(canvas, {names[g]: share for g in others if (share := lanes[g].kv_mean) is not None})
    if others and "kv" not in has:
        canvas.text(0, canvas.y + 14, f"{len(others)} more replicas are not drawn", "soft")
        canvas.y += 24
    request_bars(canvas, result, lives)
    canvas.parts.insert(at_top, canvas.grid(top, canvas.y))
    canvas.time_axis(canvas.y + 14)
    canvas.y += 24
    return canvas.svg(_alternative(title, window, {names[g]: row.summary for g, row in shown.items()}))


def _contents(lanes: dict[int, Lanes]) -> set[str]:
    """Return which lanes there is anything to draw in: "batch", "kv", "preempt", "wait"."""
    columns = {"batch": "decodes", "kv": "kv_mean", "preempt": "preemptions", "wait": "waiting"}
    has = set()
    for name, column in columns.items():
        values = [value for row in lanes.values() if (value := getattr(row, column)) is not None]
        if any(value.any() for value in values) or (values and name in ("batch", "kv")):
            has.add(name)
    return has


def replica_lanes(case: Case, result: RunResult, lives: RequestLives, canvas: Canvas) -> list[Lanes]:
    """Return what there is to draw of every row of the replica arrays."""
    edges_ps, num = canvas.edges_ps(NUM_BINS), case.cluster.num_replicas
    placed = lives.within(canvas.window)
    placed = placed[lives.dispatched_ps[placed] >= 0]
    num_requests = np.bincount(result.records.replica[placed], minlength=num)
    logged = result.iterations
    rows = None if logged is None else rows_by_replica(logged, num)
    lanes = []
    for g, series in enumerate(replica_series(case, result, lives)):
        num_blocks = case.cluster.pools[case.cluster.pool_of[g]].engine.num_blocks
        decodes = prefill = preemptions = mean = peak = None
        summary = [_plural(int(num_requests[g]), "request")]
        if logged is not None and rows is not None:
            spans = (logged.start_ps[rows[g]], logged.end_ps[rows[g]])
            decodes = span_means(*spans, logged.num_decodes[rows[g]], edges_ps)
            prefill = span_means(*spans, logged.prefill_tokens[rows[g]], edges_ps)
            busy = span_means(*spans, np.ones_like(rows[g]), edges_ps[[0, -1]])[0]
            summary.append(f"busy {100 * busy:.0f} %")
        if series.allocated is not None:
            mean, peak = series.allocated.means(edges_ps) / num_blocks, series.allocated.peaks(edges_ps) / num_blocks
            summary.append(f"KV {'sampled ' if logged is None else ''}up to {100 * peak.max():.0f} %")
        if logged is not None and rows is not None:
            preemptions = count_per_bin(logged.start_ps[rows[g]], logged.preempted[rows[g]], edges_ps)
            summary.append(_plural(int(preemptions.sum()), "preemption"))
        lanes.append(
            Lanes(
                decodes=decodes,
                prefill_tokens=prefill,
                running=series.running.means(edges_ps),
                waiting=series.waiting.means(edges_ps),
                kv_mean=mean,
                kv_peak=peak,
                preemptions=preemptions,
                summary=", ".join(summary),
            )
        )
    return lanes


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"


def _head(canvas: Canvas, case: Case, result: RunResult, title: str, has: set[str]) -> None:
    """Draw the title, what the figure was made from, and the legend of what it holds."""
    start_s, end_s = canvas.window.seconds
    if title:
        canvas.text(0, 18, title, "title")
        canvas.y = 20
    canvas.text(0, canvas.y + 16, f"{start_s:.6g} to {end_s:.6g} s, drawn {DETAILS[detail_of(result)]}", "soft")
    canvas.y += 38
    entries = [("decode", "decodes"), ("prefill", "prefill tokens")] if "batch" in has else [("decode", "running")]
    if "kv" in has:
        entries += [("kv", "KV use, mean"), ("kv pale", "highest")]
    entries += [(name, text) for name, text in (("preempt", "preemptions"), ("wait", "waiting")) if name in has]
    styles = {STATES[span.name] for spans in replica_spans(case, result).values() for span in spans}
    if case.faults or styles != {"ready"}:
        styles |= {"fault"} if case.faults else set()
        entries += [(style, text) for style, text in STATE_LEGEND if style in styles]
    legend(canvas, entries)
    canvas.time_axis(canvas.y + 12)
    canvas.y += 18


def _cluster_lanes(canvas: Canvas, result: RunResult, lives: RequestLives) -> None:
    """Draw arrivals and held requests."""
    arrival_ps = lives.arrival_ps[lives.has_arrived]
    edges_ps = canvas.edges_ps(ARRIVAL_BINS[1] if len(lives.within(canvas.window)) > MANY else ARRIVAL_BINS[0])
    rate_rps = count_per_bin(arrival_ps, np.ones_like(arrival_ps), edges_ps) / (np.diff(edges_ps) / PS_PER_S)
    _lane(canvas, "arrivals, 1/s", [("arrive", rate_rps)], QUEUE, nice_ceiling(rate_rps.max()))
    steps = held(result, lives)
    edges_ps = canvas.edges_ps(NUM_BINS)
    if steps.peaks(edges_ps).any():
        means = steps.means(edges_ps)
        _lane(canvas, "held, requests", [("held", means)], QUEUE, nice_ceiling(means.max()))
    canvas.y += 8


def _lane(canvas: Canvas, label: str, areas: Sequence[tuple[str, Floats]], height: float, top: float) -> None:
    """Draw areas upwards from one base line, with the lane's name and scale, and go below it."""
    base = canvas.y + 6 + height
    canvas.lane_label(base - height / 2 + 4, label)
    canvas.tick(base - height + 4, compact(top))
    for style, values in areas:
        canvas.area(base, values * (height / top), style)
    canvas.line(base)
    canvas.y = base + 2


def _replica_rows(canvas: Canvas, case: Case, result: RunResult, lanes: dict[int, Lanes], has: set[str]) -> None:
    """Draw replicas in full, one below the other, on common scales."""
    names, faults, spans = replica_names(case), fault_spans(case), replica_spans(case, result)
    has_lifecycle = bool(case.faults) or any(span.name != "ready" for found in spans.values() for span in found)

    def scale(*columns: Floats | None) -> float:
        return nice_ceiling(max((float(column.max()) for column in columns if column is not None), default=0.0))

    decodes = scale(*(row.decodes for row in lanes.values()))
    prefill = scale(*(row.prefill_tokens for row in lanes.values()))
    running = scale(*(row.running for row in lanes.values()))
    waiting = scale(*(row.waiting for row in lanes.values()))
    preemptions = scale(*(row.preemptions for row in lanes.values()))
    for g, row in lanes.items():
        top = canvas.y + 4
        canvas.y += 22
        canvas.text(0, canvas.y - 4, short(names[g]), "name")
        canvas.text(LEFT, canvas.y - 4, row.summary, "soft")
        if has_lifecycle:
            _band(canvas, "state", spans.get(g, []))
        if faults.get(g):
            _band(canvas, "faults", faults[g], "fault")
        if row.decodes is None or row.prefill_tokens is None:
            _lane(canvas, "running, requests", [("decode", row.running)], BATCH, running)
        else:
            _batch(canvas, row.decodes, row.prefill_tokens, decodes, prefill)
        if row.kv_mean is not None and row.kv_peak is not None:
            areas = [("kv pale", row.kv_peak), ("kv", row.kv_mean)]
            canvas.line(canvas.y + 6, "cap")
            _lane(canvas, "KV blocks, %", [(style, 100 * share) for style, share in areas], KV, 100.0)
        if row.preemptions is not None and "preempt" in has:
            marks = np.where(row.preemptions > 0, np.maximum(row.preemptions, preemptions / 4), 0.0)  # one is seen too
            _lane(canvas, "preemptions", [("preempt", marks)], PREEMPT, preemptions)
        if "wait" in has:
            _lane(canvas, "waiting, requests", [("wait", row.waiting)], QUEUE, waiting)
        canvas.y += 6
        _faults(canvas, faults.get(g, []), top)


def _batch(canvas: Canvas, decodes: Floats, prefill_tokens: Floats, most_decodes: float, most_tokens: float) -> None:
    """Draw decodes upwards and prefill tokens downwards from one base line: two units, each with its own scale."""
    base = canvas.y + 6 + BATCH
    canvas.lane_label(base - BATCH / 2 + 4, "decodes")
    canvas.tick(base - BATCH + 4, compact(most_decodes))
    canvas.area(base, decodes * (BATCH / most_decodes), "decode")
    canvas.lane_label(base + BATCH / 2 + 4, "prefill tokens")
    canvas.tick(base + BATCH, compact(most_tokens))
    canvas.area(base, -prefill_tokens * (BATCH / most_tokens), "prefill")
    canvas.line(base)
    canvas.y = base + BATCH + 6


def _band(canvas: Canvas, label: str, spans: Sequence[Span], style: str = "") -> None:
    """Draw spans as a band, named where there is room, in one style or in the one of their name."""
    canvas.lane_label(canvas.y + 10, label)
    for span in spans:
        cut = span.cut(canvas.window)
        if cut is not None:
            x, width = canvas.x(cut.start_ps), canvas.x(cut.end_ps) - canvas.x(cut.start_ps)
            canvas.rectangle(x, canvas.y + 1, max(width, 1.0), 11, style or STATES[span.name])
            if width > 10 * len(span.name):
                canvas.name_on_paper(x + width / 2, canvas.y + 10, span.name)
    canvas.y += 14


def _faults(canvas: Canvas, faults: Sequence[Span], top: float) -> None:
    """Shade the time of each fault over a replica's row."""
    for span in faults:
        cut = span.cut(canvas.window)
        if cut is not None:
            x, width = canvas.x(cut.start_ps), canvas.x(cut.end_ps) - canvas.x(cut.start_ps)
            canvas.rectangle(x, top, max(width, 1.5), canvas.y - top, "fault veil")


def _alternative(title: str, window: Window, summaries: dict[str, str]) -> str:
    """Return the figure in words."""
    start_s, end_s = window.seconds
    rows = "; ".join(f"{name}: {summary}" for name, summary in summaries.items())
    return f"Timeline {title}, {start_s:.6g} to {end_s:.6g} s. {rows}"
