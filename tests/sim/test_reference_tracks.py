"""The same for schedulers, autoscalers, several routers and sessions: what hooks see, and when they are called."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from timeline import MS, TO_ZERO, ints, line, policy, recording, small_case

from glia_bench.case import Fault, Trace
from glia_bench.cluster import ColdStart, SloClass
from glia_bench.policy import Policy
from glia_bench.sim.cold_start import cold_start_factors
from glia_bench.sim.reference import simulate
from glia_bench.sim.reference_request import scenario_draw
from glia_bench.types import EXPIRED, NEVER_PS


@pytest.mark.parametrize(
    ("hook", "answer", "message"),
    [
        (
            "rank(request, replica, memory)",
            "float('nan')",
            "rank answered nan for request 0; it must be a finite number",
        ),
        ("tokens(request, replica, left, memory)", "-1", "tokens answered -1 for request 0; it must be an integer of"),
        (
            "tokens(request, replica, left, memory)",
            "1.0",
            "tokens answered 1.0 for request 0; it must be an integer of",
        ),
        (
            "plan(replica, memory)",
            "(0, 1)",
            "plan answered (0, 1) for replica 0; it must be a pair of integers: a token",
        ),
        ("plan(replica, memory)", "(33, 8)", "budget from 1 to 32 and a number of running requests from 1 to 8"),
        ("plan(replica, memory)", "4", "plan answered 4 for replica 0"),
        ("evict_rank(request, replica, memory)", "float('inf')", "evict_rank answered inf for request 1; it must be"),
    ],
)
def test_bad_answer_of_a_scheduler(hook: str, answer: str, message: str) -> None:
    """A scheduler's answer out of bounds ends the run at that instant, with hook, subject and rule in the message."""
    case = small_case()
    engine = dataclasses.replace(case.cluster.pools[0].engine, num_blocks=2)
    pools = (dataclasses.replace(case.cluster.pools[0], engine=engine, num_replicas=1),)
    case = dataclasses.replace(case, cluster=dataclasses.replace(case.cluster, pools=pools))
    result = simulate(case, policy(f"def {hook}:\n    return {answer}\n", "scheduling"))
    assert result.status == "bad_decision"
    assert message in result.message


def test_exception_in_a_scheduler() -> None:
    """An exception names the hook and what it was asked about."""
    result = simulate(small_case(), policy("def on_step(replica, memory):\n    raise ValueError('no')\n", "scheduling"))
    assert (result.status, result.message) == ("policy_error", "on_step raised ValueError for replica 0: no")
    result = simulate(small_case(), policy("def admit(request, replica, memory):\n    return 1 // 0\n", "scheduling"))
    assert result.message.startswith("admit raised ZeroDivisionError for request 0: ")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("5", "scale answered 5 for pool 'pool'; it must be an integer from 1 to 4"),
        ("2.0", "scale answered 2.0; it must be 1 integers, one per pool (or the integer itself)"),
        ("(2, 2)", "scale answered (2, 2); it must be 1 integers, one per pool"),
        ("(0,)", "scale answered 0 for pool 'pool'"),
    ],
)
def test_bad_scale(answer: str, message: str) -> None:
    """A size out of the quota ends the run before any replica changes."""
    source = f"INTERVAL_S = 2.0\n\ndef scale(window, cluster, memory):\n    return {answer}\n"
    case = small_case(num_replicas=2, pool={"min_replicas": 1, "max_replicas": 4}, drain_s=10.0)
    result = simulate(case, policy(source, "autoscaling"))
    assert (result.status, result.end_ps) == ("bad_decision", 2 * 10**12)
    assert message in result.message
    assert result.lifetimes.draining_ps.tolist() == [NEVER_PS, NEVER_PS]


def test_replica_that_is_not_ready() -> None:
    """A request cannot be sent to a replica that does not exist yet."""
    case = small_case(num_replicas=2, pool={"min_replicas": 1, "max_replicas": 4})
    source = "def route(request, replicas, cluster, memory):\n    return request.id + 1\n"
    result = simulate(case, policy(source))
    assert result.message.startswith("route answered 2 for request 1; it must be a ready replica's index 0..3")


def scheduler_of(calls: list[tuple[Any, ...]], **hooks: Callable[..., Any]) -> Policy:
    """Return a design whose on_step writes down what it sees, with further scheduling hooks."""

    def on_step(replica: Any, memory: Any) -> None:
        calls.append(tuple(replica[:9]))

    design = policy("def on_step(replica, memory):\n    pass\n", "scheduling")
    return dataclasses.replace(design, scheduling={"on_step": on_step, **hooks})


def test_scheduling_points() -> None:
    """A start is a scheduling point after a prefill, a dispatch, a finish or a shortage, not while decodes go on."""
    calls: list[tuple[Any, ...]] = []
    case = small_case(2, num_replicas=1)
    trace = dataclasses.replace(
        case.trace,
        arrival_ps=ints([0, 50]),
        output_tokens=ints([9, 2]),
        max_tokens=ints([9, 2]),
    )
    simulate(dataclasses.replace(case, trace=trace), scheduler_of(calls))
    # prefill 0..14, decodes 14..25..36..47..58, in which the second arrives; its prefill 58..73; together 73..85, where
    # it ends; 85..96..107
    assert [round(call[1] * 1e12) for call in calls] == [0, 14, 58, 73, 85]
    # id, now, waiting, running, free, capacity, decodes, context, budget
    assert [call[2:8] for call in calls] == [
        (1, 0, 100, 100, 0, 0),
        (0, 1, 99, 100, 1, 5),
        (1, 1, 98, 100, 1, 9),
        (0, 2, 96, 100, 2, 15),
        (0, 1, 97, 100, 1, 11),
    ]


def test_shortage_is_a_scheduling_point() -> None:
    """An iteration does not continue when the free blocks are too few for its decodes."""
    calls: list[tuple[Any, ...]] = []
    case = small_case(1, num_replicas=1)
    engine = dataclasses.replace(case.cluster.pools[0].engine, num_blocks=3, spare_block=True)
    pools = (dataclasses.replace(case.cluster.pools[0], engine=engine),)
    trace = dataclasses.replace(case.trace, output_tokens=ints([4]), max_tokens=ints([4]))
    cluster = dataclasses.replace(case.cluster, pools=pools)
    simulate(dataclasses.replace(case, cluster=cluster, trace=trace), scheduler_of(calls))
    # 0; 14, takes the second block; at 25 and 36 one block is free, as the rule wants: they continue
    assert [round(call[1] * 1e12) for call in calls] == [0, 14]
    calls.clear()
    engine = dataclasses.replace(engine, num_blocks=3, spare_block=False, block_size_tokens=2)
    pools = (dataclasses.replace(pools[0], engine=dataclasses.replace(engine, num_blocks=4)),)
    cluster = dataclasses.replace(case.cluster, pools=pools)
    simulate(dataclasses.replace(case, cluster=cluster, trace=trace), scheduler_of(calls))
    # contexts 5, 6, 7 of 2, 3, 4 blocks of two tokens: always enough
    assert [round(call[1] * 1e12) for call in calls] == [0, 14]


def test_requests_as_a_scheduler_sees_them() -> None:
    """Schedulers see computed, cached and generated tokens of this moment, and the tag that the router wrote."""
    seen: list[tuple[int, ...]] = []

    def tokens(request: Any, replica: Any, left: int, memory: Any) -> int:
        shown = (request.id, left, request.computed_tokens, request.cached_tokens, request.generated_tokens)
        seen.append((*shown, int(request.tag)))
        return 3

    def route(request: Any, replicas: Any, cluster: Any, memory: Any) -> int:
        memory.tag[request.slot] = 7.0 + request.id
        assert (request.computed_tokens, request.cached_tokens) == (0, 0)
        return 0

    case = small_case(2, num_replicas=1)
    engine = dataclasses.replace(case.cluster.pools[0].engine, prefix_caching=True)
    cluster = dataclasses.replace(case.cluster, pools=(dataclasses.replace(case.cluster.pools[0], engine=engine),))
    trace = dataclasses.replace(
        case.trace,
        arrival_ps=ints([0, 90]),
        prompt_tokens=ints([5, 5]),
        block_start=ints([0, 1, 2]),
        block_ids=ints([4, 4]),
    )
    design = dataclasses.replace(policy(TO_ZERO, "cluster"), scheduling={"tokens": tokens}, routing={"route": route})
    simulate(dataclasses.replace(case, cluster=cluster, trace=trace), design)
    # 3 + 2 tokens, then a decode, whose hit is its own block; request 1 finds 4 of its 5 tokens
    assert seen == [
        (0, 32, 0, 0, 0, 7),
        (0, 32, 3, 0, 0, 7),
        (0, 32, 5, 4, 1, 7),
        (1, 32, 0, 4, 0, 8),
        (1, 32, 5, 4, 1, 8),
    ]


def test_expired_request_is_told_of() -> None:
    """`on_finish` comes for a request that expires on a replica, with 0 tokens, not for one that expires while held."""
    calls: list[tuple[str, Any, Any]] = []

    def route(request: Any, replicas: Any, cluster: Any, memory: Any) -> int:
        return 0 if replicas.inflight[0] < 2 else -1

    case = small_case(3, num_replicas=1)
    engine = dataclasses.replace(case.cluster.pools[0].engine, max_running=1)
    cluster = dataclasses.replace(
        case.cluster,
        pools=(dataclasses.replace(case.cluster.pools[0], engine=engine),),
        slo_classes=(SloClass(patience_s=15e-12),),
    )
    result = simulate(dataclasses.replace(case, cluster=cluster), recording(calls, route=route))
    # 0: 0..14..25; 1 arrived at 5 and has waited for 20 at 25; so has 2, held since 10, for 15
    assert result.records.outcome.tolist() == [0, EXPIRED, EXPIRED]
    assert [(request.id, request.generated_tokens) for name, request, _ in calls if name == "on_finish"] == [
        (0, 2),
        (1, 0),
    ]


def test_age_of_metrics() -> None:
    """The age counts from the start, from each publication, and from when a replica becomes ready again."""
    seen: list[tuple[float, ...]] = []

    def route(request: Any, replicas: Any, cluster: Any, memory: Any) -> int:
        seen.append((float(replicas.metrics_age_s[0]), int(replicas.running[0]), int(replicas.ready[0])))
        return 0 if len(seen) == 1 else -2

    case = small_case(6)
    cluster = dataclasses.replace(case.cluster, metrics_interval_s=0.004)
    phase_ps = scenario_draw(3, 1, 0) % (4 * MS)
    arrivals = [0, phase_ps, phase_ps + 9 * MS, phase_ps + 21 * MS, phase_ps + 22 * MS + 5, phase_ps + 24 * MS]
    latency = line(32, unit=MS)
    cluster = dataclasses.replace(cluster, pools=(dataclasses.replace(case.cluster.pools[0], latency=latency),))
    case = dataclasses.replace(
        case,
        cluster=cluster,
        trace=dataclasses.replace(case.trace, arrival_ps=ints(arrivals)),
        scenario_seed=3,
        faults=(Fault(time_s=(phase_ps + 10 * MS) / 1e12, replica=0, kind="fail", duration_s=0.012),),
    )
    simulate(case, recording([], route=route))
    # published at phase + 0, 4, 8 ms; not at 12, 16 and 20, when it was being repaired, until phase + 22 ms
    ages = [0.0, 0.0, 0.001, 0.013, 5e-12, 0.0]
    # request 0 comes back 2 ms after the third publication
    arrivals_seen = [row for row in seen if row[0] != 0.002]
    assert [age for age, _, _ in arrivals_seen] == pytest.approx(ages, abs=1e-15)
    assert [ready for _, _, ready in arrivals_seen] == [1, 1, 1, 0, 1, 1]


def test_inflight() -> None:
    """A router sees its own unfinished requests in dispatch order."""
    seen: list[Any] = []

    def route(request: Any, replicas: Any, cluster: Any, memory: Any) -> int:
        seen.append([values.tolist() for values in cluster.inflight])
        return int(request.id % 2)

    case = small_case(3, num_replicas=2)
    trace = dataclasses.replace(case.trace, arrival_ps=ints([0, 5, 16]))
    simulate(dataclasses.replace(case, trace=trace), recording([], route=route))
    # request 0 has its first token at 14, request 1 at 19
    assert seen == [
        [[], [], [], [], []],
        [[0], [4], [0], [0.0], [float("inf")]],
        [[0, 1], [4, 4], [1, 0], [0.0, 5e-12], [14e-12, float("inf")]],
    ]


def test_tables_of_memory() -> None:
    """Routers, schedulers and autoscaler have their own tables; rows of a new replica are zeroed in all of them."""
    source = """
INTERVAL_S = 1.0
MEMORY = {"shared": 1, "replica": 1, "session": 1}

def route(request, replicas, cluster, memory):
    memory.shared[0] += 1.0
    memory.replica[1, 0] += 1.0
    return 0

def on_step(replica, memory):
    assert memory.shared[0] == 0.0
    memory.replica[replica.id, 0] += 1.0

def scale(window, cluster, memory):
    assert memory.shared[0] < 3.0 and memory.replica[1, 0] == 0.0
    memory.shared[0] += 1.0
    memory.replica[1, 0] = 5.0
    return 2 if memory.shared[0] == 1.0 else 1
"""
    pool = {"min_replicas": 1, "max_replicas": 2}
    result = simulate(small_case(num_replicas=1, pool=pool, drain_s=1.5), policy(source, "cluster"))
    assert (result.status, result.message) == ("ok", "")


def test_rows_of_sessions() -> None:
    """The session table grows when a session of a higher number arrives, and keeps what it holds."""
    sizes: list[tuple[int, float]] = []

    def route(request: Any, replicas: Any, cluster: Any, memory: Any) -> int:
        memory.session[request.session, 0] += 1.0
        sizes.append((len(memory.session), float(memory.session[0, 0])))
        return -2

    num = 1030
    one = np.ones(num, dtype=np.int64)
    trace = Trace(arrival_ps=0 * one, prompt_tokens=one, output_tokens=one, max_tokens=one, session=np.arange(num))
    design = dataclasses.replace(policy(TO_ZERO), routing={"route": route}, memory={"session": 1})
    simulate(dataclasses.replace(small_case(), trace=trace), design)
    assert sizes[1023:1025] == [(1024, 1.0), (2048, 1.0)]


def test_admissions_are_hashed() -> None:
    """Designs with the same routes but other admissions differ in their decision hash."""
    case = small_case(3, num_replicas=1)
    sources = ["return request.id", "return -request.id"]
    runs = [simulate(case, policy(f"def rank(request, replica, memory):\n    {x}\n", "scheduling")) for x in sources]
    assert runs[0].num_decisions == runs[1].num_decisions == 3
    assert runs[0].decision_hash != runs[1].decision_hash


def test_cold_starts_are_drawn() -> None:
    """Both times of a start are multiplied by one quantile, keyed by the scenario's seed and the start's number."""
    pool = {"min_replicas": 1, "max_replicas": 3, "cold_start": ColdStart(name="x", provision_s=0.3, load_s=1.0)}
    case = small_case(num_replicas=1, pool=pool, drain_s=4.0, scenario_seed=11)
    result = simulate(
        case, policy("INTERVAL_S = 1.0\n\ndef scale(window, cluster, memory):\n    return 3\n", "autoscaling")
    )
    factors = [int(cold_start_factors(20)[scenario_draw(11, 3, i) >> 56]) for i in range(2)]
    starts_us = [300_000 * factor // 10**6 + 1_000_000 * factor // 10**6 for factor in factors]
    assert result.lifetimes.ready_ps.tolist() == [0, *(10**12 + 10**6 * start_us for start_us in starts_us)]
