"""The full engine against the reference, and the plain engine against the full one, on random clusters and designs."""

from typing import Literal

import cluster_strategies
import numpy as np
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glia_bench.case import Case
from glia_bench.policy import Policy
from glia_bench.sim import engine, reference
from glia_bench.types import Iterations, Lifetimes, Records, RunResult

QUICK = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
THOROUGH = settings(max_examples=300, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
COMPILED_QUICK = ["read_routing", "read_scheduling", "shortest_preemptive", "oscillate"]
"""Each design takes seconds to compile, so the default run compiles only these."""


def first_difference(expected: RunResult, found: RunResult) -> str:
    """Return the first field in which two runs differ, request by request; empty if they are equal."""
    for row in range(len(expected.records.outcome)):
        for name in Records.__slots__:
            values = [int(getattr(result.records, name)[row]) for result in (expected, found)]
            if values[0] != values[1]:
                return f"row {row} has {name} {values[1]}, not {values[0]}"
    for name in ("status", "end_ps", "num_decisions", "decision_hash", "gpu_seconds"):
        if getattr(expected, name) != getattr(found, name):
            return f"{name} is {getattr(found, name)!r}, not {getattr(expected, name)!r}"
    for name in ("arrival_ps", "cached_tokens"):
        if not np.array_equal(getattr(expected, name), getattr(found, name)):
            return f"{name} is {getattr(found, name)}, not {getattr(expected, name)}"
    for name in Lifetimes.__slots__:
        columns = [getattr(result.lifetimes, name) for result in (expected, found)]
        if not np.array_equal(*columns):
            return f"lifetimes.{name} is {columns[1]}, not {columns[0]}"
    if expected.samples is not None and found.samples is not None:
        for name in ("held", "waiting", "running", "allocated_blocks"):
            columns = [getattr(result.samples, name) for result in (expected, found)]
            if not np.array_equal(*columns):
                return f"samples.{name} is {columns[1]}, not {columns[0]}"
    return ""


def iteration_rows(log: Iterations) -> dict[tuple[int, int], tuple[int, ...]]:
    """Return (replica, start) of each row to what was computed then and how often."""
    names = [name for name in Iterations.__slots__ if name not in ("replica", "start_ps", "end_ps", "count")]
    columns = [getattr(log, name).tolist() for name in ("replica", "start_ps", "count", *names)]
    return {(replica, start): (count, *rest) for replica, start, count, *rest in zip(*columns, strict=True)}


def check_iterations(expected: Iterations, found: Iterations) -> None:
    """Every row of the kernel's log begins with an iteration of the reference's, and all of those are in some row."""
    single, merged = iteration_rows(expected), iteration_rows(found)
    assert sum(row[0] for row in merged.values()) == len(single)
    for key, (_, *what) in merged.items():
        assert what == list(single[key][1:]), f"replica {key[0]} at {key[1]} ps"


def check(case: Case, policy: Policy, tier: Literal["compiled", "python"]) -> None:
    """Run both simulators and compare everything."""
    settings_of_run = {"sample_interval_s": 0.0137, "log_iterations": True}
    expected = reference.simulate(case, policy, **settings_of_run)
    found = engine.simulate(case, policy, tier=tier, **settings_of_run)
    difference = first_difference(expected, found)
    assert not difference, f"{tier} {policy.name}, {expected.status} {expected.message} / {found.message}: {difference}"
    assert bool(found.message) == bool(expected.message)
    if expected.status == "ok":
        assert expected.iterations is not None
        assert found.iterations is not None
        check_iterations(expected.iterations, found.iterations)
    if expected.status == "bad_decision":
        assert expected.message == found.message


@given(cluster_strategies.cases(), cluster_strategies.policies())
@QUICK
def test_python_tier(case: Case, policy: Policy) -> None:
    """With plain Python hooks of all tracks the full engine gives the reference's run."""
    if cluster_strategies.fits(case, policy):
        check(case, policy, "python")


@given(cluster_strategies.cases(), st.sampled_from(COMPILED_QUICK).map(cluster_strategies.policy))
@QUICK
def test_compiled_tier(case: Case, policy: Policy) -> None:
    """With compiled hooks of all tracks the full engine gives the reference's run."""
    if cluster_strategies.fits(case, policy):
        check(case, policy, "compiled")


@given(strategies.cases(), strategies.policies())
@QUICK
def test_the_engines_agree(case: Case, policy: Policy) -> None:
    """Where the plain engine would do, the full one gives the same run."""
    plain = engine.simulate(case, policy, tier="python", sample_interval_s=0.0137)
    full = engine.simulate(case, policy, tier="python", sample_interval_s=0.0137, engine="full")
    assert first_difference(plain, full) == ""
    assert (plain.status, plain.message) == (full.status, full.message)


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["python", "compiled"])
@given(case=cluster_strategies.cases(), policy=cluster_strategies.policies())
@THOROUGH
def test_many_more(tier: Literal["compiled", "python"], case: Case, policy: Policy) -> None:
    """The same over many more cases and every design."""
    if cluster_strategies.fits(case, policy) and (tier == "python" or policy.name != "react"):
        check(case, policy, tier)
