"""Kubernetes' HorizontalPodAutoscaler on KV utilisation: as many replicas as bring its mean to TARGET.

Every 15 s the newest sample of the pool's mean utilisation over TARGET gives a ratio; within 10 % of 1 nothing changes,
else the recommendation is ceil(ratio * ready). The pool grows at once, by at most 4 replicas or to its double, and
shrinks to the highest recommendation of the last 300 s. The first pool is scaled.

Source: Kubernetes, HPA v2 with a pods metric and the default behaviour; TARGET as in common recipes for vLLM.
Loses: on bursts shorter than a cold start, which it meets when they are over. Utilisation cannot exceed 1, so it sees
a long queue as no more than full, and grows by half at most.
"""

import math

from glia_bench.features import Cluster, Memory, Window

SOURCE = (
    "kubernetes/kubernetes, pkg/controller/podautoscaler/replica_calculator.go, pkg/apis/autoscaling/v2/defaults.go"
)
INTERVAL_S = 15.0
TARGET = 0.7
TOLERANCE = 0.1
KEPT = 20  # recommendations of 300 s: this one and the 19 before it
TUNABLE = {"TARGET": (0.1, 0.95), "TOLERANCE": (0.0, 0.3), "KEPT": (1, 40, "log")}
MEMORY = {"shared": KEPT + 1}  # those, in a ring, and how many there were


def recommendation(ratio: float, ready: int, loading: int, current: int) -> int:
    """Return the size that the metric asks for, at `ratio` times its target over the ready replicas.

    Loading replicas have no metric: they count as idle if the pool is to grow, as on target if it is to shrink.
    """
    if ready == 0:
        return current
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
    wanted = recommendation(window.kv_utilisation[-1, 0] / TARGET, ready, loading, current)
    tick = int(memory.shared[KEPT])
    memory.shared[KEPT] += 1.0
    memory.shared[tick % KEPT] = max(wanted, current) if tick == 0 else wanted  # it starts from the fleet that it finds
    if wanted < current:
        highest = wanted
        for k in range(KEPT):
            highest = max(highest, int(memory.shared[k]))
        wanted = min(current, highest)
    wanted = min(wanted, max(2 * current, current + 4))
    return max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
