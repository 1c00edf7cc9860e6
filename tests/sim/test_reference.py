"""Properties that every run of the reference simulator has, whatever its cluster, workload and design."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import cluster_strategies
import numpy as np
from cluster_strategies import LONGEST, MS, drawn_case, fits
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from glia_bench.case import Case, Trace
from glia_bench.cluster import LatencyTable
from glia_bench.policy import Policy
from glia_bench.sim.cold_start import cold_start_factors
from glia_bench.sim.reference import Run, mix, simulate, uniforms
from glia_bench.sim.reference_request import scenario_draw
from glia_bench.sim.reference_world import RunFailedError
from glia_bench.types import EXPIRED, FINISHED, NEVER_PS, REJECTED, UNFINISHED, RunResult

QUICK = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

CASES = cluster_strategies.cases(num=20)
POLICIES = cluster_strategies.policies()


@given(CASES, POLICIES)
@QUICK
def test_every_request_has_one_end(case: Case, policy: Policy) -> None:
    """A request finishes, is rejected, expires or is unfinished at the end; its times are in order, none too late."""
    assume(fits(case, policy))
    result = simulate(case, policy)
    records = result.records
    event(result.status)
    for i in range(len(case.trace)):
        times = [int(result.arrival_ps[i])]
        steps = [records.dispatched_ps, records.scheduled_ps, records.first_token_ps, records.finished_ps]
        times += [int(column[i]) for column in steps]
        happened = [time for time in times if time != NEVER_PS]
        assert times == happened + [NEVER_PS] * (5 - len(happened))
        assert happened == sorted(happened)
        assert happened[1:] == [] or happened[-1] <= result.end_ps
        assert (records.replica[i] >= 0) == (len(happened) >= 2)
        assert (records.restarts[i] == 0) or len(happened) >= 2
        assert (records.outcome[i] == FINISHED) == (len(happened) == 5)
        if records.outcome[i] == EXPIRED:
            assert len(happened) <= 2
            event("expired")
        assert 0 <= result.cached_tokens[i] < case.trace.prompt_tokens[i] + case.trace.output_tokens[i]
    is_drained = result.status == "ok" and result.end_ps < case.horizon_ps
    if is_drained:
        unfinished = records.outcome == UNFINISHED
        assert case.trace.turn is not None
        assert np.all(case.trace.turn[unfinished] > 0)
        assert np.all(records.dispatched_ps[unfinished] == NEVER_PS)
    assert result.end_ps <= case.horizon_ps
    assert np.all(records.dispatched_ps[records.outcome == REJECTED] == NEVER_PS) or case.faults


@given(CASES, POLICIES)
@QUICK
def test_blocks(case: Case, policy: Policy) -> None:
    """No block is lost or held twice; a replica that holds no request holds none; cached content has one place."""
    assume(fits(case, policy))
    run = Run(case, policy, None)
    result = _finished(run)
    for replica in run.world.replicas:
        store = replica.store
        held = {id(block): block for request in replica.running for block in request.blocks}
        assert len(store.free) + len(held) == replica.spec.num_blocks
        assert all(block.references == 0 for block in store.free)
        for block in held.values():
            assert block.references == sum(b is block for request in replica.running for b in request.blocks)
        assert all(block.cache_id == cache_id for cache_id, block in store.cache.items())
        if replica.next_ps is None and result.status == "ok":
            assert replica.outstanding == 0
            assert len(store.free) == replica.spec.num_blocks
    if result.status == "ok" and UNFINISHED not in result.records.outcome and not case.cluster.is_elastic:
        assert all(replica.next_ps is None for replica in run.world.replicas)


def _finished(run: Run) -> RunResult:
    try:
        run.until_over()
    except RunFailedError as failure:  # the state is checked whatever ended the run
        return run.result("bad_decision", str(failure), log_iterations=True)
    return run.result("ok", "", log_iterations=True)


@given(CASES, POLICIES)
@QUICK
def test_iterations(case: Case, policy: Policy) -> None:
    """Iterations of a replica follow each other within its limits, and add up to the tokens that were computed."""
    assume(fits(case, policy))
    result = simulate(case, policy, log_iterations=True)
    log = result.iterations
    assert log is not None
    cluster = case.cluster
    assert np.all(np.diff(log.start_ps) >= 0)
    for index, pool_index in enumerate(cluster.pool_of):
        spec = cluster.pools[pool_index].engine
        rows = log.replica == index
        assert np.all(log.start_ps[rows][1:] >= log.end_ps[rows][:-1])
        assert np.all(log.prefill_tokens[rows] + log.num_decodes[rows] <= spec.token_budget)
        assert np.all(log.running[rows] <= spec.max_running)
        assert np.all(log.allocated_blocks[rows] <= spec.num_blocks)
    assert np.all(log.prefill_tokens + log.num_decodes >= 1)
    if result.status == "ok" and np.all(result.records.outcome == FINISHED) and result.records.restarts.sum() == 0:
        event("everything finished at the first attempt")
        assert log.prefill_tokens.sum() == (case.trace.prompt_tokens - result.cached_tokens).sum()
        assert log.num_decodes.sum() == (case.trace.output_tokens - 1).sum()


@given(CASES, POLICIES)
@QUICK
def test_same_input_same_run(case: Case, policy: Policy) -> None:
    """A run leaves nothing behind that could change the next: the same case and policy give the same run."""
    assume(fits(case, policy))
    first, second = simulate(case, policy), simulate(case, policy)
    assert first.records.sha256 == second.records.sha256
    assert (first.decision_hash, first.gpu_seconds) == (second.decision_hash, second.gpu_seconds)


TIMELESS = st.sampled_from(["default", "spread", "shortest_preemptive", "v1_mode"]).map(cluster_strategies.policy)
"""Policies that no clock can change."""
NO_FLEET = st.builds(
    cluster_strategies.Switches,
    **dict.fromkeys(["prefixes", "sessions", "routers", "pools"], st.booleans()),
    **dict.fromkeys(["patience", "stale", "faults", "elastic"], st.just(False)),
)


@given(st.integers(0, 2**32 - 1), NO_FLEET, TIMELESS, st.sampled_from([2, 3, 1000]))
@QUICK
def test_scaling_time(seed: int, on: cluster_strategies.Switches, policy: Policy, factor: int) -> None:
    """If all times are multiplied by an integer, so is every recorded time, and nothing else changes."""
    case = drawn_case(seed, on, num=20)
    assume(fits(case, policy))
    trace = case.trace
    assert trace.think_ps is not None
    assume(all(isinstance(pool.latency, LatencyTable) for pool in case.cluster.pools))
    pools = tuple(
        dataclasses.replace(
            pool,
            latency=dataclasses.replace(
                pool.latency,
                **{
                    name: getattr(pool.latency, name) * factor
                    for name in ("token_ps", "context_ps", "pair_ps", "decode_ps", "chunk_ps")
                },
            ),
        )
        for pool in case.cluster.pools
    )
    delays = {name: getattr(case.cluster, name) * factor for name in ("prefix_delay_s", "idle_hold_limit_s")}
    scaled = dataclasses.replace(
        case,
        cluster=dataclasses.replace(case.cluster, pools=pools, **delays),
        trace=dataclasses.replace(trace, arrival_ps=trace.arrival_ps * factor, think_ps=trace.think_ps * factor),
        drain_s=case.drain_s * factor,
    )
    before, after = simulate(case, policy), simulate(scaled, policy)
    assert (after.status, after.num_decisions) == (before.status, before.num_decisions)
    assert after.end_ps == before.end_ps * factor
    for name in ("outcome", "replica", "restarts"):
        assert np.array_equal(getattr(after.records, name), getattr(before.records, name))
    for name in ("dispatched_ps", "scheduled_ps", "first_token_ps", "finished_ps"):
        times = getattr(before.records, name)
        assert np.array_equal(getattr(after.records, name), np.where(times == NEVER_PS, NEVER_PS, times * factor))


def logged(policy: Policy, log: list[tuple[float, str, str]]) -> Policy:
    """Return the policy with every answer of a hook that sees a clock written to a log: clock, hook, answer."""

    def wrapped(hooks: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
        def wrap(name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                answer = hook(*arguments)
                clocks = [argument.now_s for argument in arguments if hasattr(argument, "now_s")]
                shown = f"{arguments[-1].tolist()}" if name == "assign" else f"{answer}"
                log.extend((clock, name, shown) for clock in clocks)
                return answer

            return call

        return {name: wrap(name, hook) for name, hook in hooks.items()}

    return dataclasses.replace(
        policy,
        routing=wrapped(policy.routing),
        scheduling=wrapped(policy.scheduling),
        autoscaling=wrapped(policy.autoscaling),
    )


def another_future(case: Case, result: RunResult, now_ps: int, rng: np.random.Generator) -> Trace:
    """Return a trace that is the same as far as anyone can know now: later arrivals and hidden lengths are new.

    A request without a first token may turn out to have any output length; one that is generating now may go on for
    longer; what has ended stays.
    """
    trace = case.trace
    num = int((trace.arrival_ps <= now_ps).sum())
    output_tokens = trace.output_tokens[:num].copy()
    for i in range(num):
        room = int(min(LONGEST - trace.prompt_tokens[i], trace.max_tokens[i]))
        first_token_ps, finished_ps = int(result.records.first_token_ps[i]), int(result.records.finished_ps[i])
        if first_token_ps == NEVER_PS or first_token_ps > now_ps:
            output_tokens[i] = rng.integers(1, room + 1)
        elif (finished_ps == NEVER_PS or finished_ps > now_ps) and output_tokens[i] < room:
            output_tokens[i] = rng.integers(output_tokens[i], room + 1)
    num_new = int(rng.integers(0, 9))
    new_prompts = rng.integers(1, LONGEST, num_new)
    new_outputs = rng.integers(1, LONGEST - new_prompts + 1)
    new = {
        "arrival_ps": now_ps + 1 + np.cumsum(rng.integers(0, 20 * MS, num_new)),
        "prompt_tokens": new_prompts,
        "output_tokens": new_outputs,
        "max_tokens": new_outputs,
        "session": np.full(num_new, -1),
    }
    known = {name: getattr(trace, name)[:num] for name in cluster_strategies.ROW_COLUMNS} | {
        "output_tokens": output_tokens
    }
    columns = {
        name: np.concatenate([values, new.get(name, np.zeros(num_new, dtype=np.int64))])
        for name, values in known.items()
    }
    if trace.block_start is not None and trace.block_ids is not None:
        starts = trace.block_start[: num + 1]
        columns["block_start"] = np.concatenate([starts, np.full(num_new, starts[-1])])
        columns["block_ids"] = trace.block_ids[: starts[-1]]
    return Trace(**columns)


@given(CASES, POLICIES, st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(QUICK, max_examples=150)
def test_causality(case: Case, policy: Policy, seed: int, share: float) -> None:
    """Changing later arrivals and output lengths that are not yet known changes no answer of any hook up to now."""
    assume(fits(case, policy) and case.trace.num_clock == len(case.trace))
    case = dataclasses.replace(case, predicted_tokens=None)
    now_ps = int(case.trace.arrival_ps[int(share * (len(case.trace) - 1))])
    now_s = float(now_ps + case.clock_offset_ps) * 1e-12
    log: list[tuple[float, str, str]] = []
    result = simulate(case, logged(policy, log))
    trace = another_future(case, result, now_ps, np.random.default_rng(seed))
    other_log: list[tuple[float, str, str]] = []
    simulate(dataclasses.replace(case, trace=trace), logged(policy, other_log))
    known = [entry for entry in log if entry[0] <= now_s]
    event("something was decided later" if len(known) < len(log) else "nothing was decided later")
    assert known == [entry for entry in other_log if entry[0] <= now_s]


def test_splitmix64() -> None:
    """`mix` is the finaliser of SplitMix64: its first output for the state 1234567 is the published one."""
    # reference output of Vigna's splitmix64.c for x = 1234567
    assert mix(1234567 + 0x9E3779B97F4A7C15) == 6457827717110365317


def test_uniforms() -> None:
    """`request.u` depends on policy seed and request id alone, differs for all of them, and is uniform in [0, 1)."""
    values = np.array([uniforms(seed, i) for seed in (0, 1) for i in range(2000)])
    assert np.unique(values).size == values.size
    assert values.min() >= 0
    assert values.max() < 1
    # the mean of 16,000 uniforms has a standard deviation of 0.0023
    assert abs(values.mean() - 0.5) < 0.01
    assert uniforms(0, 7) == uniforms(2**64, 7)


def test_scenario_draws() -> None:
    """Draws of the scenario depend on its seed, their purpose and their index, and are the page's formula."""
    values = [scenario_draw(seed, purpose, i) for seed in (0, 1) for purpose in (1, 2, 3) for i in range(500)]
    assert len(set(values)) == len(values)
    assert scenario_draw(9, 3, 4) == mix(mix(9) + (3 * 2**40 + 5) * 0x9E3779B97F4A7C15)


def test_cold_start_factors() -> None:
    """Factors are lognormal quantiles in millionths: median 1, the logarithm's deviation as asked, none without one."""
    factors = cold_start_factors(20)
    assert factors.shape == (256,)
    logs = np.log(factors / 1e6)
    assert np.all(np.diff(factors) > 0)
    np.testing.assert_allclose(logs + logs[::-1], 0.0, atol=2e-6)
    assert abs(logs.std() - 0.2) < 0.002
    # exp(0.2 * 2.885635): the normal quantile of 255.5 / 256
    assert factors[-1] == 1_780_915
    assert np.all(cold_start_factors(0) == 1_000_000)
