"""Knative's pod autoscaler: requests in flight averaged over a minute, and a panic mode that averages over 6 s.

Every 2 s both means over TARGET give a number of replicas, at least half of the ready ones. Once the short one is
PANIC_THRESHOLD times the ready replicas, the pool panics: it follows the larger of the two and does not shrink until
STABLE_S have passed without that. Outside panic the minute decides alone. Loading replicas do not count. Like Knative's
own, it starts in panic, at the size that it finds; here no pool shrinks to none. In flight are running, waiting and
held requests.

Source: Knative Serving's KPA; TARGET is 70 % of its default of 100 requests at once.
Loses: with Knative's own TARGET on GPUs, where 70 requests at once are far too many; while replicas load, whose absence
keeps it in panic; and it shrinks within a minute of a lull unless DELAY_S says otherwise.
"""

import math

from glia_bench.features import Cluster, FloatArray, Memory, Window

SOURCE = "knative/serving@98e5ef90, pkg/autoscaler/scaling/autoscaler.go, config/core/configmaps/autoscaler.yaml"
INTERVAL_S = 2.0
TARGET = 70.0
STABLE_S = 60
PANIC_SHARE = 0.1
PANIC_THRESHOLD = 2.0
MAX_UP_RATE = 1000.0
MAX_DOWN_RATE = 2.0
DELAY_S = 0
TUNABLE = {
    "TARGET": (2.0, 200.0, "log"),
    "STABLE_S": (6, 600, "log"),
    "PANIC_SHARE": (0.01, 1.0, "log"),
    "PANIC_THRESHOLD": (1.1, 10.0, "log"),
    "MAX_DOWN_RATE": (1.1, 10.0, "log"),
    "DELAY_S": (0, 600),
}
PANIC_S = max(1, round(STABLE_S * PANIC_SHARE))
KEPT = max(1, math.ceil(DELAY_S / INTERVAL_S))  # decisions of which the highest holds
TICKS, CALM_TICKS, HIGHEST, RING = 0, 1, 2, 3  # decisions; since the threshold was crossed, -1: no panic; panic's size
MEMORY = {"shared": RING + KEPT}


def mean_inflight(window: Window, seconds: int) -> float:
    """Return the mean of requests in flight over the newest samples, of those that there are."""
    total, num = 0.0, 0
    for k in range(600 - seconds, 600):
        if window.ready[k, 0] + window.loading[k, 0] + window.draining[k, 0] > 0:  # not before the first sample
            total += window.running[k, 0] + window.waiting[k, 0] + window.held[k, 0]
            num += 1
    return total / num if num > 0 else 0.0


def delayed(wanted: int, tick: int, ring: FloatArray) -> int:
    """Note a decision in the ring; return the highest of those in it."""
    ring[tick % KEPT] = wanted
    highest = wanted
    for k in range(KEPT):
        highest = max(highest, int(ring[k]))
    return highest


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Follow the minute, or in panic the larger of both means, upwards only."""
    state, current = memory.shared, int(window.desired[0])
    tick = int(state[TICKS])
    state[TICKS] += 1.0
    if tick == 0:
        state[CALM_TICKS] = 0.0 if current > 1 else -1.0
        state[HIGHEST] = current
    if window.ready[-1, 0] + window.loading[-1, 0] + window.draining[-1, 0] == 0:  # no sample yet
        return current
    ready = max(1, int(window.ready[-1, 0]))
    least, most = math.floor(ready / MAX_DOWN_RATE), math.ceil(MAX_UP_RATE * ready)
    stable = math.ceil(mean_inflight(window, STABLE_S) / TARGET)
    panic = math.ceil(mean_inflight(window, PANIC_S) / TARGET)
    if panic / ready >= PANIC_THRESHOLD:
        state[CALM_TICKS] = 0.0
    elif state[CALM_TICKS] >= 0:
        state[CALM_TICKS] += 1.0
        if state[CALM_TICKS] * INTERVAL_S > STABLE_S:
            state[CALM_TICKS], state[HIGHEST] = -1.0, 0.0
    wanted = min(max(stable, least), most)
    if state[CALM_TICKS] >= 0:
        wanted = max(wanted, min(max(panic, least), most), int(state[HIGHEST]))
        state[HIGHEST] = wanted
    wanted = delayed(wanted, tick, state[RING:])
    return max(1, int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
