"""Parts of the figure with one thin strip per thing: KV use of many replicas, and the requests of a small run."""

from collections.abc import Mapping

import numpy as np

from glia_bench.timeline.drawing import LEFT, PLOT_WIDTH, Canvas, legend, number, short
from glia_bench.timeline.lives import OUTCOMES, RequestLives
from glia_bench.timeline.series import Floats
from glia_bench.types import FINISHED, RunResult

MAX_STRIPS = 256
"""Replicas beyond these are only counted."""
MAX_BARS = 48
"""Requests up to which they are drawn one by one."""
PHASES = (("held", "held"), ("wait", "waiting"), ("prefill", "prefill"), ("decode", "decode"))
"""Style and name of what a request goes through."""
STRIP, BAR = 9, 9
LEVELS = (0.02, 0.25, 0.5, 0.75, 0.95)
"""Shares of the KV blocks from which a strip is darker."""
STRIP_BINS = PLOT_WIDTH // 3


def kv_strips(canvas: Canvas, shares: Mapping[str, Floats]) -> None:
    """Draw the KV use of each replica as a strip that is darker the fuller it is.

    Args:
        canvas: Drawn on.
        shares: Replica to its share of KV blocks over time, shape (num_bins,), a multiple of `STRIP_BINS`.
    """
    if not shares:
        return
    canvas.y += 22
    canvas.text(0, canvas.y - 4, "other replicas", "name")
    steps = ", ".join(f"{100 * level:g}" for level in LEVELS)
    canvas.text(LEFT, canvas.y - 4, f"KV use; darker from {steps} % of the blocks on", "soft")
    shown = list(shares.items())[:MAX_STRIPS]
    paths = ["" for _ in LEVELS]
    step = PLOT_WIDTH / STRIP_BINS
    for name, share in shown:
        canvas.text(0, canvas.y + STRIP - 1, short(name), "soft small")
        level = np.searchsorted(LEVELS, share.reshape(STRIP_BINS, -1).mean(axis=1), side="right")
        starts = np.flatnonzero(np.diff(level, prepend=-1) != 0)
        ends = np.append(starts[1:], STRIP_BINS)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            if level[start]:
                width = number((end - start) * step)
                paths[level[start] - 1] += (
                    f"M{number(LEFT + start * step)} {number(canvas.y)}h{width}v{STRIP - 1}h-{width}z"
                )
        canvas.y += STRIP
    for place, path in enumerate(paths):
        if path:
            opacity = f"{(place + 1) / len(LEVELS):g}"
            canvas.parts.append(f'<path class="kv" style="opacity:{opacity}" d="{path}"/>')
    if len(shares) > MAX_STRIPS:
        canvas.text(0, canvas.y + 12, f"and {len(shares) - MAX_STRIPS} more", "soft")
        canvas.y += 14
    canvas.y += 6


def request_bars(canvas: Canvas, result: RunResult, lives: RequestLives) -> None:
    """Draw each request from arrival to end, if there are few: held, waiting, prefill and decode, and where it ran."""
    rows = lives.within(canvas.window)
    if not 0 < len(rows) <= MAX_BARS:
        return
    canvas.y += 22
    canvas.text(0, canvas.y - 4, "requests", "name")
    canvas.y -= 4
    legend(canvas, PHASES)
    order = rows[np.argsort(lives.arrival_ps[rows], kind="stable")]
    for row in order.tolist():
        columns = (lives.arrival_ps, lives.dispatched_ps, lives.scheduled_ps, lives.first_token_ps)
        marks = [canvas.x(int(column[row])) for column in columns if column[row] >= 0]
        marks.append(canvas.x(int(lives.left_ps[row])))
        for (style, _), x, end in zip(PHASES, marks, marks[1:], strict=False):
            if end > x:
                canvas.rectangle(x, canvas.y, end - x, BAR - 2, style)
        canvas.text(0, canvas.y + BAR - 2, _bar_label(result, row), "soft small")
        canvas.y += BAR
    canvas.y += 6


def _bar_label(result: RunResult, row: int) -> str:
    """Return the request's number, where it ran, how often it was restarted, and how it ended if not well."""
    records = result.records
    replica, restarts = int(records.replica[row]), int(records.restarts[row])
    where = f" on r{replica}" if replica >= 0 else ""
    outcome = int(records.outcome[row])
    end = "" if outcome == FINISHED else f", {OUTCOMES[outcome]}"
    return f"{row}{where}{f', restarted {restarts}x' if restarts else ''}{end}"
