"""Faults drawn per seed: replicas that fail or slow down at random times.

Each replica has faults with independent exponential gaps, in integers as everything between seed and case. Left out:
faults of whole racks, faults that follow load.
"""

from dataclasses import dataclass
from typing import Literal

from glia_bench.case import Fault
from glia_bench.workloads.arrivals import US_PER_S, renewal_arrivals_us
from glia_bench.workloads.quantile_table import shipped_table
from glia_bench.workloads.streams import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRate:
    """How often and how badly replicas fail.

    Attributes:
        kind: "fail" or "slow".
        mean_interval_s: Mean time between the faults of one replica; whole seconds.
        duration_s: Time of repair, or how long it is slow.
        factor: Of "slow": how much longer its iterations take.
    """

    kind: Literal["fail", "slow"]
    mean_interval_s: int
    duration_s: float
    factor: float = 1.0


def draw_faults(rate: FaultRate, *, num_replicas: int, horizon_s: int, task_id: str, seed: int) -> tuple[Fault, ...]:
    """Return the faults of a run in order of time, ties by replica."""
    gaps = shipped_table("exponential_gaps")
    faults = []
    for replica in range(num_replicas):
        times_us = renewal_arrivals_us(
            Stream(task_id, seed, f"{rate.kind} faults of replica {replica}"),
            gaps,
            rate_urps=max(1_000_000 // rate.mean_interval_s, 1),
            horizon_us=horizon_s * US_PER_S,
        )[1:]  # the process starts at 0 with an arrival that is no fault
        faults += [
            Fault(
                time_s=time / US_PER_S,
                replica=replica,
                kind=rate.kind,
                duration_s=rate.duration_s,
                factor=rate.factor,
            )
            for time in times_us.tolist()
        ]
    return tuple(sorted(faults, key=lambda fault: (fault.time_s, fault.replica)))
