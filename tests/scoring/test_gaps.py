"""Gaps between development and sealed seeds, by hand."""

import math
from typing import Any

import pytest

from glia_bench.scoring.gaps import difference_interval, gap_rows

TASK = "routing/paper-v0"


def trial(policy: str, seed: int | str, cost: float | None) -> dict[str, Any]:
    """Return what a gap needs of a trial record; without a cost a failed one."""
    return {
        "task": TASK,
        "policy": policy,
        "load": 1.0,
        "seed": seed,
        "split": "dev" if isinstance(seed, int) else "sealed",
        "status": "ok" if cost is not None else "bad_decision",
        "cost": cost,
    }


def both(seed: int | str, ratio: float | None) -> list[dict[str, Any]]:
    """Return the expert's trial and that of a design that costs a multiple of it."""
    return [trial("expert", seed, 8.0), trial("mine", seed, None if ratio is None else 8.0 * ratio)]


def gaps(*trials: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the design's rows by part."""
    rows = gap_rows([one for pair in trials for one in pair], {TASK: "expert"})
    return {row["part"]: row for row in rows if row["policy"] == "mine"}


def test_a_design_made_for_its_seeds_has_a_gap() -> None:
    """Half the expert's cost on development seeds, the expert's own on fresh ones: it loses ln 2; perturbed, ln 4."""
    rows = gaps(both(0, 0.5), both(1, 0.5), both("fresh-00", 1.0), both("fresh-01", 1.0), both("perturbed-00", 2.0))
    assert rows["fresh"]["gap"] == pytest.approx(-math.log(2), rel=1e-12)
    assert rows["fresh"]["gap_low"] == rows["fresh"]["gap_high"] == rows["fresh"]["gap"]  # no spread on either side
    assert rows["perturbed"]["gap"] == pytest.approx(-math.log(4), rel=1e-12)
    assert rows["perturbed"]["gap_low"] is rows["perturbed"]["gap_high"] is None  # a single seed
    assert (rows["fresh"]["num_dev"], rows["fresh"]["num_sealed"]) == (2, 2)


def test_a_failed_sealed_trial_counts_as_the_worst() -> None:
    """It is not dropped: ln 4 below the expert."""
    rows = gaps(both(0, 1.0), both("fresh-00", None))
    assert rows["fresh"]["gap"] == pytest.approx(-math.log(4), rel=1e-12)


def test_our_own_failures_are_no_trials() -> None:
    """A seed that the benchmark failed leaves both sides."""
    broken = both("fresh-01", 3.0)
    broken[1]["status"] = "infra_error"
    rows = gaps(both(0, 1.0), both("fresh-00", 1.0), broken)
    assert (rows["fresh"]["gap"], rows["fresh"]["num_sealed"]) == (0.0, 1)


def test_without_an_expert_there_is_no_gap() -> None:
    """Costs on other seeds are not comparable by themselves."""
    assert gap_rows([trial("mine", 0, 1.0), trial("mine", "fresh-00", 2.0)], {TASK: "expert"}) == []


def test_the_interval_is_that_of_two_samples() -> None:
    """Welch by hand: means 2 and 5, variances of means 1/3 and 1/3, 4 degrees of freedom, t = 2.776445."""
    found = difference_interval([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    half = 2.776445105197793 * math.sqrt(2 / 3)
    assert found.value == -3.0
    assert found.low == pytest.approx(-3.0 - half, rel=1e-12)
    assert found.high == pytest.approx(-3.0 + half, rel=1e-12)
