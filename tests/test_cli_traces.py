"""`run --trace` and `info --plot` as their users meet them: one command, notes, pictures, and errors of one line."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glia_bench.cli import main
from glia_bench.evaluation.plan import make_plan
from glia_bench.evaluation.trial import Trial, run_trial
from glia_bench.scoring.record import read_record
from glia_bench.workloads.traces import file_sha256

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results land in the test's folder, and the terminal has 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def azure_file(tmp_path: Path) -> Path:
    """Return a file of 60 requests in one minute, in Azure's format."""
    generator = np.random.default_rng(1)
    lengths = generator.integers(10, 900, (60, 2))
    path = tmp_path / "azure.csv"
    rows = (f"2023-11-16 18:15:{second:02d}.0000000,{p},{o}\n" for second, (p, o) in enumerate(lengths))
    path.write_text(AZURE + "".join(rows))
    return path


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command line here; return exit code, stdout and stderr."""
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_trace_of_ones_own_runs_in_one_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, azure_file: Path
) -> None:
    """Table, record and report; the record names the file by its hash; a design from a file runs on it too."""
    Path("first.py").write_text("def route(request, replicas, cluster, memory):\n    return 0\n")
    options = ["--policy", "llq", "--policy", "first.py", "--loads", "1,2", "--out", "here"]
    code, out, err = call(capsys, "run", "--trace", "azure.csv", *options)
    sha256 = file_sha256(azure_file)
    task_id = f"routing/paper-v0+trace:{sha256[:12]}"
    assert code == 0
    assert err == f"note: azure.csv (azure) on {task_id}: 60 requests, 1 requests/s at load 1\n"
    assert f"{task_id} · load 2 · 1 seed · 60 requests a seed" in out
    record = read_record(tmp_path / "here")
    assert record["environment"]["trace"]["sha256"] == sha256
    assert record["environment"]["trace"]["tasks"][task_id] == {"num_requests": 60, "left_out": {}, "not_replayed": []}
    assert {(trial["task"], trial["load"], trial["seed"]) for trial in record["trials"]} == {
        (task_id, 1.0, 0),
        (task_id, 2.0, 0),
    }
    assert {trial["policy"]: trial["status"] for trial in record["trials"]} == {"llq": "ok", "first": "ok"}
    assert all((tmp_path / "here" / trial["records"]).is_file() for trial in record["trials"])
    assert "Recorded requests" in (tmp_path / "here" / "report.html").read_text()
    code, _, _ = call(capsys, "report", "here")
    assert code == 0


def test_another_tasks_cluster_and_seeds(capsys: pytest.CaptureFixture[str], azure_file: Path) -> None:
    """--task gives cluster and objective; more seeds are the same requests, which is said."""
    options = ["--task", "scheduling/chat-v0", "--policy", "vllm_v1_fcfs", "--seeds", "2", "--no-report", "--json"]
    code, out, err = call(capsys, "run", "--trace", str(azure_file), *options)
    assert code == 0
    record: dict[str, Any] = json.loads(out)
    assert {trial["task"].partition("+")[0] for trial in record["trials"]} == {"scheduling/chat-v0"}
    assert len(record["trials"]) == 2
    assert len({trial["workload_sha256"] for trial in record["trials"]}) == 1
    assert "the trace is the same for every seed" in err
    assert [folder.name.startswith("trace-azure-") for folder in Path("results").iterdir()] == [True]


def test_what_is_left_out_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A request that no replica can hold ends the run, or with --skip-unfit a note counts it."""
    rows = "2023-11-16 18:15:00,40000,5\n2023-11-16 18:15:01,30,5\n2023-11-16 18:15:02,30,5\n"
    Path("long.csv").write_text(AZURE + rows)
    options = ["run", "--trace", "long.csv", "--policy", "llq", "--no-report", "--out", "here"]
    code, out, err = call(capsys, *options)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "1 of 3 requests" in err
    assert not Path("here").exists()
    code, _, err = call(capsys, *options, "--skip-unfit")
    assert code == 0
    assert "2 requests, 1 requests/s at load 1; 1 left out (too long)" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--trace", "absent.csv"], "no trace at 'absent.csv'"),
        (["run", "--trace", "azure.csv", "--suite", "quick"], "not of a suite"),
        (["run", "--trace", "azure.csv", "--task", "routing/nothing-v0"], "no task 'routing/nothing-v0'"),
        (["run", "--task", "routing/paper-v0+trace:0123456789ab"], "pass --task routing/paper-v0 --trace FILE"),
        (["info", "routing/paper-v0", "--plot", "--out", "plot.bmp"], "--out must end in .svg or .png"),
        (["info", "routing/paper-v0", "--out", "no/folder.svg"], "cannot be written"),
        (["info", "routing/paper-exact-v0", "--plot"], "plot another task"),
    ],
)
def test_what_is_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str], azure_file: Path, arguments: list[str], message: str
) -> None:
    """One line on stderr, exit 1, nothing written."""
    code, out, err = call(capsys, *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert message in err
    assert list(Path().iterdir()) == [Path("azure.csv")]


def test_info_draws_a_workload(capsys: pytest.CaptureFixture[str], azure_file: Path) -> None:
    """--plot writes an SVG named after the task, --out an SVG or PNG; a file of requests can be looked at alike."""
    code, out, err = call(capsys, "info", "routing/paper-v0", "--plot")
    assert (code, err) == (0, "")
    assert out.endswith("Plot    routing-paper-v0.svg\n")
    assert ElementTree.parse("routing-paper-v0.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    code, out, _ = call(capsys, "info", "routing/paper-v0", "--trace", "azure.csv", "--out", "own.png", "--json")
    facts = json.loads(out)
    assert (code, facts["plot"], facts["workload"]["num_requests"]) == (0, "own.png", 60)
    assert facts["command"] == "glia-bench run --task routing/paper-v0 --trace FILE"
    assert Path("own.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_changed_meanwhile_is_not_run(azure_file: Path) -> None:
    """A trial names the file by its hash: other content is a failure of the machinery, never another result."""
    plan = make_plan(trace=azure_file, policies=["llq"])
    azure_file.write_text(azure_file.read_text().replace("18:15:00", "18:14:59"))
    record = run_trial(plan.trials[0])
    assert record["status"] == "infra_error"
    assert "has changed since the run was planned" in record["message"]
    assert Trial.from_json(json.loads(json.dumps(plan.trials[0].to_json()))) == plan.trials[0]
