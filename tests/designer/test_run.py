"""A design run: what is charged, what a second run over the same folder gets, and what ends it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from glia_bench.designer.budget import Budget, BudgetSpent
from glia_bench.designer.context import Context
from glia_bench.designer.evaluation import NO_SCORE, feedback
from glia_bench.designer.journal import JOURNAL, Journal, untimed
from glia_bench.designer.run import DesignRun, Settings
from glia_bench.errors import GliaBenchError
from glia_bench.evaluation.runner import Limits

TASK = "scheduling/memory-v0"
SHORTEST = "def rank(request, replica, memory):\n    return float(request.prompt_tokens)\n"
LATER_WRONG = 'MEMORY = {"shared": 1}\n\n\ndef rank(request, replica, memory):\n    return 1.0 / (500.0 - request.id)\n'
ENDLESS = "def rank(request, replica, memory):\n    x = 1.0\n    while x > 0.0:\n        x = x + 1.0\n    return x\n"

Opened = Callable[..., DesignRun]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """Return a function that opens the run of this test's folder."""

    def open_run(budget: str = "3", timeout_s: float = 30.0, **settings: object) -> DesignRun:
        chosen = {"task": TASK, "designer": "test", "seeds": (0, 1), "budget": Budget.parse(budget), **settings}
        return DesignRun(Settings(**chosen), tmp_path, limits=Limits(timeout_s=timeout_s))  # type: ignore[arg-type]

    return open_run


def some_steps(context: Context) -> list[str]:
    """Do what a designer might, and return what it learns."""
    found = [
        feedback(context.simulate(text).evaluation) for text in (context.run.bundle.seed_source, "def x", SHORTEST)
    ]
    context.note("insight", text="prompts differ")
    return [*found, feedback(context.simulate(SHORTEST, purpose="again").evaluation)]


def test_charges(opened: Opened) -> None:
    """Valid sources cost one simulation, what breaks a rule none, what is known none; all count as proposals."""
    run = opened()
    context = run.context()
    said = some_steps(context)
    assert run.meter.spent["simulations"] == context.meter.spent["simulations"] == 2.0
    assert run.meter.spent["proposals"] == 4.0
    assert run.meter.spent["sim_requests"] > 1000
    assert said[1].startswith("REJECTED before any run: policy.py, line 1")
    assert said[2] == said[3]
    assert run.best is not None
    assert run.best.source in (SHORTEST, run.bundle.seed_source)
    assert [run_[:3] for run_ in run.best.evaluation.runs] == [
        (load, seed, "ok") for load in (0.9, 1.1) for seed in (0, 1)
    ]


def test_a_run_that_was_cut_pays_nothing_twice(opened: Opened, tmp_path: Path) -> None:
    """Cut after any number of bytes, a run goes on to the same journal, and simulates only what it had not."""
    said = some_steps(opened().context())
    path = tmp_path / JOURNAL
    data = path.read_bytes()
    whole = [untimed(entry) for entry in Journal(path).entries]
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    for end in (ends[1], ends[2] + 17, ends[4] - 1, len(data)):
        path.write_bytes(data[:end])
        run = opened()
        assert some_steps(run.context()) == said
        assert [untimed(entry) for entry in Journal(path).entries] == whole
        assert run.meter.spent["simulations"] == 2.0
        assert path.read_bytes().startswith(data[: data[:end].rfind(b"\n") + 1])


def test_other_settings_are_refused(opened: Opened) -> None:
    """A folder goes on with its own settings only."""
    opened()
    with pytest.raises(GliaBenchError, match="holds another run"):
        opened(seed=1)


def test_the_budget_ends_it(opened: Opened) -> None:
    """What does not fit is refused before it runs; what is known already is not given either, once all is spent."""
    context = opened("1").context()
    context.simulate(SHORTEST)
    for text in (SHORTEST, context.run.bundle.seed_source):
        with pytest.raises(BudgetSpent, match=r"simulations \(limit 1\)"):
            context.simulate(text)


def test_nonsense_for_ever_ends(opened: Opened) -> None:
    """A designer that hands in nothing but invalid sources is stopped too."""
    context = opened("simulations=1,proposals=5").context()
    for number in range(5):
        assert context.simulate(f"def x{number}").evaluation.value == NO_SCORE
    with pytest.raises(BudgetSpent, match="proposals"):
        context.simulate("def x")


def test_what_fails_later_has_no_cost(opened: Opened) -> None:
    """A design that fails in its first run is charged for that run; it has a reason and no number, and is no choice."""
    run = opened()
    failed = run.context().simulate(LATER_WRONG).evaluation
    assert (failed.status, failed.cost, failed.score) == ("failed", None, None)
    assert len(failed.runs) == 1
    assert run.meter.spent["simulations"] == pytest.approx(1 / 4)
    assert run.best is None


def test_a_loop_without_end_costs_one_deadline(opened: Opened) -> None:
    """A design that never answers is killed once, not once a seed."""
    run = opened(timeout_s=3.0)
    failed = run.context().simulate(ENDLESS).evaluation
    assert "timeout" in failed.error
    assert len(failed.runs) == 1


def test_other_loads_are_no_choice(opened: Opened) -> None:
    """An experiment at another load is charged and cannot become the design."""
    run = opened()
    light = run.context().simulate(SHORTEST, purpose="load", loads=(0.5,)).evaluation
    assert run.best is None
    assert run.meter.spent["simulations"] == 0.5
    assert light.score is None
    assert light.cost is not None
