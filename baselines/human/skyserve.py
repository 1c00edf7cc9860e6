"""SkyServe's request-rate autoscaler: a replica for every QPS_PER_REPLICA requests a second, after a long delay.

Every 20 s the arrivals of the last WINDOW_S, over WINDOW_S and QPS_PER_REPLICA and rounded up, are the size wanted. It
is brought about by the tick that completes UPSCALE_DELAY_S of ticks in a row that want a larger pool, or
DOWNSCALE_DELAY_S of ticks that want a smaller one; a tick that wants neither starts both counts anew, and one direction
the other's.

Source: SkyPilot's RequestRateAutoscaler with its delays; QPS_PER_REPLICA as in the example of its documentation. The
placement of spot replicas is left out.
Loses: where requests change: a rate says nothing of their lengths, and one QPS_PER_REPLICA fits one workload on one
GPU. Five minutes are longer than the bursts that it would have to meet.
"""

import math

from glia_bench.features import Cluster, Memory, Window

SOURCE = "skypilot-org/skypilot, sky/serve/autoscalers.py, sky/serve/constants.py"
INTERVAL_S = 20.0
QPS_PER_REPLICA = 2.5
WINDOW_S = 60
UPSCALE_DELAY_S = 300.0
DOWNSCALE_DELAY_S = 1200.0
TUNABLE = {
    "QPS_PER_REPLICA": (0.1, 20.0, "log"),
    "WINDOW_S": (10, 600, "log"),
    "UPSCALE_DELAY_S": (20.0, 600.0, "log"),
    "DOWNSCALE_DELAY_S": (20.0, 2400.0, "log"),
}
MEMORY = {"shared": 2}  # ticks in a row that wanted more, and that wanted less


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Count the ticks that want the same direction; move with the one that completes the delay."""
    current = int(window.desired[0])
    arrived = 0.0
    for k in range(600 - WINDOW_S, 600):
        arrived += window.arrivals[k, 0]
    wanted = math.ceil(arrived / WINDOW_S / QPS_PER_REPLICA)
    wanted = max(1, int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
    if current == 0:
        return wanted
    ups, downs = int(memory.shared[0]), int(memory.shared[1])
    ups = ups + 1 if wanted > current else 0
    downs = downs + 1 if wanted < current else 0
    is_due = False
    if wanted > current and ups >= int(UPSCALE_DELAY_S / INTERVAL_S):
        ups, is_due = 0, True
    if wanted < current and downs >= int(DOWNSCALE_DELAY_S / INTERVAL_S):
        downs, is_due = 0, True
    memory.shared[0], memory.shared[1] = ups, downs
    return wanted if is_due else current
