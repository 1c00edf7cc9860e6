"""Metrics of records made by hand; the sums stand in the tests."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glia_bench.case import Case, Trace
from glia_bench.cluster import PS_PER_S, LatencyTable, SloClass, uniform_cluster
from glia_bench.scoring.metrics import (
    METRICS,
    OBJECTIVES,
    cost,
    gpu_time_ps,
    group_metrics,
    metric_names,
    request_frame,
    request_times,
    slo_met,
    trial_metrics,
)
from glia_bench.scoring.unloaded import unloaded_ps
from glia_bench.sim.modes import engine
from glia_bench.tasks.catalog import get_task
from glia_bench.tasks.task import Task
from glia_bench.types import EXPIRED, FINISHED, NEVER_PS, REJECTED, UNFINISHED, Lifetimes, Records, RunResult

S = PS_PER_S
PAPER = get_task("routing/paper-v0")


def column(*values: int) -> Any:
    """Return an int64 array."""
    return np.array(values, dtype=np.int64)


def make_case(
    arrivals: Any,
    prompts: Any,
    outputs: Any,
    *,
    drain_s: float = 1e6,
    slo_classes: tuple[SloClass, ...] = (SloClass(),),
    num_tenants: int = 1,
    **columns: Any,
) -> Case:
    """Return two replicas on which an iteration of n tokens takes n seconds, plus 1 ps per context token."""
    spec = engine("vllm_v1", token_budget=8, max_running=4, num_blocks=1000)
    latency = LatencyTable(
        name="test", token_ps=np.arange(9, dtype=np.int64) * S, context_ps=column(1), decode_ps=column(0), pair_ps=0
    )
    cluster = uniform_cluster(num_replicas=2, engine=spec, latency=latency)
    cluster = dataclasses.replace(cluster, slo_classes=slo_classes, num_tenants=num_tenants)
    trace = Trace(arrival_ps=arrivals, prompt_tokens=prompts, output_tokens=outputs, max_tokens=outputs, **columns)
    return Case(cluster=cluster, trace=trace, drain_s=drain_s)


def on_cluster(case: Case, **changes: Any) -> Case:
    """Return the case on a changed cluster; changes of its one pool go by `pool`."""
    pool = dataclasses.replace(case.cluster.pools[0], **changes.pop("pool", {}))
    return dataclasses.replace(case, cluster=dataclasses.replace(case.cluster, pools=(pool,), **changes))


def task_of(case: Case, **changes: Any) -> Task:
    """Return the paper's task on a case's cluster, with changes."""
    return dataclasses.replace(PAPER, cluster=case.cluster, **changes)


def lifetimes(*lives: tuple[int, int, int]) -> Lifetimes:
    """Return lives given as (replica, requested, gone); ready when requested."""
    replica, requested, gone = np.array(lives, dtype=np.int64).T
    return Lifetimes(replica=replica, requested_ps=requested, ready_ps=requested, draining_ps=gone, gone_ps=gone)


def make_result(case: Case, end_ps: int, **changes: Any) -> RunResult:
    """Return a run of two replicas that ended well, with the given records and other changes."""
    num = len(case.trace)
    names = Records.__slots__
    known = {"outcome": column(*[FINISHED] * num), "replica": column(*[0] * num), "restarts": column(*[0] * num)}
    records = Records(**{**known, **{name: changes.pop(name) for name in names if name in changes}})
    fields = {
        "arrival_ps": case.trace.arrival_ps,
        "cached_tokens": column(*[0] * num),
        "gpu_seconds": 0.0,
        "lifetimes": lifetimes((0, 0, NEVER_PS), (1, 0, NEVER_PS)),
    }
    return RunResult(
        status="ok",
        message="",
        records=records,
        end_ps=end_ps,
        num_decisions=num,
        decision_hash=0,
        tier="python",
        **{**fields, **changes},
    )


def times_at(event_ps: Any) -> dict[str, Any]:
    """Return the columns of requests for which everything happens at once."""
    return dict.fromkeys(("dispatched_ps", "scheduled_ps", "first_token_ps", "finished_ps"), event_ps)


@pytest.fixture
def four() -> tuple[Case, RunResult]:
    """Four requests until second 40: two finished (one restarted twice), one unfinished, one rejected."""
    case = make_case(column(0, 10 * S, 20 * S, 30 * S), column(4, 4, 4, 4), column(1, 3, 5, 1), drain_s=10.0)
    result = make_result(
        case,
        40 * S,
        outcome=column(FINISHED, FINISHED, UNFINISHED, REJECTED),
        restarts=column(0, 2, 0, 0),
        dispatched_ps=column(0, 11 * S, 20 * S, NEVER_PS),
        scheduled_ps=column(1 * S, 12 * S, 26 * S, NEVER_PS),
        first_token_ps=column(5 * S, 16 * S, 32 * S, NEVER_PS),
        finished_ps=column(5 * S, 22 * S, NEVER_PS, NEVER_PS),
    )
    return case, result


def test_latencies_by_hand(four: tuple[Case, RunResult]) -> None:
    """E2E is 5, 12, 20, 10 s: what did not happen is charged until second 40, as are TTFT, queueing and held time."""
    metrics = trial_metrics(*four, PAPER)
    assert metrics["e2e_mean_s"] == (5 + 12 + 20 + 10) / 4
    assert metrics["e2e_p50_s"] == 10.0  # the 2nd of 5, 10, 12, 20
    assert metrics["e2e_p90_s"] == metrics["e2e_p99_s"] == metrics["e2e_p999_s"] == metrics["e2e_max_s"] == 20.0
    assert metrics["ttft_mean_s"] == (5 + 6 + 12 + 10) / 4
    assert metrics["ttft_p50_s"] == 6.0
    assert metrics["ttft_p90_s"] == metrics["ttft_p99_s"] == 12.0
    assert metrics["queueing_mean_s"] == (1 + 2 + 6 + 10) / 4
    assert metrics["held_mean_s"] == (0 + 1 + 0 + 10) / 4


def test_rejecting_is_charged_at_the_horizon_however_early_the_run_drained() -> None:
    """One request served by second 5, the other rejected at once: the run drains at 5, the rejected one costs 100 s."""
    case = make_case(column(0, 0), column(4, 4), column(1, 1), drain_s=100.0)
    ends = column(5 * S, NEVER_PS)
    result = make_result(case, 5 * S, outcome=column(FINISHED, REJECTED), **times_at(ends))
    metrics = trial_metrics(case, result, PAPER)
    assert cost(case, result, PAPER) == metrics["e2e_mean_s"] == (5 + 100) / 2
    assert metrics["ttft_mean_s"] == metrics["held_mean_s"] == (5 + 100) / 2
    assert metrics["throughput_rps"] == 1 / 5


def test_tpot_counts_requests_of_several_tokens(four: tuple[Case, RunResult]) -> None:
    """(22 - 16) / 2 = 3 s for the finished one, (40 - 32) / 4 = 2 s for the unfinished one; single tokens have none."""
    metrics = trial_metrics(*four, PAPER)
    assert metrics["tpot_mean_s"] == 2.5
    assert metrics["tpot_p99_s"] == 3.0


def test_tpot_without_a_first_token_runs_from_arrival() -> None:
    """A request that never got a token waited 30 s for 4 tokens: (30 - 0) / 3 = 10 s, not 0."""
    case = make_case(column(0), column(4), column(4), drain_s=30.0)
    never = column(NEVER_PS)
    result = make_result(
        case,
        30 * S,
        outcome=column(UNFINISHED),
        dispatched_ps=column(0),
        scheduled_ps=never,
        first_token_ps=never,
        finished_ps=never,
    )
    assert trial_metrics(case, result, PAPER)["tpot_mean_s"] == 10.0


def test_counts_and_rates_by_hand(four: tuple[Case, RunResult]) -> None:
    """Shares are of all four requests; two finished in 40 s; two replicas for 40 s are 80 / 3600 GPU hours."""
    metrics = trial_metrics(*four, PAPER)
    assert metrics["num_requests"] == 4
    assert metrics["preemptions"] == 2
    assert metrics["restarted_fraction"] == metrics["rejected_fraction"] == metrics["unfinished_fraction"] == 0.25
    assert metrics["throughput_rps"] == metrics["goodput_rps"] == 2 / 40
    assert metrics["slo_attainment"] == 1.0
    assert metrics["gpu_hours"] == 80 / 3600


def test_slo_counts_only_who_finished_within_both_limits(four: tuple[Case, RunResult]) -> None:
    """With TTFT <= 6 s and TPOT <= 2.9 s the second request misses by its 3 s; the one token of the first cannot."""
    case, result = four
    tight, loose = (on_cluster(case, slo_classes=(SloClass(ttft_s=6.0, tpot_s=limit),)) for limit in (2.9, 3.0))
    metrics = trial_metrics(tight, result, task_of(tight))
    assert metrics["slo_attainment"] == 0.25
    assert metrics["goodput_rps"] == 1 / 40
    assert metrics["throughput_rps"] == 2 / 40
    assert trial_metrics(loose, result, task_of(loose))["slo_attainment"] == 0.5


def test_each_request_has_the_limits_of_its_class_and_of_its_prompt() -> None:
    """TTFT is 5 s each: class 0 allows 1 s + 1 s a prompt token, so a prompt of 4 meets it and one of 3 does not."""
    classes = (SloClass(name="a", ttft_s=1.0, ttft_per_prompt_token_s=1.0), SloClass(name="b"))
    case = make_case(column(0, 0, 0), column(4, 3, 3), column(1, 1, 1), slo_classes=classes, slo_class=column(0, 0, 1))
    result = make_result(case, 5 * S, **times_at(column(5 * S, 5 * S, 5 * S)))
    assert slo_met(case, result, request_times(case, result)).tolist() == [True, False, True]
    groups = group_metrics(case, result)["slo_class"]
    assert {name: row["slo_attainment"] for name, row in groups.items()} == {"a": 0.5, "b": 1.0}
    assert (groups["a"]["num_requests"], groups["b"]["e2e_mean_s"]) == (2, 5.0)
    assert groups["b"]["slowdown_mean"] == 5 / 3


def test_prompt_deciles_keep_equal_prompts_together() -> None:
    """Ten prompts of lengths 1 (three), 2 (five), 8 and 9: four groups of 3, 5, 1 and 1 requests, shortest first."""
    prompts = column(9, 2, 1, 2, 2, 8, 1, 2, 2, 1)
    case = make_case(column(*[0] * 10), prompts, column(*[1] * 10))
    result = make_result(case, 9 * S, **times_at(prompts * S))
    deciles = group_metrics(case, result)["prompt_decile"]
    assert {name: row["num_requests"] for name, row in deciles.items()} == {"1": 3, "2": 5, "3": 1, "4": 1}
    assert [row["e2e_mean_s"] for row in deciles.values()] == [1.0, 2.0, 8.0, 9.0]


def test_groups_are_told_apart_only_where_there_are_several(four: tuple[Case, RunResult]) -> None:
    """One class and one tenant make no table; of two tenants each has its own row."""
    assert group_metrics(*four) == {}
    case = make_case(column(0, 0), column(4, 4), column(1, 1), num_tenants=3, tenant=column(1, 0))
    result = make_result(case, 8 * S, **times_at(column(4 * S, 8 * S)))
    tenants = group_metrics(case, result)["tenant"]
    assert {name: row["slowdown_mean"] for name, row in tenants.items()} == {"0": 2.0, "1": 1.0}


def test_expired_requests_are_charged_and_counted() -> None:
    """A client that gave up at once is charged until the horizon and stands in its own share."""
    case = make_case(column(0, 0), column(4, 4), column(1, 1), drain_s=100.0)
    case = on_cluster(case, slo_classes=(SloClass(patience_s=1.0),))
    result = make_result(case, 5 * S, outcome=column(FINISHED, EXPIRED), **times_at(column(5 * S, NEVER_PS)))
    metrics = trial_metrics(case, result, task_of(case))
    assert metrics["expired_fraction"] == 0.5
    assert metrics["rejected_fraction"] == metrics["unfinished_fraction"] == 0.0
    assert metrics["e2e_mean_s"] == (5 + 100) / 2
    assert request_frame(case, result)["outcome"].tolist() == ["finished", "expired"]


def test_closed_loop_arrivals_are_the_runs_own() -> None:
    """A follow-up turn that arrived at 30 s, not at the trace's 10 s, and finished at 37 s took 7 s."""
    sessions = {"session": column(0, 0), "turn": column(0, 1), "think_ps": column(0, 10 * S)}
    case = make_case(column(0, 10 * S), column(4, 8), column(1, 1), **sessions)
    result = make_result(case, 37 * S, arrival_ps=column(0, 30 * S), **times_at(column(20 * S, 37 * S)))
    assert trial_metrics(case, result, PAPER)["e2e_mean_s"] == (20 + 7) / 2
    frame = request_frame(case, result)
    assert (frame["arrival_s"].tolist(), frame["turn"].tolist(), frame["session"].tolist()) == ([0, 30], [0, 1], [0, 0])


def test_cached_tokens_are_a_share_of_all_prompt_tokens() -> None:
    """16 of 40 prompt tokens found in the cache are 40 per cent."""
    case = make_case(column(0, 0), column(20, 20), column(1, 1))
    case = on_cluster(case, pool={"engine": dataclasses.replace(case.cluster.pools[0].engine, prefix_caching=True)})
    result = make_result(case, 9 * S, cached_tokens=column(0, 16), **times_at(column(9 * S, 9 * S)))
    assert trial_metrics(case, result, task_of(case))["cached_token_fraction"] == 0.4


def test_gpu_time_is_billed_from_request_to_gone() -> None:
    """Three lives of 2 GPUs each: 0 to 40 s, 10 to 25 s, 30 s to the horizon at 100 s, which ends an elastic run."""
    case = on_cluster(
        make_case(column(0), column(4), column(1), drain_s=100.0),
        pool={"min_replicas": 1, "max_replicas": 3, "num_replicas": 1, "gpus_per_replica": 2},
    )
    lives = lifetimes((0, 0, 40 * S), (1, 10 * S, 25 * S), (1, 30 * S, NEVER_PS))
    result = make_result(case, 60 * S, lifetimes=lives, **times_at(column(4 * S)))
    assert gpu_time_ps(case, result) == 2 * (40 + 15 + 70) * S
    metrics = trial_metrics(case, result, task_of(case))
    assert metrics["gpu_hours"] == 250 / 3600
    assert metrics["replicas_started"] == 2


def test_metrics_that_mean_nothing_for_a_task_are_left_out() -> None:
    """The paper's task has neither patience, cache, elastic pool nor a price: its metrics are the plain ones."""
    extra = {"expired_fraction", "cached_token_fraction", "replicas_started", "cost_p3", "cost_p30"}
    assert set(METRICS) - set(metric_names(PAPER)) == extra


def test_slowdown_by_hand(four: tuple[Case, RunResult]) -> None:
    """Alone, a prompt of 4 takes 4 s; each decode takes 1 s plus the picoseconds of its context 5, 6 ..."""
    case, result = four
    alone = [4 * S, 6 * S + 5 + 6, 8 * S + 5 + 6 + 7 + 8, 4 * S]
    assert unloaded_ps(case).tolist() == alone
    expected = math.fsum(e2e * S / base for e2e, base in zip((5, 12, 20, 10), alone, strict=True)) / 4
    assert trial_metrics(case, result, PAPER)["slowdown_mean"] == pytest.approx(expected, rel=1e-15)


@given(latencies=st.lists(st.integers(1, 10**15), min_size=1, max_size=300))
def test_percentiles_are_numpys_inverted_cdf(latencies: list[int]) -> None:
    """Percentiles are members of the sample, the same as NumPy's "inverted_cdf"."""
    num = len(latencies)
    case = make_case(column(*[0] * num), column(*[1] * num), column(*[1] * num))
    ends = column(*latencies)
    result = make_result(case, max(latencies), **times_at(ends))
    metrics = trial_metrics(case, result, PAPER)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)):
        expected = int(np.quantile(ends, share, method="inverted_cdf"))
        assert metrics[f"e2e_{name}_s"] == expected / S


def test_sums_beyond_int64_are_exact() -> None:
    """Three latencies of 5e18 ps sum to more than an int64 holds; the mean is still exactly 5e6 s."""
    case = make_case(column(0, 0, 0), column(1, 1, 1), column(1, 1, 1))
    ends = column(*[5 * 10**18] * 3)
    result = make_result(case, 5 * 10**18, **times_at(ends))
    assert trial_metrics(case, result, PAPER)["e2e_mean_s"] == 5e6
    assert cost(case, result, PAPER) == 5e6


def test_cost_is_mean_latency_and_unknown_objectives_are_refused(four: tuple[Case, RunResult]) -> None:
    """The cost equals e2e_mean_s; a task with another objective is an error, never a silent mean latency."""
    assert cost(*four, PAPER) == trial_metrics(*four, PAPER)["e2e_mean_s"] == 11.75
    with pytest.raises(ValueError, match=r"one of mean_e2e_s, .*got 'mean_slowdown'"):
        cost(*four, dataclasses.replace(PAPER, objective="mean_slowdown"))


def test_slowdown_with_slo_by_hand() -> None:
    """Slowdowns 1 and 2, one miss of two: 1.5 + 10 / 2."""
    case = on_cluster(make_case(column(0, 0), column(4, 4), column(1, 1)), slo_classes=(SloClass(ttft_s=5.0),))
    result = make_result(case, 8 * S, **times_at(column(4 * S, 8 * S)))
    assert cost(case, result, task_of(case, objective="slowdown_slo")) == 6.5


def test_gpu_seconds_with_slo_by_hand() -> None:
    """Two replicas for 8 s, one miss of two, w = 3 GPU-seconds: (16 + p * 3) / 2 for p = 10, 3 and 30."""
    case = on_cluster(make_case(column(0, 0), column(4, 4), column(1, 1)), slo_classes=(SloClass(ttft_s=5.0),))
    result = make_result(case, 8 * S, **times_at(column(4 * S, 8 * S)))
    task = task_of(case, objective="gpu_seconds_slo", gpu_seconds_per_request=3.0)
    metrics = trial_metrics(case, result, task)
    assert cost(case, result, task) == (16 + 30) / 2
    assert (metrics["cost_p3"], metrics["cost_p30"]) == ((16 + 9) / 2, (16 + 90) / 2)


@given(order=st.permutations(range(6)))
def test_costs_do_not_depend_on_the_order_of_requests(order: list[int]) -> None:
    """Every objective is the same to the last bit however the rows are arranged."""
    ends, prompts = column(5, 7, 11, 13, 17, 19) * S // 3, column(1, 2, 3, 4, 5, 6)
    found = set()
    for rows in (list(range(6)), order):
        case = on_cluster(
            make_case(column(*[0] * 6), prompts[rows], column(*[1] * 6)), slo_classes=(SloClass(ttft_s=4),)
        )
        result = make_result(case, 19 * S, **times_at(ends[rows]))
        tasks = [task_of(case, objective=name, gpu_seconds_per_request=0.3) for name in OBJECTIVES]
        found.add(tuple(cost(case, result, task) for task in tasks))
    assert len(found) == 1


def test_every_metric_is_defined_named_and_finite(four: tuple[Case, RunResult]) -> None:
    """A trial has exactly the metrics that metric_names lists, in its order, none NaN; also if nothing ever ran."""
    alone = make_case(column(0), column(1), column(1))
    nothing = make_result(alone, 0, outcome=column(REJECTED), **times_at(column(NEVER_PS)))
    for case, result in (four, (alone, nothing)):
        task = task_of(case, objective="gpu_seconds_slo")
        metrics = trial_metrics(case, result, task)
        assert list(metrics) == metric_names(task)
        assert all(math.isfinite(value) for value in metrics.values())


def test_request_frame_holds_every_request(four: tuple[Case, RunResult]) -> None:
    """One row per request in arrival order, with the charged times in seconds and outcomes in words."""
    frame = request_frame(*four)
    assert frame["outcome"].tolist() == ["finished", "finished", "unfinished", "rejected"]
    assert frame["e2e_s"].tolist() == [5.0, 12.0, 20.0, 10.0]
    assert frame["held_s"].tolist() == [0.0, 1.0, 0.0, 10.0]
    assert frame["restarts"].tolist() == [0, 2, 0, 0]
    assert frame["tpot_s"].isna().tolist() == [True, False, False, True]
    assert frame["e2e_s"].mean() == trial_metrics(*four, PAPER)["e2e_mean_s"]


def test_times_keep_their_order(four: tuple[Case, RunResult]) -> None:
    """Held <= queueing <= TTFT <= E2E for every request, charged ones included."""
    times = request_times(*four)
    assert np.all(times.held <= times.queueing)
    assert np.all(times.queueing <= times.ttft)
    assert np.all(times.ttft <= times.e2e)
