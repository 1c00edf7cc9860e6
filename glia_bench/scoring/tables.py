"""The report's tables of one task: summary rows and trials to cells; and the tables of failures and of policies."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from glia_bench.scoring.columns import (
    DASH,
    RATIO_DECIMALS,
    Column,
    Columns,
    Row,
    Table,
    TableRow,
    cost_head,
    decimals,
    metric,
    objective,
)
from glia_bench.scoring.metrics import METRICS, OBJECTIVES
from glia_bench.scoring.svg import Style

Address: TypeAlias = Callable[[str, float | None], str]
"""(policy, load or None for all) -> where its cases are listed, or ""."""


def no_address(policy: str, load: float | None) -> str:
    """Lead nowhere."""
    return ""


def headline_table(
    rows: Sequence[Row], styles: Mapping[str, Style], caption: str, address: Address = no_address
) -> Table:
    """Return one row per policy at one load: cost, score, tail, first token, restarts, status; best first.

    Columns that would be empty or say the same in every row are left out.

    Args:
        rows: Summary rows of one task and load.
        styles: Policy to style, for swatches.
        caption: Title.
        address: Where numbers lead.
    """
    title, _ = objective(rows)
    is_latency = title == OBJECTIVES["mean_e2e_s"].title
    columns = Columns(len(rows))
    columns.texts("kind", [str(row.get("kind") or DASH) for row in rows], term="kind")
    add_rank(columns, rows)
    places = columns.numbers(
        cost_head(rows),
        [row.get("cost_mean") for row in rows],
        term="e2e" if is_latency else "cost",
        style="num lead",
    )
    columns.intervals(rows, "cost", places)
    add_scores(columns, rows)
    columns.texts("status", [status_text(row) for row in rows], term="status")
    if any(row.get("published_s") is not None for row in rows):
        columns.numbers("published, s", [row.get("published_s") for row in rows], term="published")
    columns.metrics(rows, is_latency=is_latency)
    seeds = [str(row.get("num_seeds", DASH)) for row in rows]
    if len(set(seeds)) > 1:
        columns.texts("seeds", seeds, term="task", style="num")
    best = best_policies(rows)

    def table_row(index: int, row: Row) -> TableRow:
        name, load = str(row["policy"]), row.get("load")
        href = address(name, load if isinstance(load, int | float) else None)
        return TableRow(
            name=name,
            cells=columns.row(index),
            href=href,
            hrefs=columns.hrefs(index, href),
            swatch=styles[name].swatch if name in styles else "",
            style="failed" if row.get("cost_mean") is None else "best" if name in best else "",
        )

    return Table(
        caption=caption,
        columns=(Column(title="policy"), *columns.heads),
        rows=tuple(table_row(index, row) for index, row in enumerate(rows)),
    )


def add_rank(columns: Columns, rows: Sequence[Row]) -> None:
    """Add the rank band, where the record has one."""
    if any(row.get("rank_low") is not None for row in rows):
        columns.texts("rank", [rank_band(row) for row in rows], term="rank", style="num")


def rank_band(row: Row) -> str:
    """Return "1", "2-4" with an en dash, or a dash for a row that is not ranked."""
    low, high = row.get("rank_low"), row.get("rank_high")
    if low is None or high is None:
        return DASH
    return f"{low}" if low == high else f"{low}{DASH}{high}"


def add_scores(columns: Columns, rows: Sequence[Row]) -> None:
    """Add the ratio to the human expert with its interval, and the score, where the record has them."""
    if any(row.get("expert_ratio") is not None for row in rows):
        ratios = [row.get("expert_ratio") for row in rows]
        columns.numbers("expert ratio", ratios, term="expert-ratio", style="num", places=RATIO_DECIMALS)
        columns.intervals(rows, "expert_ratio", RATIO_DECIMALS)
    if any(row.get("score") is not None for row in rows):
        columns.numbers("score", [row.get("score") for row in rows], term="score", places=1)


def verdict(row: Row) -> str:
    """Return what may be claimed of a row against the human expert, or nothing."""
    if row.get("kind") == "bound":
        beyond = row.get("beyond")
        return "" if beyond is None else f"{100 * beyond:+.0f} % beyond expert"
    if row.get("expert") == row["policy"]:
        return "the expert"
    return "beats expert" if row.get("beats_expert") else "expert level" if row.get("expert_level") else ""


def flags(row: Row) -> list[str]:
    """Return what a reader must know beside a row's numbers: failed trials, failed guards, starved groups."""
    found = [] if row.get("status", "ok") == "ok" else [f"{row['status']} ({row.get('num_failed', '?')} failed)"]
    found += ["fails the guard"] if row.get("guard_failed") else []
    found += _counted("fails guard", [str(task) for task in row.get("guards_failed") or ()])
    return found + _counted("starves", [str(group).replace("_", " ") for group in row.get("starves") or ()], "groups")


def _counted(verb: str, names: Sequence[str], word: str = "") -> list[str]:
    """Return "verb name" for one name, the number of them for several, nothing for none."""
    if len(names) < 2:
        return [f"{verb} {name}" for name in names]
    return [f"{verb} {len(names)} {word}" if word else f"{verb}s: {len(names)}"]


def status_text(row: Row) -> str:
    """Return verdict and flags in one line, or "ok"."""
    return ", ".join([*filter(None, [verdict(row)]), *flags(row)]) or "ok"


def best_policies(rows: Sequence[Row]) -> set[str]:
    """Return the policies of the best rank band, or without bands the first that has a cost."""
    banded = {str(row["policy"]) for row in rows if row.get("rank_low") == 1}
    return banded or {str(row["policy"]) for row in rows if row.get("cost_mean") is not None and row is _first(rows)}


def _first(rows: Sequence[Row]) -> Row | None:
    return next((row for row in rows if row.get("cost_mean") is not None), None)


def metrics_table(rows: Sequence[Row], address: Address = no_address) -> Table | None:
    """Return every metric of every policy at one load, under the names that records use; None if nobody has any.

    Args:
        rows: Summary rows of one task and load.
        address: Where numbers lead.
    """
    rows = [row for row in rows if row.get("cost_mean") is not None]
    columns = Columns(len(rows))
    for name in METRICS:
        values = [metric(row, name) for row in rows]
        if any(value is not None for value in values):
            columns.numbers(name, values, places=0 if all(v is None or v.is_integer() for v in values) else None)
    if not columns.heads:
        return None
    hrefs = [address(str(row["policy"]), row["load"]) for row in rows]
    return Table(
        caption="All metrics, means over seeds, under the names of the record",
        columns=(Column(title="policy"), *columns.heads),
        rows=tuple(
            TableRow(name=str(row["policy"]), cells=columns.row(index), href=href, hrefs=columns.hrefs(index, href))
            for index, (row, href) in enumerate(zip(rows, hrefs, strict=True))
        ),
    )


def sweep_table(
    overall: Sequence[Row],
    by_load: Mapping[float, Mapping[str, Row]],
    styles: Mapping[str, Style],
    caption: str,
    address: Address = no_address,
) -> Table:
    """Return mean cost per policy and load, and score and ratio over all loads.

    Args:
        overall: One row per policy over all loads, cheapest first.
        by_load: Load to policy to its row there.
        styles: Policy to style.
        caption: Title.
        address: Where numbers lead.
    """
    loads = sorted(by_load)
    places = decimals([row.get("cost_mean") for here in by_load.values() for row in here.values()])
    columns = Columns(len(overall))
    add_rank(columns, overall)
    num_before = len(columns.heads)
    for load in loads:
        costs = [by_load[load].get(row["policy"], {}).get("cost_mean") for row in overall]
        columns.numbers(f"load {load:g}", costs, term="task", places=places)
    add_scores(columns, overall)
    columns.texts("status", [status_text(row) for row in overall], term="status")
    best = best_policies(overall) if any(row.get("rank_low") for row in overall) else set()

    def table_row(index: int, row: Row) -> TableRow:
        name = str(row["policy"])
        href = address(name, None)
        hrefs = list(columns.hrefs(index, href))
        for place, load in enumerate(loads, num_before):
            hrefs[place] = hrefs[place] and address(name, load)
        swatch = styles[name].swatch if name in styles else ""
        style = "best" if name in best else ""
        return TableRow(name=name, cells=columns.row(index), href=href, hrefs=tuple(hrefs), swatch=swatch, style=style)

    return Table(
        caption=caption,
        columns=(Column(title="policy"), *columns.heads),
        rows=tuple(table_row(index, row) for index, row in enumerate(overall)),
    )


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
