"""Columns of the command line's tables: what each shows of a row, and which go where the width does not suffice.

Nothing is computed here but text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from glia_bench.scoring.metrics import OBJECTIVES

Row = Mapping[str, Any]

_GAP = 2
_KINDS = {"published_ai": "AI, published", "user": "yours"}


def number(value: float | None, digits: int = 3) -> str:
    """Return a value with about `digits` significant digits and no exponent; a dash for None."""
    if value is None:
        return "-"
    return f"{value:.{_decimals(value, digits)}f}"


def _decimals(value: float, digits: int = 3) -> int:
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return max(0, digits - whole)


def plus_minus(value: float | None, low: float | None, high: float | None) -> str:
    """Return "value ± half width" in the value's own decimals."""
    if value is None or low is None or high is None:
        return number(value)
    decimals = _decimals(value)
    return f"{value:.{decimals}f} ± {(high - low) / 2:.{decimals}f}"


def ratio(value: float | None, low: float | None, high: float | None) -> str:
    """Return "value [low, high]", without the interval where there is none."""
    if value is None:
        return "-"
    text = number(value) if value >= 10 else f"{value:.3f}"
    return text if low is None or high is None else f"{text} [{_end(low)}, {_end(high)}]"


def _end(value: float) -> str:
    return number(value) if value >= 10 else f"{value:.2f}"


def percent(share: float | None) -> str:
    """Return a share as per cent."""
    return "-" if share is None else "0" if share == 0 else f"{100 * share:.1f}"


def band(row: Row) -> str:
    """Return a rank band, one rank or two ends; a dash for what is not ranked."""
    low, high = row["rank_low"], row["rank_high"]
    return "-" if low is None else f"{low}" if low == high else f"{low}\N{EN DASH}{high}"


def expert_ratio(row: Row) -> str:
    """Return `expert_ratio` with its interval; the expert's own, which is 1 by definition, without."""
    if row["policy"] == row["expert"] and row["expert_ratio"] is not None:
        return "1"
    return ratio(row["expert_ratio"], row["expert_ratio_low"], row["expert_ratio_high"])


def flags(row: Row) -> str:
    """Return what may be claimed of a policy and what speaks against it, in a few words."""
    is_reference = row["policy"] in (row["naive"], row["expert"])
    words = [role for role in ("naive", "expert") if row["policy"] == row[role]]
    words += ["beats"] if row["beats_expert"] else ["level"] if row["expert_level"] and not is_reference else []
    words += ["starves"] if row["starves"] else []
    words += ["fails guard"] if row["guard_failed"] or row.get("guards_failed") else []
    return ", ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the results table.

    Attributes:
        heading: Two short lines at most.
        cell: Row to text.
        rank: Columns with the highest rank are dropped first where the width does not suffice.
        is_wanted: Whether these rows give it something to say.
        is_text: Text is aligned to the left, numbers to the right.
    """

    heading: str
    cell: Callable[[Row], str]
    rank: int
    is_wanted: Callable[[Sequence[Row]], bool] = lambda rows: True
    is_text: bool = False

    def width(self, rows: Sequence[Row]) -> int:
        """Return the cells that it needs."""
        return max(len(text) for text in (*self.heading.split("\n"), *(self.cell(row) for row in rows)))


def _metric(name: str, show: Callable[[float | None], str] = number) -> Callable[[Row], str]:
    return lambda row: show(row["metrics"].get(name))


def _any(name: str) -> Callable[[Sequence[Row]], bool]:
    return lambda rows: any(row["metrics"].get(name) for row in rows)


def _has(name: str) -> Callable[[Sequence[Row]], bool]:
    return lambda rows: any(row["metrics"].get(name) is not None for row in rows)


def comparison(*, has_intervals: bool) -> list[Column]:
    """Return the columns that compare with the references."""
    span = "\n[95 %]" if has_intervals else ""
    return [
        Column(heading="rank", cell=band, rank=3, is_wanted=lambda rows: any(row["rank_low"] for row in rows)),
        Column(
            heading=f"expert ratio{span}",
            cell=expert_ratio,
            rank=1,
            is_wanted=lambda rows: any(row["expert_ratio"] is not None for row in rows),
        ),
        Column(
            heading="score",
            cell=lambda row: "-" if row["score"] is None else f"{row['score']:.0f}",
            rank=3,
            is_wanted=lambda rows: any(row["score"] is not None for row in rows),
        ),
    ]


def columns_of(objective: str, *, has_intervals: bool) -> list[Column]:
    """Return the columns of a results table, in order from left to right."""
    spread = " ± 95 %" if has_intervals else ""
    goal = OBJECTIVES[objective]
    is_latency = objective == "mean_e2e_s"
    return [
        Column(heading="policy", cell=lambda row: str(row["policy"]), rank=0, is_text=True),
        Column(heading="kind", cell=lambda row: kind_of(row), rank=8, is_text=True),
        *comparison(has_intervals=has_intervals),
        Column(
            heading=f"{goal.head}\n{goal.unit}{spread}",
            cell=lambda row: plus_minus(row["cost_mean"], row["cost_low"], row["cost_high"]),
            rank=1,
        ),
        Column(
            heading="published\ns",
            cell=lambda row: number(row["published_s"]),
            rank=5,
            is_wanted=lambda rows: any(row["published_s"] is not None for row in rows),
        ),
        Column(
            heading="SLO met\n%",
            cell=_metric("slo_attainment", percent),
            rank=3,
            is_wanted=lambda rows: any(row["metrics"]["slo_attainment"] != 1 for row in rows),
        ),
        Column(heading="GPU\nhours", cell=_metric("gpu_hours"), rank=3, is_wanted=_has("replicas_started")),
        Column(heading="mean\nE2E s", cell=_metric("e2e_mean_s"), rank=6, is_wanted=lambda rows: not is_latency),
        Column(heading="p99\ns", cell=_metric("e2e_p99_s"), rank=4),
        Column(heading="TTFT\ns", cell=_metric("ttft_mean_s"), rank=7),
        Column(heading="restarted\n%", cell=_metric("restarted_fraction", percent), rank=6),
        Column(
            heading="cached\n%",
            cell=_metric("cached_token_fraction", percent),
            rank=6,
            is_wanted=_has("cached_token_fraction"),
        ),
        Column(
            heading="rejected\n%",
            cell=_metric("rejected_fraction", percent),
            rank=3,
            is_wanted=_any("rejected_fraction"),
        ),
        Column(
            heading="expired\n%",
            cell=_metric("expired_fraction", percent),
            rank=3,
            is_wanted=_any("expired_fraction"),
        ),
        Column(
            heading="unfinished\n%",
            cell=_metric("unfinished_fraction", percent),
            rank=3,
            is_wanted=_any("unfinished_fraction"),
        ),
        Column(heading="sim\nms", cell=lambda row: number(row["sim_s"] and 1000 * row["sim_s"], 2), rank=9),
        FLAGS,
    ]


FLAGS = Column(heading="flags", cell=flags, rank=4, is_text=True, is_wanted=lambda rows: any(map(flags, rows)))


def fitted(columns: Sequence[Column], rows: Sequence[Row], width: int) -> Table:
    """Return a table of the columns that have something to say and fit."""
    columns = [column for column in columns if column.is_wanted(rows)]
    while len(columns) > 2 and sum(column.width(rows) + _GAP for column in columns) - _GAP > width:
        columns.remove(max(columns, key=lambda column: column.rank))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            Text(column.heading), justify="left" if column.is_text else "right", no_wrap=True, vertical="bottom"
        )
    for row in rows:
        style = {"user": "bold green", "null": "dim"}.get(str(row.get("kind")), "")
        table.add_row(*(Text(column.cell(row)) for column in columns), style=style)
    return table


def kind_of(row: Row) -> str:
    """Return the kind of a policy, in words."""
    kind = str(row["kind"])
    return _KINDS.get(kind, kind)
