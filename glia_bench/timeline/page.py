"""The timeline page: the figure with how to read it, totals per replica, the run's notes; one file, nothing fetched."""

import html
from pathlib import Path

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S
from glia_bench.timeline.chrome_trace import MAX_EVENTS, busiest_window, write_chrome_trace
from glia_bench.timeline.figure import timeline_figure
from glia_bench.timeline.lives import OUTCOMES
from glia_bench.timeline.window import replica_names, window_of
from glia_bench.types import RunResult

STYLE = """
:root { color-scheme: light dark; --bg: #fff; --fg: #1b1e22; --soft: #565d64; --rule: #c9cdd1; --warn: #8a3a00 }
@media screen and (prefers-color-scheme: dark) {
  :root { --bg: #15181b; --fg: #e4e6e8; --soft: #a4abb2; --rule: #434a51; --warn: #f0a36b }
}
body { margin: 0 auto; padding: 1.5rem 1.25rem 3rem; max-width: 70rem; background: var(--bg); color: var(--fg);
  font: 1rem/1.5 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif }
h1 { font-size: 1.5rem; margin: 0 0 .3rem } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem }
p, li { max-width: 46rem } .soft { color: var(--soft) } .warn { color: var(--warn) } p { margin: .4rem 0 }
figure { margin: 1rem 0; overflow-x: auto } figure svg { min-width: 44rem; width: 100%; height: auto; display: block }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; border-bottom: 1px solid var(--rule) }
th:first-child { text-align: left } thead th { font-weight: 600 } tbody th { font-weight: 400 }
"""
HOW_TO_READ = (
    "Time runs to the right, in seconds of the run. All rows share the axis, and lanes of one kind their scale.",
    "Batch: decodes above the line, prefill tokens below it, mean per iteration over a pixel column; idle time counts "
    "as 0, so a half-high area may be half a batch or half the time.",
    "KV blocks: the dashed line is the replica's capacity; a dark area that touches it, with preemptions below, is "
    "memory pressure. Waiting under a KV area with room is a full batch or a budget instead.",
    "Held requests above empty waiting lanes: the router keeps them back rather than crowd a replica.",
)


def timeline_page(
    case: Case,
    result: RunResult,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    title: str = "",
    trace_note: str = "",
) -> str:
    """Return the figure of a run as an HTML page for light, dark and print.

    Args:
        case: What was run.
        result: What came of it.
        start_s: Begin of the window, in seconds of the run.
        end_s: Its end.
        title: Task, policy, seed.
        trace_note: A sentence on the trace that lies beside the page, if there is one.
    """
    figure = timeline_figure(case, result, start_s=start_s, end_s=end_s)
    outcome = result.records.outcome
    counts = ", ".join(f"{n:,} {name}" for code, name in OUTCOMES.items() if (n := int((outcome == code).sum())))
    remarks = [f"{len(outcome):,} requests ({counts}); the run ended at {_seconds(result.end_ps)} s."]
    failure = "" if result.status == "ok" else f'<p class="warn">{result.status}: {html.escape(result.message)}</p>'
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title or 'Timeline')}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
            f"<h1>{html.escape(title or 'Timeline')}</h1>",
            *(f'<p class="soft">{html.escape(text)}</p>' for text in [*remarks, trace_note, *result.notes] if text),
            f"{failure}<figure>{figure}</figure>",
            "<h2>How to read it</h2>\n<ul>",
            *(f"<li>{html.escape(text)}</li>" for text in HOW_TO_READ),
            "</ul>\n<h2>Totals of the run</h2>",
            _totals(case, result),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _seconds(time_ps: int) -> str:
    return f"{time_ps / PS_PER_S:.6g}"


def _totals(case: Case, result: RunResult) -> str:
    """Return a table of what each replica did over the whole run."""
    records, logged, num = result.records, result.iterations, case.cluster.num_replicas
    is_placed = records.replica >= 0

    def per_replica(weights: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]") -> list[int]:
        sums = np.bincount(records.replica[is_placed], weights=weights[is_placed], minlength=num)
        return [int(value) for value in sums]

    columns: dict[str, list[str]] = {
        "requests": [f"{n:,}" for n in per_replica(np.ones_like(records.replica))],
        "prompt tokens": [f"{n:,}" for n in per_replica(case.trace.prompt_tokens)],
        "of them cached": [f"{n:,}" for n in per_replica(result.cached_tokens)],
        "restarts of its requests": [f"{n:,}" for n in per_replica(records.restarts)],
    }
    if logged is not None:
        whole = window_of(result)
        within_ps = np.minimum(logged.end_ps, whole.end_ps) - logged.start_ps  # the last may outlast the run
        spans = np.bincount(logged.replica, weights=within_ps, minlength=num)
        columns["busy, % of the run"] = [f"{100 * span / (whole.end_ps - whole.start_ps):.1f}" for span in spans]
        columns["iterations"] = [
            f"{int(n):,}" for n in np.bincount(logged.replica, weights=logged.count, minlength=num)
        ]
    head = "".join(f'<th scope="col">{name}</th>' for name in ("replica", *columns))
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>\n'
        for name, *cells in zip(replica_names(case), *columns.values(), strict=True)
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table>"


def write_timelines(
    case: Case, result: RunResult, stem: Path, title: str, *, max_events: int = MAX_EVENTS
) -> list[Path]:
    """Write <stem>.trace.json.gz and <stem>.html, and return both paths.

    Of a run that could have more than `max_events` events, the trace holds the part around its most crowded instant;
    the page says which part, and shows the whole run.
    """
    trace, page = stem.with_name(f"{stem.name}.trace.json.gz"), stem.with_name(f"{stem.name}.html")
    window = busiest_window(case, result, max_events)
    start_s, end_s = window.seconds
    write_chrome_trace(trace, case, result, start_s=start_s, end_s=end_s, max_events=max_events, title=title)
    part = (
        "" if window == window_of(result) else f" (from {start_s:.6g} to {end_s:.6g} s: all would be too much for it)"
    )
    note = f"Every iteration and request of this run{part} is in {trace.name}; open it at ui.perfetto.dev."
    page.write_text(timeline_page(case, result, title=title, trace_note=note), encoding="utf-8")
    return [trace, page]
