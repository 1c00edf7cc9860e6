"""Log-gains, guards, scores and rank bands: by hand, and what must hold for any costs."""

import math
import random
from typing import Any

import pytest
from catalogue import TASKS
from hypothesis import given
from hypothesis import strategies as st

from glia_bench.scoring.score import (
    MAX_GAIN,
    gains,
    is_guard,
    is_ranked,
    log_gain,
    rank_bands,
    ratio_fields,
    score,
    share_better,
)
from glia_bench.scoring.summary import summarise

TASK = "routing/paper-v0"
COSTS = st.floats(1e-3, 1e6)


def trial(policy: str, seed: int, cost: float | None, load: float = 1.0) -> dict[str, Any]:
    """Return a trial record; without a cost a failed one."""
    return {
        **{"task": TASK, "policy": policy, "kind": "human", "load": load, "seed": seed, "cost": cost},
        **{"status": "ok" if cost is not None else "timeout", "message": "", "metrics": {}, "sim_s": None},
    }


@pytest.mark.parametrize(
    ("expert", "cost", "gain"),
    [
        (20.0, 10.0, math.log(2.0)),
        (10.0, 10.0, 0.0),
        (10.0, 39.9, -math.log(3.99)),
        (10.0, 41.0, -MAX_GAIN),
        (41.0, 10.0, MAX_GAIN),
        (10.0, None, -MAX_GAIN),
        (10.0, 0.0, MAX_GAIN),
        (0.0, 1.0, -MAX_GAIN),
        (0.0, 0.0, 0.0),
    ],
)
def test_log_gains_by_hand(expert: float, cost: float | None, gain: float) -> None:
    """Half the expert's cost is ln 2; beyond a factor of four all is clipped; a failure is the worst."""
    assert log_gain(expert, cost) == pytest.approx(gain, abs=1e-12)


@given(expert=COSTS, cost=COSTS, factor=st.floats(1e-3, 1e3))
def test_gains_do_not_depend_on_the_unit_of_cost(expert: float, cost: float, factor: float) -> None:
    """Seconds or hours: the same gain, always within ± ln 4, and opposite with the roles changed."""
    gain = log_gain(expert, cost)
    assert log_gain(factor * expert, factor * cost) == pytest.approx(gain, abs=1e-9)
    assert -MAX_GAIN <= gain <= MAX_GAIN
    assert log_gain(cost, expert) == pytest.approx(-gain, abs=1e-12)


@given(costs=st.lists(st.tuples(COSTS, COSTS, st.none() | COSTS), min_size=1, max_size=6), rng=st.randoms())
def test_order_and_units_change_nothing_and_failing_never_pays(
    costs: list[tuple[float, float, float | None]], rng: random.Random
) -> None:
    """Over random costs of expert, naive and a policy: rows are equal for shuffled trials and for costs times 1,000."""

    def row(trials: list[dict[str, Any]]) -> dict[str, Any]:
        return next(r for r in summarise(trials, [TASKS[TASK]]) if (r["policy"], r["load"]) == ("mine", "all"))

    names = ("expert", "round_robin", "mine")
    trials = [trial(name, seed, cost) for seed, row in enumerate(costs) for name, cost in zip(names, row, strict=True)]
    first = row(trials)
    rng.shuffle(trials)
    assert row(trials) == first
    scaled = row([{**t, "cost": t["cost"] and 1000.0 * t["cost"]} for t in trials])
    for name in ("expert_ratio", "score", "p_expert"):
        assert scaled[name] == (first[name] if first[name] is None else pytest.approx(first[name], rel=1e-6, abs=1e-6))
    failing = row([{**t, "cost": None, "status": "timeout"} if t["policy"] == "mine" else t for t in trials])
    assert failing["expert_ratio"] == pytest.approx(0.25)
    assert failing["expert_ratio"] <= first["expert_ratio"] * (1 + 1e-12)


def test_gains_need_every_load_of_a_seed_from_both() -> None:
    """Seed 0 averages ln 2 and -ln 2; seed 1 lacks a load, seed 2 the expert, on seed 3 the expert failed."""
    ours = [trial("a", 0, 1.0), trial("a", 0, 4.0, 0.5), *(trial("a", seed, 1.0) for seed in (1, 2, 3))]
    ours += [trial("a", seed, 1.0, 0.5) for seed in (2, 3)]
    expert = [trial("e", seed, 2.0, load) for seed in (0, 1) for load in (0.5, 1.0)]
    expert += [trial("e", 3, None), trial("e", 3, 2.0, 0.5)]
    assert gains(ours, expert, [0.5, 1.0]) == {0: pytest.approx(0.0, abs=1e-15)}
    assert gains(ours, expert, [1.0]).keys() == {0, 1}


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([1.0] * 10, True),  # one policy, or two that always draw
        ([1.09] * 10, True),
        ([1.11] * 10, False),
        ([1.5, 0.9] * 5, True),  # 1.16 with an interval of 0.96 to 1.40
        ([1.5, 0.9], False),  # too few seeds to ask for an interval
        ([], False),  # not run
    ],
)
def test_a_guard_is_a_task_that_does_not_separate_its_references(ratios: list[float], expected: bool) -> None:
    """Naive / expert must be 1.10 at least, and from ten seeds on with an interval above 1.05."""
    assert is_guard({seed: -math.log(ratio) for seed, ratio in enumerate(ratios)}) == expected


def test_scores_by_hand() -> None:
    """With a naive reference at a quarter: the expert's level is 100, naive 0, twice the expert 150, half 50."""
    assert [score(math.log(ratio), -math.log(4.0)) for ratio in (1.0, 0.25, 2.0, 0.5)] == pytest.approx(
        [100.0, 0.0, 150.0, 50.0]
    )


def test_bands_by_hand() -> None:
    """A is better than both on every seed; B and C take turns: 1, and 2 to 3 twice."""
    found = rank_bands(
        {
            "b": {"t": {0: 0.0, 1: 0.2, 2: 0.0}},
            "c": {"t": {0: 0.1, 1: 0.0, 2: 0.1}},
            "a": {"t": {0: 0.5, 1: 0.6, 2: 0.5}},
        }
    )
    assert found == {"a": (1, 1), "b": (2, 3), "c": (2, 3)}


def test_bands_pair_by_seed_and_tie_where_there_is_no_interval() -> None:
    """A small constant lead over large shared swings is significant; one shared seed, or none, ties."""
    swings = {0: -1.0, 1: 0.0, 2: 1.0}
    lead = {seed: value + 0.01 for seed, value in swings.items()}
    assert rank_bands({"a": {"t": lead}, "b": {"t": swings}}) == {"a": (1, 1), "b": (2, 2)}
    assert rank_bands({"a": {"t": {0: 1.0}}, "b": {"t": {0: 0.0}}}) == {"a": (1, 2), "b": (1, 2)}
    assert rank_bands({"a": {"t": {0: 1.0}}, "b": {"t": {1: 0.0}}}) == {"a": (1, 2), "b": (1, 2)}
    assert rank_bands({"a": {"t": {0: 1.0}}}) == {"a": (1, 1)}


TABLES = st.integers(2, 6).flatmap(
    lambda num: st.lists(st.lists(st.integers(-3, 3), min_size=num, max_size=num), min_size=1, max_size=5)
)


@given(table=TABLES)
def test_bands_hold_every_rank_and_know_no_names(table: list[list[int]]) -> None:
    """Bands lie within 1 to the number of policies, each rank is in one of them, and names do not matter."""
    policies = {f"p{k}": {"t": dict(enumerate(map(float, row)))} for k, row in enumerate(table)}
    bands = rank_bands(policies)
    assert all(1 <= low <= high <= len(table) for low, high in bands.values())
    assert all(any(low <= rank <= high for low, high in bands.values()) for rank in range(1, len(table) + 1))
    assert rank_bands(dict(reversed(policies.items()))) == bands


def test_what_is_ranked() -> None:
    """Oracles, null policies, what does not repeat, and what starves are not, but for the last on the paper's tasks."""
    row = {"task": "routing/chat-v0", "kind": "human", "status": "timeout", "starves": []}
    assert is_ranked(row)
    for change in ({"kind": "bound"}, {"kind": "null"}, {"status": "nondeterministic"}, {"starves": ["tenant 1"]}):
        assert not is_ranked({**row, **change})
    assert is_ranked({**row, "starves": ["tenant 1"], "task": TASK})


def test_claims_without_an_interval_are_not_made() -> None:
    """A single seed, or none, neither beats the expert nor is at its level."""
    fields = ratio_fields(None)
    assert fields["expert_ratio"] is None
    assert not fields["beats_expert"]
    assert not fields["expert_level"]


def test_share_of_seeds_won() -> None:
    """Two wins, a draw and a loss: 2.5 of 4."""
    assert share_better({0: 0.1, 1: 0.2, 2: 0.0, 3: -0.5}) == 2.5 / 4
    assert share_better({}) is None
