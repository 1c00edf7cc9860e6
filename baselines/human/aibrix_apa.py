"""AIBrix' APA: requests in flight per replica against TARGET, with a tolerance each way and steps of at most a factor.

The mean over STABLE_S seconds of requests in flight for each ready replica, over TARGET, is the ratio. Above 1 plus
UP_TOLERANCE the fleet becomes ceil(ratio * size), at most MAX_UP times as large; below 1 minus DOWN_TOLERANCE likewise,
at least 1 / MAX_DOWN of it, and to the largest such size of the last COOLDOWN_TICKS ticks.

Source: AIBrix' pod autoscaler, APA with its defaults (180 s, 10 %, factors 2, 300 s before it shrinks).
Loses: three minutes of averaging are longer than most bursts.
"""

import math

from glia_bench.features import Cluster, Memory, Window

SOURCE = "vllm-project/aibrix@e3e10f9e, pkg/controller/podautoscaler/algorithm/apa.go"
INTERVAL_S = 10.0
TARGET = 32.0
STABLE_S = 180
UP_TOLERANCE = 0.1
DOWN_TOLERANCE = 0.1
MAX_UP = 2.0
MAX_DOWN = 2.0
COOLDOWN_TICKS = 30
TUNABLE = {
    "TARGET": (1.0, 256.0, "log"),
    "STABLE_S": (5, 300, "log"),
    "UP_TOLERANCE": (0.0, 0.5),
    "DOWN_TOLERANCE": (0.0, 0.5),
    "COOLDOWN_TICKS": (1, 60, "log"),
}
MEMORY = {"shared": COOLDOWN_TICKS + 1}  # the last sizes, in a ring, and how many there were


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Follow the ratio within the limits of a step."""
    current, ready = int(window.desired[0]), max(1, int(window.ready[-1, 0]))
    inflight = 0.0
    for k in range(1, STABLE_S + 1):
        inflight += (window.waiting[-k, 0] + window.running[-k, 0] + window.held[-k, 0]) / STABLE_S
    ratio = inflight / (ready * TARGET)
    wanted = current
    if ratio > 1.0 + UP_TOLERANCE:
        wanted = min(math.ceil(current * ratio), math.ceil(MAX_UP * current))
    elif ratio < 1.0 - DOWN_TOLERANCE:
        wanted = max(math.ceil(current * ratio), int(current / MAX_DOWN))
    tick = int(memory.shared[COOLDOWN_TICKS])
    memory.shared[COOLDOWN_TICKS] += 1.0
    memory.shared[tick % COOLDOWN_TICKS] = max(wanted, current) if tick == 0 else wanted
    if wanted < current:
        for k in range(COOLDOWN_TICKS):
            wanted = max(wanted, min(current, int(memory.shared[k])))
    return max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
