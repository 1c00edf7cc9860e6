"""Whole runs of the scheduling designs: what they stand for against the engine's own modes, and all simulators alike.

An iteration with n tokens lasts 10 + n units and a block holds 4 tokens.
"""

import functools
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from timeline import column, contents, run

from glia_bench.cluster import SloClass
from glia_bench.loading import load_policy, policy_from_source, shipped_policies
from glia_bench.policy import Policy
from glia_bench.sim import engine, reference
from glia_bench.types import RunResult

NAMES = [policy.name for policy in shipped_policies("scheduling") if policy.kind == "human"]
MS = 10**9
COLUMNS = ("outcome", "scheduled_ps", "first_token_ps", "finished_ps", "restarts")


def simulate(policy: Policy, simulator: Any = engine.simulate, **settings: Any) -> Any:
    """Return a simulator that runs this policy, whatever else it is given."""

    def of_this(case: Any, _: Policy, **others: Any) -> RunResult:
        result: RunResult = simulator(case, policy, **settings)
        return result

    return of_this


def busy(simulator: Any, *, num: int = 150, seed: int = 3, **settings: Any) -> RunResult:
    """Run a replica that is short of memory and of places, its requests of three tenants and two classes.

    Units are 0.1 ms: iterations last milliseconds, the whole run some seconds, so that levels and promotions matter.
    """
    rng = np.random.default_rng(seed)
    arrival = np.sort(rng.integers(0, 40_000, num))
    prompt, output = 1 + rng.integers(0, 60, num), 1 + rng.integers(0, 40, num)
    shared = [
        [100 + session * 20 + k for k in range(p // 4)]
        for session, p in zip(rng.integers(0, 5, num), prompt, strict=True)
    ]
    trace = {
        "max_tokens": (output + rng.integers(0, 60, num)).tolist(),
        "tenant": rng.integers(0, 3, num).tolist(),
        "slo_class": rng.integers(0, 2, num).tolist(),
    }
    if settings.get("prefix_caching"):
        trace |= contents(shared)
    return run(
        simulator,
        list(zip(arrival.tolist(), prompt.tolist(), output.tolist(), strict=True)),
        unit=MS // 10,
        trace=trace,
        cluster={"num_tenants": 3, "slo_classes": (SloClass(name="a", ttft_s=0.5, tpot_s=0.01), SloClass(name="b"))},
        case={"predicted_tokens": np.maximum(1, output + rng.integers(-9, 10, num))},
        **({"num_blocks": 60, "token_budget": 64, "max_running": 8} | settings),
    )


@pytest.mark.parametrize("prefix_caching", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_all_simulators_agree(name: str, prefix_caching: bool) -> None:
    """The reference, the fast simulator with plain hooks and with compiled ones: the same schedule, nobody left out."""
    policy = load_policy(name, "scheduling")
    plain = busy(simulate(policy, tier="python"), prefix_caching=prefix_caching)
    others = simulate(policy, reference.simulate), simulate(policy, tier="compiled")
    assert plain.status == "ok"
    assert min(column(plain, "finished_ps")) > 0
    for other in others:
        result = busy(other, prefix_caching=prefix_caching)
        for name_of_column in COLUMNS:
            assert column(result, name_of_column) == column(plain, name_of_column)


def corners(name: str) -> Iterator[Policy]:
    """Yield a design with all its tunable constants at their lowest, then at their highest."""
    shipped = load_policy(name, "scheduling")
    declared: dict[str, Any] = {}
    exec(compile(shipped.source, name, "exec"), declared)
    for end in (0, 1):
        source = shipped.source
        for constant, bounds in declared.get("TUNABLE", {}).items():
            low, high = bounds[:2]
            assert low <= declared[constant] <= high
            assert type(low) is type(high) is type(declared[constant])
            source, count = re.subn(rf"(?m)^{constant} = \S+", f"{constant} = {bounds[end]}", source)
            assert count == 1
        yield policy_from_source(source, name=name, path="<test>", track="scheduling")


@pytest.mark.parametrize("name", NAMES)
def test_tunable_constants_are_valid_at_the_ends_of_their_ranges(name: str) -> None:
    """Defaults lie within the ranges, and a run with all at one end serves everybody."""
    for policy in corners(name):
        result = busy(simulate(policy, tier="python"), num=60)
        assert (result.status, result.message) == ("ok", "")
        assert min(column(result, "finished_ps")) > 0


@pytest.mark.parametrize("max_running", [3, 128])
@pytest.mark.parametrize("name", ["vllm_v0", "sarathi", "orca"])
def test_designs_do_as_the_engine_of_their_name(name: str, max_running: int) -> None:
    """Where memory is plentiful and prompts fit the budget, the schedule is that of the engine mode, time by time."""
    rng = np.random.default_rng(8)
    arrival = np.sort(rng.integers(0, 3000, 60)).tolist()
    requests = [(t, 1 + int(rng.integers(0, 9)), 1 + int(rng.integers(0, 12))) for t in arrival]
    roomy: dict[str, Any] = {"token_budget": 512, "num_blocks": 5000, "max_running": max_running}
    roomy["trace"] = {"max_tokens": [20] * 60}
    own = run(simulate(load_policy(name, "scheduling"), tier="python"), requests, **roomy)
    engines = run(functools.partial(engine.simulate, tier="python"), requests, mode=name, **roomy)
    for name_of_column in COLUMNS:
        assert column(own, name_of_column) == column(engines, name_of_column)


@pytest.mark.parametrize("name", ["vllm_v0", "sglang_fcfs", "sglang_lpm"])
def test_prefills_go_alone(name: str) -> None:
    """The decode of the first stands still for the second's prompt, which comes during the prefill, then both go on."""
    result = run(simulate(load_policy(name, "scheduling"), tier="python"), [(0, 4, 3), (5, 6, 2)])
    # prefill of 0: 0..14; prefill of 1 alone: 14..30; both decode: 30..42; 0 alone: 42..53
    assert column(result, "first_token_ps") == [14, 30]
    assert column(result, "finished_ps") == [53, 42]


@pytest.mark.parametrize("name", ["vllm_v0", "sglang_fcfs", "sglang_lpm", "tgi"])
@pytest.mark.parametrize("prefix_caching", [False, True])
def test_prefill_first_never_stalls(name: str, prefix_caching: bool) -> None:
    """Decodes never stand still for a prompt that does not enter: with work there is no gap, and no mixed iteration."""
    policy = load_policy(name, "scheduling")
    result = busy(simulate(policy, reference.simulate, log_iterations=True), prefix_caching=prefix_caching)
    log, records = result.iterations, result.records
    assert log is not None
    for gap, end_ps in zip(log.start_ps[1:] - log.end_ps[:-1], log.end_ps[:-1], strict=True):
        is_idle = not np.any((records.dispatched_ps <= end_ps) & (records.finished_ps > end_ps))
        assert is_idle == (gap > 0)
    assert not np.any((log.num_chunks > 0) & (log.num_decodes > 0))


@pytest.mark.parametrize("name", ["orca", "tgi"])
def test_reservations_prevent_preemption(name: str) -> None:
    """With the longest output set aside for everybody, nobody is ever preempted; the engine's default preempts here."""
    busy_run = functools.partial(busy, num_blocks=40)
    assert sum(column(busy_run(simulate(load_policy("vllm_v1_fcfs", "scheduling"), tier="python")), "restarts")) > 0
    assert sum(column(busy_run(simulate(load_policy(name, "scheduling"), tier="python")), "restarts")) == 0


def test_vllm_v1_fills_the_budget_after_the_decodes() -> None:
    """Budget 32: one decode and 31 prompt tokens, 23 of them of the long one; then three decodes and its other 17."""
    requests = [(0, 4, 4), (0, 4, 4), (0, 4, 4), (1, 40, 1)]
    result = run(simulate(load_policy("vllm_v1_fcfs", "scheduling"), tier="python"), requests)
    # the first alone: 0..14; 1 + 4 + 4 + 23 tokens: 14..56; 3 + 17: 56..86; three decodes: 86..99; two: 99..111
    assert column(result, "first_token_ps") == [14, 56, 56, 86]
    assert column(result, "finished_ps") == [99, 111, 111, 86]


def test_preemptive_order_takes_a_place() -> None:
    """One place: the shorter prediction comes at 5 and takes it at 14, the first is computed again after it."""
    requests = [(0, 4, 3), (5, 6, 2)]
    for name in ("ltr-style", "trail-style"):
        settings: dict[str, Any] = {"max_running": 1, "case": {"predicted_tokens": np.array([9, 2])}}
        result = run(simulate(load_policy(name, "scheduling"), tier="python"), requests, **settings)
        # prompt of 0: 0..14; of 1: 14..30; 1 decodes: 30..41; 0 again, 4 + 1 tokens: 41..56, and its third: 56..67
        assert column(result, "finished_ps") == [67, 41]
        assert column(result, "restarts") == [1, 0]
        settings["case"] = {"predicted_tokens": np.array([0, 0])}
        blind = run(simulate(load_policy(name, "scheduling"), tier="python"), requests, **settings)
        assert column(blind, "restarts") == [0, 0]
