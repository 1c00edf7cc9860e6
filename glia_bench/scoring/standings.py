"""The leaderboard of a result: per track, and over all tracks, policies by their ratio to the human expert.

Rows over tasks come from the record's summary; beside each stands its worst task, so that no mean hides a collapse, and
below the leaderboard a table of every task. Nothing is computed here.
"""

from collections.abc import Callable, Mapping, Sequence

from glia_bench.scoring.columns import DASH, RATIO_DECIMALS, Column, Columns, Row, Table, TableRow, fixed
from glia_bench.scoring.diagnostics_section import diagnostics_section
from glia_bench.scoring.pages import Context, cases_page, link, task_page
from glia_bench.scoring.suite import ALL_TASKS, ALL_TRACKS
from glia_bench.scoring.summary import ALL_LOADS
from glia_bench.scoring.tables import add_rank, add_scores, best_policies, status_text

CaseLink = Callable[[str, str], str]
"""(task, policy) -> where its cases are listed."""


def standings(summary: Sequence[Row], trials: Sequence[Row] = ()) -> list[Context]:
    """Return one section per track, and one over all tracks first, each with its leaderboard and its table of tasks.

    Args:
        summary: All rows of a record.
        trials: Those behind it, for the profiles; none draws none.
    """
    over_tasks = [row for row in summary if row["task"] == ALL_TASKS]
    per_task = [row for row in summary if row["task"] != ALL_TASKS and row["load"] == ALL_LOADS]
    tracks = list(dict.fromkeys(str(row["task"]).split("/")[0] for row in per_task))
    scored = {str(row["task"]).split("/")[0] for row in per_task if not row.get("is_guard")}
    overall = [row for row in over_tasks if row["track"] == ALL_TRACKS] if len(scored) > 1 else []
    sections = []
    if overall:
        sections.append(
            {
                "title": "All tracks",
                "anchor": "all-tracks",
                "board": _board(overall, "all tracks"),
                "tasks": None,
                "diagnostics": None,
            }
        )
    for track in tracks:
        here = [row for row in per_task if str(row["task"]).split("/")[0] == track]
        board = [row for row in over_tasks if row["track"] == track]
        sections.append(
            {
                "title": f"{track[:1].upper()}{track[1:]}",
                "anchor": f"track-{track}",
                "board": _board(board, track) if board else None,
                "diagnostics": diagnostics_section(track, board, here, trials),
                "tasks": _task_matrix(here, [str(row["policy"]) for row in board], track),
            }
        )
    return sections


def _board(rows: Sequence[Row], track: str) -> Table:
    """Return the leaderboard of a track: ranked rows in order, then those that are not ranked."""
    rows = sorted(rows, key=lambda row: (row.get("rank_low") is None, -(row["expert_ratio"] or 0.0)))
    columns = Columns(len(rows))
    add_rank(columns, rows)
    columns.texts("kind", [str(row.get("kind") or DASH) for row in rows], term="kind")
    add_scores(columns, rows)
    columns.texts("worst task", [str(row.get("worst_task") or DASH) for row in rows], term="worst")
    columns.numbers("its ratio", [row.get("worst_ratio") for row in rows], term="worst", places=RATIO_DECIMALS)
    columns.texts("tasks", [str(row.get("num_tasks", DASH)) for row in rows], term="task", style="num")
    if any(row.get("num_guards") for row in rows):
        columns.texts("guards", [_guards(row) for row in rows], term="guard", style="num")
    columns.texts("status", [status_text(row) for row in rows], term="status")
    best = best_policies(rows) if any(row.get("rank_low") for row in rows) else set()
    titles = [column.title for column in columns.heads]

    def board_row(index: int, row: Row) -> TableRow:
        to_matrix = f"#matrix-{track}" if track != "all tracks" else ""
        hrefs = [
            to_matrix
            if title in ("expert ratio", "95 %", "score") and columns.row(index)[place] not in ("", DASH)
            else ""
            for place, title in enumerate(titles)
        ]
        if row.get("worst_task"):
            where = link(cases_page(str(row["worst_task"]), str(row["policy"])))
            hrefs[titles.index("worst task")] = hrefs[titles.index("its ratio")] = where
        return TableRow(
            name=str(row["policy"]),
            cells=columns.row(index),
            hrefs=tuple(hrefs),
            style="best" if row["policy"] in best else "unranked" if row.get("rank_low") is None else "",
        )

    return Table(
        caption=f"Leaderboard, {track}: ranked policies, then those outside the ranking",
        columns=(Column(title="policy"), *columns.heads),
        rows=tuple(board_row(index, row) for index, row in enumerate(rows)),
    )


def _guards(row: Row) -> str:
    """Return how many guards a policy holds, of how many."""
    total = int(row.get("num_guards") or 0)
    return f"{total - len(row.get('guards_failed') or ())} of {total}" if total else DASH


def _task_matrix(rows: Sequence[Row], order: Sequence[str], track: str) -> Table:
    """Return policies by tasks, each cell the ratio to the expert over the task's loads, a link to its cases."""
    tasks = list(dict.fromkeys(str(row["task"]) for row in rows))
    cells: Mapping[tuple[str, str], Row] = {(str(row["policy"]), str(row["task"])): row for row in rows}
    names = list(dict.fromkeys([*order, *(str(row["policy"]) for row in rows)]))
    guards = {str(row["task"]) for row in rows if row.get("is_guard")}

    def text(row: Row | None) -> str:
        if row is None:
            return DASH
        failed = "" if row.get("status", "ok") == "ok" else " \N{DAGGER}"
        return fixed(row.get("expert_ratio"), RATIO_DECIMALS) + failed

    columns = tuple(
        Column(
            title=task.split("/")[1] + (" (guard)" if task in guards else ""),
            style="num",
            href=link(task_page(task)),
        )
        for task in tasks
    )
    return Table(
        caption=f"Expert ratio by task, {track}; a dagger marks failed trials",
        columns=(Column(title="policy"), *columns),
        rows=tuple(
            TableRow(
                name=name,
                cells=tuple(text(cells.get((name, task))) for task in tasks),
                hrefs=tuple(link(cases_page(task, name)) if (name, task) in cells else "" for task in tasks),
            )
            for name in names
        ),
        anchor=f"matrix-{track}",
    )
