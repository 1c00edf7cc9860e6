"""Trials to table rows: means, paired ratios, and what a failure does to them."""

import math
from typing import Any

import pytest

from glia_bench.scoring.metrics import METRICS
from glia_bench.scoring.summary import summarise

TASK = "routing/paper-v0"


def make_trial(policy: str, seed: int, cost: float | None, *, load: float = 1.0, **changes: Any) -> dict[str, Any]:
    """Return a trial record; every metric equals its cost."""
    return {
        "task": TASK,
        "policy": policy,
        "kind": "human",
        "load": load,
        "seed": seed,
        "status": "ok",
        "message": "",
        "cost": cost,
        "metrics": dict.fromkeys(METRICS, cost),
        "sim_s": 0.5,
        **changes,
    }


def row_of(rows: list[dict[str, Any]], policy: str, load: float | str = 1.0) -> dict[str, Any]:
    """Return the one row of a policy at a load."""
    (row,) = [row for row in rows if row["policy"] == policy and row["load"] == load]
    return row


def test_means_and_paired_ratios_by_hand() -> None:
    """Costs 10 and 30 against llq's 20 and 60: mean 20, ratio 1/2 on either seed, so without spread."""
    trials = [make_trial("hra", seed, cost) for seed, cost in enumerate((10.0, 30.0))]
    trials += [make_trial("llq", seed, cost) for seed, cost in enumerate((20.0, 60.0))]
    row = row_of(summarise(trials), "hra")
    assert (row["cost_mean"], row["num_seeds"], row["status"]) == (20.0, 2, "ok")
    assert row["cost_high"] == pytest.approx(20.0 + 12.7062 * 10.0, rel=1e-5)  # s / sqrt(2) = 10
    assert row["reference"] == "llq"
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == pytest.approx((0.5, 0.5, 0.5))
    assert row["metrics"]["ttft_mean_s"] == 20.0
    assert row["expert_ratio"] is row["score"] is None


def test_rows_name_the_objective_and_metrics_that_a_task_lacks_are_null() -> None:
    """What the cost is stands in the row; a metric that no trial of the task has is null, never 0."""
    metrics = {name: 1.0 for name in METRICS if name != "expired_fraction"}
    rows = summarise([make_trial("llq", 0, 2.0, metrics=metrics)], objectives={TASK: "slowdown_slo"})
    assert {row["objective"] for row in rows} == {"slowdown_slo"}
    assert row_of(rows, "llq")["metrics"]["expired_fraction"] is None
    assert row_of(rows, "llq")["metrics"]["slowdown_mean"] == 1.0


def test_all_loads_average_logarithms_per_seed() -> None:
    """Ratios 1/2 at one load and 2 at the other give 1 over all loads; the published value belongs to load 1."""
    trials = []
    for seed in range(2):
        for load, cost in ((0.5, 5.0), (1.0, 20.0)):
            trials += [make_trial("hra", seed, cost, load=load), make_trial("llq", seed, 10.0, load=load)]
    rows = summarise(trials, {TASK: {"hra": 24.1}})
    assert row_of(rows, "hra", "all")["ratio"] == pytest.approx(1.0)
    assert row_of(rows, "hra", "all")["cost_mean"] == 12.5
    assert [row_of(rows, "hra", load)["published_s"] for load in (0.5, 1.0, "all")] == [None, 24.1, None]


def test_rows_are_ordered_by_cost_with_failures_last() -> None:
    """The cheapest comes first at every load, loads ascend, "all" closes, and a failed policy stands last."""
    trials = [make_trial("llq", 0, 2.0), make_trial("hra", 0, 1.0), make_trial("a", 0, None, status="timeout")]
    trials += [make_trial(name, 0, 1.0, load=0.5) for name in ("llq", "hra", "a")]
    order = [(row["load"], row["policy"]) for row in summarise(trials)]
    assert order == [
        *((0.5, "a"), (0.5, "hra"), (0.5, "llq")),
        *((1.0, "hra"), (1.0, "llq"), (1.0, "a")),
        *(("all", "hra"), ("all", "llq"), ("all", "a")),
    ]


def test_one_failed_trial_takes_the_mean_away() -> None:
    """A policy that fails on one seed of two has no cost, ratio or metrics, but a status, a count and a reason."""
    failed = make_trial("mine", 1, None, status="policy_error", message="route raised KeyError", metrics={})
    trials = [make_trial("mine", 0, 1.0), failed, make_trial("llq", 0, 2.0), make_trial("llq", 1, 2.0)]
    row = row_of(summarise(trials), "mine")
    assert (row["status"], row["num_failed"], row["message"]) == ("policy_error", 1, "route raised KeyError")
    assert row["cost_mean"] is row["ratio"] is None
    assert set(row["metrics"].values()) == {None}


def test_ratios_use_only_seeds_that_both_have_run() -> None:
    """In an interrupted run seed 1 of llq is missing: the ratio rests on seed 0 alone and has no interval."""
    trials = [make_trial("hra", 0, 1.0), make_trial("hra", 1, 50.0), make_trial("llq", 0, 4.0)]
    row = row_of(summarise(trials), "hra")
    assert row["ratio"] == pytest.approx(0.25)
    assert row["ratio_low"] is None
    assert row["cost_mean"] == 25.5


@pytest.mark.parametrize("reference", [[], [make_trial("llq", 0, None, status="timeout")], [make_trial("llq", 0, 0.0)]])
def test_without_a_usable_reference_there_is_no_ratio(reference: list[dict[str, Any]]) -> None:
    """An absent, failed or zero-cost reference leaves the ratio null rather than wrong."""
    row = row_of(summarise([make_trial("hra", 0, 1.0), *reference]), "hra")
    assert row["ratio"] is row["reference"] is None
    assert row["cost_mean"] == 1.0


def test_failures_of_the_machinery_count_for_nobody() -> None:
    """A trial that our own side failed is left out of the means instead of failing the policy."""
    trials = [make_trial("hra", 0, 1.0), make_trial("hra", 1, None, status="infra_error")]
    row = row_of(summarise(trials), "hra")
    assert (row["status"], row["cost_mean"], row["num_seeds"]) == ("ok", 1.0, 1)
    assert math.isclose(row["sim_s"], 0.5)
