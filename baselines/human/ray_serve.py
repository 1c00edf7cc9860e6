"""Ray Serve: as many replicas as bring ongoing requests to TARGET each, once the same direction has held long enough.

Ongoing requests wait, are held or run; their mean over LOOK_BACK_S seconds over TARGET is the size wanted. The fleet
grows when more has been wanted for UPSCALE_DELAY_S without a break, and shrinks when less has been for
DOWNSCALE_DELAY_S; a change of direction starts the count again.

Source: Ray Serve's default autoscaling policy with its defaults; its control loop of 0.1 s runs every second here.
Loses: on anything faster than its delays: a burst is over before it acts, and replicas stay for ten minutes after.
"""

import math

from glia_bench.features import Cluster, Memory, Window

SOURCE = "ray-project/ray@00590c45, python/ray/serve/autoscaling_policy.py"
INTERVAL_S = 1.0
TARGET = 2.0
LOOK_BACK_S = 30
UPSCALE_DELAY_S = 30
DOWNSCALE_DELAY_S = 600
TUNABLE = {
    "TARGET": (1.0, 256.0, "log"),
    "LOOK_BACK_S": (1, 120, "log"),
    "UPSCALE_DELAY_S": (1, 120, "log"),
    "DOWNSCALE_DELAY_S": (1, 1200, "log"),
}
MEMORY = {"shared": 1}  # seconds for which more (above 0) or less (below 0) has been wanted


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Follow the ongoing requests after the delay of their direction."""
    current = int(window.desired[0])
    ongoing = 0.0
    for k in range(1, LOOK_BACK_S + 1):
        ongoing += (window.waiting[-k, 0] + window.running[-k, 0] + window.held[-k, 0]) / LOOK_BACK_S
    wanted = math.ceil(ongoing / TARGET)
    wanted = max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
    held = memory.shared[0]
    if wanted > current:
        memory.shared[0] = max(held, 0.0) + 1.0
        if memory.shared[0] > UPSCALE_DELAY_S:
            memory.shared[0] = 0.0
            return wanted
    elif wanted < current:
        memory.shared[0] = min(held, 0.0) - 1.0
        if memory.shared[0] < -DOWNSCALE_DELAY_S:
            memory.shared[0] = 0.0
            return wanted
    else:
        memory.shared[0] = 0.0
    return current
