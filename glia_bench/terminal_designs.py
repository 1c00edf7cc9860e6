"""What the command line shows of a comparison of designers. Nothing is computed here but layout."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from rich.console import Console
from rich.text import Text

from glia_bench.designer.comparison_tables import amount_text, cell_text, ended_text, ratio_text, run_name
from glia_bench.terminal_columns import Column, Row, fitted

NOTE = (
    "Expert ratio: the expert's cost over the design's on cases that no designer has met; above 1 is better. "
    "[ ] 95 % intervals; ( ) runs that count; a dash: cut before it came there. The page has the rest, and the rules."
)


def print_designs(content: Mapping[str, Any]) -> None:
    """Print, for each task of a comparison as `curves.json` holds it, the designers and their runs."""
    console = Console(highlight=False)
    for task in content["tasks"]:
        cases = f" · {task['num_cases']} {task['split']} cases · expert {task['expert']}"
        console.print(Text.assemble("\n", (str(task["task"]), "bold"), cases, " · guard" if task["is_guard"] else ""))
        arms = task["arms"]
        if arms:
            console.print(fitted(_matched(task), arms, console.width), "", sep="\n")
        runs = [{**run, "label": arm["label"]} for arm in arms for run in arm["runs"]]
        console.print(fitted(_RUN_COLUMNS, runs, console.width))
    for remark in content["remarks"]:
        console.print(Text(f"note: {remark}"), soft_wrap=True)
    console.print(Text("\n" + NOTE, style="dim"))


def _matched(task: Mapping[str, Any]) -> list[Column]:
    """Return the columns of matched expenses that somebody came to, and that of the ends."""
    columns = [Column(heading="designer", cell=lambda arm: str(arm["label"]), rank=0, is_text=True)]
    for place, mark in enumerate(task["arms"][0]["matched"]):
        what = "\nsimulations" if mark["axis"] == "simulations" else ""
        columns.append(
            Column(
                heading=amount_text(mark["axis"], mark["amount"]) + what,
                cell=partial(_cell, place=place),
                rank=50 - place if mark["axis"] == "simulations" else 100,  # few simulations say least
                is_wanted=partial(_is_reached, place=place),
            )
        )
    return [*columns, Column(heading="at the end\nof each run", cell=lambda arm: cell_text(arm["end"]), rank=1)]


def _cell(arm: Row, place: int) -> str:
    return cell_text(arm["matched"][place]["cell"])


def _is_reached(arms: Any, place: int) -> bool:
    return any(arm["matched"][place]["num_there"] > 0 for arm in arms)


def _spent(run: Row, axis: str) -> str:
    return amount_text(axis, run["spent"][axis])


def _flags(run: Row) -> str:
    design = run["design"]
    if design is None:
        return "no design"
    words = {"level": design["is_expert_level"], "starves": design["starves"], "fails": design["failure"]}
    return ", ".join(word for word, is_so in words.items() if is_so)


_RUN_COLUMNS = [
    Column(heading="run", cell=lambda run: run_name(run["folder"]), rank=0, is_text=True),
    Column(heading="designer", cell=lambda run: str(run["label"]), rank=3, is_text=True),
    Column(heading="ended", cell=ended_text, rank=5, is_text=True),
    Column(heading="simu-\nlations", cell=partial(_spent, axis="simulations"), rank=2),
    Column(heading="wall\ntime", cell=partial(_spent, axis="wall_s"), rank=7),
    Column(heading="dollars", cell=partial(_spent, axis="usd"), rank=6),
    Column(heading="dev.\nscore", cell=lambda run: f"{run['design']['score']:.2f}" if run["design"] else "-", rank=4),
    Column(heading="expert ratio", cell=lambda run: ratio_text(run["design"]), rank=0),
    Column(heading="", cell=_flags, rank=1, is_wanted=lambda runs: any(map(_flags, runs)), is_text=True),
]
