"""Other projects' designers at our meter, against a model that answers from a list."""

import importlib.util
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from team_answers import LATEST, SHORTEST, WRONG

from glia_bench.designer.budget import Budget
from glia_bench.designer.drive import Outcome, drive
from glia_bench.designer.evolve import _bridge
from glia_bench.designer.journal import Journal, untimed
from glia_bench.designer.lm import Asked, LMFailure, ScriptedVoice
from glia_bench.designer.run import DesignRun, Settings
from glia_bench.errors import GliaBenchError

ANSWERS = [f"```python\n{text}```" for text in (WRONG, SHORTEST)] + ["I'd rather not.", f"```python\n{LATEST}```"]

needs_gepa = pytest.mark.skipif(importlib.util.find_spec("gepa") is None, reason="the extra gepa is not installed")
needs_openevolve = pytest.mark.skipif(
    importlib.util.find_spec("openevolve") is None, reason="the extra evolve is not installed"
)
quiet = pytest.mark.filterwarnings("ignore")
"""Other projects' warnings are theirs."""


def opened(folder: Path, designer: str, budget: str = "simulations=3,proposals=12,lm_calls=20") -> DesignRun:
    """Open a run."""
    settings = Settings(task="scheduling/memory-v0", designer=designer, budget=Budget.parse(budget), seeds=(0,))
    return DesignRun(settings, folder)


def answer(asked: Asked) -> str:
    """Answer by turn."""
    return ANSWERS[asked.turn % len(ANSWERS)]


def check(outcome: Outcome, run: DesignRun) -> None:
    """Check that the model's good design was found within the budget, and that its bad ones cost what they cost."""
    sources = [entry["source"].strip() for entry in run.journal.all("simulation")]
    assert SHORTEST.strip() in sources
    assert WRONG.strip() in sources
    assert outcome.best is not None
    assert outcome.spent["simulations"] <= 3
    assert outcome.spent["lm_calls"] >= 2
    assert "budget spent" in outcome.message
    told = " ".join(entry["user"] for entry in run.journal.all("lm"))
    assert "score 0" in told  # feedback reaches the prompts
    assert "Minimise" in told + " ".join(entry.get("system", "") for entry in run.journal.all("lm"))


@needs_gepa
@quiet
def test_gepa(tmp_path: Path) -> None:
    """GEPA evolves the seed; a run that was cut goes on to the same journal."""
    run = opened(tmp_path, "gepa")
    check(drive(run, ScriptedVoice(answer)), run)
    whole = [untimed(entry) for entry in run.journal.entries]
    lines = run.journal.path.read_bytes().splitlines(keepends=True)
    run.journal.path.write_bytes(b"".join(lines[:5]))
    again = opened(tmp_path, "gepa")
    drive(again, ScriptedVoice(answer))
    assert [untimed(entry) for entry in Journal(again.journal.path).entries] == whole


@needs_openevolve
@pytest.mark.slow
def test_openevolve(tmp_path: Path) -> None:
    """OpenEvolve's own command line works behind the bridge."""
    run = opened(tmp_path, "evolve")
    check(drive(run, ScriptedVoice(answer)), run)


@needs_gepa
@quiet
def test_a_dead_model_ends_it(tmp_path: Path) -> None:
    """No answer ends the run with what there is."""
    run = opened(tmp_path, "gepa")
    outcome = drive(run, ScriptedVoice(lambda asked: LMFailure("transport", "refused")))
    assert outcome.status == "lm_failed"
    assert outcome.best is not None


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks a library is told what to install."""
    monkeypatch.setattr("glia_bench.designer.evolve.find_spec", lambda name: None)
    for designer in ("gepa", "evolve"):
        with pytest.raises(GliaBenchError, match=rf"glia-bench\[{designer}\]"):
            drive(opened(tmp_path / designer, designer), ScriptedVoice([]))


def test_the_bridge_is_for_its_own_process(tmp_path: Path) -> None:
    """Without the token nothing is simulated and nobody asked."""
    run = opened(tmp_path, "evolve")
    with _bridge(run.context(), ScriptedVoice([])) as bridge:
        for path, token in (("/evaluate", "wrong"), ("/v1/chat/completions", ""), ("/other", bridge.token)):
            request = urllib.request.Request(bridge.url + path, b"{}", {"Authorization": f"Bearer {token}"})
            with pytest.raises(urllib.error.HTTPError, match="403") as caught:
                urllib.request.urlopen(request)
            caught.value.close()
        assert bridge.end is None
    assert run.spent()["proposals"] == 0
