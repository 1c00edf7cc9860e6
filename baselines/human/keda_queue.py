"""KEDA's common recipe for vLLM: one replica for every THRESHOLD waiting requests of the pool.

Every 15 s the newest count of waiting requests over THRESHOLD times the size asked for last gives a ratio; within
TOLERANCE of 1 nothing changes, else the recommendation is ceil(waiting / THRESHOLD). Loading replicas are part of that
size, so that a queue asks for its replicas once. The rest is the HorizontalPodAutoscaler, which KEDA feeds: up at once,
by at most 4 replicas or to the double, down to the highest recommendation of the last 300 s. KEDA's own poll and
cool-down govern the first replica alone, and no pool shrinks to none here.

Source: KEDA with a Prometheus trigger, Kubernetes' HPA v2 on an external metric; THRESHOLD as in recipes for vLLM.
Loses: whenever no queue means no idleness: a fleet that just keeps up has nothing waiting and is sent away, until the
queue is back. Where a cold start is long it pays for that again and again.
"""

import math

from glia_bench.features import Cluster, Memory, Window

SOURCE = (
    "kedacore/keda@8b4f083c, pkg/scaling/executor/scale_executor.go; "
    "kubernetes/kubernetes, pkg/controller/podautoscaler/replica_calculator.go"
)
INTERVAL_S = 15.0
THRESHOLD = 5.0
TOLERANCE = 0.1
KEPT = 20  # recommendations of 300 s: this one and the 19 before it
TUNABLE = {"THRESHOLD": (0.1, 50.0, "log"), "TOLERANCE": (0.0, 0.5), "KEPT": (1, 80, "log")}
MEMORY = {"shared": KEPT + 1}  # those, in a ring, and how many there were


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Follow the queue: up at once, within the limit of a step; down to the highest recommendation of 300 s."""
    current = int(window.desired[0])
    waiting = window.waiting[-1, 0]
    wanted = current
    if window.ready[-1, 0] > 0 and abs(1 - waiting / (THRESHOLD * max(1, current))) > TOLERANCE:
        wanted = math.ceil(waiting / THRESHOLD)
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
