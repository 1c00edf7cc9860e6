"""Runs for the timeline's tests: one made by hand, small enough to check on paper, and one of the reference."""

from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np

from glia_bench.case import Case, Fault, Trace
from glia_bench.cluster import ClusterSpec, ColdStart, EngineSpec, LatencyTable, PoolSpec, SloClass
from glia_bench.loading import policy_from_source
from glia_bench.sim.reference import simulate
from glia_bench.types import Iterations, Lifetimes, Records, RunResult, Samples

MS = 10**9
"""One millisecond in picoseconds."""

DESIGN = """
INTERVAL_S = 2.0
MEMORY = {"shared": 1}

def route(request, replicas, cluster, memory):
    if request.prompt_tokens > 580:
        return -2
    best = -1
    for k in range(cluster.num_replicas):
        if replicas.ready[k] == 1 and replicas.waiting[k] < 3:
            if best == -1 or replicas.inflight[k] < replicas.inflight[best]:
                best = k
    return best

def scale(window, cluster, memory):
    memory.shared[0] += 1.0
    if memory.shared[0] < 2 or memory.shared[0] > 7:
        return 2
    return 4
"""
"""Routes to the least loaded, holds, rejects the longest prompts, and grows from 2 to 4 replicas and back."""


def ints(values: Any) -> Any:
    """Return an int64 array."""
    return np.array(values, dtype=np.int64)


def pool(num_blocks: int, **changed: Any) -> PoolSpec:
    """Return a pool of small engines: iterations of 10 ms and 0.1 ms per token, cold starts of 1 s and 3 s."""
    engine = EngineSpec(
        mode="vllm_v1",
        order="admission",
        watermark=0.0,
        admit_after_preemption=False,
        spare_block=False,
        token_budget=256,
        max_running=32,
        num_blocks=num_blocks,
    )
    token_ps = 10 * MS + np.arange(257, dtype=np.int64) * (MS // 10)
    latency = LatencyTable(name="test", token_ps=token_ps, context_ps=ints([1000]), pair_ps=0, decode_ps=ints([0]))
    cold_start = ColdStart(name="test", provision_s=1.0, load_s=3.0)
    return PoolSpec(engine=engine, latency=latency, cold_start=cold_start, **changed)


@cache
def by_hand() -> tuple[Case, RunResult]:
    """Return seven requests on two replicas in 100 ms.

    Replica 0 runs 0 and 1: 0 is prefilled (0..20 ms); 1 arrives at 5, is held until 12, waits until 20 and is prefilled
    beside 0's decode (20..40); it is preempted (40..50), prefilled again (50..70), and decodes twice alone (70..90, one
    row). 0 finishes at 70; its next turn, 5, arrives 5 ms later, waits until 90 and is cut off by the end of the run at
    100; the turn after that, 6, never arrives. Replica 1 is requested at 20 and ready at 60, so that it loads from 30
    on; 2 arrives at 55 and runs there (60..80); then it drains and is gone. 3 is rejected; 4 arrives at 57 and is given
    up after 40 ms. From 30 to 50 ms replica 0 is slow.
    """
    cluster = ClusterSpec(
        pools=(pool(10, num_replicas=1, min_replicas=1, max_replicas=2),), slo_classes=(SloClass(patience_s=0.04),)
    )
    trace = Trace(
        arrival_ps=ints([0, 5, 55, 56, 57, 5, 10]) * MS,
        prompt_tokens=ints([20, 40, 30, 10, 10, 50, 60]),
        output_tokens=ints([4, 4, 1, 1, 1, 5, 5]),
        max_tokens=ints([8] * 7),
        session=ints([0, -1, -1, -1, -1, 0, 0]),
        turn=ints([0, 0, 0, 0, 0, 1, 2]),
        think_ps=ints([0, 0, 0, 0, 0, 5, 5]) * MS,
    )
    slow = Fault(time_s=0.03, replica=0, kind="slow", duration_s=0.02, factor=2.0)
    case = Case(cluster=cluster, trace=trace, drain_s=0.043, faults=(slow,))

    def times(*values_ms: int | None) -> Any:
        return ints([-1 if value is None else value * MS for value in values_ms])

    rows = ints(
        [  # replica, start, end, count, prefill, chunks, decodes, context, blocks, waiting, running, preempted
            [0, 0, 20, 1, 20, 1, 0, 0, 2, 0, 1, 0],
            [0, 20, 40, 1, 40, 1, 1, 21, 5, 0, 2, 0],
            [0, 40, 50, 1, 0, 0, 1, 22, 2, 1, 1, 1],
            [0, 50, 70, 1, 41, 1, 1, 23, 5, 0, 2, 0],
            [1, 60, 80, 1, 30, 1, 0, 0, 2, 0, 1, 0],
            [0, 70, 90, 2, 0, 0, 1, 42, 3, 0, 1, 0],
            [0, 90, 105, 1, 50, 1, 0, 0, 4, 0, 1, 0],
        ]
    ).T
    rows[1:3] *= MS
    return case, RunResult(
        status="ok",
        message="",
        records=Records(
            outcome=ints([0, 0, 0, 2, 3, 1, 1]),
            replica=ints([0, 0, 1, -1, -1, 0, -1]),
            restarts=ints([0, 1, 0, 0, 0, 0, 0]),
            dispatched_ps=times(0, 12, 60, None, None, 75, None),
            scheduled_ps=times(0, 20, 60, None, None, 90, None),
            first_token_ps=times(20, 40, 80, None, None, None, None),
            finished_ps=times(70, 90, 80, None, None, None, None),
        ),
        end_ps=100 * MS,
        num_decisions=7,
        decision_hash=0,
        tier="python",
        arrival_ps=times(0, 5, 55, 56, 57, 75, 75),
        cached_tokens=ints([0] * 7),
        gpu_seconds=0.16,
        lifetimes=Lifetimes(
            replica=ints([0, 1]),
            requested_ps=times(0, 20),
            ready_ps=times(0, 60),
            draining_ps=times(None, 80),
            gone_ps=times(None, 80),
        ),
        iterations=Iterations(**dict(zip(Iterations.__slots__, rows, strict=True))),
        notes=("a note",),
    )


def with_samples(result: RunResult) -> RunResult:
    """Return the run made by hand as if samples had been asked for, every 50 ms, rather than iterations."""
    samples = Samples(
        interval_s=0.05,
        held=ints([0, 0, 1]),
        waiting=ints([[0, 0], [0, 0], [0, 0]]),
        running=ints([[1, 0], [2, 0], [1, 0]]),
        allocated_blocks=ints([[2, 0], [5, 0], [4, 0]]),
    )
    return replace(result, iterations=None, samples=samples)


@cache
def of_reference() -> tuple[Case, RunResult]:
    """Return a run with all that can happen: sessions, rejections, preemptions, a failure, growth and drains."""
    random = np.random.default_rng(0)
    cluster = ClusterSpec(
        pools=(pool(100, num_replicas=2, min_replicas=1, max_replicas=4, drain_timeout_s=0.5),),
        slo_classes=(SloClass(patience_s=1.0),),
        triggers=("arrival", "completion", "capacity"),
    )
    num, num_sessions = 120, 40
    first_ps = np.sort(random.integers(0, 15_000, num)) * MS
    turn = np.repeat([0, 1], [num, num_sessions])
    trace = Trace(
        arrival_ps=ints([*first_ps, *first_ps[:num_sessions]]),
        prompt_tokens=random.integers(20, 600, num + num_sessions),
        output_tokens=random.integers(5, 150, num + num_sessions),
        max_tokens=ints([200] * (num + num_sessions)),
        session=ints([*range(num_sessions), *[-1] * (num - num_sessions), *range(num_sessions)]),
        turn=ints(turn),
        think_ps=ints(turn * 1000 * MS),
    )
    faults = (
        Fault(time_s=6.0, replica=0, kind="fail", duration_s=1.0),
        Fault(time_s=9.0, replica=1, kind="slow", duration_s=4.0, factor=3.0),
    )
    case = Case(cluster=cluster, trace=trace, drain_s=10.0, scenario_seed=1, faults=faults)
    policy = policy_from_source(DESIGN, name="design", path="design.py", track="cluster")
    result = simulate(case, policy, sample_interval_s=0.5, log_iterations=True)
    assert result.status == "ok", result.message
    return case, result


def merged(iterations: Iterations) -> Iterations:
    """Return iterations with runs of equal pure decodes as one row each, as a simulator may log them."""
    rows: list[dict[str, int]] = []
    last: dict[int, dict[str, int]] = {}
    names = [field.name for field in fields(iterations)]
    for values in zip(*(getattr(iterations, name).tolist() for name in names), strict=True):
        row = dict(zip(names, values, strict=True))
        before = last.get(row["replica"])
        same = ("prefill_tokens", "num_decodes", "waiting", "running")
        is_pure = not row["prefill_tokens"] + row["preempted"]
        if before and is_pure and before["end_ps"] == row["start_ps"] and all(before[n] == row[n] for n in same):
            before["count"] += row["count"]
            before["end_ps"] = row["end_ps"]
        else:
            rows.append(row)
            last[row["replica"]] = row
    return Iterations(**{name: ints([row[name] for row in rows]) for name in names})
