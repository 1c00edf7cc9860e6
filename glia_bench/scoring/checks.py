"""Tables that question a result: does the order of designs hold on variants of the cluster, and on sealed seeds?

Both are computed elsewhere: robustness by `glia-bench report --robustness`, which leaves `robustness.json` beside the
record, and the gaps by a run of sealed cases, whose record holds them. A result without them has no such tables.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from glia_bench.errors import GliaBenchError
from glia_bench.scoring.columns import RATIO_DECIMALS, Column, Columns, Row, Table, TableRow
from glia_bench.scoring.pages import cases_page, link
from glia_bench.scoring.record import ResultRecord

ROBUSTNESS_FILE = "robustness.json"


def robustness_table(result_dir: Path, record: ResultRecord) -> Table | None:
    """Return one row per task and variant; None if there is no such file, or it belongs to another result.

    Raises:
        GliaBenchError: If it cannot be read.
    """
    path = result_dir / ROBUSTNESS_FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
        rows: list[Row] = found["rows"] if found["results_id"] == record["results_id"] else []
        return _robustness(rows) if rows else None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise GliaBenchError(
            f"{path} must be as `glia-bench report --robustness` writes it ({error!r}); delete it, and the report does "
            "without"
        ) from None


def _robustness(rows: Sequence[Row]) -> Table:
    columns = Columns(len(rows))
    columns.texts("variant", [str(row["variant"]) for row in rows])
    columns.numbers("Kendall's tau", [row["tau"] for row in rows], term="tau", places=2)
    columns.texts("best there", [str(row["best"] or "") for row in rows])
    columns.numbers(
        "its expert ratio", [row["expert_ratio"] for row in rows], term="expert-ratio", places=RATIO_DECIMALS
    )
    reversed_pairs = ["; ".join(str(pair) for pair in row["reversed"]) or "none" for row in rows]
    columns.texts("reversed pairs", reversed_pairs, term="tau", style="text")
    columns.texts("designs", [str(row["num_designs"]) for row in rows], style="num")
    columns.texts("seeds", [str(row["num_seeds"]) for row in rows], style="num")
    return Table(
        caption="Ranks of the best designs on variants of each cluster",
        columns=(Column(title="task"), *columns.heads),
        rows=tuple(TableRow(name=str(row["task"]), cells=columns.row(index)) for index, row in enumerate(rows)),
    )


def gaps_table(rows: Sequence[Row]) -> Table | None:
    """Return what each design loses from development to sealed seeds; None without such rows."""
    if not rows:
        return None
    columns = Columns(len(rows))
    columns.texts("task", [str(row["task"]) for row in rows])
    columns.texts("sealed draws", [str(row["part"]) for row in rows])
    columns.numbers("gap, ln", [row["gap"] for row in rows], term="gap", places=RATIO_DECIMALS)
    columns.intervals(rows, "gap", RATIO_DECIMALS)
    columns.texts("against", [str(row["reference"]) for row in rows])
    columns.texts("development seeds", [str(row["num_dev"]) for row in rows], style="num")
    columns.texts("sealed seeds", [str(row["num_sealed"]) for row in rows], style="num")

    def table_row(index: int, row: Row) -> TableRow:
        href = link(cases_page(str(row["task"]), str(row["policy"])))
        return TableRow(name=str(row["policy"]), cells=columns.row(index), hrefs=columns.hrefs(index, href))

    return Table(
        caption="From development to sealed seeds; below 0: worse on seeds that no designer saw",
        columns=(Column(title="policy"), *columns.heads),
        rows=tuple(table_row(index, row) for index, row in enumerate(rows)),
    )
