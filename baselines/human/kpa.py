"""Knative's KPA: concurrency over a stable and a panic window; in a panic the fleet only grows.

Concurrency is what waits, is held or runs in the pool. Every 2 s its mean over STABLE_S and over a tenth of that is
divided by TARGET; both sizes are kept between half of the ready replicas and MAX_SCALE_UP times them. If the short
window asks for PANIC_THRESHOLD times the ready replicas or more, a panic begins: the larger size counts and is not
lowered until the short window has stayed below the threshold for STABLE_S.

Source: Knative serving's autoscaler with its defaults: 70 % of a container concurrency of 100, 60 s and 6 s, 200 %.
Loses: where a replica serves more or fewer than TARGET requests at a time, as LLM replicas do, until it is tuned.
"""

import math

from glia_bench.features import Cluster, Memory, Window

SOURCE = "knative/serving@98e5ef90, pkg/autoscaler/scaling/autoscaler.go, config/core/configmaps/autoscaler.yaml"
INTERVAL_S = 2.0
TARGET = 70.0
STABLE_S = 60
PANIC_THRESHOLD = 2.0
MAX_SCALE_UP = 1000.0
MAX_SCALE_DOWN = 2.0
TUNABLE = {"TARGET": (1.0, 256.0, "log"), "STABLE_S": (10, 600, "log"), "PANIC_THRESHOLD": (1.1, 8.0)}
MEMORY = {"shared": 3}  # ticks so far, tick up to which a panic lasts (0: none), largest size of the panic


def mean_of(window: Window, seconds: int) -> float:
    """Return the mean concurrency over the newest seconds."""
    total = 0.0
    for k in range(1, seconds + 1):
        total += window.waiting[-k, 0] + window.running[-k, 0] + window.held[-k, 0]
    return total / seconds


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Return the size that the windows ask for."""
    ready = max(1, int(window.ready[-1, 0]))
    panic_s = max(2, STABLE_S // 10)
    wanted_stable = math.ceil(mean_of(window, STABLE_S) / TARGET)
    wanted_panic = math.ceil(mean_of(window, panic_s) / TARGET)
    lowest, highest = int(ready / MAX_SCALE_DOWN), math.ceil(MAX_SCALE_UP * ready)
    stable = max(lowest, min(wanted_stable, highest))
    panic = max(lowest, min(wanted_panic, highest))
    memory.shared[0] += 1.0
    if wanted_panic / ready >= PANIC_THRESHOLD:
        memory.shared[1] = memory.shared[0] + STABLE_S // 2  # in ticks of 2 s
    if memory.shared[0] <= memory.shared[1]:
        memory.shared[2] = max(memory.shared[2], float(max(stable, panic)))
        stable = int(memory.shared[2])
    else:
        memory.shared[2] = 0.0
    return max(int(window.min_replicas[0]), min(stable, int(window.max_replicas[0])))
