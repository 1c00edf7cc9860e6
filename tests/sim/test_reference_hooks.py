"""What the reference simulator tells hooks, when it calls them, and what it says of a design that breaks the rules."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from timeline import TO_ZERO, policy, recording, small_case

from glia_bench.features import Replicas
from glia_bench.sim.reference import simulate
from glia_bench.types import NEVER_PS


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
    result = simulate(small_case(), policy(source))
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
    result = simulate(small_case(), policy(source))
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
    result = simulate(small_case(), policy(source))
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
    result = simulate(small_case(), policy(source))
    assert result.status == "policy_error"
    assert result.message == f"{hook} raised ValueError for request 1: no such thing"


def test_floating_point_errors_are_raised() -> None:
    """A division by zero of NumPy numbers is an error, not a warning and an infinity."""
    source = """
def route(request, replicas, cluster, memory):
    return int(1.0 / replicas.metrics_age_s[0])
"""
    result = simulate(small_case(), policy(source))
    assert result.status == "policy_error"
    assert result.message.startswith("route raised FloatingPointError for request 0")


@pytest.mark.parametrize("field", Replicas._fields)
def test_views_are_read_only(field: str) -> None:
    """No hook can change what the simulator believes of a replica."""

    def route(request: Any, replicas: Any, cluster: Any, memory: Any) -> int:
        getattr(replicas, field)[0] = 1
        return 0

    design = dataclasses.replace(policy(TO_ZERO), routing={"route": route})
    result = simulate(small_case(), design)
    assert result.status == "policy_error"
    assert "read-only" in result.message


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

    design = dataclasses.replace(policy(TO_ZERO), routing={"route": route})
    result = simulate(small_case(clock_offset_ps=7_000_000_000_000), design)
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

    design = dataclasses.replace(policy(TO_ZERO), routing={"route": route})
    simulate(small_case(4, num_replicas=1), design)
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
