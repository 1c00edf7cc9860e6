"""Faults drawn per seed."""

import numpy as np

from glia_bench.workloads.faults import FaultRate, draw_faults

RATE = FaultRate(kind="slow", mean_interval_s=500, duration_s=20.0, factor=3.0)


def test_faults_come_at_the_stated_rate_in_order() -> None:
    """Four replicas over 100,000 s: 200 faults each within 5 standard deviations, in order of time, all alike."""
    faults = draw_faults(RATE, num_replicas=4, horizon_s=100_000, task_id="t", seed=0)
    assert np.all(np.abs(np.bincount([fault.replica for fault in faults]) - 200) < 5 * 200**0.5)
    times = [fault.time_s for fault in faults]
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 100_000
    assert {(fault.kind, fault.duration_s, fault.factor) for fault in faults} == {("slow", 20.0, 3.0)}


def test_faults_are_keyed_by_seed_replica_and_kind() -> None:
    """Equal arguments give equal faults; seeds, replicas and kinds share no times; more replicas do not move others."""

    def times(replica: int, **changes: object) -> list[float]:
        options = {"num_replicas": 2, "horizon_s": 5000, "task_id": "t", "seed": 0, **changes}
        rate = FaultRate(kind=options.pop("kind", "slow"), mean_interval_s=500, duration_s=1.0)  # type: ignore[arg-type]
        return [fault.time_s for fault in draw_faults(rate, **options) if fault.replica == replica]  # type: ignore[arg-type]

    assert times(0) == times(0) == times(0, num_replicas=5)
    others = [times(1), times(0, seed=1), times(0, kind="fail")]
    assert all(set(times(0)).isdisjoint(other) for other in others)
