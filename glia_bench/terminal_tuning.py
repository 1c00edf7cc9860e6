"""What the command line shows of tuning: a line per design and task. Nothing is computed here but layout."""

import math
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glia_bench.evaluation.tuning import Tuned


def note(text: str) -> None:
    """Print a remark on stderr."""
    print(f"note: {text}", file=sys.stderr)


def print_tuned(found: Sequence[Tuned]) -> None:
    """Print what every search came to, the largest gain of a task first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Tuned on development seeds", title_justify="left")
    for heading in ("task", "design", "simulations", "cost before / after", "constants"):
        table.add_column(heading, justify="right" if heading in ("simulations", "cost before / after") else "left")
    places = {task: place for place, task in enumerate(dict.fromkeys(tuned.task for tuned in found))}
    for tuned in sorted(
        found, key=lambda tuned: (places[tuned.task], -tuned.gain if tuned.gain == tuned.gain else 0.0)
    ):
        constants = ", ".join(f"{name} {value:g}" for name, value in tuned.constants.items()) or "as they are"
        cells = (
            tuned.task,
            tuned.design.name,
            str(tuned.simulations),
            "-" if math.isnan(tuned.gain) else f"{tuned.gain:.3f}",
            constants,
        )
        table.add_row(*map(Text, cells))
    Console(highlight=False).print(table)
