"""The fast simulator equals the reference bit for bit, times and decisions included, in both of its tiers.

The default run repeats a fixed sequence of examples; the slow one draws many new ones.
"""

from typing import Literal

import numpy as np
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glia_bench.case import Case, Trace
from glia_bench.cluster import affine_table, uniform_cluster
from glia_bench.policy import Policy
from glia_bench.sim import engine, modes, reference
from glia_bench.types import Records, RunResult

QUICK = settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
THOROUGH = settings(max_examples=2000, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))

COMPILED_QUICK = ["read_everything", "assign_events", "tick_skip"]
"""Each policy takes one second or two to compile, so the default run compiles only these."""

SAMPLE_INTERVALS_S = st.sampled_from([None, 0.005, 0.0037])


def first_difference(expected: RunResult, found: RunResult) -> str:
    """Return the first field in which two runs differ, request by request; empty if they are equal."""
    for request_id in range(len(expected.records.outcome)):
        for name in Records.__slots__:
            values = [int(getattr(result.records, name)[request_id]) for result in (expected, found)]
            if values[0] != values[1]:
                return f"request {request_id} has {name} {values[1]}, not {values[0]}"
    for name in ("status", "end_ps", "num_decisions", "decision_hash"):
        if getattr(expected, name) != getattr(found, name):
            return f"{name} is {getattr(found, name)!r}, not {getattr(expected, name)!r}"
    if expected.samples is None or found.samples is None:
        return "" if expected.samples is found.samples else "only one has samples"
    for name in ("interval_s", "held", "waiting", "running", "allocated_blocks"):
        columns = [getattr(result.samples, name) for result in (expected, found)]
        if not np.array_equal(*columns):
            return f"samples.{name} is {columns[1]}, not {columns[0]}"
    return ""


def check(case: Case, policy: Policy, sample_interval_s: float | None, tier: Literal["compiled", "python"]) -> None:
    """Run both simulators and compare everything."""
    expected = reference.simulate(case, policy, sample_interval_s=sample_interval_s)
    found = engine.simulate(case, policy, tier=tier, sample_interval_s=sample_interval_s)
    difference = first_difference(expected, found)
    assert not difference, (
        f"{tier} {policy.name}, policy seed {case.policy_seed}, {expected.status} {expected.message} / "
        f"{found.status} {found.message}: {difference}"
    )
    assert expected.records.sha256 == found.records.sha256
    assert (found.tier, bool(found.message)) == (tier, bool(expected.message))


@given(strategies.cases(), strategies.policies(), SAMPLE_INTERVALS_S)
@QUICK
def test_python_tier(case: Case, policy: Policy, sample_interval_s: float | None) -> None:
    """With plain Python hooks the fast simulator gives the reference's records, decisions and samples."""
    check(case, policy, sample_interval_s, "python")


@given(strategies.cases(), st.sampled_from(COMPILED_QUICK).map(strategies.policy), SAMPLE_INTERVALS_S)
@QUICK
def test_compiled_tier(case: Case, policy: Policy, sample_interval_s: float | None) -> None:
    """With compiled hooks the fast simulator gives the reference's records, decisions and samples."""
    check(case, policy, sample_interval_s, "compiled")


@pytest.mark.parametrize("name", ["count_events", "shortest_first"])
def test_many_live_requests(name: str) -> None:
    """More live requests than the fast simulator first makes room for change nothing."""
    num = 1300
    rng = np.random.default_rng(5)
    spec = modes.engine("vllm_v1", token_budget=64, max_running=8, num_blocks=40, block_size_tokens=4)
    latency = affine_table(name="line", token_ps=7 + np.arange(65, dtype=np.int64), context_ps=1, pair_ps=1)
    prompt_tokens, output_tokens = rng.integers(1, 30, num), rng.integers(1, 9, num)
    trace = Trace(
        arrival_ps=np.sort(rng.integers(0, 3000, num)),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        max_tokens=output_tokens,
    )
    case = Case(cluster=uniform_cluster(num_replicas=2, engine=spec, latency=latency), trace=trace, drain_s=1.0)
    check(case, strategies.policy(name), None, "python")


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["python", "compiled"])
@given(case=strategies.cases(max_requests=60), policy=strategies.policies(), sample_interval_s=SAMPLE_INTERVALS_S)
@THOROUGH
def test_many_more(
    tier: Literal["compiled", "python"], case: Case, policy: Policy, sample_interval_s: float | None
) -> None:
    """The same over thousands of new and larger cases and every policy."""
    check(case, policy, sample_interval_s, tier)
