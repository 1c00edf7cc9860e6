"""Runs on a Dask cluster: the same result as here, whatever happens to workers; clear words where there is none.

Clusters are real and consist of processes; starting one takes seconds, hence the slow mark.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import glia_bench
from glia_bench.cli import main
from glia_bench.errors import EvaluationFailure
from glia_bench.evaluation.build import describe_build, difference, source_sha256
from glia_bench.evaluation.dask_executor import settle_on_dask
from glia_bench.evaluation.dask_task import run_slice
from glia_bench.evaluation.plan import make_plan
from glia_bench.evaluation.runner import Limits
from glia_bench.scoring.record import read_record

TASK = "routing/paper-v0"
SMALL = ["run", "--task", TASK, "--loads", "0.01", "--no-report"]
ROUTE = "def route(request, replicas, cluster, memory):\n"
BEHAVED = "import os\n" + ROUTE + "    os.getpid()\n    return request.id % cluster.num_replicas\n"
SLOW = (
    "import os, threading\n" + ROUTE + "    if request.id == 0:\n"
    "        open({pids!r}, 'a').write(f'{{os.getpid()}} {{os.getppid()}}\\n')\n"
    "        threading.Event().wait(0.3)\n    return request.id % cluster.num_replicas\n"
)
"""Writes down the process that decides and its parent, the Dask worker."""
BAD = {
    "leaves": "import os\n" + ROUTE + "    os._exit(0)\n",
    "waits": "import threading\n" + ROUTE + "    threading.Event().wait()\n",
    "wrong": ROUTE + "    return request.output_tokens\n",
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the small task from the command line, in a process of its own."""
    command = [sys.executable, "-m", "glia_bench", *SMALL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def wait_for(path: Path, process: "subprocess.Popen[str]") -> str:
    """Return a file's text as soon as there is one."""
    deadline = time.monotonic() + 120.0
    while not path.exists() or not path.read_text().endswith("\n"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return path.read_text()


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A scheduler without workers: its address and process."""
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    process = subprocess.Popen(
        [*command, "--scheduler-file", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + 60.0
    while not file.exists() or not file.read_text().endswith("}"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield json.loads(file.read_text())["address"], process
    process.kill()
    process.wait()


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Any]:
    """Start a Dask worker of one thread, without a nanny, at an address, with variables."""
    started: list[subprocess.Popen[bytes]] = []

    def start(address: str, **variables: str) -> None:
        command = [sys.executable, "-m", "dask", "worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard"]
        place = ["--local-directory", str(tmp_path / "scratch")]
        started.append(
            subprocess.Popen(
                [*command, *place],
                env=os.environ | variables,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=tmp_path,
            )
        )

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_cluster_gives_what_this_machine_gives() -> None:
    """The same results_id with the same tables; a design from a file runs, and one that cannot is refused once."""
    Path("mine.py").write_text(BEHAVED)
    Path("wrong.py").write_text(BAD["wrong"])
    policies = [part for name in ("llq", "mine.py", "wrong.py") for part in ("--policy", name)]
    here = run(*policies, "--seeds", "2", "--out", "here")
    there = run(*policies, "--seeds", "2", "--out", "there", "--executor", "dask", "--jobs", "2")
    assert (there.returncode, there.stderr) == (1, here.stderr)
    assert "no such field" in there.stderr
    one, other = read_record(Path("here")), read_record(Path("there"))
    assert one["results_id"] == other["results_id"]
    assert other["environment"]["executor"] == "dask"
    tables = [path.relative_to("here") for path in sorted(Path("here").rglob("*.parquet"))]
    assert len(tables) == 8
    assert tables == [path.relative_to("there") for path in sorted(Path("there").rglob("*.parquet"))]
    for table in tables:
        pd.testing.assert_frame_equal(pd.read_parquet("here" / table), pd.read_parquet("there" / table))


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    """Kill -9 of a Dask worker in the middle: its trials run elsewhere, and the result is the usual one."""
    Path("slow.py").write_text(SLOW.format(pids=str(tmp_path / "pids")))
    options = ["--policy", "slow.py", "--policy", "llq", "--seeds", "6"]
    command = [sys.executable, "-m", "glia_bench", *SMALL, *options, "--out", "there", "--executor", "dask"]
    process = subprocess.Popen([*command, "--jobs", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    worker = int(wait_for(tmp_path / "pids", process).split()[1])
    assert worker != process.pid
    os.kill(worker, signal.SIGKILL)
    _, err = process.communicate(timeout=240)
    assert (process.returncode, err) == (0, "")
    assert len({line.split()[1] for line in (tmp_path / "pids").read_text().splitlines()} - {str(worker)}) >= 1
    assert run(*options, "--out", "here").returncode == 0
    assert read_record(Path("there"))["results_id"] == read_record(Path("here"))["results_id"]


@pytest.mark.slow
def test_designs_that_break_do_not_break_the_cluster() -> None:
    """What a design does to its process is its own status there as here, and the worker goes on."""
    for name in ("leaves", "waits"):
        Path(f"{name}.py").write_text(BAD[name])
    policies = [part for name in ("leaves.py", "waits.py", "llq") for part in ("--policy", name)]
    done = run(*policies, "--seeds", "2", "--timeout", "3", "--executor", "dask", "--jobs", "1", "--out", "out")
    assert done.returncode == 1
    found = {(t["policy"], t["seed"]): (t["status"], t["message"]) for t in read_record(Path("out"))["trials"]}
    assert found["leaves", 0] == ("policy_crash", "its process ended with exit status 0 during the run")
    assert found["waits", 0] == ("timeout", "no result within 3 s (--timeout)")
    assert found["waits", 1] == ("timeout", "not run: an earlier trial of this policy timed out")
    assert found["llq", 1] == ("ok", "")


@pytest.mark.slow
def test_a_lost_scheduler_is_our_failure_and_the_run_can_go_on(
    tmp_path: Path, scheduler: tuple[str, "subprocess.Popen[str]"], start_worker: Any
) -> None:
    """The scheduler killed in the middle: exit code 3, what was settled is kept and not run again."""
    address, process = scheduler
    start_worker(address)
    Path("slow.py").write_text(SLOW.format(pids=str(tmp_path / "pids")))
    options = ["--policy", "llq", "--policy", "slow.py", "--seeds", "12"]
    command = [sys.executable, "-m", "glia_bench", *SMALL, *options]
    client = subprocess.Popen(
        [*command, "--out", "out", "--executor", "dask", "--scheduler", address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(tmp_path / "pids", client)
    process.kill()
    _, err = client.communicate(timeout=120)
    assert client.returncode == 3
    assert "the Dask scheduler is gone" in err
    assert "Traceback" not in err
    again = run(*options, "--out", "out")
    assert again.returncode == 0
    assert " of 48 trials are taken from the earlier run" in again.stderr


@pytest.mark.slow
def test_a_worker_with_another_simulator_is_refused(
    tmp_path: Path, scheduler: tuple[str, "subprocess.Popen[str]"], start_worker: Any
) -> None:
    """A worker whose sources differ runs nothing: exit code 3, and the line says which worker and what differs."""
    package = tmp_path / "other" / "glia_bench"
    shutil.copytree(Path(glia_bench.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "cluster.py").open("a") as file:
        file.write("# changed\n")
    address, _ = scheduler
    start_worker(address, PYTHONPATH=str(package.parent))
    done = run("--policy", "llq", "--seeds", "1", "--out", "out", "--executor", "dask", "--scheduler", address)
    assert done.returncode == 3
    theirs, ours = source_sha256(package)[:12], source_sha256()[:12]
    assert "Dask worker tcp://127.0.0.1:" in done.stderr
    assert f"must have the Glia-Bench of this machine (source {theirs} instead of {ours})" in done.stderr
    assert not Path("out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "bad://127.0.0.1:9"])
def test_no_scheduler_is_one_line_within_ten_seconds(address: str) -> None:
    """An address where nothing answers, or that is none, is exit code 3 and one line; no folder is left."""
    start = time.monotonic()
    done = run("--policy", "llq", "--executor", "dask", "--scheduler", address, "--out", "out")
    assert time.monotonic() - start < 20.0  # 8 s for the connection; the rest is starting Python on a busy machine
    assert done.returncode == 3
    assert f"the Dask scheduler {address} must answer and have workers (" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("out").exists()


def test_a_slice_is_refused_by_another_build() -> None:
    """A worker that joined late compares too: another build, or another policy of the same name, runs nothing."""
    trial = make_plan(task_ids=[TASK], policies=["llq"], loads=[0.01]).trials[0].to_json()
    limits = {"timeout_s": 1.0, "memory_bytes": 1 << 30}
    answer = run_slice([trial], limits, describe_build() | {"source": "0" * 64}, {})
    assert (answer["refused"][:7], answer["settled"]) == ("source ", [])
    trial["design"]["sha256"] = "0" * 64
    assert run_slice([trial], limits, describe_build(), {})["refused"] == "another policy 'llq'"


def test_what_differs_between_builds_is_named() -> None:
    """Equal builds differ in nothing; a library that is absent counts."""
    ours = describe_build()
    assert difference(ours, dict(ours)) == ""
    assert difference({"numba": "0.68.1"}, {"numba": "0.63.0"}) == "numba 0.63.0 instead of 0.68.1"
    assert difference({"numba": "0.68.1"}, {}) == "numba none instead of 0.68.1"


def test_without_the_extra_there_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says how to install it; nothing is written."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([*SMALL, "--policy", "llq", "--executor", "dask", "--out", "out"]) == 1
    assert capsys.readouterr().err.endswith("; install it: pip install 'glia-bench[dask]'\n")
    assert os.listdir(".") == ["out"]
    assert os.listdir("out") == []


def test_a_scheduler_needs_the_executor(capsys: pytest.CaptureFixture[str]) -> None:
    """--scheduler alone would be ignored, so it is refused."""
    assert main([*SMALL, "--scheduler", "tcp://127.0.0.1:1"]) == 1
    assert "must come with --executor dask" in capsys.readouterr().err


def test_nothing_to_run_needs_no_cluster(tmp_path: Path) -> None:
    """A plan that is settled already does not even look for a scheduler."""
    assert list(settle_on_dask([], Limits(), scheduler="nonsense", log_folder=tmp_path)) == []
    trial = make_plan(task_ids=[TASK], policies=["llq"], loads=[0.01]).trials[0]
    with pytest.raises(EvaluationFailure, match="missing port number"):
        list(settle_on_dask([trial], Limits(), scheduler="nonsense", log_folder=tmp_path))
