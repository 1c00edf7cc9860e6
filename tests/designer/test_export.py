"""Exported tasks: each evaluator run as a stranger would run it, metered, and free of what nobody may see."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from team_answers import LATEST, SHORTEST, WRONG

from glia_bench.designer.client import evaluate_file
from glia_bench.designer.evaluation import NO_SCORE
from glia_bench.designer.export import FORMATS, export_task
from glia_bench.errors import GliaBenchError
from glia_bench.loading import shipped_policies
from glia_bench.policy import TRACKS
from glia_bench.tasks.catalog import TASKS

TASK = "scheduling/memory-v0"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """Return an exported task that is cheap to evaluate."""
    folder = tmp_path / "export"
    export_task(TASK, "openevolve", folder, budget="2")
    make_cheap(folder)
    return folder


def make_cheap(folder: Path) -> None:
    """Let simulations of an export run on one seed."""
    (file,) = folder.rglob("task.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "seeds": [0]}))


def written(folder: Path, source: str, name: str = "p.py") -> Path:
    """Write a policy and return its path."""
    (folder / name).write_text(source)
    return folder / name


def test_higher_is_better_and_the_budget_ends_it(exported: Path, tmp_path: Path) -> None:
    """Shortest first beats last come, first served; after the budget there are no scores, also in a new process."""
    good = evaluate_file(written(tmp_path, SHORTEST), exported)
    bad = evaluate_file(written(tmp_path, LATEST), exported)
    assert good["combined_score"] > bad["combined_score"] > NO_SCORE
    assert good["metrics"]["cost"] < bad["metrics"]["cost"]
    more = written(tmp_path, SHORTEST.replace("0.5", "0.7"))
    code = f"from glia_bench.designer.client import evaluate_file as e; print(e({str(more)!r}, {str(exported)!r}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "budget spent: simulations (limit 2)" in run.stdout
    assert str(NO_SCORE) in run.stdout
    assert evaluate_file(written(tmp_path, SHORTEST), exported)["combined_score"] == NO_SCORE


def test_calls_at_the_same_time_cannot_overspend(exported: Path, tmp_path: Path) -> None:
    """Of four processes with a design each, two get a score."""
    files = [written(tmp_path, SHORTEST.replace("0.5", f"0.{k}"), f"{k}.py") for k in range(1, 5)]
    command = [sys.executable, str(exported / "evaluator.py")]
    processes = [subprocess.Popen([*command, str(file)], stdout=subprocess.PIPE) for file in files]
    found = [json.loads(process.communicate()[0]) for process in processes]
    assert sorted(entry["combined_score"] > NO_SCORE for entry in found) == [False, False, True, True]


def test_openevolve_evaluator(exported: Path, tmp_path: Path) -> None:
    """The evaluator's function returns numbers for the seed program and for one that breaks a rule."""
    code = "import evaluator, json; r = evaluator.evaluate({!r}); print(json.dumps(getattr(r, 'metrics', r)))"
    scores = []
    for file in (exported / "initial_program.py", written(tmp_path, WRONG)):
        command = [sys.executable, "-c", code.format(str(file))]
        run = subprocess.run(command, cwd=exported, capture_output=True, text=True, check=True)
        scores.append(json.loads(run.stdout)["combined_score"])
    assert scores[0] > scores[1] == NO_SCORE


def test_shinka_evaluator(tmp_path: Path) -> None:
    """metrics.json and correct.json say what Shinka reads; what is private to it holds nothing."""
    folder = tmp_path / "export"
    export_task(TASK, "shinka", folder, budget="2")
    make_cheap(folder)
    for source, is_correct in (("initial.py", True), (str(written(tmp_path, WRONG)), False)):
        command = [sys.executable, "evaluate.py", "--program_path", source, "--results_dir", str(tmp_path / "results")]
        subprocess.run(command, cwd=folder, check=True)
        metrics = json.loads((tmp_path / "results" / "metrics.json").read_text())
        correct = json.loads((tmp_path / "results" / "correct.json").read_text())
        assert correct["correct"] is is_correct
        assert bool(correct["error"]) is not is_correct
        assert metrics["private"] == {}
        assert (metrics["combined_score"] > NO_SCORE) is is_correct
        assert metrics["text_feedback"]


def test_harbor_verifier(tmp_path: Path) -> None:
    """The verifier writes a reward."""
    folder = tmp_path / "export"
    export_task(TASK, "harbor", folder, budget="2")
    make_cheap(folder)
    command = [sys.executable, str(folder / "tests" / "score.py"), str(folder / "environment" / "policy.py")]
    subprocess.run([*command, str(tmp_path / "reward.json")], check=True, capture_output=True)
    assert json.loads((tmp_path / "reward.json").read_text())["reward"] == pytest.approx(0.0, abs=0.01)


def test_gepa_evaluator(tmp_path: Path) -> None:
    """The evaluator takes a text and returns a score and what to tell."""
    folder = tmp_path / "export"
    export_task(TASK, "gepa", folder, budget="2")
    make_cheap(folder)
    code = "import run, json; print(json.dumps(run.evaluate(open('seed.py').read())))"
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    score, told = json.loads(run.stdout)
    assert score == pytest.approx(0.0, abs=0.01)
    assert told["feedback"].startswith("cost")


@pytest.mark.parametrize("track", TRACKS)
@pytest.mark.parametrize("format_", FORMATS)
def test_nothing_is_given_away(tmp_path: Path, format_: str, track: str) -> None:
    """No exported text names a reference or an oracle, or holds a line of an expert's code."""
    task = next(task for task in TASKS.values() if task.track == track)
    files = export_task(task.id, format_, tmp_path / "x")
    told = "\n".join(file.read_text() for file in files)
    for policy in shipped_policies(task.track):
        assert f"`{policy.name}`" not in told
        if policy.kind not in ("human", "published_ai"):
            continue
        lines = {line.strip() for line in policy.source.splitlines() if len(line.strip()) > 40 and "=" in line}
        assert not [line for line in lines if line in told and "import" not in line], policy.name
    for word in ("sealed", "oracle", "hra", task.expert.partition("@")[0]):
        assert f" {word} " not in told.lower() or word in ("expert", "fixed")


def test_wrong_requests(tmp_path: Path) -> None:
    """Unknown formats and tasks, a folder in use and a folder that is no export say what to do."""
    with pytest.raises(GliaBenchError, match="did you mean 'shinka'"):
        export_task(TASK, "shinca", tmp_path / "x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(GliaBenchError, match="must be new or empty"):
        export_task(TASK, "harbor", tmp_path / "full")
    with pytest.raises(GliaBenchError, match="no exported task"):
        evaluate_file(tmp_path / "p.py", tmp_path / "full")
