"""What the command line shows of a comparison of designers: its tables. Nothing is computed here but layout."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glia_bench.designer.comparison_tables import tables_of

NOTE = (
    "Expert ratio: the expert's cost over the design's on cases that no designer has met; above 1 is better. [ ] are "
    "95 % intervals, ( ) the runs that count; a dash: cut before it came there. See the page for the rules."
)


def print_designs(content: Mapping[str, Any]) -> None:
    """Print the tables of a comparison, as `curves.json` holds it; those of single runs last."""
    console = Console(highlight=False)
    for task, tables in tables_of(content):
        if task:
            console.print(Text.assemble("\n", (task, "bold")))
        for found in tables:
            table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
            for column in found.columns:
                is_number = "num" in column.style.split()
                table.add_column(
                    Text(column.title, style="bold"),
                    justify="right" if is_number else "left",
                    overflow="fold",
                    vertical="bottom",
                )
            for row in found.rows:
                table.add_row(*map(Text, (row.name, *row.cells)))
            console.print(Text(f"\n{found.caption}", style="dim"))
            console.print(table)
    for remark in content["remarks"]:
        console.print(Text(f"note: {remark}"))
    console.print(Text("\n" + NOTE, style="dim"))
