"""What a budget allows: parsing, charging, contexts that share one, and expenses at the same time."""

import threading

import pytest

from glia_bench.designer.budget import Budget, BudgetSpent, Meter
from glia_bench.errors import GliaBenchError


def test_texts_of_budgets() -> None:
    """A bare number counts simulations; every axis can be limited; invalid proposals are bounded by themselves."""
    assert Budget.parse("7").limits == {"simulations": 7.0, "proposals": 70.0}
    assert Budget.parse("usd=5, wall_s=60").limits == {"usd": 5, "wall_s": 60, "simulations": 20, "proposals": 200}


@pytest.mark.parametrize("text", ["simulation=3", "usd=nan", "usd=-1", "0", "x", "lm_calls=inf", "usd=1e999"])
def test_wrong_texts(text: str) -> None:
    """What is no budget is refused with the axes or the way to write one."""
    with pytest.raises(GliaBenchError, match=r"axes are|must be a number above 0"):
        Budget.parse(text)


def test_an_expense_must_fit() -> None:
    """Parts of a simulation add up; one that does not fit whole is refused before it runs."""
    meter = Meter(Budget.parse("2"))
    meter.charge({"simulations": 1.4})
    with pytest.raises(BudgetSpent, match="simulations"), meter.reserved(simulations=1.0):
        pytest.fail("not reached")
    with meter.reserved(simulations=0.6):
        pass
    meter.charge({"simulations": 0.6})
    with pytest.raises(BudgetSpent):
        meter.check()


def test_contexts_share() -> None:
    """A context is held to its share, and all of them together to the whole."""
    budget = Budget.parse("simulations=4,usd=1")
    whole = Meter(budget)
    first, second = Meter(budget.shared_by(2), parent=whole), Meter(budget.shared_by(2), parent=whole)
    first.charge({"simulations": 2.0})
    second.charge({"usd": 0.25})
    assert whole.spent["simulations"] == 2.0
    assert second.left("simulations") == 2.0
    with pytest.raises(BudgetSpent, match="simulations"):
        first.check()
    second.check()
    whole.charge({"usd": 0.75})
    with pytest.raises(BudgetSpent, match="usd"):
        second.check()


def test_expenses_at_the_same_time() -> None:
    """Of ten threads that want one simulation each of three, three get it."""
    meter, ready, done = Meter(Budget.parse("3")), threading.Barrier(10), threading.Event()
    got = []

    def want() -> None:
        ready.wait()
        try:
            with meter.reserved(simulations=1.0):
                got.append(1)
                done.wait(5)
                meter.charge({"simulations": 1.0})
        except BudgetSpent:
            refused.append(1)
            if len(refused) == 7:
                done.set()

    refused: list[int] = []
    threads = [threading.Thread(target=want) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (3, 7)
    assert meter.spent["simulations"] == 3.0
