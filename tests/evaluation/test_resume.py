"""A folder that holds an earlier run, whole, interrupted or killed: what is taken from it, what runs again, and why."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glia_bench.errors import EvaluationFailure, GliaBenchError
from glia_bench.evaluation import build, results, runner
from glia_bench.evaluation.folder_lock import LOCK_FILE, locked
from glia_bench.evaluation.journal import JOURNAL_FILE, Journal
from glia_bench.evaluation.plan import check_folder, make_plan
from glia_bench.evaluation.results import Report, run_plan
from glia_bench.evaluation.resume import FILE_FIELDS, Reuse, identity
from glia_bench.evaluation.runner import Limits, Outcome
from glia_bench.evaluation.stopping import Stop
from glia_bench.evaluation.trial import Trial
from glia_bench.scoring.record import read_record
from glia_bench.tasks.catalog import get_task

TASK = "routing/paper-v0"
REFERENCES = (get_task(TASK).naive, get_task(TASK).expert)
ROUTE = "def route(request, replicas, cluster, memory):\n    return request.id % cluster.num_replicas\n"
WAITS = (
    "import os, threading\n"
    "def route(request, replicas, cluster, memory):\n"
    "    if not os.path.exists({go!r}):\n"
    "        open({pid!r}, 'w').write(str(os.getpid()))\n"
    "        threading.Event().wait()\n"
    "    return request.id % cluster.num_replicas\n"
)
"""A policy that waits in its first decision until somebody has made a file and started it anew."""


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """The trials that were run in this process, in order."""
    trials: list[Trial] = []
    original = runner.run_trial

    def spy(trial: Trial) -> dict[str, Any]:
        trials.append(trial)
        return original(trial)

    monkeypatch.setattr(runner, "run_trial", spy)
    return trials


def run(folder: Path, *policies: str, num_seeds: int = 2, **options: Any) -> tuple[Report, str]:
    """Run a plan of small trials in this process; return its report and its note on an earlier run."""
    plan_options = {name: options.pop(name) for name in ("keeps_all_requests", "task_ids") if name in options}
    plan = make_plan(
        **{"task_ids": [TASK]} | plan_options,
        policies=policies or ["llq", "hra"],
        loads=[0.01],
        num_seeds=num_seeds,
        folder=folder,
    )
    notes: list[Reuse] = []
    report = run_plan(plan, options.pop("limits", Limits()), folder=folder, on_reuse=notes.append, **options)
    return report, notes[0].note


def comparable(folder: Path) -> dict[str, Any]:
    """Return what of a result must not depend on how it came about: all but ids over timings, and timings."""
    record = read_record(folder)
    for row in (*record["trials"], *record["summary"]):
        row["sim_s"] = None
    return {key: value for key, value in record.items() if key not in ("id", "environment")}


def interrupt_after(count: int) -> Callable[[Trial | None, Outcome | None], None]:
    """Return a watcher that acts like a second Ctrl-C once `count` trials have ended."""
    ended: list[Outcome] = []

    def watch(trial: Trial | None, outcome: Outcome | None) -> None:
        if trial is not None and len(ended) == count:
            raise KeyboardInterrupt
        if outcome is not None:
            ended.append(outcome)

    return watch


def test_an_interrupted_run_goes_on_and_ends_like_one_that_was_not(tmp_path: Path, ran: list[Trial]) -> None:
    """Three of four trials are taken over, one is run, and the result equals an uninterrupted run's."""
    report, note = run(tmp_path / "a", watcher=interrupt_after(3))
    assert (report.is_interrupted, note) == (True, "")
    del ran[:]
    report, note = run(tmp_path / "a")
    assert (len(ran), report.exit_code) == (1, 0)
    assert note == "3 of 4 trials are taken from the earlier run"
    run(tmp_path / "b")
    assert comparable(tmp_path / "a") == comparable(tmp_path / "b")
    assert read_record(tmp_path / "a")["environment"]["num_reused"] == 3


def test_a_whole_run_is_not_run_again_and_can_be_extended(tmp_path: Path, ran: list[Trial]) -> None:
    """The same again runs nothing; a third seed runs only that seed, and equals a run of three seeds."""
    run(tmp_path / "a")
    del ran[:]
    assert run(tmp_path / "a")[1] == "4 of 4 trials are taken from the earlier run"
    assert ran == []
    run(tmp_path / "a", num_seeds=3)
    assert [trial.seed for trial in ran] == [2, 2]
    run(tmp_path / "b", num_seeds=3)
    assert comparable(tmp_path / "a") == comparable(tmp_path / "b")


def test_a_changed_policy_runs_again(tmp_path: Path) -> None:
    """The same file name with another text is another design; the note names it."""
    mine = tmp_path / "mine.py"
    mine.write_text(ROUTE)
    run(tmp_path / "a", "llq", str(mine))
    mine.write_text(ROUTE + "# changed\n")
    _, note = run(tmp_path / "a", "llq", str(mine))
    assert note == "2 of 4 trials are taken from the earlier run, 2 run again: policy 'mine' changed (2 trials)"


def test_another_simulator_runs_everything_again(
    tmp_path: Path, ran: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials of another source or library version are not reused, and the note says what differs."""
    monkeypatch.setattr(results, "describe_build", lambda: build.describe_build() | {"numba": "0.1"})
    run(tmp_path)
    monkeypatch.setattr(results, "describe_build", build.describe_build)
    del ran[:]
    _, note = run(tmp_path)
    assert len(ran) == 4
    assert f"(numba {build.describe_build()['numba']} instead of 0.1)" in note
    assert note.startswith("0 of 4")


def test_deleted_tables_are_made_again(tmp_path: Path, ran: list[Trial]) -> None:
    """A trial whose table is gone or empty runs again; afterwards every table that is named exists."""
    run(tmp_path)
    tables = sorted(tmp_path.rglob("*.parquet"))
    tables[0].unlink()
    tables[-1].write_bytes(b"")
    del ran[:]
    _, note = run(tmp_path)
    assert len(ran) == 2
    assert "their tables are gone (2 trials)" in note
    assert [path for path in sorted(tmp_path.rglob("*.parquet")) if path.stat().st_size] == tables


def test_more_tables_are_made(tmp_path: Path, ran: list[Trial]) -> None:
    """Asked for the tables of all seeds, a run makes those that an earlier one left out."""
    run(tmp_path, "llq")
    del ran[:]
    _, note = run(tmp_path, "llq", keeps_all_requests=True)
    assert [trial.seed for trial in ran] == [1]
    assert "other tables or settings are asked for (1 trials)" in note


def test_our_own_failures_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An infra_error is written down but never reused."""
    original = runner.run_trial
    monkeypatch.setattr(
        runner, "run_trial", lambda trial: original(trial) | {"status": "infra_error", "cost": None, "message": "disk"}
    )
    assert run(tmp_path, "llq")[0].exit_code == 3
    monkeypatch.setattr(runner, "run_trial", original)
    report, note = run(tmp_path, "llq")
    assert "failed on our side (2 trials)" in note
    assert report.exit_code == 0


def test_a_timeout_counts_for_its_own_deadline_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same --timeout a timeout stands; with another the trial has its chance."""
    original = runner.run_trial
    monkeypatch.setattr(runner, "run_trial", lambda trial: original(trial) | {"status": "timeout", "cost": None})
    run(tmp_path, "llq", limits=Limits(timeout_s=5.0))
    monkeypatch.setattr(runner, "run_trial", original)
    assert run(tmp_path, "llq", limits=Limits(timeout_s=5.0))[0].exit_code == 1
    report, note = run(tmp_path, "llq", limits=Limits(timeout_s=6.0))
    assert "--timeout changed (2 trials)" in note
    assert report.exit_code == 0


def test_another_plan_in_the_folder_replaces_the_result(tmp_path: Path, ran: list[Trial]) -> None:
    """Nothing fits, so all is run; the other plan's tables go once this one is whole, and not before."""
    run(tmp_path, "llq", num_seeds=1)
    run(tmp_path, "hra", num_seeds=1, watcher=interrupt_after(0))
    assert list(tmp_path.rglob("llq/*.parquet"))
    assert run(tmp_path, "hra", num_seeds=1)[1] == ""
    assert not list(tmp_path.rglob("llq/*.parquet"))
    assert {trial["policy"] for trial in read_record(tmp_path)["trials"]} == {"hra"}
    del ran[:]
    run(tmp_path, "llq", num_seeds=1)
    assert len(ran) == 1


def test_every_field_of_a_trial_is_part_of_its_identity() -> None:
    """Whoever adds a field to `Trial` that names a file adds it to FILE_FIELDS: contents count, not paths."""
    known = {"design", "task", "load", "seed", "lengths", "folder"}
    known |= {"keeps_requests", "keeps_samples", "keeps_timeline", "keeps_decisions", "trace", "variant", "tier"}
    known |= {"split", "label", "season", "perturbation", "replays"}  # only `verify` replays, and keeps no journal
    assert {field.name for field in dataclasses.fields(Trial)} == known
    assert FILE_FIELDS == ("lengths", "trace")


def test_a_file_that_a_trial_reads_counts_by_its_content(tmp_path: Path, ran: list[Trial]) -> None:
    """A lengths file elsewhere with the same content is the same; another content is not."""
    rows = "\n".join(f"{20 + i % 7},{5 + i % 3}" for i in range(9000))
    trials = []
    for name, text in (("a", rows), ("b", rows), ("c", rows + "\n9,9")):
        (tmp_path / f"{name}.csv").write_text("num_prefill_tokens,num_decode_tokens\n" + text + "\n")
        design = make_plan(task_ids=[TASK], policies=["llq"]).trials[0].design
        lengths = str(tmp_path / f"{name}.csv")
        trials.append(Trial(design=design, task="routing/paper-exact-v0", load=1.0, seed=0, lengths=lengths))
    a, b, c = (identity(trial, {}) for trial in trials)
    assert a == b
    assert a != c


# The journal's file


def entries(folder: Path, count: int = 3) -> list[dict[str, Any]]:
    """Write a journal of a few entries and return them."""
    made = [{"trial": {"seed": seed}, "timeout_s": 1.5, "record": {"cost": 0.1 * seed}} for seed in range(count)]
    with Journal(folder) as journal:
        for entry in made:
            journal.append(entry)
    return made


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_line_that_was_not_written_whole_is_dropped(tmp_path: Path, cut: int) -> None:
    """A torn last line costs that entry only, and the next line does not continue it."""
    first, second, third = entries(tmp_path)
    path = tmp_path / JOURNAL_FILE
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(tmp_path) as journal:
        assert journal.entries == [first, second]
        journal.append(third)
    with Journal(tmp_path) as journal:
        assert journal.entries == [first, second, third]


def test_a_damaged_or_altered_line_is_dropped(tmp_path: Path) -> None:
    """A line whose check sum does not match is no settled trial; the others stand."""
    first, _, third = entries(tmp_path)
    path = tmp_path / JOURNAL_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"cost":0.1', b'"cost":0.0')
    path.write_bytes(b"".join([*lines, b"\xff\n", b"[]\n", b'{"check":1}\n']))
    with Journal(tmp_path) as journal:
        assert journal.entries == [first, third]


@pytest.mark.parametrize("header", [b'{"journal":2}\n', b"my notes\n", b"\n"])
def test_another_format_is_refused_and_left_alone(tmp_path: Path, header: bytes) -> None:
    """A journal of a later version, or a file of the user's with that name, is neither read nor written over."""
    path = tmp_path / JOURNAL_FILE
    path.write_bytes(header)
    with pytest.raises(GliaBenchError, match=r"journal\.jsonl must begin with .* give another --out"):
        run(tmp_path, "llq")
    assert path.read_bytes() == header
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_full_disk_is_our_failure_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[Trial]
) -> None:
    """When a line cannot be written the run ends with one line; with room again it goes on."""
    with monkeypatch.context() as full:
        original = os.write

        def write(file: int, data: bytes) -> int:
            if len(ran) == 3:
                raise OSError(28, "No space left on device")
            return original(file, data)

        full.setattr("glia_bench.evaluation.journal.os.write", write)
        report, _ = run(tmp_path)
    assert report.exit_code == 3
    assert report.failure == f"{tmp_path / JOURNAL_FILE} cannot be written (No space left on device)"
    del ran[:]
    assert run(tmp_path)[1] == "2 of 4 trials are taken from the earlier run"
    assert len(ran) == 2


def test_a_result_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result file meets the full disk: our failure, in a line that says how to go on."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "write_record", full)
    with pytest.raises(EvaluationFailure, match=r"cannot be written \(No space left on device\); make room"):
        run(tmp_path)


# The lock


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    """While one process holds a folder another is refused, in words that name the first; then it may."""
    with locked(tmp_path / "a"):
        with pytest.raises(GliaBenchError, match=rf"one run at a time \(process {os.getpid()} runs into it\)"):
            run(tmp_path / "a")
        (tmp_path / "a" / "kept").touch()
    assert sorted(os.listdir(tmp_path / "a")) == ["kept"]


def test_what_a_killed_run_left_is_an_earlier_run(tmp_path: Path) -> None:
    """A lock file that nobody holds neither locks the folder nor makes it a stranger's."""
    (tmp_path / LOCK_FILE).write_text("1")
    (tmp_path / "policies").mkdir()
    check_folder(tmp_path)
    assert run(tmp_path, "llq")[0].exit_code == 0


def test_a_folder_that_cannot_be_written_is_one_line() -> None:
    """A read-only place is refused before anything runs."""
    with pytest.raises(GliaBenchError, match=r"results folder /proc/here cannot be written .*give another --out"):
        run(Path("/proc/here"))


# Stopping


def test_a_request_to_stop_lets_running_trials_end(tmp_path: Path) -> None:
    """Asked to stop while the second of four trials runs, a run ends after that one."""
    stop, started = Stop(), []

    def watch(trial: Trial | None, outcome: Outcome | None) -> None:
        started.extend([trial] if trial else [])
        if len(started) == 2:
            stop.request()

    report, _ = run(tmp_path, watcher=watch, stop=stop)
    assert (report.is_interrupted, report.exit_code) == (True, 1)
    assert len(read_record(tmp_path)["trials"]) == 2


def test_a_request_at_the_end_interrupts_nothing(tmp_path: Path) -> None:
    """Asked to stop while the last trial runs, a run is whole."""
    stop = Stop()
    report, _ = run(tmp_path, "llq", num_seeds=1, watcher=lambda trial, outcome: stop.request(), stop=stop)
    assert (report.is_interrupted, report.exit_code) == (False, 0)


# Killing for real


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a run of three quick policies (llq and the task's references) and of waits.py in a process of its own."""
    command = [sys.executable, "-m", "glia_bench", "run", "--task", TASK, "--loads", "0.01", "--seeds", "2"]
    return subprocess.Popen(
        [*command, "--policy", "llq", "--policy", "waits.py", "--no-report", "--out", "out", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> str:
    """Return a file's text as soon as there is one."""
    deadline = time.monotonic() + 120.0
    while not path.exists() or not path.read_text():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return path.read_text()


@pytest.mark.slow
def test_a_killed_run_loses_what_was_in_flight_only(tmp_path: Path) -> None:
    """Killed (-9) while the seventh trial runs: the design dies too, and the next run takes six trials over."""
    (tmp_path / "waits.py").write_text(WAITS.format(go=str(tmp_path / "go"), pid=str(tmp_path / "pid")))
    process = start(tmp_path)
    child = int(wait_for(tmp_path / "pid", process))
    lines = (tmp_path / "out" / JOURNAL_FILE).read_text().splitlines()
    policies = [json.loads(line)["entry"]["record"]["policy"] for line in lines[1:]]
    assert sorted(policies) == sorted(2 * ["llq", *REFERENCES])
    refused = start(tmp_path).communicate(timeout=60)[1]
    assert f"one run at a time (process {process.pid} runs into it)" in refused
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 10.0
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (tmp_path / "out" / "result.json").exists()
    (tmp_path / "go").touch()
    again = start(tmp_path)
    _, err = again.communicate(timeout=120)
    assert (again.returncode, err) == (0, "note: 6 of 8 trials are taken from the earlier run\n")
    whole, _ = run(tmp_path / "whole", "llq", *REFERENCES, str(tmp_path / "waits.py"))
    assert whole.record is not None
    assert comparable(tmp_path / "out") == comparable(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    """While a design waits for ever, the first signal announces an end and the second brings it."""
    (tmp_path / "waits.py").write_text(WAITS.format(go="/never", pid=str(tmp_path / "pid")))
    process = start(tmp_path)
    wait_for(tmp_path / "pid", process)
    process.send_signal(number)
    assert process.stderr is not None
    assert "no more trials are started" in process.stderr.readline()
    sent = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - sent < 4.0
    assert (process.returncode, err) == (1, "interrupted after 6 of 8 trials\n")
    assert len(read_record(tmp_path / "out")["trials"]) == 6
