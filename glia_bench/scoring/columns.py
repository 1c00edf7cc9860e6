"""What a table of the report is made of: columns, rows, cells as text with where they lead, numbers rounded once, here.

A column has one number of decimals, chosen so that its smallest value keeps two significant digits. A number that is
missing is a dash. Which columns a table has is decided in `tables.py` and its neighbours; layout and escaping are the
templates', or those of `export.py`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from glia_bench.scoring.metrics import OBJECTIVES

Row: TypeAlias = Mapping[str, Any]

DASH = "\N{EN DASH}"
RATIO_DECIMALS = 3
MAX_DECIMALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        title: Head.
        style: CSS classes of head and cells: "num", "range", "text" ...
        term: Anchor of the term that explains it, or "".
        href: Where the head leads otherwise, or "".
    """

    title: str
    style: str = ""
    term: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row.

    Attributes:
        name: Its name, in the first column.
        cells: Texts of the others.
        href: Where the name leads, or "".
        hrefs: Where each cell leads, or "" for those that lead nowhere; empty if none does.
        swatch: Markup before the name.
        style: CSS classes.
        anchor: Id of the row, or "".
    """

    name: str
    cells: tuple[str, ...]
    href: str = ""
    hrefs: tuple[str, ...] = ()
    swatch: str = ""
    style: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as the template prints it; the first column is the rows' names.

    Attributes:
        caption: What it shows.
        columns: Heads.
        rows: Body.
        foot: A row of means, or None.
        anchor: Id of the table, or "".
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    foot: TableRow | None = None
    anchor: str = ""

    @property
    def has_swatches(self) -> bool:
        """Whether names must be indented by a swatch's width."""
        return any(row.swatch for row in self.rows)


def decimals(values: Iterable[float | None]) -> int:
    """Return how many decimals keep two significant digits of the smallest positive value: 1 to `MAX_DECIMALS`."""
    smallest = min((abs(value) for value in values if value), default=1.0)
    return min(MAX_DECIMALS, max(1, 1 - math.floor(math.log10(smallest))))


def fixed(value: float | None, places: int) -> str:
    """Return a number with so many decimals, or a dash."""
    return DASH if value is None else f"{value:.{places}f}"


def span(low: float | None, high: float | None, places: int) -> str:
    """Return an interval in brackets, or an empty cell where there is none."""
    return "" if low is None or high is None else f"[{low:.{places}f}, {high:.{places}f}]"


def cost_head(rows: Sequence[Row]) -> str:
    """Return the head of the column of costs: short, with the unit."""
    goal = OBJECTIVES.get(str(rows[0].get("objective") or "mean_e2e_s")) if rows else None
    return ", ".join(part for part in (goal.head, goal.unit) if part) if goal else "cost"


def objective(rows: Sequence[Row]) -> tuple[str, str]:
    """Return what `cost_mean` is, and its unit; results of versions with one objective do not name it."""
    goal = OBJECTIVES.get(str(rows[0].get("objective") or "mean_e2e_s")) if rows else None
    return (goal.title, goal.unit) if goal else ("cost", "")


def metric(row: Row, name: str) -> float | None:
    """Return a metric of a summary row or a trial; None where it has none."""
    value = (row.get("metrics") or {}).get(name)
    return None if value is None else float(value)


def percent(row: Row, *names: str) -> float | None:
    """Return the sum of shares as per cent; shares that the task does not have count as 0, unless it has none."""
    parts = [value for name in names if (value := metric(row, name)) is not None]
    return 100.0 * sum(parts) if parts else None


class Columns:
    """Columns under construction, one cell per row each.

    Args:
        count: Rows.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._columns: list[tuple[Column, Sequence[str]]] = []

    def texts(self, title: str, cells: Sequence[str], *, term: str = "", style: str = "") -> None:
        """Add a column of texts."""
        assert len(cells) == self._count
        self._columns.append((Column(title=title, style=style, term=term), cells))

    def numbers(
        self,
        title: str,
        values: Sequence[float | None],
        *,
        term: str = "",
        style: str = "num",
        places: int | None = None,
    ) -> int:
        """Add a column of numbers, and return their decimals: as told, or as `decimals` finds."""
        places = decimals(values) if places is None else places
        self.texts(title, [fixed(value, places) for value in values], term=term, style=style)
        return places

    def intervals(self, rows: Sequence[Row], name: str, places: int) -> None:
        """Add the interval of the column before, where any row has one: fields `name`_low and `name`_high."""
        cells = [span(row.get(f"{name}_low"), row.get(f"{name}_high"), places) for row in rows]
        if any(cells):
            self.texts("95 %", cells, term="interval", style="range")

    def metrics(self, rows: Sequence[Row], *, is_latency: bool) -> None:
        """Add the metrics that say something here; columns that would be empty or all the same are left out.

        Args:
            rows: Summary rows, or trials.
            is_latency: Whether the cost is the mean latency, which then needs no column of its own.
        """
        for title, name, term in (
            ("mean E2E, s", "" if is_latency else "e2e_mean_s", "e2e"),
            ("P99 E2E, s", "e2e_p99_s", "e2e"),
            ("mean TTFT, s", "ttft_mean_s", "ttft"),
        ):
            values = [metric(row, name) for row in rows]
            if any(value is not None for value in values):
                self.numbers(title, values, term=term)
        restarted = [percent(row, "restarted_fraction") for row in rows]
        if any(value is not None for value in restarted):
            self.numbers("restarted, %", restarted, term="preemption", places=1)
        cached = [percent(row, "cached_token_fraction") for row in rows]
        if any(cached):
            self.numbers("cached, %", cached, term="cached")
        if any(metric(row, "replicas_started") is not None for row in rows):
            self.numbers("GPU hours", [metric(row, "gpu_hours") for row in rows], term="gpu")
        for title, name in (("cost at p = 3", "cost_p3"), ("at p = 30", "cost_p30")):
            priced = [metric(row, name) for row in rows]
            if any(value is not None for value in priced):
                self.numbers(title, priced, term="price")
        unserved = [percent(row, "rejected_fraction", "expired_fraction", "unfinished_fraction") for row in rows]
        if any(unserved):
            self.numbers("not served, %", unserved, term="unserved", places=1)
        attained = [percent(row, "slo_attainment") for row in rows]
        if any(value is not None and value < 100.0 for value in attained):
            self.numbers("SLO attained, %", attained, term="slo", places=1)

    @property
    def heads(self) -> tuple[Column, ...]:
        """The columns so far."""
        return tuple(column for column, _ in self._columns)

    def row(self, index: int) -> tuple[str, ...]:
        """Return the cells of one row."""
        return tuple(cells[index] for _, cells in self._columns)

    def hrefs(self, index: int, address: str) -> tuple[str, ...]:
        """Return the address for each number of a row that is there, "" for the other cells."""
        return tuple(
            address if cells[index] not in ("", DASH) and set(column.style.split()) & {"num", "range"} else ""
            for column, cells in self._columns
        )
