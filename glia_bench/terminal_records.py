"""What the command line shows of verifying and comparing results. Nothing is computed here but layout."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glia_bench.evaluation.verify import Verification
from glia_bench.scoring.compare import Comparison, Row
from glia_bench.terminal import ID_DIGITS
from glia_bench.terminal_columns import ratio


def verification_lines(outcome: Verification) -> list[str]:
    """Return the outcome of verifying a result, the verdict first."""
    what = "the recorded decisions of" if outcome.is_replay else ""
    again = f"{what} {outcome.num_equal} of {outcome.num_trials} trials gave the same again, bit for bit".strip()
    lines = [
        f"{'verified' if outcome.is_verified else 'NOT verified'}: {again}",
        f"  id          {outcome.id}",
        f"  results_id  {outcome.results_id}",
    ]
    if outcome.results_id_here not in (None, outcome.results_id):
        lines.append(f"  here        {outcome.results_id_here}")
    if outcome.signed_by is not None:
        whose = "the key that you gave" if outcome.is_key_known else "give --key to be sure whose that is"
        lines.append(f"  signed by   {outcome.signed_by}  ({whose})")
    lines += [f"  wrong: {fault}" for fault in outcome.faults]
    if (found := outcome.difference) is not None:
        lines += [
            f"  first difference: {found.field} of {found.trial}",
            f"    recorded  {found.recorded}",
            f"    here      {found.found}",
            f"    {found.reason}",
        ]
    return lines + [f"  note: {note}" for note in outcome.notes]


def print_comparison(comparison: Comparison) -> None:
    """Print two results side by side."""
    console = Console(highlight=False, soft_wrap=True)
    first, second = (text[:ID_DIGITS] for text in comparison.ids)
    same = ": the same results" if comparison.is_same_results else ""
    console.print(Text(f"A {first}   B {second}{same}"))
    if comparison.rows:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("task", "policy", "B / A", "seeds", "cells", "equal", ""):
            table.add_column(heading, justify="right" if heading in ("seeds", "cells", "equal") else "left")
        for row in comparison.rows:
            cells = (row.task, row.policy, _ratio(row), row.num_seeds, row.num_cells, row.num_equal, _remark(row))
            table.add_row(*(Text(str(cell)) for cell in cells))
        console.print(table)
        console.print("B / A: geometric mean over seeds with its paired 95 % interval; below 1, B is better.")
    else:
        console.print("The two have no cell in common.")
    for text, counts in (
        ("only in A", comparison.only_in_first),
        ("only in B", comparison.only_in_second),
        ("not compared, the workloads differ", comparison.other_workloads),
    ):
        for name, count in counts.items():
            console.print(Text(f"{text}: {name} ({count} {'cell' if count == 1 else 'cells'})"))
    for name, (ours, theirs) in comparison.environment.items():
        console.print(Text(f"{name}: {ours} in A, {theirs} in B"))


def print_gaps(gaps: Sequence[Mapping[str, Any]]) -> None:
    """Print the gaps of a result, a line per task and policy, as factors of the ratio to the expert."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("task", "policy", "gap to fresh seeds", "gap to perturbed seeds"):
        table.add_column(heading)
    by_policy: dict[tuple[str, str], dict[str, str]] = {}
    for gap in gaps:
        ends = (None if gap[end] is None else math.exp(gap[end]) for end in ("gap", "gap_low", "gap_high"))
        by_policy.setdefault((gap["task"], gap["policy"]), {})[gap["part"]] = ratio(*ends)
    for (task, policy), parts in by_policy.items():
        table.add_row(*(Text(text) for text in (task, policy, parts.get("fresh", "-"), parts.get("perturbed", "-"))))
    console.print(table)
    console.print("Gap: what a policy keeps of its ratio to the expert on sealed seeds; below 1 it loses.")


def _ratio(row: Row) -> str:
    return ratio(row.ratio, row.ratio_low, row.ratio_high)


def _remark(row: Row) -> str:
    return row.remark or ("" if row.is_same_source else "another source")
