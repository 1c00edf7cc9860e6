"""Measure how far a task's references are apart: the naive one's cost over the expert's, and all policies' costs.

Costs are at the task's default loads over the development seeds; a ratio is the geometric mean of the paired ratios.

    python tools/measure_separation.py routing/sessions-v0 ...     (no task: all but the paper's)
"""

import argparse
from collections.abc import Sequence

import numpy as np

from glia_bench.evaluation.designs import make_designs
from glia_bench.evaluation.trial import Trial, run_trial
from glia_bench.features import FloatArray
from glia_bench.loading import shipped_policies
from glia_bench.tasks.catalog import TASKS, get_task
from glia_bench.tasks.task import Task


def costs(task: Task, names: Sequence[str], loads: Sequence[float], num_seeds: int) -> tuple[FloatArray, FloatArray]:
    """Return costs and seconds of simulation of designs; float64, shape (designs, loads, seeds); NaN if one failed."""
    designs = make_designs(names, task.track, task.id)
    shape = (len(designs), len(loads), num_seeds)
    found, seconds = np.full(shape, np.nan), np.zeros(shape)
    for column, load in enumerate(loads):
        for seed in range(num_seeds):
            for row, design in enumerate(designs):
                record = run_trial(Trial(design=design, task=task.id, load=load, seed=seed))
                seconds[row, column, seed] = record["sim_s"] or np.nan
                if record["status"] == "ok":
                    found[row, column, seed] = record["cost"]
    return found, seconds


def separation(task: Task, num_seeds: int = 10) -> float:
    """Return the naive reference's cost over the expert's: geometric mean over default loads and seeds."""
    (naive, expert), _ = costs(task, (task.naive, task.expert), task.default_loads, num_seeds)
    return float(np.exp(np.log(naive / expert).mean()))


def main() -> None:
    """Print every policy's mean cost and its ratio to the task's expert."""
    parser = argparse.ArgumentParser(description="costs of all shipped policies on tasks")
    parser.add_argument("task", nargs="*", help="task ids; left out: all but the paper's")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--all-loads", action="store_true", help="every load rather than the default ones")
    options = parser.parse_args()
    for task in map(get_task, options.task or [task for task in TASKS if "/paper-" not in task]):
        kinds = {policy.name: policy.kind for policy in shipped_policies(task.track)}
        names = list(dict.fromkeys([*kinds, task.expert]))
        loads = task.loads if options.all_loads else task.default_loads
        found, seconds = costs(task, names, loads, options.seeds)
        sizes = [len(task.case(load, 0).trace) for load in loads]
        print(f"{task.id}: loads {loads}, {sizes} requests at seed 0")
        expert = found[names.index(task.expert)]
        order = np.argsort(np.where(np.isnan(found), np.inf, found).mean(axis=(1, 2)))
        for row in order:
            ratios = np.exp(np.log(found[row] / expert).mean(axis=1))
            over_all = float(np.exp(np.log(found[row] / expert).mean()))
            mark = {task.naive: "naive", task.expert: "expert"}.get(names[row], kinds.get(names[row], "human"))
            print(
                f"  {names[row]:24s} {mark:13s} cost {np.round(found[row].mean(axis=1), 3)} "
                f"over expert {over_all:.3f} {np.round(ratios, 3)}  {seconds[row].mean():.3f} s, most "
                f"{seconds[row].max():.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
