"""Kubernetes' HorizontalPodAutoscaler on requests in flight: as many replicas as leave TARGET of them to each.

Every 15 s the newest sample of running and waiting requests, per ready replica and over TARGET, gives a ratio; within
TOLERANCE of 1 nothing changes, else the recommendation is ceil(ratio * ready). The pool grows at once, by at most 4
replicas or to its double, and shrinks to the highest recommendation of the last 300 s. Unlike utilisation, requests in
flight count the queue too. Held requests are no replica's and do not count.

Source: Kubernetes, HPA v2 with a pods metric and the default behaviour; TARGET is chosen here, since what a replica can
hold depends on model and GPU.
Loses: where requests change: a count is no measure of work, so one TARGET does not fit short and long outputs; and on
bursts shorter than a cold start, which it meets when they are over.
"""

import math

from glia_bench.features import Cluster, Memory, Window

SOURCE = (
    "kubernetes/kubernetes, pkg/controller/podautoscaler/replica_calculator.go, pkg/apis/autoscaling/v2/defaults.go"
)
INTERVAL_S = 15.0
TARGET = 20.0
TOLERANCE = 0.1
KEPT = 20  # recommendations of 300 s: this one and the 19 before it
TUNABLE = {"TARGET": (2.0, 200.0, "log"), "TOLERANCE": (0.0, 0.5), "KEPT": (1, 80, "log")}
MEMORY = {"shared": KEPT + 1}  # those, in a ring, and how many there were


def recommendation(ratio: float, ready: int, loading: int, current: int) -> int:
    """Return the size that the metric asks for, at `ratio` times its target over the ready replicas.

    Loading replicas have no metric: they count as idle if the pool is to grow, as on target if it is to shrink.
    """
    used = ratio * ready + (loading if ratio < 1 else 0)  # in replicas on target
    after = used / (ready + loading) if loading > 0 else ratio
    wanted = math.ceil(used)
    if abs(1 - after) <= TOLERANCE or (after > 1) != (ratio > 1):
        return current
    if loading > 0 and (wanted > current) != (after > 1):
        return current
    return wanted


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Follow the metric: up at once, within the limit of a step; down to the highest recommendation of 300 s."""
    current = int(window.desired[0])
    ready, loading = int(window.ready[-1, 0]), int(window.loading[-1, 0])
    wanted = current
    if ready > 0:
        inflight = (window.running[-1, 0] + window.waiting[-1, 0]) / ready
        wanted = recommendation(inflight / TARGET, ready, loading, current)
    tick = int(memory.shared[KEPT])
    memory.shared[KEPT] += 1.0
    memory.shared[tick % KEPT] = max(wanted, current) if tick == 0 else wanted  # it starts from the fleet that it finds
    if wanted < current:
        highest = wanted
        for k in range(KEPT):
            highest = max(highest, int(memory.shared[k]))
        wanted = min(current, highest)
    wanted = min(wanted, max(2 * current, current + 4))
    return max(1, int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
