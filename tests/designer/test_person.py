"""A person at the meter: files handed in one by one, minutes in between, and the same folder all along."""

from collections.abc import Callable
from pathlib import Path

import pytest
from team_answers import LATEST, SHORTEST, WRONG

from glia_bench.designer.budget import Budget
from glia_bench.designer.drive import Outcome
from glia_bench.designer.person import MAX_PAUSE_MINUTES, hand_in
from glia_bench.designer.run import DesignRun, Settings
from glia_bench.errors import GliaBenchError

HandedIn = Callable[..., tuple[Outcome, list[str]]]


@pytest.fixture
def handed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HandedIn:
    """Return a function that hands in texts at a minute of the clock, each time in a process of its own as it were."""

    def hand(minute: float, *sources: str) -> tuple[Outcome, list[str]]:
        monkeypatch.setattr("glia_bench.designer.person.time.time", lambda: 1e9 + 60.0 * minute)
        said: list[str] = []
        settings = Settings(task="scheduling/memory-v0", designer="human", budget=Budget.parse("2"), seeds=(0,))
        run = DesignRun(settings, tmp_path / "run", say=said.append)
        files = []
        for number, source in enumerate(sources):
            files.append(tmp_path / f"{number}.py")
            files[-1].write_text(source)
        return hand_in(run, files), said

    return hand


def test_minutes_and_designs(handed_in: HandedIn) -> None:
    """Time between hand-ins counts, ten minutes at most; the best so far is the design; the budget ends it."""
    outcome, said = handed_in(0.0)
    assert any("The interface" in text for text in said)
    assert outcome.best is None
    first, said = handed_in(100.0, LATEST)
    assert said[-1].startswith("cost")
    assert first.spent["human_minutes"] == 0.0
    second, said = handed_in(103.0, WRONG)
    assert "REJECTED" in said[-1]
    assert second.spent["human_minutes"] == pytest.approx(3.0)
    third, _ = handed_in(1000.0, SHORTEST)
    assert third.spent["human_minutes"] == pytest.approx(3.0 + MAX_PAUSE_MINUTES)
    assert third.spent["simulations"] == 2.0
    last, _ = handed_in(1001.0, SHORTEST.replace("0.5", "0.7"))
    assert "budget spent: simulations" in last.message
    assert last.spent["simulations"] == 2.0
    assert last.best == third.best


def test_a_file_that_is_not_there(handed_in: HandedIn, tmp_path: Path) -> None:
    """Nothing is charged for what cannot be read."""
    settings = Settings(task="scheduling/memory-v0", designer="human", budget=Budget.parse("2"), seeds=(0,))
    run = DesignRun(settings, tmp_path / "other")
    with pytest.raises(GliaBenchError, match="absent"):
        hand_in(run, [tmp_path / "absent.py"])
    assert run.spent()["proposals"] == 0
