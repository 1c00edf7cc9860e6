"""Timelines of what routers know and when: stale metrics, several routers, patience, sessions, default routes.

The sums stand beside the numbers. Times, blocks and requests are those of `timeline`, the unit is a picosecond.
"""

from typing import Any

import pytest
from timeline import MS, Simulate, column, run

from glia_bench.cluster import SloClass
from glia_bench.sim.reference_request import scenario_draw
from glia_bench.types import EXPIRED, FINISHED, NEVER_PS, REJECTED

PATIENT_20: dict[str, Any] = {"slo_classes": (SloClass(patience_s=20e-12),)}


def test_default_route(cluster_simulators: Simulate) -> None:
    """A design without route sends to the fewest outstanding requests, lowest index first; that is hashed too."""
    source = """
def admit(request, replica, memory):
    return True
"""
    result = run(
        cluster_simulators, [(0, 4, 2), (1, 4, 1), (2, 4, 1), (16, 4, 1)], source=source, track="cluster", replicas=2
    )
    # 0 to replica 0; 1 to 1; 2 to 0 (1 and 1); at 15 request 1 has ended: 3 to 1
    assert column(result, "replica") == [0, 1, 0, 1]
    assert result.num_decisions == 4


def test_stale_metrics(cluster_simulators: Simulate) -> None:
    """Engine fields are those of the last publication, which comes before an arrival of the same instant."""
    source = """
def route(request, replicas, cluster, memory):
    return 1 if replicas.running[0] > 0 else 0
"""
    interval_ps = 20 * MS
    phase_ps = scenario_draw(7, 1, 0) % interval_ps
    assert phase_ps > 20
    requests = [(phase_ps - 20, 4, 9), (phase_ps - 1, 4, 9), (phase_ps, 4, 9), (phase_ps + 19 * MS, 4, 1)]
    requests += [(phase_ps + 20 * MS, 4, 1)]
    settings: dict[str, Any] = {"cluster": {"metrics_interval_s": 0.02}, "case": {"scenario_seed": 7}}
    result = run(cluster_simulators, requests, source=source, replicas=2, **settings)
    # replica 0 runs something from phase - 20 on, which is published at phase, and so until phase + 20 ms
    assert column(result, "replica") == [0, 0, 1, 1, 0]


def test_several_routers(cluster_simulators: Simulate) -> None:
    """Each router spreads its own requests and knows nothing of the others'."""
    source = """
def route(request, replicas, cluster, memory):
    return int(replicas.inflight.argmin())
"""
    settings: dict[str, Any] = {"cluster": {"num_routers": 3}, "case": {"scenario_seed": 5}}
    result = run(cluster_simulators, [(0, 4, 9)] * 8, source=source, replicas=3, **settings)
    routers = [scenario_draw(5, 2, i) % 3 for i in range(8)]
    # the k-th request of a router goes to replica k mod 3
    assert column(result, "replica") == [routers[:i].count(routers[i]) % 3 for i in range(8)]


def test_routers_have_their_own_queues(cluster_simulators: Simulate) -> None:
    """A held head blocks its own router's queue only, and each router has its own memory."""
    source = """
MEMORY = {"shared": 1}

def route(request, replicas, cluster, memory):
    memory.shared[0] += 1.0
    return -1 if memory.shared[0] < 3.0 else 0
"""
    settings: dict[str, Any] = {"cluster": {"num_routers": 2}, "case": {"scenario_seed": 1}, "triggers": ("arrival",)}
    result = run(cluster_simulators, [(i, 4, 1) for i in range(8)], source=source, max_running=1, **settings)
    routers = [scenario_draw(1, 2, i) % 2 for i in range(8)]
    third = [[i for i in range(8) if routers[i] == router][2] for router in (0, 1)]
    # the third answer of a router, at the arrival of its third request, sends the head, and then the rest
    assert column(result, "dispatched_ps") == [max(i, third[routers[i]]) for i in range(8)]


def test_patience_on_a_replica(cluster_simulators: Simulate) -> None:
    """A request that is never admitted expires at a scheduling point, not in an iteration that merely continues."""
    result = run(cluster_simulators, [(0, 4, 3), (5, 4, 1)], max_running=1, cluster=PATIENT_20)
    # 0..14, 14..25; at 25 the decode continues, although request 1 has waited for 20; at 36 it has given up
    assert column(result, "outcome") == [FINISHED, EXPIRED]
    assert column(result, "replica") == [0, 0]
    assert column(result, "finished_ps") == [36, NEVER_PS]
    assert result.end_ps == 36


def test_patience_of_an_admitted_request(cluster_simulators: Simulate) -> None:
    """Nobody gives up who has been admitted, also not after a preemption."""
    requests = [(0, 1, 1), (1, 7, 6), (1, 7, 6)]
    result = run(cluster_simulators, requests, num_blocks=4, cluster=PATIENT_20)
    # as in test_preemption_in_vllm_v1: request 2 waits again from 47 to 91
    assert column(result, "finished_ps") == [11, 91, 143]


def test_patience_in_the_held_queue(cluster_simulators: Simulate) -> None:
    """A held request expires at the start of a scan, unasked."""
    source = """
def route(request, replicas, cluster, memory):
    return -1 if request.id < 2 else 0
"""
    result = run(
        cluster_simulators, [(0, 4, 1), (11, 4, 1), (30, 4, 1)], source=source, cluster=PATIENT_20, drain_s=50e-12
    )
    # asked: 0 at 0, 0 at 11, then 1 at 30, which blocks 2 behind it, and at 80 all is over
    assert column(result, "outcome")[0] == EXPIRED
    assert column(result, "dispatched_ps") == [NEVER_PS] * 3
    assert (result.num_decisions, result.end_ps) == (3, 80)


def test_expiry_is_a_completion(cluster_simulators: Simulate) -> None:
    """A request that expires on a replica starts a scan like one that finishes there."""
    source = """
def route(request, replicas, cluster, memory):
    return -1 if replicas.inflight[0] == 2 else 0
"""
    requests = [(0, 12, 4), (5, 4, 9), (20, 4, 1)]
    result = run(cluster_simulators, requests, source=source, max_running=1, token_budget=6, cluster=PATIENT_20)
    # prefill of 0: 0..16..32; 2 is held at 20, since 1 waits; at 32 request 1 has given up, which starts the scan that
    # sends 2; 2 has waited for 12 then, and gives up at the next scheduling point, 43
    assert column(result, "outcome") == [FINISHED, EXPIRED, EXPIRED]
    assert column(result, "dispatched_ps") == [0, 5, 32]
    assert (result.num_decisions, result.end_ps) == (4, 65)


SESSION: dict[str, Any] = {"session": [0, -1, 0], "turn": [0, 0, 1], "think_ps": [0, 0, 7]}


def test_follow_up_turn(cluster_simulators: Simulate) -> None:
    """A turn arrives its think time after the turn before it has finished; requests are numbered as they arrive."""
    source = """
def route(request, replicas, cluster, memory):
    return request.id
"""
    result = run(cluster_simulators, [(0, 4, 1), (50, 4, 1), (0, 8, 1)], source=source, replicas=3, trace=SESSION)
    # 0..14, 14 + 7 = 21: the second to arrive; 21..39; request 2 at 50
    assert result.arrival_ps.tolist() == [0, 50, 21]
    assert column(result, "replica") == [0, 2, 1]
    assert column(result, "finished_ps") == [14, 64, 39]


@pytest.mark.parametrize("last_turn", [2, 3])
def test_turns_that_never_arrive(cluster_simulators: Simulate, last_turn: int) -> None:
    """After a rejected turn no other comes: each is charged from the arrival of the last that did."""
    source = """
def route(request, replicas, cluster, memory):
    return -2 if request.turn == 1 else 0
"""
    turns = list(range(1, last_turn + 1))
    trace = {"session": [0] * (last_turn + 1), "turn": [0, *turns], "think_ps": [7] * (last_turn + 1)}
    result = run(cluster_simulators, [(0, 4, 1), *((0, 8, 1) for _ in turns)], source=source, trace=trace)
    assert result.arrival_ps.tolist() == [0] + [21] * last_turn
    assert column(result, "outcome")[:2] == [FINISHED, REJECTED]
    assert (result.status, result.end_ps) == ("ok", 21)
