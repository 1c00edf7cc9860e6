"""Forecast of the arriving tokens by level and trend, a cold start ahead; never below what the queue asks for now.

Every BIN_S seconds the tokens that arrived, prompts and REPLY_WEIGHT times the requests, enter an exponentially
smoothed level and trend (Holt's method; runs are shorter than a season). The fleet is what brings the forecast for the
next cold start and tick to UTILISATION of CAPACITY tokens a second and replica, or more if WAITING requests wait for
each ready replica.

Source: Holt and Winters' exponential smoothing, as in predictive autoscalers, over a reactive floor.
Loses: a trend runs on after a burst has ended, and CAPACITY is one number for all mixes of prompts and outputs.
"""

import math

from glia_bench.features import Cluster, Memory, Window

SOURCE = "textbook: Holt 1957, Winters 1960; as in predictive autoscaling practice, no single publication"
INTERVAL_S = 10.0
BIN_S = 10
ALPHA = 0.5
BETA = 0.2
CAPACITY = 2500.0
REPLY_WEIGHT = 200.0
UTILISATION = 0.8
WAITING = 5.0
TUNABLE = {
    "ALPHA": (0.05, 1.0),
    "BETA": (0.0, 1.0),
    "CAPACITY": (200.0, 50000.0, "log"),
    "REPLY_WEIGHT": (0.0, 2000.0),
    "WAITING": (0.25, 64.0, "log"),
}
MEMORY = {"shared": 3}  # level and trend, in tokens a second, and whether there are any


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Update the forecast and size the fleet for it."""
    tokens = 0.0
    for k in range(1, BIN_S + 1):
        tokens += (window.arrival_tokens[-k, 0] + REPLY_WEIGHT * window.arrivals[-k, 0]) / BIN_S
    if memory.shared[2] == 0.0:
        memory.shared[0], memory.shared[2] = tokens, 1.0
    else:
        before = memory.shared[0]
        memory.shared[0] = ALPHA * tokens + (1.0 - ALPHA) * (before + memory.shared[1])
        memory.shared[1] = BETA * (memory.shared[0] - before) + (1.0 - BETA) * memory.shared[1]
    ahead = (window.cold_start_s[0] + INTERVAL_S) / INTERVAL_S
    forecast = max(0.0, memory.shared[0] + ahead * memory.shared[1])
    wanted = math.ceil(forecast / (CAPACITY * UTILISATION))
    ready = max(1, int(window.ready[-1, 0]))
    if window.waiting[-1, 0] + window.held[-1, 0] > WAITING * ready:
        wanted = max(wanted, int(window.desired[0]), ready + 1)
    return max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
