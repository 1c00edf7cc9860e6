"""The plain stack: round-robin routing, the engine's own first-come scheduling, Kubernetes' HPA on KV utilisation.

What a cluster has that nobody has tuned: three parts that know nothing of each other. Each is a baseline of its own
(`round_robin`, the engine's default, `hpa`) and is copied here as it is; router and autoscaler have each their own
tables of memory.

Source: Kubernetes services in round-robin mode, vLLM's default scheduler, HPA v2 with its default behaviour.
Loses: whenever requests differ in size, and on bursts shorter than a cold start; see the three parts.
"""

import math

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request, Window

SOURCE = (
    "kubernetes/kubernetes, pkg/controller/podautoscaler/; microsoft/vidur@7d475133, round_robin_global_scheduler.py"
)
INTERVAL_S = 15.0
TARGET = 0.7
TOLERANCE = 0.1
KEPT = 20  # recommendations of 300 s: this one and the 19 before it
TUNABLE = {"TARGET": (0.1, 0.95), "TOLERANCE": (0.0, 0.3), "KEPT": (1, 40, "log")}
MEMORY = {"shared": KEPT + 1}  # the autoscaler's: those, in a ring, and how many there were; the router's: its turn


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the next ready replica in turn."""
    num_ready = 0
    for i in range(cluster.num_replicas):
        num_ready += replicas.ready[i]
    if num_ready == 0:
        return HOLD
    turn = int(memory.shared[0]) % num_ready
    memory.shared[0] += 1.0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            if turn == 0:
                return i
            turn -= 1
    return HOLD


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
