"""The report's tables: summary rows and trials to text cells, rounded once, here.

A column has one number of decimals, chosen so that its smallest value keeps two significant digits. A number that is
missing is a dash. Layout and escaping are the template's.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from glia_bench.scoring.metrics import OBJECTIVES
from glia_bench.scoring.svg import Style

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
    """

    title: str
    style: str = ""
    term: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row: its name, the cells after it, its swatch markup and CSS classes."""

    name: str
    cells: tuple[str, ...]
    swatch: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as the template prints it; the first column is the rows' names."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]

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


def objective(rows: Sequence[Row]) -> tuple[str, str]:
    """Return what `cost_mean` is, and its unit; results of versions with one objective do not name it."""
    goal = OBJECTIVES.get(str(rows[0].get("objective") or "mean_e2e_s")) if rows else None
    return (goal.title, goal.unit) if goal else ("cost", "")


def _metric(row: Row, name: str) -> float | None:
    value = (row.get("metrics") or {}).get(name)
    return None if value is None else float(value)


def _percent(row: Row, *names: str) -> float | None:
    """Return the sum of shares as per cent; shares that the task does not have count as 0, unless it has none."""
    parts = [value for name in names if (value := _metric(row, name)) is not None]
    return 100.0 * sum(parts) if parts else None


def headline_table(rows: Sequence[Row], styles: Mapping[str, Style], caption: str) -> Table:
    """Return one row per policy at one load: cost, ratio, tail, first token, restarts, status; best first.

    Columns that would be empty or say the same in every row (published values, cached tokens, GPU hours of a fleet that
    cannot change, requests not served, SLO attainment, seeds) are left out.
    """
    title, unit = objective(rows)
    is_latency = title == OBJECTIVES["mean_e2e_s"].title
    columns: list[tuple[Column, list[str]]] = [
        (Column(title="kind", term="kind"), [str(row.get("kind") or DASH) for row in rows])
    ]

    def add(title: str, term: str, values: Sequence[float | None], *, style: str = "num") -> int:
        places = decimals(values)
        columns.append((Column(title=title, style=style, term=term), [fixed(value, places) for value in values]))
        return places

    def add_interval(low: str, high: str, places: int) -> None:
        cells = [span(row.get(low), row.get(high), places) for row in rows]
        if any(cells):
            columns.append((Column(title="95 %", style="range", term="interval"), cells))

    places = add(
        "mean E2E, s" if is_latency else ", ".join(part for part in (title, unit) if part),
        "e2e" if is_latency else "cost",
        [row.get("cost_mean") for row in rows],
        style="num lead",
    )
    add_interval("cost_low", "cost_high", places)
    if any(row.get("published_s") is not None for row in rows):
        add("published, s", "published", [row.get("published_s") for row in rows])
    if any(row.get("expert") for row in rows):
        cells = [fixed(row.get("expert_ratio"), RATIO_DECIMALS) for row in rows]
        columns.append((Column(title="expert ratio", style="num", term="ratio"), cells))
        add_interval("expert_ratio_low", "expert_ratio_high", RATIO_DECIMALS)
    if not is_latency:
        add("mean E2E, s", "e2e", [_metric(row, "e2e_mean_s") for row in rows])
    add("P99 E2E, s", "e2e", [_metric(row, "e2e_p99_s") for row in rows])
    add("mean TTFT, s", "ttft", [_metric(row, "ttft_mean_s") for row in rows])
    columns.append(
        (
            Column(title="restarted, %", style="num", term="preemption"),
            [fixed(_percent(row, "restarted_fraction"), 1) for row in rows],
        )
    )
    cached = [_percent(row, "cached_token_fraction") for row in rows]
    if any(cached):
        add("cached, %", "cached", cached)
    if any(_metric(row, "replicas_started") is not None for row in rows):
        add("GPU hours", "gpu", [_metric(row, "gpu_hours") for row in rows])
    unserved = [_percent(row, "rejected_fraction", "expired_fraction", "unfinished_fraction") for row in rows]
    if any(unserved):
        columns.append(
            (Column(title="not served, %", style="num", term="unserved"), [fixed(value, 1) for value in unserved])
        )
    attained = [_percent(row, "slo_attainment") for row in rows]
    if any(value is not None and value < 100.0 for value in attained):
        columns.append(
            (Column(title="SLO attained, %", style="num", term="slo"), [fixed(value, 1) for value in attained])
        )
    seeds = [str(row.get("num_seeds", DASH)) for row in rows]
    if len(set(seeds)) > 1:
        columns.append((Column(title="seeds", style="num", term="task"), seeds))
    columns.append((Column(title="status", term="status"), [_status(row) for row in rows]))
    best = next((row["policy"] for row in rows if row.get("cost_mean") is not None), None)
    return Table(
        caption=caption,
        columns=(Column(title="policy"), *(column for column, _ in columns)),
        rows=tuple(
            TableRow(
                name=row["policy"],
                cells=tuple(cells[index] for _, cells in columns),
                swatch=styles[row["policy"]].swatch if row["policy"] in styles else "",
                style="failed" if row.get("cost_mean") is None else "best" if row["policy"] == best else "",
            )
            for index, row in enumerate(rows)
        ),
    )


def _status(row: Row) -> str:
    status = str(row.get("status", DASH))
    return status if status == "ok" else f"{status} ({row.get('num_failed', '?')} failed)"


def sweep_table(
    overall: Sequence[Row], by_load: Mapping[float, Mapping[str, Row]], styles: Mapping[str, Style], caption: str
) -> Table:
    """Return mean cost per policy and load, and the ratio over all loads.

    Args:
        overall: One row per policy over all loads, cheapest first.
        by_load: Load to policy to its row there.
        styles: Policy to style.
        caption: Title.
    """
    loads = sorted(by_load)
    places = decimals([row.get("cost_mean") for here in by_load.values() for row in here.values()])
    has_expert = any(row.get("expert") for row in overall)
    columns = [Column(title="policy"), *(Column(title=f"load {load:g}", style="num", term="task") for load in loads)]
    if has_expert:
        columns.append(Column(title="expert ratio, all loads", style="num", term="ratio"))
        columns.append(Column(title="95 %", style="range", term="interval"))
    rows = []
    for row in overall:
        cells = [fixed(by_load[load].get(row["policy"], {}).get("cost_mean"), places) for load in loads]
        if has_expert:
            cells.append(fixed(row.get("expert_ratio"), RATIO_DECIMALS))
            cells.append(span(row.get("expert_ratio_low"), row.get("expert_ratio_high"), RATIO_DECIMALS))
        name = row["policy"]
        swatch = styles[name].swatch if name in styles else ""
        rows.append(TableRow(name=name, cells=tuple(cells), swatch=swatch))
    return Table(caption=caption, columns=tuple(columns), rows=tuple(rows))


def failures_table(trials: Sequence[Row], refused: Sequence[Row] = ()) -> Table | None:
    """Return what failed and why; None if nothing did.

    Args:
        trials: Trial records; failed ones that differ only in load and seed share a row.
        refused: Policies that broke the hook contract and so have no trials: `policy`, `message`.
    """
    groups: dict[tuple[str, str, str, str], list[Row]] = defaultdict(list)
    for trial in trials:
        if trial.get("status") != "ok":
            key = (trial["policy"], trial["task"], str(trial.get("status")), str(trial.get("message") or ""))
            groups[key].append(trial)
    if not groups and not refused:
        return None
    columns = (
        Column(title="policy"),
        Column(title="task"),
        Column(title="loads", style="num"),
        Column(title="seeds", style="num"),
        Column(title="status", style="bad", term="status"),
        Column(title="reason", style="text"),
    )
    never_ran = tuple(
        TableRow(name=row["policy"], cells=(DASH, DASH, DASH, "refused", str(row.get("message") or DASH)))
        for row in refused
    )
    rows = never_ran + tuple(
        TableRow(
            name=policy,
            cells=(
                task,
                _listed(failed, "load", lambda load: f"{load:g}"),
                _listed(failed, "seed", str),
                status,
                message or DASH,
            ),
        )
        for (policy, task, status, message), failed in sorted(groups.items())
    )
    return Table(caption="Failed trials and their reasons", columns=columns, rows=rows)


def _listed(trials: Sequence[Row], key: str, text: Callable[[Any], str]) -> str:
    values = sorted({trial[key] for trial in trials})
    return ", ".join(text(value) for value in values)


def designs_table(trials: Sequence[Row]) -> Table:
    """Return the policies with kind, execution tier and source hash."""
    first: dict[str, Row] = {}
    for trial in trials:
        first.setdefault(trial["policy"], trial)
    columns = (
        Column(title="policy"),
        Column(title="kind", term="kind"),
        Column(title="ran as"),
        Column(title="source SHA-256"),
    )
    rows = tuple(
        TableRow(
            name=name,
            cells=(
                str(first[name].get("kind") or DASH),
                str(first[name].get("tier") or DASH),
                str(first[name].get("policy_sha256") or DASH)[:16],
            ),
        )
        for name in sorted(first)
    )
    return Table(caption="Policies", columns=columns, rows=rows)
