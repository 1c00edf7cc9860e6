"""A plan to a result folder: what lies in it, that ids do not depend on how it ran, and what is left on Ctrl-C."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from glia_bench.evaluation import runner
from glia_bench.evaluation.plan import Plan, make_plan
from glia_bench.evaluation.results import Report, run_plan
from glia_bench.evaluation.runner import Limits, Outcome
from glia_bench.evaluation.samples import sample_interval_s
from glia_bench.evaluation.trial import Trial, run_trial
from glia_bench.scoring.record import read_record
from glia_bench.tasks.catalog import get_task

TASK = "routing/paper-v0"


def small_plan(folder: Path, *policies: str, num_seeds: int = 2, **options: Any) -> Plan:
    """Return a plan of about 75 requests a trial."""
    return make_plan(task_ids=[TASK], policies=policies, loads=[0.01], num_seeds=num_seeds, folder=folder, **options)


def run(folder: Path, *policies: str, **options: Any) -> Report:
    """Run a small plan in this process."""
    return run_plan(small_plan(folder, *policies, **options), Limits(), folder=folder, command="glia-bench run")


def test_a_folder_holds_the_record_and_the_tables_that_it_names(tmp_path: Path) -> None:
    """The record read back is the one returned; its tables exist, with a row per request and per sample."""
    report = run(tmp_path, "llq", "hra")
    assert report.exit_code == 0
    assert report.record == read_record(tmp_path)
    case = get_task(TASK).case(0.01, 0)
    for trial in report.record["trials"]:
        if trial["seed"] == 0:
            requests = pd.read_parquet(tmp_path / trial["records"])
            assert len(requests) == len(case.trace) == trial["metrics"]["num_requests"]
            assert requests["e2e_s"].mean() == pytest.approx(trial["cost"], rel=1e-12)
            samples = pd.read_parquet(tmp_path / trial["samples"])
            assert {"time_s", "held", "waiting_0", "running_3", "allocated_blocks_3"} <= set(samples.columns)
            assert samples["time_s"].diff().dropna().to_numpy() == pytest.approx(sample_interval_s(case))
        else:
            assert trial["records"] is trial["samples"] is None


def test_the_record_says_how_it_was_made(tmp_path: Path) -> None:
    """Environment: versions, command, times, and that it is whole; nothing of it enters results_id."""
    record = run(tmp_path, "llq", num_seeds=1).record
    assert record is not None
    environment = record["environment"]
    assert {"glia_bench", "python", "numpy", "numba", "llvmlite", "cpu_arch", "platform"} <= environment.keys()
    assert environment["command"] == "glia-bench run"
    assert environment["started_at"] <= environment["ended_at"]
    assert (environment["num_planned"], environment["interrupted"], environment["refused"]) == (1, False, [])


def test_order_and_sampling_do_not_change_results(tmp_path: Path) -> None:
    """Policies in another order, without samples or tables, give the same results_id."""
    first = run(tmp_path / "a", "llq", "hra").record
    second = run_plan(small_plan(tmp_path / "b", "hra", "llq"), Limits(), folder=tmp_path / "b").record
    bare = make_plan(task_ids=[TASK], policies=["llq", "hra"], loads=[0.01], num_seeds=2)
    third = run_plan(bare, Limits(), folder=tmp_path / "c").record
    assert first is not None
    assert second is not None
    assert third is not None
    assert first["results_id"] == second["results_id"] == third["results_id"]


def test_processes_do_not_change_results(tmp_path: Path) -> None:
    """Two at a time in processes of their own give the results_id of one after the other in this one."""
    here = run(tmp_path / "a", "llq", "hra", num_seeds=1).record
    there = run_plan(
        small_plan(tmp_path / "b", "llq", "hra", num_seeds=1), Limits(jobs=2), folder=tmp_path / "b"
    ).record
    assert here is not None
    assert there is not None
    assert here["results_id"] == there["results_id"]


def interrupt_after(count: int) -> Callable[[Trial | None, Outcome | None], None]:
    """Return a watcher that acts like Ctrl-C once `count` trials have ended."""
    ended = []

    def watch(trial: Trial | None, outcome: Outcome | None) -> None:
        if trial is not None and len(ended) == count:
            raise KeyboardInterrupt
        if outcome is not None:
            ended.append(outcome)

    return watch


def test_an_interrupted_run_leaves_what_was_done(tmp_path: Path) -> None:
    """After three of four trials the record holds three, says so, and summarises them; the exit code is 1."""
    plan = small_plan(tmp_path, "llq", "hra")
    report = run_plan(plan, Limits(), folder=tmp_path, watcher=interrupt_after(3))
    record = read_record(tmp_path)
    assert (report.is_interrupted, report.exit_code) == (True, 1)
    assert len(record["trials"]) == 3
    assert record["environment"]["interrupted"]
    assert {row["policy"]: row["num_seeds"] for row in record["summary"] if row["load"] != "all"} == {
        "llq": 2,
        "hra": 1,
    }


def test_an_earlier_result_stands_until_a_new_one_is_whole(tmp_path: Path) -> None:
    """Interrupted before its first trial ends, a run leaves the folder's old result usable; a whole one replaces it."""
    old = run(tmp_path, "llq", "hra", num_seeds=1).record
    report = run_plan(small_plan(tmp_path, "expert"), Limits(), folder=tmp_path, watcher=interrupt_after(0))
    assert report.record is None
    assert read_record(tmp_path) == old
    new = run(tmp_path, "expert", num_seeds=1).record
    assert read_record(tmp_path) == new
    tables = {path.parent.name for path in tmp_path.rglob("*.parquet")}
    assert tables == {"expert"}


def test_our_own_failures_are_logged_and_have_their_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback goes to the log, one line of it to the record, and the exit code is 3, not 1."""

    def broken(trial: Trial) -> dict[str, Any]:
        record = run_trial(trial)
        message = "Traceback ...\nRuntimeError: disk on fire"
        return {**record, "status": "infra_error", "cost": None, "message": message}

    monkeypatch.setattr(runner, "run_trial", broken)
    report = run(tmp_path, "llq", num_seeds=1)
    assert report.exit_code == 3
    (trial,) = read_record(tmp_path)["trials"]
    assert trial["message"] == "RuntimeError: disk on fire (our failure, see logs/@errors.log)"
    assert "Traceback" in (tmp_path / "logs" / "@errors.log").read_text()


@pytest.mark.parametrize(("load", "expected"), [(1.0, 2.0), (0.01, 2.0)])
def test_samples_are_taken_on_a_round_grid(load: float, expected: float) -> None:
    """About 1000 s of arrivals, some 500 samples: every 2 s."""
    assert sample_interval_s(get_task(TASK).case(load, 0)) == expected
