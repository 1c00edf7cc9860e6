"""KEDA on the number of waiting requests: THRESHOLD of them for each replica, by the HPA's rule for outside metrics.

Every 15 s the requests that wait or are held, in total, over THRESHOLD is the size wanted, unless that is within 10 %
of the replicas that there are, loading ones included. The pool grows at once, by at most 4 or to its double, and
shrinks to the largest size wanted in the last 300 s.

Source: KEDA on Prometheus' `vllm:num_requests_waiting`, replica mathematics of the Kubernetes HPA (AverageValue).
Loses: a fleet without a queue is at its smallest, however busy it is, so it oscillates between too few and too many.
"""

import math

from glia_bench.features import Cluster, Memory, Window

SOURCE = "kedacore/keda@8b4f083c, apis/keda/v1alpha1/withtriggers_types.go, pkg/scaling/executor/scale_executor.go"
INTERVAL_S = 15.0
THRESHOLD = 5.0
TOLERANCE = 0.1
KEPT = 20  # sizes wanted in 300 s: this one and the 19 before it
TUNABLE = {"THRESHOLD": (0.1, 64.0, "log"), "TOLERANCE": (0.0, 0.3), "KEPT": (1, 40, "log")}
MEMORY = {"shared": KEPT + 1}  # those, in a ring, and how many there were


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Follow the queue: up at once, down to the largest size wanted in 300 s."""
    current = int(window.desired[0])
    queued = window.waiting[-1, 0] + window.held[-1, 0]
    ratio = queued / (THRESHOLD * max(1, current))
    wanted = current if abs(1 - ratio) <= TOLERANCE else math.ceil(queued / THRESHOLD)
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
