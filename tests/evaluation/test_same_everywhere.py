"""One plan, one results_id: in any order, in any process, with any number of threads, and from a cold cache.

`test_dask_executor` holds clusters to the same.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from glia_bench.evaluation.plan import make_plan
from glia_bench.evaluation.results import run_plan
from glia_bench.evaluation.runner import Limits

TASK = "routing/paper-v0"
POLICIES = ("llq", "hra", "random")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The results_id of the plan, run trial by trial in this process."""
    folder = tmp_path_factory.mktemp("here")
    plan = make_plan(task_ids=[TASK], policies=POLICIES, loads=[0.01], num_seeds=2, folder=folder, adds_references=True)
    record = run_plan(plan, Limits(), folder=folder).record
    assert record is not None
    found: str = record["results_id"]
    return found


def run_elsewhere(folder: Path, *arguments: str, **variables: str) -> str:
    """Run the plan from the command line with other variables; return its results_id."""
    policies = [part for policy in reversed(POLICIES) for part in ("--policy", policy)]
    command = [sys.executable, "-m", "glia_bench", "run", "--task", TASK, "--loads", "0.01", "--seeds", "2", *policies]
    done = subprocess.run(
        [*command, "--no-report", "--json", "--out", str(folder), *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    found: str = json.loads(done.stdout)["results_id"]
    return found


def test_trials_in_any_order(tmp_path: Path, expected: str) -> None:
    """Shuffled trials give the same results_id and the same summary, sums of floats included."""
    plan = make_plan(task_ids=[TASK], policies=POLICIES, loads=[0.01], num_seeds=2, adds_references=True)
    trials = list(plan.trials)
    random.Random(7).shuffle(trials)
    one = run_plan(plan, Limits(), folder=tmp_path / "a").record
    other = run_plan(
        type(plan)(suite=plan.suite, tasks=plan.tasks, trials=tuple(trials)), Limits(), folder=tmp_path / "b"
    ).record
    assert one is not None
    assert other is not None
    assert one["results_id"] == other["results_id"] == expected


def test_isolated_processes(tmp_path: Path, expected: str) -> None:
    """Shipped policies in a process of their own decide as they do here."""
    plan = make_plan(task_ids=[TASK], policies=POLICIES, loads=[0.01], num_seeds=2, adds_references=True)
    record = run_plan(plan, Limits(is_isolated=True), folder=tmp_path).record
    assert record is not None
    assert record["results_id"] == expected


@pytest.mark.parametrize("num_threads", ["1", "3"])
def test_any_number_of_threads(tmp_path: Path, expected: str, num_threads: str) -> None:
    """NUMBA_NUM_THREADS, and the thread counts of the libraries below NumPy, change nothing."""
    names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    assert run_elsewhere(tmp_path, **dict.fromkeys(names, num_threads)) == expected


@pytest.mark.slow
def test_a_cold_cache(tmp_path: Path, expected: str) -> None:
    """Two processes that start where nothing is compiled give what a warm cache gives."""
    cold = str(tmp_path / "numba")
    assert run_elsewhere(tmp_path / "out", "--jobs", "2", NUMBA_CACHE_DIR=cold) == expected
