"""What a run may write over and remove in its results folder: its own earlier files, and nothing else."""

from pathlib import Path

import pytest

from glia_bench.cli import main

ROUTE = "def route(request, replicas, cluster, memory):\n    return request.id % cluster.num_replicas\n"
RUN = ["run", "--task", "routing/paper-v0", "--seeds", "1", "--loads", "0.1", "--no-report", "--policy"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("out", [".", "", "mine"])
def test_a_folder_with_other_files_is_refused(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of the user's is never taken for results, and what lies in it stays."""
    for name in ("policies/a.py", "policies/b.py", "records/x.parquet", "mine/notes.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(ROUTE)
    assert main([*RUN, "llq", "--out", out]) == 1
    assert "must be new, empty or an earlier run's (it holds" in capsys.readouterr().err
    assert all(
        Path(name).exists() for name in ("policies/a.py", "policies/b.py", "records/x.parquet", "mine/notes.txt")
    )


def test_an_earlier_run_is_replaced_and_foreign_files_stay() -> None:
    """The files that the earlier result names go; a file that somebody added there stays."""
    Path("one.py").write_text(ROUTE)
    assert main([*RUN, "one.py", "--out", "out"]) == 0
    Path("out/policies/kept.py").write_text(ROUTE)
    Path("out/records/kept.parquet").write_text("")
    assert main([*RUN, "llq", "--out", "out"]) == 0
    assert not Path("out/policies/one.py").exists()
    assert not Path("out/records/routing/paper-v0/one").exists() or not any(
        Path("out/records/routing/paper-v0/one").iterdir()
    )
    assert Path("out/policies/kept.py").exists()
    assert Path("out/records/kept.parquet").exists()
    assert any(Path("out/records/routing/paper-v0/llq").iterdir())


def test_a_file_called_shipped_has_its_own_process(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a file is called, and whatever it does to the modules it finds, shipped rows stay as they are."""
    meddles = "import glia_bench.evaluation.trial as t\nt.cost = lambda *a: 0.5\n"
    Path("shipped.py").write_text(meddles + ROUTE)
    assert main([*RUN, "llq", "--out", "alone", "--json"]) == 0
    alone = capsys.readouterr().out
    assert main([*RUN, "shipped.py", "--policy", "llq", "--jobs", "2", "--out", "both", "--json"]) == 0
    both = capsys.readouterr().out
    cost = next(line for line in alone.splitlines() if '"cost":' in line)
    assert cost in both


def test_a_very_long_name_is_cut() -> None:
    """A file name at the system's limit makes a short design name, not a failure of ours."""
    name = "x" * 240 + ".py"
    Path(name).write_text(ROUTE)
    assert main([*RUN, name, "--out", "out"]) == 0
    assert Path(f"out/policies/{'x' * 60}.py").exists()
