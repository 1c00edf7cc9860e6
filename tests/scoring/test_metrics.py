"""Metrics of records made by hand; the sums stand in the tests."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glia_bench.loading import load_policy
from glia_bench.scoring.metrics import METRICS, cost, request_frame, request_times, trial_metrics, unloaded_ps
from glia_bench.sim import reference
from glia_bench.sim.modes import engine
from glia_bench.tasks.catalog import get_task
from glia_bench.tasks.task import SLO
from glia_bench.types import (
    FINISHED,
    NEVER_PS,
    PS_PER_S,
    REJECTED,
    UNFINISHED,
    Case,
    ClusterSpec,
    LatencyTable,
    Records,
    RunResult,
    Trace,
)

S = PS_PER_S
TASK = get_task("routing/paper-v0")


def column(*values: int) -> Any:
    """Return an int64 array."""
    return np.array(values, dtype=np.int64)


def make_case(
    arrivals: Any, prompts: Any, outputs: Any, *, token_budget: int = 8, pair_ps: int = 0, drain_s: float = 1e6
) -> Case:
    """Return two replicas on which an iteration of n tokens takes n seconds, plus 1 ps per context token."""
    spec = engine("vllm_v1", token_budget=token_budget, max_running=4, num_blocks=1000)
    token_ps = np.arange(token_budget + 1, dtype=np.int64) * S
    latency = LatencyTable(name="test", token_ps=token_ps, context_ps=1, pair_ps=pair_ps)
    cluster = ClusterSpec(num_replicas=2, engine=spec, latency=latency)
    trace = Trace(arrival_ps=arrivals, prompt_tokens=prompts, output_tokens=outputs, max_tokens=outputs)
    return Case(cluster=cluster, trace=trace, drain_s=drain_s)


def make_result(end_ps: int, **columns: Any) -> RunResult:
    """Return a run that ended well, with the given records."""
    num = len(columns["finished_ps"])
    known = {"outcome": column(*[FINISHED] * num), "replica": column(*[0] * num), "restarts": column(*[0] * num)}
    return RunResult(
        status="ok",
        message="",
        records=Records(**{**known, **columns}),
        end_ps=end_ps,
        num_decisions=num,
        decision_hash=0,
        tier="python",
    )


@pytest.fixture
def four() -> tuple[Case, RunResult]:
    """Four requests until second 40: two finished (one restarted twice), one unfinished, one rejected."""
    case = make_case(column(0, 10 * S, 20 * S, 30 * S), column(4, 4, 4, 4), column(1, 3, 5, 1), drain_s=10.0)
    result = make_result(
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
    metrics = trial_metrics(*four, TASK)
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
    times = {name: ends for name in ("dispatched_ps", "scheduled_ps", "first_token_ps", "finished_ps")}
    result = make_result(5 * S, outcome=column(FINISHED, REJECTED), **times)
    metrics = trial_metrics(case, result, TASK)
    assert cost(case, result, TASK) == metrics["e2e_mean_s"] == (5 + 100) / 2
    assert metrics["ttft_mean_s"] == metrics["held_mean_s"] == (5 + 100) / 2
    assert metrics["throughput_rps"] == 1 / 5


def test_tpot_counts_requests_of_several_tokens(four: tuple[Case, RunResult]) -> None:
    """(22 - 16) / 2 = 3 s for the finished one, (40 - 32) / 4 = 2 s for the unfinished one; single tokens have none."""
    metrics = trial_metrics(*four, TASK)
    assert metrics["tpot_mean_s"] == 2.5
    assert metrics["tpot_p99_s"] == 3.0


def test_tpot_without_a_first_token_runs_from_arrival() -> None:
    """A request that never got a token waited 30 s for 4 tokens: (30 - 0) / 3 = 10 s, not 0."""
    case = make_case(column(0), column(4), column(4), drain_s=30.0)
    never = column(NEVER_PS)
    result = make_result(
        30 * S,
        outcome=column(UNFINISHED),
        dispatched_ps=column(0),
        scheduled_ps=never,
        first_token_ps=never,
        finished_ps=never,
    )
    assert trial_metrics(case, result, TASK)["tpot_mean_s"] == 10.0


def test_counts_and_rates_by_hand(four: tuple[Case, RunResult]) -> None:
    """Shares are of all four requests; two finished in 40 s; two replicas for 40 s are 80 / 3600 GPU hours."""
    metrics = trial_metrics(*four, TASK)
    assert metrics["num_requests"] == 4
    assert metrics["preemptions"] == 2
    assert metrics["restarted_fraction"] == metrics["rejected_fraction"] == metrics["unfinished_fraction"] == 0.25
    assert metrics["throughput_rps"] == metrics["goodput_rps"] == 2 / 40
    assert metrics["slo_attainment"] == 1.0
    assert metrics["gpu_hours"] == 80 / 3600


def test_slo_counts_only_who_finished_within_both_limits(four: tuple[Case, RunResult]) -> None:
    """With TTFT <= 6 s and TPOT <= 2.9 s the second request misses by its 3 s; the one token of the first cannot."""
    task = dataclasses.replace(TASK, slo=SLO(ttft_s=6.0, tpot_s=2.9))
    metrics = trial_metrics(*four, task)
    assert metrics["slo_attainment"] == 0.25
    assert metrics["goodput_rps"] == 1 / 40
    assert metrics["throughput_rps"] == 2 / 40
    met = trial_metrics(*four, dataclasses.replace(TASK, slo=SLO(ttft_s=6.0, tpot_s=3.0)))
    assert met["slo_attainment"] == 0.5


def test_slowdown_by_hand(four: tuple[Case, RunResult]) -> None:
    """Alone, a prompt of 4 takes 4 s; each decode takes 1 s plus the picoseconds of its context 5, 6 ..."""
    case, result = four
    alone = [4 * S, 6 * S + 5 + 6, 8 * S + 5 + 6 + 7 + 8, 4 * S]
    assert unloaded_ps(case).tolist() == alone
    expected = math.fsum(e2e * S / base for e2e, base in zip((5, 12, 20, 10), alone, strict=True)) / 4
    assert trial_metrics(case, result, TASK)["slowdown_mean"] == pytest.approx(expected, rel=1e-15)


def test_unloaded_prefill_goes_in_chunks_of_the_budget() -> None:
    """A prompt of 20 with budget 8: chunks 8, 8, 4 after 0, 8, 16 tokens; pairs 64, 192, 144 at 3 ps each."""
    case = make_case(column(0), column(20), column(1), pair_ps=3)
    assert unloaded_ps(case).tolist() == [20 * S + 3 * (64 + 192 + 144)]


@given(prompt=st.integers(1, 100), output=st.integers(1, 40), budget=st.integers(5, 60), pair_ps=st.integers(0, 9))
def test_unloaded_latency_is_what_a_simulator_gives_a_lone_request(
    prompt: int, output: int, budget: int, pair_ps: int
) -> None:
    """The closed form equals the reference simulator on a trace of one request, to the picosecond."""
    case = make_case(column(0), column(prompt), column(output), token_budget=budget, pair_ps=pair_ps)
    result = reference.simulate(case, load_policy("round_robin"))
    assert result.records.finished_ps.tolist() == unloaded_ps(case).tolist()


@given(latencies=st.lists(st.integers(1, 10**15), min_size=1, max_size=300))
def test_percentiles_are_numpys_inverted_cdf(latencies: list[int]) -> None:
    """Percentiles are members of the sample, the same as NumPy's "inverted_cdf"."""
    num = len(latencies)
    case = make_case(column(*[0] * num), column(*[1] * num), column(*[1] * num))
    ends = column(*latencies)
    result = make_result(max(latencies), dispatched_ps=ends, scheduled_ps=ends, first_token_ps=ends, finished_ps=ends)
    metrics = trial_metrics(case, result, TASK)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)):
        expected = int(np.quantile(ends, share, method="inverted_cdf"))
        assert metrics[f"e2e_{name}_s"] == expected / S


def test_sums_beyond_int64_are_exact() -> None:
    """Three latencies of 5e18 ps sum to more than an int64 holds; the mean is still exactly 5e6 s."""
    case = make_case(column(0, 0, 0), column(1, 1, 1), column(1, 1, 1))
    ends = column(*[5 * 10**18] * 3)
    result = make_result(5 * 10**18, dispatched_ps=ends, scheduled_ps=ends, first_token_ps=ends, finished_ps=ends)
    assert trial_metrics(case, result, TASK)["e2e_mean_s"] == 5e6
    assert cost(case, result, TASK) == 5e6


def test_cost_is_mean_latency_and_unknown_objectives_are_refused(four: tuple[Case, RunResult]) -> None:
    """The cost equals e2e_mean_s; a task with another objective is an error, never a silent mean latency."""
    assert cost(*four, TASK) == trial_metrics(*four, TASK)["e2e_mean_s"] == 11.75
    with pytest.raises(ValueError, match=r"mean_e2e_s.*got 'mean_slowdown'"):
        cost(*four, dataclasses.replace(TASK, objective="mean_slowdown"))


def test_every_metric_is_defined_named_and_finite(four: tuple[Case, RunResult]) -> None:
    """A trial has exactly the metrics that METRICS explains, in its order, none NaN; also if nothing ever ran."""
    never = column(NEVER_PS)
    nothing = make_result(
        0, outcome=column(REJECTED), dispatched_ps=never, scheduled_ps=never, first_token_ps=never, finished_ps=never
    )
    for case, result in (four, (make_case(column(0), column(1), column(1)), nothing)):
        metrics = trial_metrics(case, result, TASK)
        assert list(metrics) == list(METRICS)
        assert all(math.isfinite(value) for value in metrics.values())


def test_request_frame_holds_every_request(four: tuple[Case, RunResult]) -> None:
    """One row per request in arrival order, with the charged times in seconds and outcomes in words."""
    frame = request_frame(*four)
    assert frame["outcome"].tolist() == ["finished", "finished", "unfinished", "rejected"]
    assert frame["e2e_s"].tolist() == [5.0, 12.0, 20.0, 10.0]
    assert frame["held_s"].tolist() == [0.0, 1.0, 0.0, 10.0]
    assert frame["restarts"].tolist() == [0, 2, 0, 0]
    assert frame["tpot_s"].isna().tolist() == [True, False, False, True]
    assert frame["e2e_s"].mean() == trial_metrics(*four, TASK)["e2e_mean_s"]


def test_times_keep_their_order(four: tuple[Case, RunResult]) -> None:
    """Held <= queueing <= TTFT <= E2E for every request, charged ones included."""
    times = request_times(*four)
    assert np.all(times.held <= times.queueing)
    assert np.all(times.queueing <= times.ttft)
    assert np.all(times.ttft <= times.e2e)
