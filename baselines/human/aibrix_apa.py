"""AIBrix's APA: the pool follows its mean KV utilisation over three minutes, at most to its double or half a step.

The utilisation of the last WINDOW_S over TARGET gives a ratio. Above 1 + UP_TOLERANCE or below 1 - DOWN_TOLERANCE the
recommendation is ceil(ratio * size), cut to MAX_RATE times the size or its MAX_RATE-th part; between, the size stays.
Replicas still to come count. The pool grows at once and shrinks to the highest recommendation of the last COOLDOWN_S.

Source: AIBrix's pod autoscaler, strategy APA, and the metric and target of its examples. The cooldown is as it is
documented; the lowest recommendation, which the code takes when shrinking, would make it none.
Loses: when a burst is shorter than its window, and again after the burst: it shrinks minutes too late. A full window of
high utilisation doubles the pool at every step, as replicas that load do not lower it yet.
"""

import math

from glia_bench.features import Cluster, Memory, Window

SOURCE = "vllm-project/aibrix, pkg/controller/podautoscaler/algorithm/apa.go and context/context.go"
INTERVAL_S = 10.0
WINDOW_S = 180
TARGET = 0.5
UP_TOLERANCE = 0.1
DOWN_TOLERANCE = 0.1
MAX_RATE = 2.0
COOLDOWN_S = 300.0
TUNABLE = {
    "INTERVAL_S": (1.0, 60.0, "log"),
    "WINDOW_S": (1, 600, "log"),
    "TARGET": (0.05, 1.0),
    "UP_TOLERANCE": (0.0, 0.5),
    "DOWN_TOLERANCE": (0.0, 0.9),
    "MAX_RATE": (1.1, 10.0, "log"),
    "COOLDOWN_S": (1.0, 600.0, "log"),
}
KEPT = math.ceil(COOLDOWN_S / INTERVAL_S)  # recommendations younger than the cooldown, this one included
MEMORY = {"shared": KEPT + 1}  # those, in a ring, and how many there were


def recommendation(ratio: float, size: int) -> int:
    """Return the size that the metric asks for, at `ratio` times its target."""
    if ratio > 1 + UP_TOLERANCE:
        return min(math.ceil(size * ratio), math.ceil(MAX_RATE * size))
    if ratio < 1 - DOWN_TOLERANCE:
        return max(math.ceil(size * ratio), int(size / MAX_RATE))
    return size


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Follow the metric: up at once; down to the highest recommendation of the cooldown."""
    current = int(window.desired[0])
    used, seconds = 0.0, 0
    for k in range(len(window.ready) - WINDOW_S, len(window.ready)):
        if window.ready[k, 0] > 0:
            used += window.kv_utilisation[k, 0]
            seconds += 1
    wanted = recommendation(used / seconds / TARGET, current) if seconds > 0 else current
    tick = int(memory.shared[KEPT])
    memory.shared[KEPT] += 1.0
    memory.shared[tick % KEPT] = max(wanted, current) if tick == 0 else wanted  # it starts from the fleet that it finds
    if wanted < current:
        for k in range(KEPT):
            wanted = max(wanted, int(memory.shared[k]))
        wanted = min(wanted, current)
    return max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
