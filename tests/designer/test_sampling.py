"""One prompt or many: what is taken from an answer, what goes back, and how each ends."""

from pathlib import Path

import pytest
from team_answers import LATEST, SHORTEST, WRONG

from glia_bench.designer.budget import Budget
from glia_bench.designer.drive import Outcome, drive
from glia_bench.designer.lm import Asked, LMFailure, ScriptedVoice
from glia_bench.designer.run import DesignRun, Settings
from glia_bench.designer.sampling import MAX_EMPTY, source_in


def fenced(source: str) -> str:
    """Return an answer as models write it."""
    return f"Here it is:\n\n```python\n{source}```\nIt should help."


def designed(folder: Path, designer: str, voice: ScriptedVoice, budget: str = "3") -> tuple[DesignRun, Outcome]:
    """Run a designer to its end."""
    settings = Settings(task="scheduling/memory-v0", designer=designer, budget=Budget.parse(budget), seeds=(0,))
    run = DesignRun(settings, folder)
    return run, drive(run, voice)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (fenced(SHORTEST), SHORTEST),
        (f"{fenced(WRONG)}\nNo, better:\n{fenced(SHORTEST)}", SHORTEST),
        (SHORTEST, SHORTEST),
        ("```\nx = 1\n```", "x = 1\n"),
        ("I cannot help with that.", None),
        ("", None),
        ("x = 1", None),
        ("```python\nnever closed", None),
    ],
)
def test_what_is_taken_from_an_answer(text: str, source: str | None) -> None:
    """The last fenced block, or a text that is code as a whole."""
    assert source_in(text) == source


def test_oneshot_mends_twice_at_most(tmp_path: Path) -> None:
    """What cannot run goes back with the reason; the first design that runs is the end."""
    asked: list[Asked] = []

    def answer(question: Asked) -> str:
        asked.append(question)
        return ["no code", fenced(WRONG), fenced(SHORTEST), fenced(LATEST)][len(asked) - 1]

    run, outcome = designed(tmp_path / "a", "oneshot", ScriptedVoice(answer))
    assert len(asked) == 3
    assert "held no Python file" in asked[1].user
    assert "secret" in asked[2].user
    assert outcome.spent["proposals"] == 3
    assert outcome.spent["simulations"] == 1
    assert [e["source"] for e in run.journal.all("simulation")][-1] == SHORTEST


def test_samples_are_independent(tmp_path: Path) -> None:
    """No sample is told of another, and the budget ends them; the best that is fair is the design."""
    asked: list[Asked] = []

    def answer(question: Asked) -> str:
        asked.append(question)
        return [fenced(SHORTEST), fenced(WRONG), fenced(LATEST)][(len(asked) - 1) % 3]

    _, outcome = designed(tmp_path / "a", "best_of_n", ScriptedVoice(answer), "simulations=2,proposals=9")
    assert outcome.spent["simulations"] == 2
    assert len(asked) == 3
    assert not any("secret" in question.user for question in asked)
    assert len({question.sha256 for question in asked}) == 3


def test_refusals_end_it(tmp_path: Path) -> None:
    """A model that goes on refusing is not asked for ever, and there is no design then."""
    run, outcome = designed(tmp_path / "a", "best_of_n", ScriptedVoice(lambda asked: "I'd rather not."))
    assert outcome.spent["lm_calls"] == MAX_EMPTY
    assert (outcome.best, outcome.folder) == (None, None)
    assert "held no code" in outcome.message
    assert run.journal.entries[-1]["event"] == "end"


def test_a_dead_model(tmp_path: Path) -> None:
    """No answer ends the run; the journal says why."""
    _, outcome = designed(tmp_path / "a", "oneshot", ScriptedVoice([LMFailure("timeout", "silence")]))
    assert outcome.status == "lm_failed"
    assert "silence" in outcome.message
