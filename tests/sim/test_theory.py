"""Settings in which queueing theory knows the answer: Pollaczek-Khinchine for M/D/1, and Little's law."""

import numpy as np
import pytest
import strategies

from glia_bench.case import Case, Trace
from glia_bench.cluster import PS_PER_S, affine_table, uniform_cluster
from glia_bench.sim import engine, modes, reference
from glia_bench.types import FINISHED, RunResult

MS = strategies.MS


def poisson_case(load: float, *, num_requests: int, seed: int) -> tuple[Case, int]:
    """Return an M/D/1 queue, one request at a time and one token each, and its service time in picoseconds."""
    prompt_tokens = 64
    latency = affine_table(
        name="M/D/1", token_ps=MS * (5 + np.arange(prompt_tokens + 1, dtype=np.int64)), context_ps=MS, pair_ps=1000
    )
    engine = modes.engine("vllm_v1", token_budget=prompt_tokens, max_running=1, num_blocks=8)
    service_ps = int(latency.token_ps[prompt_tokens]) + latency.pair_ps * prompt_tokens**2
    gaps_ps = np.random.default_rng(seed).exponential(service_ps / load, num_requests)
    trace = Trace(
        arrival_ps=np.cumsum(gaps_ps).astype(np.int64),
        prompt_tokens=np.full(num_requests, prompt_tokens),
        output_tokens=np.ones(num_requests, dtype=np.int64),
        max_tokens=np.ones(num_requests, dtype=np.int64),
    )
    cluster = uniform_cluster(num_replicas=1, engine=engine, latency=latency)
    return Case(cluster=cluster, trace=trace, drain_s=1e4), service_ps


@pytest.mark.parametrize(("load", "seed"), [(0.3, 1), (0.6, 2), (0.8, 3)])
def test_mean_delay_in_m_d_1(load: float, seed: int) -> None:
    """One request at a time with Poisson arrivals waits load * service / (2 (1 - load)) on average.

    The tolerance is the 99.9 % confidence interval from 40 batch means (Student t with 39 degrees of freedom: 3.558),
    after the first 2,000 requests; it must itself be narrower than 6 % of the mean, or the test would say little.
    """
    case, service_ps = poisson_case(load, num_requests=202_000, seed=seed)
    result = engine.simulate(case, strategies.policy("llq"))
    delay_ps = (result.records.scheduled_ps - case.trace.arrival_ps)[2000:]
    assert np.all(result.records.finished_ps - result.records.scheduled_ps == service_ps)
    batch_means = delay_ps.reshape(40, -1).mean(axis=1)
    half_width = 3.558 * batch_means.std(ddof=1) / np.sqrt(40)
    expected = load * service_ps / (2 * (1 - load))
    assert half_width < 0.06 * expected
    assert abs(batch_means.mean() - expected) < half_width


def grid_case(num_requests: int, seed: int) -> Case:
    """Return a crowded case in which arrivals and ends of iterations fall on odd milliseconds only."""
    rng = np.random.default_rng(seed)
    spec = modes.engine("sarathi", token_budget=40, max_running=4, num_blocks=12)
    latency = affine_table(
        name="even", token_ps=2 * MS * (1 + np.arange(41, dtype=np.int64) // 8), context_ps=0, pair_ps=2 * MS
    )
    prompt_tokens = rng.integers(1, 60, num_requests)
    output_tokens = rng.integers(1, 90, num_requests)
    trace = Trace(
        arrival_ps=MS * (1 + 2 * np.cumsum(rng.integers(0, 700, num_requests))),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        max_tokens=output_tokens,
    )
    return Case(cluster=uniform_cluster(num_replicas=3, engine=spec, latency=latency), trace=trace, drain_s=1000.0)


def simulate(simulator: str, case: Case, policy: str, sample_interval_s: float) -> RunResult:
    """Run a case on the reference or on the fast simulator with plain hooks."""
    if simulator == "reference":
        return reference.simulate(case, strategies.policy(policy), sample_interval_s=sample_interval_s)
    return engine.simulate(case, strategies.policy(policy), tier="python", sample_interval_s=sample_interval_s)


@pytest.mark.parametrize("simulator", ["reference", "engine"])
@pytest.mark.parametrize("policy", ["round_robin", "hold_by_blocks"])
def test_littles_law(simulator: str, policy: str) -> None:
    """Requests in the system, summed over time, equal the latencies, summed over requests: exactly, in integers.

    Samples at even milliseconds see every state, because everything happens at odd ones.
    """
    case = grid_case(80, seed=4)
    result = simulate(simulator, case, policy, 0.002)
    assert np.all(result.records.outcome == FINISHED)
    assert result.records.restarts.sum() > 0
    assert result.samples is not None
    in_system = result.samples.held + result.samples.waiting.sum(axis=1) + result.samples.running.sum(axis=1)
    latency_ps = result.records.finished_ps - case.trace.arrival_ps
    assert int(in_system.sum()) * round(0.002 * PS_PER_S) == int(latency_ps.sum())
    if policy == "hold_by_blocks":
        assert result.samples.held.sum() > 0
