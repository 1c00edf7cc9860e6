"""What a designer may ask of the tables of its own simulations: a query in plain JSON, and the table that answers it.

A query names a table, groups its rows by one column, keeps those that meet conditions and states up to eight
statistics; there is no code in it, so a language model may write it. Only the columns listed here can be named, so that
nothing in a frame beyond them (a seed, a name) can come out. `output_tokens` is among them: it is data of a development
run. Statistics are those of `scoring.metrics`: exact sums, percentiles as order statistics without interpolation, so a
table has the same digits on every machine. Left out: joins of the two tables, groups by two columns, text search.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from glia_bench.errors import GliaBenchError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

Kind: TypeAlias = Literal["number", "id", "word", "flag"]
Value: TypeAlias = bool | int | float | str
Cell: TypeAlias = str | int | float | None

MAX_ROWS, MAX_STATS, MAX_CONDITIONS, MAX_BINS = 20, 8, 6, 20
DEFAULT_BINS = 10

REQUEST_COLUMNS: Mapping[str, Kind] = MappingProxyType(
    {
        **dict.fromkeys(("arrival_s", "prompt_tokens", "output_tokens"), "number"),
        **dict.fromkeys(("tenant", "session", "turn", "replica"), "id"),
        **dict.fromkeys(("slo_class", "outcome"), "word"),
        **dict.fromkeys(("restarts", "cached_tokens", "held_s", "queueing_s", "ttft_s", "tpot_s"), "number"),
        **dict.fromkeys(("e2e_s", "unloaded_s"), "number"),
        "slo_met": "flag",
        **dict.fromkeys(("slowdown", "queue_share", "interarrival_s", "decode_s"), "number"),
    }
)
"""Columns of a request table, as `metrics.request_frame` makes them, then those derived from them: slowdown = e2e_s /
unloaded_s, queue_share = queueing_s / e2e_s, interarrival_s since the arrival before (of any request), decode_s from
first token to completion, from arrival where there was none."""

SAMPLE_COLUMNS = ("time_s", "held", "waiting", "running", "allocated_blocks")
"""Columns of a table of samples; the last three are sums over replicas, waiting_0 ... are those of one replica."""

_OF_REPLICA = re.compile(r"(waiting|running|allocated_blocks)_\d{1,5}", re.ASCII)
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        "<": lambda column, value: column < value,
        "<=": lambda column, value: column <= value,
        ">": lambda column, value: column > value,
        ">=": lambda column, value: column >= value,
        "==": lambda column, value: column == value,
        "!=": lambda column, value: column != value,
    }
)
_PER_MILLE = {"p1": 10, "p5": 50, "p10": 100, "p25": 250, "p50": 500, "p75": 750, "p90": 900, "p95": 950, "p99": 990}
_PER_MILLE["p999"] = 999
_OF_COLUMN = ("mean", "std", "sum", "min", "max", *_PER_MILLE)
STATISTICS = ("count", *_OF_COLUMN, "share", "corr")
"""Names of statistics: "count" alone, "share" of a flag, "corr" between two columns, the rest of a column of numbers;
std is that of the population."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question to one table.

    Attributes:
        table: "requests" or "samples".
        by: Column whose values or bins are the rows of the answer; None: one row for all.
        bins: Bins of a column of numbers; None: ten, and ids one by one. A column of fewer values has a row for each.
        width: Whether bins are equally wide, rather than of equally many rows.
        where: Conditions on rows, all of which must hold: column, operator, value.
        stats: Statistics, the columns of the answer.
    """

    table: str = "requests"
    by: str | None = None
    bins: int | None = None
    width: bool = False
    where: tuple[tuple[str, str, Value], ...] = ()
    stats: tuple[tuple[str, ...], ...] = (("count",),)

    def __post_init__(self) -> None:
        """Check what can be checked without the table."""
        if self.table not in ("requests", "samples"):
            raise GliaBenchError(f"a query's table must be 'requests' or 'samples' (got {_shown(self.table)})")
        if self.by is not None:
            self._kind(self.by, "by")
        is_count = isinstance(self.bins, int) and not isinstance(self.bins, bool)
        if self.bins is not None and (not is_count or not 1 <= self.bins <= MAX_BINS):
            raise GliaBenchError(f"a query's bins must be a whole number from 1 to {MAX_BINS} (got {_shown(self.bins)})")
        if not isinstance(self.width, bool):
            raise GliaBenchError(f"a query's width must be true or false (got {_shown(self.width)})")
        if len(self.where) > MAX_CONDITIONS:
            raise GliaBenchError(f"a query may have {MAX_CONDITIONS} conditions (got {len(self.where)}); leave some out")
        if not 1 <= len(self.stats) <= MAX_STATS:
            raise GliaBenchError(f"a query must have 1 to {MAX_STATS} statistics (got {len(self.stats)})")
        for condition in self.where:
            self._check_condition(*condition)
        for statistic in self.stats:
            self._check_statistic(statistic)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Query":
        """Return the query that JSON describes: {"table", "by", "bins", "width", "where", "stats"}, all optional.

        Raises:
            GliaBenchError: If anything in it is unknown or of the wrong form; the message says what and what may stand
                there.
        """
        known = tuple(cls.__dataclass_fields__)
        if not isinstance(fields, Mapping):
            raise GliaBenchError(f"a query must be a JSON object with {', '.join(known)} (got {_shown(fields)})")
        for name in fields:
            if name not in known:
                hint = did_you_mean(str(name), known) or f"; known are {', '.join(known)}"
                raise GliaBenchError(f"a query has no field {_shown(name)}{hint}")
        given = dict(fields)
        for name, example in (("where", '[["prompt_tokens", ">", 1000]]'), ("stats", '[["e2e_s", "mean"]]')):
            if name in given:
                given[name] = _rows(name, given[name], example)
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Return the query as JSON values, such that `from_json` gives it back."""
        return {**asdict(self), "where": [list(c) for c in self.where], "stats": [list(s) for s in self.stats]}

    def _kind(self, column: Any, place: str) -> Kind:
        if self.table == "samples":
            if column in SAMPLE_COLUMNS or (isinstance(column, str) and _OF_REPLICA.fullmatch(column)):
                return "number"
            known: Sequence[str] = (*SAMPLE_COLUMNS, "waiting_0", "running_0", "allocated_blocks_0")
        elif isinstance(column, str) and column in REQUEST_COLUMNS:
            return REQUEST_COLUMNS[column]
        else:
            known = tuple(REQUEST_COLUMNS)
        hint = did_you_mean(str(column), known) or f"; known are {', '.join(known)}"
        raise GliaBenchError(f"{place}: {self.table} have no column {_shown(column)}{hint}")

    def _check_condition(self, column: Any = None, operator: Any = None, value: Any = None, *more: Any) -> None:
        if more or value is None:
            raise GliaBenchError('each condition of where must be [column, operator, value], e.g. ["turn", ">", 0]')
        kind = self._kind(column, "where")
        if not isinstance(operator, str) or operator not in _OPERATORS:
            raise GliaBenchError(f"where: the operator must be one of {' '.join(_OPERATORS)} (got {_shown(operator)})")
        wanted, fits = "a finite number", _is_number(value)
        if kind in ("word", "flag"):
            wanted, of = ("a word", str) if kind == "word" else ("true or false", bool)
            fits = isinstance(value, of)
            if operator not in ("==", "!="):
                raise GliaBenchError(f"where: {column} is {wanted}, so compare it by == or != (got {operator})")
        if not fits:
            raise GliaBenchError(f"where: {column} is compared with {wanted} (got {_shown(value)})")

    def _check_statistic(self, statistic: tuple[Any, ...]) -> None:
        if statistic == ("count",):
            return
        column, name, *rest = (*statistic, None, None)[: max(2, len(statistic))]
        if len(statistic) == 1 and column in STATISTICS:
            raise GliaBenchError(f'stats: {column} is of a column, e.g. ["e2e_s", "{column}"] (got {list(statistic)})')
        kind = self._kind(column, "stats")
        if not isinstance(name, str) or name not in STATISTICS[1:]:
            hint = did_you_mean(str(name), STATISTICS) or f"; known are {', '.join(STATISTICS)}"
            raise GliaBenchError(f"stats: no statistic {_shown(name)} of {column}{hint}")
        if (name == "share") != (kind == "flag") or kind in ("word", "id"):
            may = {"flag": "share alone", "word": "no statistic", "id": "no statistic"}.get(kind, "all but share")
            raise GliaBenchError(f"stats: {column} has {may} (got {name}); group by it, or put it into where")
        if len(rest) != (name == "corr"):
            form = f'["{column}", "corr", "e2e_s"]' if name == "corr" else f'["{column}", "{name}"]'
            raise GliaBenchError(f"stats: {name} must be written as {form} (got {_shown(list(statistic))})")
        if rest and self._kind(rest[0], "stats") != "number":
            raise GliaBenchError(f"stats: corr must be of two columns of numbers (got {_shown(rest[0])})")


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
        return f"{text}\n{self.note}" if self.note else text

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
    kept = _mask(frame, query)
    groups, note = [("all", kept)], ""
    if query.by is not None:
        groups, note = _groups(column_of(frame, query.by), kept, query)
    needed = {name for statistic in query.stats if statistic != ("count",) for name in (statistic[0], *statistic[2:])}
    columns = {name: column_of(frame, name) for name in sorted(needed)}
    heads = [" ".join((s[1], s[0], *s[2:])) if len(s) > 1 else s[0] for s in query.stats]
    rows = [(label, *(_statistic(columns, rows, statistic) for statistic in query.stats)) for label, rows in groups]
    return Table(columns=(query.by or "requests"[: 8 if query.table == "requests" else 0] or "samples", *heads), rows=tuple(rows), note=note)
