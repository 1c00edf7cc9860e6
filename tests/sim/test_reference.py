"""Properties that every run of the reference simulator has, and what it tells a design that breaks the rules."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import strategies
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from glia_bench.features import Replicas
from glia_bench.loading import policy_from_source
from glia_bench.policy import Policy
from glia_bench.sim import modes
from glia_bench.sim.reference import mix, simulate, uniforms
from glia_bench.types import (
    FINISHED,
    NEVER_PS,
    REJECTED,
    UNFINISHED,
    Case,
    ClusterSpec,
    LatencyTable,
    Trace,
)

QUICK = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

TO_ZERO = """
def route(request, replicas, cluster, memory):
    return 0
"""


def policy_of(source: str) -> Policy:
    """Return the policy of a source."""
    return policy_from_source(source, name="test", path="<test>", track="routing")


def small_case(num_requests: int = 3, *, num_replicas: int = 4, **settings: Any) -> Case:
    """Return equal requests of 4 prompt and 2 output tokens, 5 ps apart; an iteration of n tokens lasts 10 + n ps."""
    engine = modes.engine("vllm_v1", token_budget=32, max_running=8, num_blocks=100, block_size_tokens=4)
    latency = LatencyTable(name="10 + n", token_ps=10 + np.arange(33, dtype=np.int64), context_ps=0, pair_ps=0)
    cluster = ClusterSpec(num_replicas=num_replicas, engine=engine, latency=latency)
    lengths = np.full(num_requests, 2, dtype=np.int64)
    arrival_ps = 5 * np.arange(num_requests, dtype=np.int64)
    trace = Trace(arrival_ps=arrival_ps, prompt_tokens=2 * lengths, output_tokens=lengths, max_tokens=lengths)
    return Case(cluster=cluster, trace=trace, drain_s=1.0, **settings)


@given(strategies.cases(), strategies.policies())
@QUICK
def test_every_request_has_one_end(case: Case, policy: Policy) -> None:
    """A request finishes, is rejected, or is unfinished at the end; its times are in order and none is later."""
    result = simulate(case, policy)
    records = result.records
    event(result.status)
    for i in range(len(case.trace)):
        times = [int(case.trace.arrival_ps[i])]
        steps = [records.dispatched_ps, records.scheduled_ps, records.first_token_ps, records.finished_ps]
        times += [int(column[i]) for column in steps]
        happened = [time for time in times if time != NEVER_PS]
        assert times == happened + [NEVER_PS] * (5 - len(happened))
        assert happened == sorted(happened)
        assert happened[1:] == [] or happened[-1] <= result.end_ps
        assert (records.replica[i] >= 0) == (len(happened) >= 2)
        assert (records.restarts[i] == 0) or len(happened) >= 3
        if records.outcome[i] == FINISHED:
            assert len(happened) == 5
        elif records.outcome[i] == REJECTED:
            assert len(happened) == 1
        else:
            assert records.outcome[i] == UNFINISHED
            assert len(happened) <= 4
    if result.status == "ok" and result.end_ps < case.horizon_ps:
        assert UNFINISHED not in records.outcome
    assert result.end_ps <= case.horizon_ps


@given(strategies.cases(), strategies.policies())
@QUICK
def test_blocks(case: Case, policy: Policy) -> None:
    """No replica ever holds more blocks than it has, and a drained cluster holds none."""
    interval_s = 0.001
    result = simulate(case, policy, sample_interval_s=interval_s)
    assert result.samples is not None
    blocks = result.samples.allocated_blocks
    assert blocks.min() >= 0
    assert blocks.max() <= case.cluster.engine.num_blocks
    assert np.all((result.samples.running > 0) == (blocks > 0))
    assert np.all(result.samples.running <= case.cluster.engine.max_running)
    last_ps = (len(blocks) - 1) * strategies.MS
    assert last_ps <= result.end_ps < last_ps + strategies.MS
    if last_ps == result.end_ps and result.status == "ok" and UNFINISHED not in result.records.outcome:
        event("drained on the grid")
        assert blocks[-1].sum() + result.samples.waiting[-1].sum() + result.samples.held[-1] == 0


@given(strategies.cases(), strategies.policies())
@QUICK
def test_same_input_same_run(case: Case, policy: Policy) -> None:
    """A run leaves nothing behind that could change the next: the same case and policy give the same run."""
    first, second = simulate(case, policy), simulate(case, policy)
    assert first.records.sha256 == second.records.sha256
    assert first.decision_hash == second.decision_hash


@given(strategies.cases(), strategies.policies(without=strategies.CLOCK_READERS), st.sampled_from([2, 3, 1000]))
@QUICK
def test_scaling_time(case: Case, policy: Policy, factor: int) -> None:
    """If all times are multiplied by an integer, so is every recorded time, and nothing else changes."""
    latency = case.cluster.latency
    scaled_latency = dataclasses.replace(
        latency,
        token_ps=latency.token_ps * factor,
        context_ps=latency.context_ps * factor,
        pair_ps=latency.pair_ps * factor,
    )
    idle_hold_limit_s = case.cluster.idle_hold_limit_s * factor
    scaled = dataclasses.replace(
        case,
        cluster=dataclasses.replace(case.cluster, latency=scaled_latency, idle_hold_limit_s=idle_hold_limit_s),
        trace=dataclasses.replace(case.trace, arrival_ps=case.trace.arrival_ps * factor),
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


def logged(policy: Policy, log: list[tuple[float, Any, Any]]) -> Policy:
    """Return the policy with every answer of rank, route and assign written to a log, clock first."""

    def route(request: Any, replicas: Any, cluster: Any, memory: Any) -> Any:
        answer = policy.hooks["route"](request, replicas, cluster, memory)
        log.append((cluster.now_s, request.id, int(answer)))
        return answer

    def rank(request: Any, cluster: Any, memory: Any) -> Any:
        answer = policy.hooks["rank"](request, cluster, memory)
        log.append((cluster.now_s, request.id, str(answer)))
        return answer

    def assign(queue: Any, replicas: Any, cluster: Any, memory: Any, out: Any) -> None:
        policy.hooks["assign"](queue, replicas, cluster, memory, out)
        log.append((cluster.now_s, queue.id.tolist(), out.tolist()))

    wrapped: dict[str, Callable[..., Any]] = {"route": route, "rank": rank, "assign": assign}
    return dataclasses.replace(policy, hooks={name: wrapped.get(name, hook) for name, hook in policy.hooks.items()})


def another_future(case: Case, result: Any, now_ps: int, rng: np.random.Generator) -> Trace:
    """Return a trace that is the same as far as anyone can know now: later arrivals and hidden lengths are new.

    A request without a first token may turn out to have any output length; one that is generating now may go on for
    longer; what has ended stays.
    """
    limit = case.cluster.engine.max_request_tokens
    trace = case.trace
    arrived = trace.arrival_ps <= now_ps
    prompt_tokens = trace.prompt_tokens[arrived]
    output_tokens = trace.output_tokens[arrived].copy()
    for i in range(len(output_tokens)):
        room = limit - int(prompt_tokens[i])
        first_token_ps, finished_ps = int(result.records.first_token_ps[i]), int(result.records.finished_ps[i])
        if first_token_ps == NEVER_PS or first_token_ps > now_ps:
            output_tokens[i] = rng.integers(1, room + 1)
        elif finished_ps == NEVER_PS or finished_ps > now_ps:
            output_tokens[i] = rng.integers(output_tokens[i], room + 1)
    num_new = int(rng.integers(0, 9))
    new_prompts = rng.integers(1, limit, num_new)
    new_outputs = rng.integers(1, limit - new_prompts + 1)
    arrivals = now_ps + 1 + np.cumsum(rng.integers(0, 20 * strategies.MS, num_new))
    return Trace(
        arrival_ps=np.concatenate([trace.arrival_ps[arrived], arrivals]),
        prompt_tokens=np.concatenate([prompt_tokens, new_prompts]),
        output_tokens=np.concatenate([output_tokens, new_outputs]),
        max_tokens=np.concatenate([trace.max_tokens[arrived], new_outputs]),
    )


@given(strategies.cases(), strategies.policies(), st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(QUICK, max_examples=150)
def test_causality(case: Case, policy: Policy, seed: int, share: float) -> None:
    """Changing later arrivals and output lengths that are not yet known changes no decision up to now."""
    now_ps = int(case.trace.arrival_ps[int(share * (len(case.trace) - 1))])
    now_s = float(now_ps + case.clock_offset_ps) * 1e-12
    log: list[tuple[float, Any, Any]] = []
    result = simulate(case, logged(policy, log))
    trace = another_future(case, result, now_ps, np.random.default_rng(seed))
    other_log: list[tuple[float, Any, Any]] = []
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


@pytest.mark.parametrize(
    ("answer", "shown"),
    [("4", "4"), ("-3", "-3"), ("1.0", "1.0"), ("True", "True"), ("None", "None"), ("replicas.speed[0]", "1.0")],
)
def test_bad_answer(answer: str, shown: str) -> None:
    """An answer that is no index, HOLD or REJECT ends the run with hook, request, value and rule in the message."""
    source = f"""
def route(request, replicas, cluster, memory):
    return {answer} if request.id == 1 else 0
"""
    result = simulate(small_case(), policy_of(source))
    assert result.status == "bad_decision"
    assert result.message.startswith("route answered ")
    assert shown in result.message
    assert "for request 1; it must be a ready replica's index 0..3, HOLD (-1) or REJECT (-2)" in result.message
    assert result.records.dispatched_ps.tolist() == [0, NEVER_PS, NEVER_PS]
    assert (result.end_ps, result.num_decisions) == (5, 1)


def test_bad_assignment() -> None:
    """Answers of assign are applied in order up to a bad one."""
    source = """
def assign(queue, replicas, cluster, memory, out):
    if cluster.num_held == 3:
        out[0] = 2
        out[1] = 9
        out[2] = 1
"""
    result = simulate(small_case(), policy_of(source))
    assert result.status == "bad_decision"
    assert "assign answered 9 for request 1" in result.message
    assert result.records.replica.tolist() == [2, -1, -1]


@pytest.mark.parametrize("rank", ["float('nan')", "float('inf')", "None"])
def test_bad_rank(rank: str) -> None:
    """A rank must be a finite number."""
    source = f"""
def rank(request, cluster, memory):
    return {rank} if request.id == 2 else 1

{TO_ZERO}
"""
    result = simulate(small_case(), policy_of(source))
    assert result.status == "bad_decision"
    assert "for request 2; it must be" in result.message
    assert result.records.dispatched_ps.tolist() == [0, 5, NEVER_PS]


@pytest.mark.parametrize(
    ("hook", "parameters"),
    [
        ("route", "request, replicas, cluster, memory"),
        ("rank", "request, cluster, memory"),
        ("on_dispatch", "request, replica, memory"),
        ("on_first_token", "request, replica, memory"),
        ("on_finish", "request, replica, memory"),
    ],
)
def test_exception_in_a_hook(hook: str, parameters: str) -> None:
    """An exception ends the run as policy_error; the message names hook, exception, request and text."""
    source = f"""
def {hook}({parameters}):
    if request.id == 1:
        raise ValueError("no such thing")
    return 0
"""
    source += "" if hook == "route" else TO_ZERO
    result = simulate(small_case(), policy_of(source))
    assert result.status == "policy_error"
    assert result.message == f"{hook} raised ValueError for request 1: no such thing"


def test_floating_point_errors_are_raised() -> None:
    """A division by zero of NumPy numbers is an error, not a warning and an infinity."""
    source = """
def route(request, replicas, cluster, memory):
    return int(1.0 / replicas.metrics_age_s[0])
"""
    result = simulate(small_case(), policy_of(source))
    assert result.status == "policy_error"
    assert result.message.startswith("route raised FloatingPointError for request 0")


@pytest.mark.parametrize("field", Replicas._fields)
def test_views_are_read_only(field: str) -> None:
    """No hook can change what the simulator believes of a replica."""

    def route(request: Any, replicas: Any, cluster: Any, memory: Any) -> int:
        getattr(replicas, field)[0] = 1
        return 0

    policy = dataclasses.replace(policy_of(TO_ZERO), hooks={"route": route})
    result = simulate(small_case(), policy)
    assert result.status == "policy_error"
    assert "read-only" in result.message


def recording(calls: list[tuple[str, Any, Any]], **hooks: Callable[..., Any]) -> Policy:
    """Return a policy with request memory that writes down every event hook's call: name, request, replica."""

    def event_hook(name: str) -> Callable[..., None]:
        def hook(request: Any, replica: Any, memory: Any) -> None:
            calls.append((name, request, replica))

        return hook

    events = {name: event_hook(name) for name in ("on_dispatch", "on_first_token", "on_finish")}
    policy = dataclasses.replace(policy_of(TO_ZERO), memory={"request": 1})
    return dataclasses.replace(policy, hooks={**policy.hooks, **events, **hooks})


def test_order_of_event_hooks() -> None:
    """First tokens come before finishes, each in request order, after the step; dispatches as they happen."""
    calls: list[tuple[str, Any, Any]] = []
    simulate(small_case(4, num_replicas=1), recording(calls))
    # 0..14 request 0; 14..33 its decode and the prefill of 1 and 2 (arrived at 5, 10), for request 3 arrives at 15;
    # 33..49 decodes of 1 and 2 and the prefill of 3; then 11 for its decode
    assert [(name, request.id) for name, request, _ in calls] == [
        ("on_dispatch", 0),
        ("on_dispatch", 1),
        ("on_dispatch", 2),
        ("on_first_token", 0),
        ("on_dispatch", 3),
        ("on_first_token", 1),
        ("on_first_token", 2),
        ("on_finish", 0),
        ("on_first_token", 3),
        ("on_finish", 1),
        ("on_finish", 2),
        ("on_finish", 3),
    ]
    assert [request.generated_tokens for name, request, _ in calls if name == "on_first_token"] == [1] * 4
    assert [request.generated_tokens for name, request, _ in calls if name == "on_finish"] == [2] * 4


def test_rows_of_request_memory() -> None:
    """Rows are given out at arrival: the most recently released one, else the lowest never used; zeroed, tag too."""
    rows: list[tuple[int, int, float, float]] = []

    def route(request: Any, replicas: Any, cluster: Any, memory: Any) -> int:
        rows.append((request.id, request.slot, float(memory.request[request.slot, 0]), request.tag))
        memory.request[request.slot, 0] = memory.tag[request.slot] = 1.0 + request.id
        return -2 if request.id == 1 else 0

    case = small_case(5, num_replicas=1)
    trace = dataclasses.replace(case.trace, arrival_ps=np.array([0, 5, 6, 100, 101], dtype=np.int64))
    simulate(dataclasses.replace(case, trace=trace), recording([], route=route))
    # request 1 is rejected and gives row 1 to request 2; 0 finishes at 29 and 2 at 40: its row 1 is the last released
    assert rows == [(0, 0, 0.0, 0.0), (1, 1, 0.0, 0.0), (2, 1, 0.0, 0.0), (3, 1, 0.0, 0.0), (4, 0, 0.0, 0.0)]


def test_tag_reaches_later_hooks() -> None:
    """What the router writes to memory.tag is the request's tag in later hooks."""
    calls: list[tuple[str, Any, Any]] = []

    def route(request: Any, replicas: Any, cluster: Any, memory: Any) -> int:
        memory.tag[request.slot] = 10.0 + request.id
        return 0

    simulate(small_case(), recording(calls, route=route))
    assert {(request.id, request.tag) for _, request, _ in calls} == {(0, 10.0), (1, 11.0), (2, 12.0)}


def test_clock_offset() -> None:
    """Policies read seconds on a clock with its own origin; the records are not moved by it."""
    seen: list[tuple[float, float]] = []

    def route(request: Any, replicas: Any, cluster: Any, memory: Any) -> int:
        seen.append((cluster.now_s, request.arrival_s))
        return 0

    policy = dataclasses.replace(policy_of(TO_ZERO), hooks={"route": route})
    result = simulate(small_case(clock_offset_ps=7_000_000_000_000), policy)
    assert seen == [(7.0 + 5e-12 * i, 7.0 + 5e-12 * i) for i in range(3)]
    assert result.records.dispatched_ps.tolist() == [0, 5, 10]


def test_ledger_and_queue_within_a_scan() -> None:
    """Between two picks of one scan the ledger and the waiting fields follow; running and blocks do not."""
    views: list[tuple[int, Replicas]] = []

    def route(request: Any, replicas: Any, cluster: Any, memory: Any) -> int:
        if request.id == 0 or cluster.now_s > 9e-12:
            views.append((cluster.num_held, replicas))
            return 0
        return -1

    policy = dataclasses.replace(policy_of(TO_ZERO), hooks={"route": route})
    simulate(small_case(4, num_replicas=1), policy)
    # request 0 prefills from 0 to 14 with its one block; 1 is held at 5; both 1 and 2 leave in the scan at 10;
    # at 14 request 0 has a token and a second block, 1 and 2 are admitted; 3 arrives at 15
    assert [num_held for num_held, _ in views] == [1, 2, 1, 1]
    fields = ["waiting", "waiting_tokens", "waiting_blocks", "running", "allocated_blocks", "inflight"]
    fields += ["inflight_prompt_tokens", "inflight_blocks", "inflight_tokens", "unprefilled_tokens"]
    table = [[int(getattr(view, field)[0]) for field in fields] for _, view in views]
    assert table == [
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 1, 4, 1, 4, 4],
        [1, 4, 1, 1, 1, 2, 8, 2, 8, 8],
        [0, 0, 0, 3, 4, 3, 12, 3, 13, 8],
    ]


@given(strategies.cases(max_requests=12))
@QUICK
def test_round_robin_spreads(case: Case) -> None:
    """Round robin gives request i to replica i modulo N, whatever the cluster."""
    assume(case.drain_s > 1)
    result = simulate(case, strategies.policy("round_robin"))
    assert result.records.replica.tolist() == [i % case.cluster.num_replicas for i in range(len(case.trace))]
