"""Trials to table rows: means, references, ratios, flags, and what a failure does to them."""

import math
from dataclasses import replace
from typing import Any

import pytest
from catalogue import TASKS

from glia_bench.scoring.metrics import METRICS
from glia_bench.scoring.summary import summarise

TASK = "routing/paper-v0"
SESSIONS = "routing/sessions-v0"
CLUSTER = "cluster/sessions-v0"
SCALER = "autoscaling/burst-v0"
EXPERT = TASKS[SESSIONS].expert


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


def rows_of(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the summary of trials of the catalog's tasks."""
    return summarise(trials, TASKS.values())


def runs(task: str, costs: dict[str, list[float | None]], **changes: Any) -> list[dict[str, Any]]:
    """Return trials of policies on a task, one per cost with seeds from 0; None is a failed one."""
    return [
        make_trial(policy, seed, cost, task=task, status="ok" if cost is not None else "timeout", **changes)
        for policy, of_seed in costs.items()
        for seed, cost in enumerate(of_seed)
    ]


def test_means_and_paired_ratios_by_hand() -> None:
    """Costs 10 and 30 against the expert's 20 and 60: mean 20, ratio 2 on either seed, so without spread."""
    row = row_of(rows_of(runs(TASK, {"hra": [10.0, 30.0], "expert": [20.0, 60.0]})), "hra")
    assert (row["cost_mean"], row["num_seeds"], row["status"]) == (20.0, 2, "ok")
    assert row["cost_high"] == pytest.approx(20.0 + 12.7062 * 10.0, rel=1e-5)  # s / sqrt(2) = 10
    assert (row["expert"], row["naive"], row["num_paired"]) == ("expert", None, 2)
    assert [row[f"expert_ratio{end}"] for end in ("", "_low", "_high")] == pytest.approx([2.0, 2.0, 2.0])
    assert row["beats_expert"]
    assert row["expert_level"]
    assert row["metrics"]["ttft_mean_s"] == 20.0
    assert row["score"] is None  # without the naive reference


def test_scores_by_hand() -> None:
    """Naive 40, expert 10, design 20: ln 2 of ln 4, so score 50, ratio 1/2; the references score 0 and 100."""
    trials = runs(TASK, {"mine": [20.0, 20.0], "expert": [10.0, 10.0], "round_robin": [40.0, 40.0], "llq": [5.0, 5.0]})
    rows = rows_of(trials)
    scores = {row["policy"]: row["score"] for row in rows if row["load"] == 1.0}
    assert scores == pytest.approx({"mine": 50.0, "expert": 100.0, "round_robin": 0.0, "llq": 150.0})
    assert row_of(rows, "mine")["expert_ratio"] == pytest.approx(0.5)
    assert [row_of(rows, name)["rank_low"] for name in ("llq", "expert", "mine", "round_robin")] == [1, 2, 3, 4]


def test_rows_name_the_objective_and_metrics_that_a_task_lacks_are_null() -> None:
    """What the cost is stands in the row; a metric that no trial of the task has is null, never 0."""
    metrics = {name: 1.0 for name in METRICS if name != "expired_fraction"}
    rows = [row for row in rows_of(runs(SESSIONS, {"lor": [2.0]}, metrics=metrics)) if row["task"] != "all"]
    assert {row["objective"] for row in rows} == {"slowdown_slo"}
    assert row_of(rows, "lor")["metrics"]["expired_fraction"] is None
    assert row_of(rows, "lor")["metrics"]["slowdown_mean"] == 1.0


def test_all_loads_average_logarithms_per_seed() -> None:
    """Ratios 2 at one load and 1/2 at the other give 1 over all loads; the published value belongs to load 1."""
    trials = []
    for seed in range(2):
        for load, cost in ((0.5, 5.0), (1.0, 20.0)):
            trials += [make_trial("hra", seed, cost, load=load), make_trial("expert", seed, 10.0, load=load)]
    rows = rows_of(trials)
    own = [row_of([row for row in rows if row["task"] == TASK], "hra", load) for load in (0.5, 1.0, "all")]
    assert [row["expert_ratio"] for row in own] == pytest.approx([2.0, 0.5, 1.0])
    assert own[2]["cost_mean"] == 12.5
    assert [row["published_s"] for row in own] == [None, 24.1, None]


def test_rows_are_ordered_by_cost_with_failures_last() -> None:
    """The cheapest comes first at every load, loads ascend, "all" closes, and a failed policy stands last."""
    trials = [make_trial("llq", 0, 2.0), make_trial("hra", 0, 1.0), make_trial("a", 0, None, status="timeout")]
    trials += [make_trial(name, 0, 1.0, load=0.5) for name in ("llq", "hra", "a")]
    order = [(row["load"], row["policy"]) for row in rows_of(trials)]
    assert order == [
        *((0.5, "a"), (0.5, "hra"), (0.5, "llq")),
        *((1.0, "hra"), (1.0, "llq"), (1.0, "a")),
        *(("all", "hra"), ("all", "llq"), ("all", "a")),
    ]


def test_a_failed_trial_takes_the_mean_away_and_a_quarter_of_the_expert_in() -> None:
    """One seed equal to the expert and one failed: no cost or metrics, but a ratio of sqrt(1/4), a count, a reason."""
    failed = make_trial("mine", 1, None, status="policy_error", message="route raised KeyError", metrics={})
    trials = [make_trial("mine", 0, 1.0), failed, make_trial("expert", 0, 1.0), make_trial("expert", 1, 2.0)]
    row = row_of(rows_of(trials), "mine")
    assert (row["status"], row["num_failed"], row["message"]) == ("policy_error", 1, "route raised KeyError")
    assert row["cost_mean"] is None
    assert row["expert_ratio"] == pytest.approx(0.5)
    assert set(row["metrics"].values()) == {None}


def test_ratios_use_only_seeds_that_both_have_run() -> None:
    """In an interrupted run seed 1 of the expert is missing: the ratio rests on seed 0 alone and has no interval."""
    row = row_of(rows_of(runs(TASK, {"hra": [1.0, 50.0], "expert": [4.0]})), "hra")
    assert row["expert_ratio"] == pytest.approx(4.0)
    assert (row["expert_ratio_low"], row["p_expert"], row["num_paired"]) == (None, None, 1)
    assert not row["beats_expert"]
    assert row["cost_mean"] == 25.5


@pytest.mark.parametrize("costs", [{}, {"expert": [None]}])
def test_without_a_usable_expert_there_is_no_ratio(costs: dict[str, list[float | None]]) -> None:
    """An absent or failed expert leaves ratio, score and rank null rather than wrong."""
    row = row_of(rows_of(runs(TASK, {"hra": [1.0], "round_robin": [2.0], **costs})), "hra")
    assert row["expert_ratio"] is row["score"] is row["rank_low"] is None
    assert row["cost_mean"] == 1.0


def test_unknown_tasks_have_costs_alone() -> None:
    """A task that is not in the catalog has no references: its rows have no ratio, and are no guard."""
    row = row_of(summarise(runs(TASK, {"hra": [1.0], "expert": [2.0]})), "hra")
    assert row["expert_ratio"] is row["objective"] is None
    assert not row["is_guard"]


def test_failures_of_the_machinery_count_for_nobody() -> None:
    """A trial that our own side failed is left out of the means instead of failing the policy."""
    trials = [make_trial("hra", 0, 1.0), make_trial("hra", 1, None, status="infra_error"), make_trial("expert", 0, 1.0)]
    row = row_of(rows_of(trials), "hra")
    assert (row["status"], row["cost_mean"], row["num_seeds"], row["expert_ratio"]) == ("ok", 1.0, 1, 1.0)
    assert math.isclose(row["sim_s"], 0.5)


def test_a_task_whose_references_are_one_policy_is_a_guard() -> None:
    """There is no score, designs fail at more than 1.05 times the expert, and the task has no row over tasks."""
    task = replace(TASKS[CLUSTER], expert="stack_plain")
    rows = summarise(runs(CLUSTER, {"stack_plain": [10.0, 11.0], "good": [10.4, 11.4], "bad": [10.6, 11.6]}), [task])
    assert {row["is_guard"] for row in rows} == {True}
    assert {row["policy"]: row["guard_failed"] for row in rows} == {"stack_plain": False, "good": False, "bad": True}
    assert all(row["score"] is None for row in rows)
    assert all(row["task"] == CLUSTER for row in rows)


def test_a_load_that_separates_does_not_make_a_guard_a_task_to_score() -> None:
    """Naive / expert is 1.2 at one load and 1 at the other, 1.095 overall: a guard at both, failed as a whole."""
    trials = [make_trial(name, seed, 10.0, load=0.5) for name in ("expert", "round_robin") for seed in range(2)]
    trials += [make_trial("expert", seed, 10.0) for seed in range(2)]
    trials += [make_trial("round_robin", seed, 12.0) for seed in range(2)]
    rows = [row for row in rows_of(trials) if row["policy"] == "round_robin"]
    assert [(row["load"], row["is_guard"], row["guard_failed"], row["score"]) for row in rows] == [
        *((0.5, True, False, None), (1.0, True, False, None), ("all", True, True, None))
    ]


def test_rows_over_tasks_average_tasks_and_name_the_worst() -> None:
    """Ratios 2 and 1/2 on two tasks give 1 with score and worst task; who lacks a task or has a guard fails is told."""
    trials = runs(TASK, {"mine": [10.0] * 3, "expert": [20.0] * 3, "round_robin": [40.0] * 3, "hra": [15.0] * 3})
    trials += runs(SESSIONS, {"mine": [20.0] * 3, EXPERT: [10.0] * 3, "round_robin": [40.0] * 3, "expert": [10.0] * 3})
    rows = [row for row in rows_of(trials) if row["task"] == "all"]
    assert [(row["policy"], row["track"]) for row in rows] == [
        *(("expert", "routing"), ("mine", "routing"), ("round_robin", "routing"))
    ]
    mine = rows[1]
    assert mine["expert_ratio"] == pytest.approx(1.0)
    assert (mine["worst_task"], mine["num_tasks"], mine["num_guards"]) == (SESSIONS, 2, 0)
    assert mine["worst_ratio"] == pytest.approx(0.5)
    assert mine["score"] == pytest.approx((200.0 + 50.0) / 2)
    assert mine["diagnostics"]["iqm"] == pytest.approx(1.0)  # six cells, one cut at each end
    assert mine["diagnostics"]["improvement"] == 0.5
    assert mine["cost_mean"] is None
    assert set(mine["metrics"].values()) == {None}


def test_claims_over_several_tasks_are_corrected_by_holm() -> None:
    """A p-value between 0.025 and 0.05 is a claim on the only task, and none beside an equally weak one on another."""
    gains = (0.0205, 0.08, 0.05, 0.04)  # t = 3.84 on three degrees of freedom; p = 0.031, skewness included
    costs: dict[str, list[float | None]] = {
        "mine": [math.exp(-gain) for gain in gains],
        "expert": [1.0] * 4,
        EXPERT: [1.0] * 4,
        "round_robin": [2.0] * 4,
    }
    alone = row_of([r for r in rows_of(runs(TASK, costs)) if r["task"] == TASK], "mine", "all")
    assert 0.025 < alone["p_expert"] < 0.05
    assert alone["beats_expert"]
    both = [r for r in rows_of(runs(TASK, costs) + runs(SESSIONS, costs)) if r["policy"] == "mine"]
    assert [r["beats_expert"] for r in both if r["task"] != "all" and r["load"] == "all"] == [False, False]
    assert next(r["p_expert"] for r in both if r["load"] == "all") == pytest.approx(2 * alone["p_expert"])
    assert next(r for r in both if r["task"] == "all")["beats_expert"]  # the mean of both is one claim


def test_bounds_and_null_policies_are_never_ranked() -> None:
    """An oracle twice as good has no rank, but says how far it lies beyond the expert; others keep ranks 1 and 2."""
    trials = runs(TASK, {"expert": [2.0, 2.0], "round_robin": [4.0, 4.0]})
    trials += runs(TASK, {"oracle": [1.0, 1.0]}, kind="bound") + runs(TASK, {"none": [1.0, 1.0]}, kind="null")
    rows = rows_of(trials)
    ranks = {row["policy"]: (row["rank_low"], row["rank_high"]) for row in rows if row["task"] == TASK}
    assert ranks == {"oracle": (None, None), "none": (None, None), "expert": (1, 1), "round_robin": (2, 2)}
    assert row_of(rows, "oracle")["beyond"] == pytest.approx(1.0)
    assert row_of(rows, "expert")["beyond"] is None


@pytest.mark.parametrize(("task", "ranks"), [(SESSIONS, (None, 1, 2)), (TASK, (1, 2, 3))])
def test_who_starves_a_group_is_not_ranked_but_on_the_papers_tasks(task: str, ranks: tuple[int | None, ...]) -> None:
    """Decile 10 at 13 against llq's 10 flags a policy with the least cost; the paper's tasks rank it all the same."""
    expert = TASKS[task].expert
    groups = {
        name: {"prompt_decile": {"10": {"num_requests": 5, "slowdown_mean": slowdown}}}
        for name, slowdown in (("mine", 13.0), ("llq", 10.0), (expert, 12.0))
    }
    costs = {"mine": 1.0, expert: 2.0, "llq": 3.0}
    trials = [t for name, cost in costs.items() for t in runs(task, {name: [cost, cost]}, groups=groups[name])]
    rows = [row for row in rows_of(trials) if row["task"] == task and row["load"] == "all"]
    assert [row["starves"] for row in rows] == [["prompt_decile 10"], [], []]
    assert tuple(row["rank_low"] for row in rows) == ranks


def test_the_front_of_gpu_hours_and_attainment() -> None:
    """A policy with more hours and no better attainment than another lies behind the front; both extremes are on it."""
    points = {"fixed": (8.0, 0.99), "hpa": (4.0, 0.9), "mine": (5.0, 0.9)}
    trials = [
        make_trial(
            name, 0, 1.0, task=SCALER, metrics={**dict.fromkeys(METRICS, 1.0), "gpu_hours": h, "slo_attainment": a}
        )
        for name, (h, a) in points.items()
    ]
    rows = [row for row in rows_of(trials) if row["load"] == 1.0]
    assert {row["policy"]: row["on_front"] for row in rows} == {"fixed": True, "hpa": True, "mine": False}
