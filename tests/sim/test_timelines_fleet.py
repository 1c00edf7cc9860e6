"""Timelines of replicas that come and go: drains, cold starts, failures, slow spans, autoscaling.

The sums stand beside the numbers. Blocks and requests are those of `timeline`; the unit is a millisecond here, so an
iteration with n tokens lasts 10 + n ms.
"""

from typing import Any

import pytest
from timeline import FIRST_READY, MS, S, Simulate, column, line, run

from glia_bench.case import Fault
from glia_bench.cluster import ColdStart
from glia_bench.types import NEVER_PS, RunResult

DOWN_TO_ONE = """
INTERVAL_S = 1.0

def scale(window, cluster, memory):
    return 1
"""
UP_TO_TWO = """
INTERVAL_S = 1.0

def scale(window, cluster, memory):
    return 2
"""
BY_PARITY_IF_READY = """
def route(request, replicas, cluster, memory):
    k = request.id % 2
    return k if replicas.ready[k] == 1 else 1 - k
"""
ONE_TO_TWO: dict[str, Any] = {"min_replicas": 1, "max_replicas": 2}


def lives(result: RunResult) -> list[tuple[int, ...]]:
    """Return replica, requested, ready, draining and gone of every life, times in ms."""
    times = result.lifetimes
    columns = (times.requested_ps, times.ready_ps, times.draining_ps, times.gone_ps)
    in_ms = [[-1 if x == NEVER_PS else x / MS for x in values.tolist()] for values in columns]
    return list(zip(times.replica.tolist(), *in_ms, strict=True))


def cluster_run(simulate: Simulate, requests: list[tuple[int, int, int]], **settings: Any) -> RunResult:
    """Run a case of milliseconds with a budget of 200 tokens."""
    return run(simulate, requests, **{"unit": MS, "track": "cluster", "token_budget": 200, **settings})


def test_drain(cluster_simulators: Simulate) -> None:
    """A pool that shrinks drains the replica with the fewest requests; it serves what it has and goes."""
    source = DOWN_TO_ONE + BY_PARITY_IF_READY
    requests = [(0, 4, 120), (0, 4, 100)]
    result = cluster_run(cluster_simulators, requests, source=source, replicas=2, pool=ONE_TO_TWO, drain_s=2.0)
    # 14 + 119 * 11 and 14 + 99 * 11; at 1 s one request each: of equally new replicas the highest row goes
    assert column(result, "finished_ps", unit=MS) == [1323, 1103]
    assert lives(result) == [(0, 0, 0, -1, -1), (1, 0, 0, 1000, 1103)]
    assert (result.status, result.end_ps) == ("ok", 2 * S)
    assert result.gpu_seconds == pytest.approx(2.0 + 1.103, rel=1e-12)


def test_drain_timeout(cluster_simulators: Simulate) -> None:
    """What a replica has not served when its time to drain is over goes back to the router and is recomputed."""
    source = DOWN_TO_ONE + BY_PARITY_IF_READY
    requests = [(0, 4, 120), (0, 4, 100)]
    pool = ONE_TO_TWO | {"drain_timeout_s": 0.05}
    result = cluster_run(cluster_simulators, requests, source=source, replicas=2, pool=pool, drain_s=2.0)
    # at 1050 request 1 has 95 tokens (14 + 94 * 11 = 1048); replica 0 is busy until 14 + 95 * 11 = 1059; then one
    # decode and 4 + 95 tokens: 1059 + 110 = 1169; four more tokens with request 0: 1169 + 4 * 12 = 1217
    # request 0 has 101 tokens at 1217: 19 more at 11
    assert column(result, "restarts") == [0, 1]
    assert column(result, "replica") == [0, 0]
    assert column(result, "dispatched_ps", unit=MS) == [0, 0]
    assert column(result, "finished_ps", unit=MS) == [1426, 1217]
    assert lives(result)[1] == (1, 0, 0, 1000, 1050)


def test_drain_rank(cluster_simulators: Simulate) -> None:
    """The design may choose who drains."""
    source = DOWN_TO_ONE + FIRST_READY + "\ndef drain_rank(replica, memory):\n    return replica.id\n"
    result = cluster_run(cluster_simulators, [(0, 4, 1)], source=source, replicas=2, pool=ONE_TO_TWO, drain_s=2.0)
    assert lives(result) == [(0, 0, 0, 1000, 1000), (1, 0, 0, -1, -1)]


def test_cold_start(cluster_simulators: Simulate) -> None:
    """A requested replica loads, is ready, and is given what was held for it; it is billed from the request."""
    source = UP_TO_TWO + "\ndef route(request, replicas, cluster, memory):\n    return 1 if replicas.ready[1] else -1\n"
    cold = ColdStart(name="test", provision_s=0.1, load_s=0.2, sigma_percent=0)
    settings: dict[str, Any] = {"pool": ONE_TO_TWO | {"cold_start": cold}, "drain_s": 1.0}
    result = cluster_run(
        cluster_simulators, [(1100, 4, 1)], source=source, triggers=("arrival", "capacity"), **settings
    )
    # requested at 1000, ready at 1300; horizon 2100
    assert column(result, "dispatched_ps", unit=MS) == [1300]
    assert column(result, "finished_ps", unit=MS) == [1314]
    assert lives(result) == [(0, 0, 0, -1, -1), (1, 1000, 1300, -1, -1)]
    assert result.gpu_seconds == pytest.approx(2.1 + 1.1, rel=1e-12)


def test_start_given_up(cluster_simulators: Simulate) -> None:
    """A pool that shrinks gives up replicas that are not ready yet, the latest first, before it drains any."""
    source = """
INTERVAL_S = 1.0
MEMORY = {"shared": 1}

def scale(window, cluster, memory):
    memory.shared[0] += 1.0
    return int(memory.shared[0]) + 1 if memory.shared[0] < 3.0 else 2
"""
    cold = ColdStart(name="test", provision_s=0.5, load_s=9.0, sigma_percent=0)
    pool = {"min_replicas": 1, "max_replicas": 4, "cold_start": cold}
    result = cluster_run(cluster_simulators, [(0, 4, 1)], source=source, pool=pool, drain_s=3.5)
    # sizes 2, 3, 2 at 1, 2, 3 s: replica 1 requested, replica 2 requested and given up
    assert lives(result) == [(0, 0, 0, -1, -1), (1, 1000, -1, -1, -1), (2, 2000, -1, -1, 3000)]
    assert result.gpu_seconds == pytest.approx(3.5 + 2.5 + 1.0, rel=1e-12)


def test_window(cluster_simulators: Simulate) -> None:
    """The newest row of the window is the last whole second, means in whole picoseconds."""
    source = (
        """
INTERVAL_S = 1.0

def scale(window, cluster, memory):
    row = 599
    if window.arrivals[row, 0] != 2.0 or window.arrival_tokens[row, 0] != 8.0 or window.finished[row, 0] != 1.0:
        return 1
    if window.generated_tokens[row, 0] != 93.0 or window.running[row, 0] != 1.0 or window.held[row, 0] != 0.0:
        return 1
    if window.ready[row, 0] != 2.0 or abs(window.ttft_s[row, 0] - 0.014) > 1e-15:
        return 1
    if abs(window.tpot_s[row, 0] - 0.011) > 1e-15 or abs(window.kv_utilisation[row, 0] - 0.012) > 1e-15:
        return 1
    return 2 if window.arrivals[row - 1, 0] == 0.0 and window.desired[0] == 2 else 1
"""
        + BY_PARITY_IF_READY
    )
    requests = [(0, 4, 120), (0, 4, 3)]
    result = cluster_run(cluster_simulators, requests, source=source, replicas=2, pool=ONE_TO_TWO, drain_s=1.5)
    # at 1000 request 0 has 90 tokens (14 + 89 * 11 = 993), its iteration reads a context of 94: 24 of 2 * 1000 blocks;
    # request 1 has ended at 36 with 3 tokens; both first tokens came after 14 ms
    assert lives(result) == [(0, 0, 0, -1, -1), (1, 0, 0, -1, -1)]


def test_window_lag(cluster_simulators: Simulate) -> None:
    """With a lag the newest row is older."""
    source = (
        """
INTERVAL_S = 1.0

def scale(window, cluster, memory):
    return 2 if window.arrivals[599, 0] == 1.0 else 1
"""
        + FIRST_READY
    )
    settings: dict[str, Any] = {"pool": ONE_TO_TWO, "drain_s": 2.5}
    result = cluster_run(cluster_simulators, [(0, 4, 1)], source=source, cluster={"window_lag_s": 1}, **settings)
    # the row of the first second is seen at 2 s
    assert lives(result)[1] == (1, 2000, 2000, -1, -1)


def test_failure(cluster_simulators: Simulate) -> None:
    """A failed replica loses its requests, which are recomputed elsewhere, tokens kept; it comes back after repair."""
    faults = (Fault(time_s=0.02, replica=0, kind="fail", duration_s=0.1),)
    requests = [(0, 4, 5), (119, 4, 1), (120, 4, 1)]
    result = cluster_run(cluster_simulators, requests, source=FIRST_READY, replicas=2, case={"faults": faults})
    # request 0 has one token at 20; on replica 1: 5 tokens, 20..35, then 46, 57, 68
    # at 119 replica 0 is still loading; at 120 it is ready before the arrival
    assert column(result, "restarts") == [1, 0, 0]
    assert column(result, "replica") == [1, 1, 0]
    assert column(result, "first_token_ps", unit=MS) == [14, 133, 134]
    assert column(result, "finished_ps", unit=MS) == [68, 133, 134]
    assert lives(result) == [(0, 0, 0, -1, -1), (1, 0, 0, -1, -1)]


def test_scans_wait_for_a_replica(cluster_simulators: Simulate) -> None:
    """While no replica is ready nobody is asked; a scan that was due follows as soon as one is."""
    faults = (Fault(time_s=0.02, replica=0, kind="fail", duration_s=0.1),)
    result = cluster_run(cluster_simulators, [(0, 4, 2), (50, 4, 1)], source=FIRST_READY, case={"faults": faults})
    # both are dispatched at 120: 5 tokens of request 0, which ends with its second, and 4
    assert column(result, "finished_ps", unit=MS) == [139, 139]
    assert result.num_decisions == 3


def test_slow(cluster_simulators: Simulate) -> None:
    """Iterations that start within the span take longer; the one in progress at its beginning does not."""
    faults = (Fault(time_s=0.02, replica=0, kind="slow", duration_s=0.03, factor=2.0),)
    result = cluster_run(
        cluster_simulators,
        [(0, 4, 6)],
        source=FIRST_READY,
        latency=line(200, unit=MS, context=1),
        case={"faults": faults},
    )
    # 0..14, 14..30 (11 + 5); slow: 30..64 (2 * (11 + 6)); the span has ended at 50: 64..82, 82..101, 101..121
    assert column(result, "finished_ps", unit=MS) == [121]


def test_slow_from_its_turn_on(cluster_simulators: Simulate) -> None:
    """A step comes before a fault of the same instant, and a later span ends an earlier one."""
    faults = (
        Fault(time_s=0.014, replica=0, kind="slow", duration_s=1.0, factor=2.0),
        Fault(time_s=0.03, replica=0, kind="slow", duration_s=0.03, factor=3.0),
    )
    result = cluster_run(cluster_simulators, [(0, 4, 6)], source=FIRST_READY, case={"faults": faults})
    # 0..14, 14..25 began before its turn; 25..47 (x 2), 47..80 (x 3), 80..91, 91..102
    assert column(result, "finished_ps", unit=MS) == [102]
