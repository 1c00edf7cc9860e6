"""What a designer may ask of the tables of its own simulations: a query in plain JSON, and the table that answers it.

A query names a table, groups its rows by one column, keeps those that meet conditions and states up to eight
statistics; there is no code in it, so a language model may write it. Only the columns that `telemetry_query` lists can
be named, so that nothing in a frame beyond them (a seed, a name) can come out. `output_tokens` of requests that
finished is among them: it is data of a development run. Statistics are those of `scoring.metrics`: exact sums,
percentiles as order statistics without interpolation, so a table has the same digits on every machine. Left out: joins
of the two tables, groups by two columns, text search.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from glia_bench.designer.telemetry_query import (
    DEFAULT_BINS,
    MAX_ROWS,
    OF_REPLICA,
    OPERATORS,
    PER_MILLE,
    REQUEST_COLUMNS,
    SAMPLE_COLUMNS,
    Query,
    shown,
)
from glia_bench.errors import GliaBenchError, did_you_mean
from glia_bench.scoring.metrics import OUTCOMES
from glia_bench.types import FINISHED

if TYPE_CHECKING:
    import pandas as pd

Cell: TypeAlias = str | int | float | None

MAX_WORD = 32
"""Characters of a word in a cell of a markdown table."""
NUM_WORST = 10
"""Requests of the standard table of the worst."""
MAX_CHARACTERS = 6_000
"""Length of the standard tables."""

_DERIVED = {"slowdown": ("e2e_s", "unloaded_s"), "queue_share": ("queueing_s", "e2e_s")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The answer to a query.

    Attributes:
        columns: Heads.
        rows: Cells; None where a statistic is of no value at all.
        note: What was left out, as a sentence; or empty.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def to_markdown(self) -> str:
        """Return the table with numbers rounded to three significant digits, counts whole; no word can break it."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        text = "\n".join("|" + "|".join(_cell(cell) for cell in line) + "|" for line in lines)
        return f"{text}\n\n{self.note}" if self.note else text  # a line that follows at once would be a row

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON values, numbers as they are."""
        return {"columns": list(self.columns), "rows": [list(row) for row in self.rows], "note": self.note}


def run_query(frames: "Mapping[str, pd.DataFrame]", query: Query) -> Table:
    """Return the answer to a query.

    Args:
        frames: "requests" and, if they were kept, "samples"; left as they are.
        query: The question.

    Raises:
        GliaBenchError: If there is no such table, or it lacks the replica or the word that the query names.
    """
    if query.table not in frames:
        raise GliaBenchError(f"this simulation kept no {query.table}; ask of {' or '.join(frames) or 'another one'}")
    frame = frames[query.table]
    kept = _kept_rows(frame, query)
    groups, note = [("all", kept)], ""
    if query.by is not None:
        groups, note = _groups(column_of(frame, query.by), kept, query)
    named = {name for statistic in query.stats if len(statistic) > 1 for name in (statistic[0], *statistic[2:])}
    columns = {name: column_of(frame, name) for name in named}
    return Table(
        columns=(
            query.by or query.table,
            *(" ".join((s[1], s[0], *s[2:])) if len(s) > 1 else s[0] for s in query.stats),
        ),
        rows=tuple((label, *(_statistic(columns, rows, s) for s in query.stats)) for label, rows in groups),
        note=note,
    )


def column_of(frame: "pd.DataFrame", name: str) -> Any:
    """Return a column, derived where it has to be: float64, bool for flags, object for words.

    Raises:
        GliaBenchError: If the frame lacks it.
    """
    if name in _DERIVED:
        first, second = (column_of(frame, of) for of in _DERIVED[name])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(second != 0, first / second, np.nan)
    if name == "decode_s":
        e2e_s, ttft_s = column_of(frame, "e2e_s"), column_of(frame, "ttft_s")
        # both are charged at the horizon, and so equal, where there was no first token
        return np.where((e2e_s == ttft_s) & (frame["output_tokens"].to_numpy() > 1), e2e_s, e2e_s - ttft_s)
    if name == "interarrival_s":
        arrival_s = column_of(frame, "arrival_s")
        order = np.argsort(arrival_s, kind="stable")
        gaps = np.full(len(arrival_s), np.nan)
        gaps[order[1:]] = np.diff(arrival_s[order])
        return gaps
    if name in SAMPLE_COLUMNS[2:]:
        mine = [column for column in frame.columns if str(column).startswith(f"{name}_")]
        return np.sum([column_of(frame, column) for column in mine], axis=0, initial=0.0)
    if name not in frame.columns:
        known = [
            str(c) for c in frame.columns if c in REQUEST_COLUMNS or c in SAMPLE_COLUMNS or OF_REPLICA.fullmatch(c)
        ]
        hint = did_you_mean(name, known) or f"; it has {', '.join(known[:MAX_ROWS])}"
        raise GliaBenchError(f"the tables of this simulation have no column {name!r}{hint}")
    kind = REQUEST_COLUMNS.get(name, "number")
    values = frame[name].to_numpy(dtype={"word": object, "flag": bool}.get(kind, np.float64))
    if name == "output_tokens":  # how long an output would have become is nobody's to know
        return np.where(frame["outcome"].to_numpy(dtype=object) == OUTCOMES[FINISHED], values, np.nan)
    return values


def percentile(ordered: Any, per_mille: int) -> float:
    """Return the ceil(p * n)-th smallest of n ordered values, as `scoring.metrics` defines percentiles."""
    return float(ordered[max(0, -(-len(ordered) * per_mille // 1000) - 1)])


def _kept_rows(frame: "pd.DataFrame", query: Query) -> Any:
    """Return the numbers of the rows that meet all conditions; a row without a value meets none, "!=" included."""
    is_kept = np.ones(len(frame), dtype=bool)
    for name, operator, value in query.where:
        column = column_of(frame, name)
        if isinstance(value, str):
            words = OUTCOMES.values() if name == "outcome" else sorted({str(word) for word in column})
            if value not in words:
                hint = did_you_mean(value, words) or f"; it has {', '.join(list(words)[:MAX_ROWS])}"
                raise GliaBenchError(f"where: {name} has no value {shown(value)}{hint}")
        met = OPERATORS[operator](column, value)
        is_kept &= met & ~np.isnan(column) if column.dtype == np.float64 else met.astype(bool)
    return np.flatnonzero(is_kept)


def _groups(column: Any, kept: Any, query: Query) -> tuple[list[tuple[str, Any]], str]:
    """Return the rows of each group with its label, in order, and what is left out."""
    note = ""
    if column.dtype == np.float64:
        known = kept[~np.isnan(column[kept])]
        if len(known) < len(kept):
            note = f"{len(kept) - len(known)} rows have no {query.by}"
        kept = known
    values = column[kept]
    distinct = sorted(set(values.tolist()))
    is_id = query.table == "requests" and REQUEST_COLUMNS.get(str(query.by)) == "id"
    bins = query.bins or (MAX_ROWS if is_id else DEFAULT_BINS)
    is_number = column.dtype == np.float64 and not (is_id and query.bins is None)
    if is_number and (len(distinct) > bins or (query.width and len(distinct) > 1)):
        return (_wide_bins if query.width else _even_bins)(values, kept, bins), note
    rows = {value: kept[values == value] for value in distinct}
    if len(distinct) > MAX_ROWS:
        most = sorted(distinct, key=lambda value: -len(rows[value]))[:MAX_ROWS]  # stable: ties by value
        note = "; ".join(filter(None, (note, f"the {MAX_ROWS} largest of {len(distinct)} groups")))
        distinct = [value for value in distinct if value in set(most)]
    return [(_label(value), rows[value]) for value in distinct], note


def _even_bins(values: Any, kept: Any, bins: int) -> list[tuple[str, Any]]:
    """Cut after every 1 / bins of the rows; equal values stay together, so there may be fewer bins."""
    ordered = np.sort(values)
    ends = np.unique([ordered[-(-len(values) * k // bins) - 1] for k in range(1, bins + 1)])
    place = np.searchsorted(ends, values)
    lows = [ordered[0], *ordered[np.searchsorted(ordered, ends[:-1], side="right")]]
    return [
        (f"{_label(low)} to {_label(end)}", kept[place == k])
        for k, (low, end) in enumerate(zip(lows, ends, strict=True))
    ]


def _wide_bins(values: Any, kept: Any, bins: int) -> list[tuple[str, Any]]:
    """Cut the range into equal parts, of which some may be empty; the last holds its upper end."""
    low, high = float(values.min()), float(values.max())
    edges = [low + (high - low) * k / bins for k in range(bins)]
    place = np.searchsorted(edges, values, side="right") - 1
    ends = [*edges[1:], high]
    return [(f"{_label(edges[k])} to {_label(ends[k])}", kept[place == k]) for k in range(bins)]


def _statistic(columns: Mapping[str, Any], rows: Any, statistic: tuple[str, ...]) -> Cell:
    """Return a statistic of some rows; None where no row has a value."""
    if len(statistic) == 1:
        return len(rows)
    name, what = statistic[:2]
    values = columns[name][rows]
    if what == "share":
        return int(values.sum()) / len(values) if len(values) else None
    has_value = np.isfinite(values)
    if what == "corr":
        other = columns[statistic[2]][rows]
        both = has_value & np.isfinite(other)
        return _correlation(values[both].tolist(), other[both].tolist())
    ordered = np.sort(values[has_value])
    if not len(ordered):
        return None
    total = math.fsum(ordered)
    mean = total / len(ordered)
    if what in PER_MILLE:
        return percentile(ordered, PER_MILLE[what])
    if what == "std":
        return math.sqrt(math.fsum((ordered - mean) ** 2) / len(ordered))
    return {"sum": total, "mean": mean, "min": float(ordered[0]), "max": float(ordered[-1])}[what]


def _correlation(xs: list[float], ys: list[float]) -> float | None:
    """Return Pearson's correlation; None where one of the two does not vary."""
    if len(xs) < 2 or min(xs) == max(xs) or min(ys) == max(ys):
        return None
    mean_x, mean_y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    dx, dy = [x - mean_x for x in xs], [y - mean_y for y in ys]
    spread = math.sqrt(math.fsum(d * d for d in dx)) * math.sqrt(math.fsum(d * d for d in dy))
    return math.fsum(a * b for a, b in zip(dx, dy, strict=True)) / spread if spread else None


def _label(value: Any) -> str:
    """Return what a group is called by; whole numbers, ids among them, are not rounded."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if float(value).is_integer() else f"{value:.5g}"


def _cell(cell: Cell) -> str:
    """Return a cell of a markdown table: words on one line and without what has a meaning there."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        text = " ".join(cell.split())
        text = text if len(text) <= MAX_WORD else f"{text[: MAX_WORD - 3]}..."
        return re.sub(r"([\\|`*<>\[\]])", r"\\\1", text)
    if isinstance(cell, int):
        return str(cell)
    return f"{float(f'{cell:.2e}'):.15g}"


def standard_tables(requests: "pd.DataFrame", samples: "pd.DataFrame | None" = None) -> str:
    """Return the markdown that an analyst sees of a simulation: all requests, groups of them, the worst ten.

    Args:
        requests: Its per-request table.
        samples: Its table of samples, if it was kept.

    Returns:
        At most `MAX_CHARACTERS` characters; tables with many rows are cut short before that is passed.
    """
    for most in (MAX_ROWS, 12, 8, 4, 2):
        text = "\n\n".join(_sections(requests, samples, most))
        if len(text) <= MAX_CHARACTERS:
            break
    return text[:MAX_CHARACTERS]


def _sections(requests: "pd.DataFrame", samples: "pd.DataFrame | None", most: int) -> list[str]:
    frames = {"requests": requests} | ({} if samples is None else {"samples": samples})

    def section(title: str, by: str, stats: str, table: str = "requests", width: bool = False) -> str:
        query = Query(table=table, by=by, width=width, stats=tuple(tuple(s.split()) for s in stats.split(",")))
        return f"### {title}\n{_cut(run_query(frames, query), most).to_markdown()}"

    usual = "count,e2e_s mean,e2e_s p99,ttft_s mean,slowdown mean,slo_met share"
    sections = [f"### All requests\n{_overall(requests).to_markdown()}"]
    sections.append(section("By prompt length (tenths)", "prompt_tokens", usual))
    sections.append(section("By time of arrival", "arrival_s", usual, width=True))
    if samples is not None:
        stats = "held mean,waiting mean,running mean,allocated_blocks mean"
        sections.append(section("Sampled state of the cluster by time", "time_s", stats, "samples", width=True))
    kinds = [
        "replica",
        *(by for by in ("tenant", "slo_class", "turn") if len(set(column_of(requests, by).tolist())) > 1),
    ]
    sections += [section(f"By {by}", by, usual + (",restarts sum" if by == "replica" else "")) for by in kinds]
    return [*sections, f"### Worst requests by slowdown\n{_worst(requests).to_markdown()}"]


def _overall(requests: "pd.DataFrame") -> Table:
    """Return the row of all requests, turned: a row per measure of them."""
    rows: list[tuple[Cell, ...]] = []
    stats = ("mean", "p50", "p99", "max")
    for name in ("e2e_s", "ttft_s", "tpot_s", "slowdown"):
        columns, everybody = {name: column_of(requests, name)}, np.arange(len(requests))
        rows.append((name, *(_statistic(columns, everybody, (name, stat)) for stat in stats)))
    met, restarts = column_of(requests, "slo_met"), column_of(requests, "restarts")
    finished = int((column_of(requests, "outcome") == OUTCOMES[FINISHED]).sum())
    share = _cell(int(met.sum()) / len(met)) if len(met) else "-"
    note = f"{len(requests)} requests, {finished} finished; share that met its SLO {share}; {int(restarts.sum())} "
    return Table(columns=("", *stats), rows=tuple(rows), note=f"{note}restarts of {int((restarts > 0).sum())} requests")


def _worst(requests: "pd.DataFrame") -> Table:
    names = ("arrival_s", "prompt_tokens", "output_tokens", "replica", "restarts", "queueing_s", "ttft_s", "e2e_s")
    slowdown = column_of(requests, "slowdown")
    order = np.argsort(-np.nan_to_num(slowdown), kind="stable")[:NUM_WORST]  # ties by place in the trace
    columns = {name: column_of(requests, name) for name in names}
    rows = []
    for row in order.tolist():
        values = {name: float(columns[name][row]) for name in names}
        cells = [None if math.isnan(v) else v if name.endswith("_s") else int(v) for name, v in values.items()]
        rows.append((row, *cells, float(slowdown[row])))
    return Table(columns=("request", *names, "slowdown"), rows=tuple(rows))


def _cut(table: Table, most: int) -> Table:
    """Return a table of at most so many rows; of more, those with most rows of their own, in their order."""
    if len(table.rows) <= most:
        return table
    kept = set(sorted(range(len(table.rows)), key=lambda k: (-_count_of(table.rows[k]), k))[:most])
    rows = tuple(row for k, row in enumerate(table.rows) if k in kept)
    return Table(columns=table.columns, rows=rows, note=f"the {most} largest of {len(table.rows)} groups or more")


def _count_of(row: Sequence[Cell]) -> float:
    return float(row[1] or 0) if len(row) > 1 and not isinstance(row[1], str) else 0.0
