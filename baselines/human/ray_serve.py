"""Ray Serve's autoscaler: a replica for every TARGET requests in flight, once that has been wanted for long enough.

Every second the mean of running, waiting and held requests over the last LOOK_BACK_S, divided by TARGET, is the size
wanted, rounded up. It is brought about when every tick of more than UPSCALE_DELAY_S (or of more than DOWNSCALE_DELAY_S)
has wanted a larger (or smaller) pool than there is; a tick that wants the other direction, or none, starts the count
anew. The factors shorten or stretch a step, reckoned from the ready replicas. Ray decides every 0.1 s and hears of
requests every 10 s; here both happen every second.

Source: Ray Serve's default policy and its defaults.
Loses: where the load is light: with Ray's own TARGET a batching engine's fleet is at its largest nearly always, as if
provisioned for the peak; with a delay of 600 s, longer than most lulls; and by 30 s of waiting before a cold start.
"""

import math

from glia_bench.features import Cluster, Memory, Window

SOURCE = "ray-project/ray@00590c45, python/ray/serve/autoscaling_policy.py"
INTERVAL_S = 1.0
TARGET = 2.0
LOOK_BACK_S = 30
UPSCALE_DELAY_S = 30.0
DOWNSCALE_DELAY_S = 600.0
UPSCALING_FACTOR = 1.0
DOWNSCALING_FACTOR = 1.0
TUNABLE = {
    "TARGET": (1.0, 200.0, "log"),
    "LOOK_BACK_S": (1, 600, "log"),
    "UPSCALE_DELAY_S": (0.5, 600.0, "log"),
    "DOWNSCALE_DELAY_S": (0.5, 1200.0, "log"),
    "UPSCALING_FACTOR": (0.1, 4.0, "log"),
    "DOWNSCALING_FACTOR": (0.1, 4.0, "log"),
}
MEMORY = {"shared": 1}  # ticks in a row that wanted more, or, negative, less


def mean_inflight(window: Window, seconds: int) -> float:
    """Return the mean of requests in flight over the newest samples, of those that there are."""
    total, num = 0.0, 0
    for k in range(600 - seconds, 600):
        if window.ready[k, 0] + window.loading[k, 0] + window.draining[k, 0] > 0:  # not before the first sample
            total += window.running[k, 0] + window.waiting[k, 0] + window.held[k, 0]
            num += 1
    return total / num if num > 0 else 0.0


def scaled(desired: float, ready: int) -> int:
    """Return a step towards `desired`, shortened or stretched by its factor; downwards it is one replica at least."""
    factor = UPSCALING_FACTOR if desired > ready else DOWNSCALING_FACTOR
    size = math.ceil(ready + factor * (desired - ready))
    if math.ceil(desired) < ready and size == ready:
        size -= 1
    return size


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Count the ticks that want the same direction; move once there are enough of them."""
    current, ready = int(window.desired[0]), int(window.ready[-1, 0])
    if ready == 0:
        return max(1, current)  # before the first sample, or its replicas are on their way
    wanted = scaled(ready * (mean_inflight(window, LOOK_BACK_S) / (TARGET * ready)), ready)
    wanted = max(1, int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
    ticks = int(memory.shared[0])
    if wanted > current:
        ticks = max(ticks, 0) + 1
        is_due = ticks > int(UPSCALE_DELAY_S / INTERVAL_S)
    elif wanted < current:
        ticks = min(ticks, 0) - 1
        is_due = ticks < -int(DOWNSCALE_DELAY_S / INTERVAL_S)
    else:
        ticks, is_due = 0, False
    memory.shared[0] = 0.0 if is_due else ticks
    return wanted if is_due else current
