"""Choose each task's expert reference: the best human design of a result, and write it into the task's file.

    glia-bench run --tuned --task ... --seeds 10 --out results/baselines
    python tools/choose_experts.py results/baselines --write

The best has the lowest cost, geometric mean over cases, of those that finished every case and starve no group of
requests; on tasks that repeat the paper's experiment starving is no obstacle. `separation` is the naive reference's
cost over it.
"""

import argparse
import importlib
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from glia_bench.scoring.record import TrialRecord, read_record
from glia_bench.scoring.score import is_paper
from glia_bench.scoring.starvation import PLAIN_REFERENCE, starved_groups
from glia_bench.tasks import catalog
from glia_bench.tasks.task import Task


class Choice(NamedTuple):
    """A human design on a task: its name, its mean logarithm of the cost, and whom it starves."""

    name: str
    log_cost: float
    starves: tuple[str, ...]


def ranking(task: Task, trials: list[TrialRecord]) -> list[Choice]:
    """Return the human designs that finished every case, those that may be the reference first, each by cost."""
    by_policy: dict[str, list[TrialRecord]] = defaultdict(list)
    for trial in trials:
        by_policy[trial["policy"]].append(trial)
    plain = by_policy[PLAIN_REFERENCE[task.track]]
    found = []
    for name, own in by_policy.items():
        if own[0]["kind"] == "human" and len(own) == len(plain) and all(trial["status"] == "ok" for trial in own):
            costs = [math.log(trial["cost"]) for trial in own]
            starves = () if is_paper(task.id) else tuple(starved_groups(own, plain))
            found.append(Choice(name, math.fsum(costs) / len(costs), starves))
    return sorted(found, key=lambda choice: (bool(choice.starves), choice.log_cost, len(choice.name)))


def write(task: Task, expert: str, separation: float) -> None:
    """Write the choice into the task's file."""
    (module,) = (module for module in catalog._MODULES if task.id == module.TASK.id)
    path = Path(str(importlib.import_module(module.__name__).__file__))
    text = path.read_text()
    text = re.sub(r'\n    expert="[^"]*",', "", text)
    text = re.sub(r"\n    separation=[^,]*,", "", text)
    naive = f'\n    naive="{task.naive}",'
    new = f'\n    expert="{expert}",\n    separation={separation:.2f},'
    text = text.replace(naive, naive + new) if naive in text else re.sub(r"\n\)\n*$", f"{new}\n)\n", text)
    path.write_text(text)


def main() -> None:
    """Print the best designs of every task of a result; with --write, write the best into the task's file."""
    parser = argparse.ArgumentParser(description="choose the expert reference of tasks")
    parser.add_argument(
        "result", nargs="+", type=Path, help="result with all human designs; one or more, of different tasks"
    )
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    trials = [trial for result in options.result for trial in read_record(result)["trials"]]
    for task in catalog.TASKS.values():
        own = [trial for trial in trials if trial["task"] == task.id]
        if not own:
            continue
        best, *others = choices = ranking(task, own)
        naive = next(choice for choice in choices if choice.name == task.naive)
        separation = math.exp(naive.log_cost - best.log_cost)
        print(f"{task.id}: {best.name}, naive / expert {separation:.3f}")
        for choice in others[:5]:
            starves = f" starves {', '.join(choice.starves)}" if choice.starves else ""
            print(f"    {choice.name:28s} {math.exp(choice.log_cost - best.log_cost):.3f}{starves}")
        starving = [choice for choice in others if choice.starves and choice.log_cost < best.log_cost]
        for choice in starving[:2]:
            print(f"    better, but starves: {choice.name} {math.exp(choice.log_cost - best.log_cost):.3f}")
        if options.write:
            write(task, best.name, separation)


if __name__ == "__main__":
    main()
