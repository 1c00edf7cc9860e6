"""Queries that a designer may put to the tables of its own simulations: plain JSON, checked before it is answered.

Only the columns listed here can be named, so that nothing in a frame beyond them (a seed, a name) can come out.
`telemetry` answers.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from glia_bench.errors import GliaBenchError, did_you_mean

Kind: TypeAlias = Literal["number", "id", "word", "flag"]
Value: TypeAlias = bool | int | float | str

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

OF_REPLICA = re.compile(r"(waiting|running|allocated_blocks)_\d{1,5}", re.ASCII)
OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        "<": lambda column, value: column < value,
        "<=": lambda column, value: column <= value,
        ">": lambda column, value: column > value,
        ">=": lambda column, value: column >= value,
        "==": lambda column, value: column == value,
        "!=": lambda column, value: column != value,
    }
)
PER_MILLE = {"p1": 10, "p5": 50, "p10": 100, "p25": 250, "p50": 500, "p75": 750, "p90": 900, "p95": 950, "p99": 990}
PER_MILLE["p999"] = 999
_OF_COLUMN = ("mean", "std", "sum", "min", "max", *PER_MILLE)
STATISTICS = ("count", *_OF_COLUMN, "share", "corr")
"""Names of statistics: "count" alone, "share" of a flag, "corr" between two columns, the rest of a column of numbers;
std is that of the population."""


QUERY_HELP = f"""A query is one JSON object; every field may be left out.
"table": "requests" or "samples" (the cluster's state at equal intervals)
"by": a column whose values or bins are the rows of the answer; null: one row for all
"bins": 1 to {MAX_BINS} bins of equally many rows, or with "width": true equally wide ones
"where": up to {MAX_CONDITIONS} conditions [column, operator, value], operators {" ".join(OPERATORS)}
"stats": 1 to {MAX_STATS} statistics: ["count"], [column, "mean"] (or {", ".join(_OF_COLUMN[1:])}), \
["slo_met", "share"], [column, "corr", column]
Columns of requests: {", ".join(REQUEST_COLUMNS)}. slowdown = e2e_s / unloaded_s; queue_share = queueing_s / e2e_s; \
output_tokens of finished requests only; session, turn, tenant, replica, slo_class and outcome only in by and where.
Columns of samples: {", ".join(SAMPLE_COLUMNS)}; waiting_0, running_0, allocated_blocks_0 ... of one replica.
Example: {{"by": "prompt_tokens", "bins": 5, \
"where": [["restarts", ">", 0]], "stats": [["count"], ["e2e_s", "p99"]]}}"""
"""What whoever writes queries is told of them."""


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
            raise GliaBenchError(f"a query's table must be 'requests' or 'samples' (got {shown(self.table)})")
        if self.by is not None:
            self._kind(self.by, "by")
        is_count = isinstance(self.bins, int) and not isinstance(self.bins, bool)
        if self.bins is not None and (not is_count or not 1 <= self.bins <= MAX_BINS):
            raise GliaBenchError(f"a query's bins must be a whole number from 1 to {MAX_BINS} (got {shown(self.bins)})")
        if not isinstance(self.width, bool):
            raise GliaBenchError(f"a query's width must be true or false (got {shown(self.width)})")
        if len(self.where) > MAX_CONDITIONS:
            raise GliaBenchError(
                f"a query may have {MAX_CONDITIONS} conditions (got {len(self.where)}); leave some out"
            )
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
            raise GliaBenchError(f"a query must be a JSON object with {', '.join(known)} (got {shown(fields)})")
        for name in fields:
            if name not in known:
                hint = did_you_mean(str(name), known) or f"; known are {', '.join(known)}"
                raise GliaBenchError(f"a query has no field {shown(name)}{hint}")
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
            if column in SAMPLE_COLUMNS or (isinstance(column, str) and OF_REPLICA.fullmatch(column)):
                return "number"
            known: Sequence[str] = (*SAMPLE_COLUMNS, "waiting_0", "running_0", "allocated_blocks_0")
        elif isinstance(column, str) and column in REQUEST_COLUMNS:
            return REQUEST_COLUMNS[column]
        else:
            known = tuple(REQUEST_COLUMNS)
        hint = did_you_mean(str(column), known) or f"; known are {', '.join(known)}"
        raise GliaBenchError(f"{place}: {self.table} have no column {shown(column)}{hint}")

    def _check_condition(self, column: Any = None, operator: Any = None, value: Any = None, *more: Any) -> None:
        if more or value is None:
            raise GliaBenchError('each condition of where must be [column, operator, value], e.g. ["turn", ">", 0]')
        kind = self._kind(column, "where")
        if not isinstance(operator, str) or operator not in OPERATORS:
            raise GliaBenchError(f"where: the operator must be one of {' '.join(OPERATORS)} (got {shown(operator)})")
        wanted, fits = "a finite number", _is_number(value)
        if kind in ("word", "flag"):
            wanted, of = ("a word", str) if kind == "word" else ("true or false", bool)
            fits = isinstance(value, of)
            if operator not in ("==", "!="):
                raise GliaBenchError(f"where: {column} is {wanted}, so compare it by == or != (got {operator})")
        if not fits:
            raise GliaBenchError(f"where: {column} is compared with {wanted} (got {shown(value)})")

    def _check_statistic(self, statistic: tuple[Any, ...]) -> None:
        if statistic == ("count",):
            return
        column, name, *rest = (*statistic, None, None)[: max(2, len(statistic))]
        if len(statistic) == 1 and column in STATISTICS:
            raise GliaBenchError(f'stats: {column} is of a column, e.g. ["e2e_s", "{column}"] (got {list(statistic)})')
        kind = self._kind(column, "stats")
        if not isinstance(name, str) or name not in STATISTICS[1:]:
            hint = did_you_mean(str(name), STATISTICS) or f"; known are {', '.join(STATISTICS)}"
            raise GliaBenchError(f"stats: no statistic {shown(name)} of {column}{hint}")
        if (name == "share") != (kind == "flag") or kind in ("word", "id"):
            may = {"flag": "share alone", "word": "no statistic", "id": "no statistic"}.get(kind, "all but share")
            raise GliaBenchError(f"stats: {column} has {may} (got {name}); group by it, or put it into where")
        if len(rest) != (name == "corr"):
            form = f'["{column}", "corr", "e2e_s"]' if name == "corr" else f'["{column}", "{name}"]'
            raise GliaBenchError(f"stats: {name} must be written as {form} (got {shown(list(statistic))})")
        if rest and self._kind(rest[0], "stats") != "number":
            raise GliaBenchError(f"stats: corr must be of two columns of numbers (got {shown(rest[0])})")


def _rows(name: str, given: Any, example: str) -> tuple[tuple[Any, ...], ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(row, list | tuple) and row for row in given):
        raise GliaBenchError(f"a query's {name} must be a list of lists, e.g. {example} (got {shown(given)})")
    return tuple(tuple(row) for row in given)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def shown(value: Any) -> str:
    """Return a value as messages quote it: whoever wrote it may have written a lot."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
