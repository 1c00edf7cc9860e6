"""The requests of one case, from the table that was kept: how their latencies are distributed, which were slowest."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glia_bench.scoring.chart import Distribution, distribution_chart, line_swatch
from glia_bench.scoring.columns import Column, Columns, Row, Table, TableRow
from glia_bench.scoring.figures import Figure
from glia_bench.scoring.kept import kept_file, read_requests
from glia_bench.scoring.pages import Context, case_anchor, link

if TYPE_CHECKING:
    import pandas as pd

NUM_SLOWEST = 10
CURVES = (("e2e_s", "end-to-end latency", 0, ""), ("ttft_s", "time to first token", 1, "5 3"))
"""Column, name, colour and dash of each curve."""
COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("arrival_s", "arrival, s", 1),
    ("prompt_tokens", "prompt tokens", 0),
    ("output_tokens", "output tokens", 0),
    ("tenant", "tenant", 0),
    ("replica", "replica", 0),
    ("restarts", "restarts", 0),
    ("held_s", "held, s", 2),
    ("queueing_s", "queueing, s", 2),
    ("ttft_s", "TTFT, s", 2),
    ("e2e_s", "E2E, s", 2),
    ("unloaded_s", "unloaded, s", 2),
)
"""Column of the table, head, decimals."""
WORDS = (("slo_class", "class"), ("outcome", "outcome"))
CONSTANT = {"tenant", "slo_class", "restarts", "held_s"}
"""Columns left out where they say the same of every request shown."""


def request_section(result_dir: Path, trial: Row, page: str) -> Context:
    """Return what the requests of a case show.

    Args:
        result_dir: Folder of the result.
        trial: A trial whose request table is there.
        page: The page that it will stand on.

    Raises:
        GliaBenchError: If the table cannot be read.
    """
    frame = read_requests(result_dir, trial)
    file = kept_file(result_dir, trial, "records")
    assert frame is not None
    assert file is not None
    return {
        "anchor": f"requests-{case_anchor(trial['load'], trial['seed'])}",
        "title": f"Requests of seed {trial['seed']} at load {trial['load']:g}",
        "file": file,
        "href": link(file, from_page=page),
        "figure": _distribution(frame),
        "table": _slowest(frame) if len(frame) else None,
    }


def _distribution(frame: "pd.DataFrame") -> Figure | None:
    """Return the distribution of the latencies that the table holds; None without requests."""
    curves, legend, medians = [], [], []
    for column, name, colour, dash in CURVES:
        if column in frame and len(frame):
            values = np.sort(frame[column].to_numpy(dtype=np.float64))
            curves.append(Distribution(values=values, colour=colour, dash=dash))
            legend.append((line_swatch(colour, dash), name))
            medians.append(f"median {name} {values[(len(values) - 1) // 2]:.3g} s")
    if not curves:
        return None
    return Figure(
        title="Latencies of this case",
        svg=distribution_chart(curves, f"Distribution of latencies: {'; '.join(medians)}", "seconds since arrival"),
        how_to_read=(
            "y % of the requests had their first token, and their last, within x seconds. The gap between the curves "
            "is the time from first to last token."
        ),
        legend=tuple(legend),
    )


def _slowest(frame: "pd.DataFrame") -> Table:
    """Return the slowest requests by end-to-end latency; ties by arrival."""
    slow = frame.sort_values("e2e_s", ascending=False, kind="stable").head(NUM_SLOWEST)
    columns = Columns(len(slow))
    for name, title in WORDS:
        if name in slow and not (name in CONSTANT and _is_constant(frame[name])):
            columns.texts(title, [str(value) for value in slow[name]])
    for name, title, places in COLUMNS:
        if name in slow and not (name in CONSTANT and _is_constant(frame[name])):
            columns.numbers(title, [float(value) for value in slow[name]], places=places)
    return Table(
        caption=f"The {len(slow)} slowest of {len(frame):,} requests",
        columns=(Column(title="request"), *columns.heads),
        rows=tuple(TableRow(name=str(index), cells=columns.row(row)) for row, index in enumerate(slow.index)),
    )


def _is_constant(values: Any) -> bool:
    return len(set(values)) <= 1
