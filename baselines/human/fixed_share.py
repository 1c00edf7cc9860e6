"""Static provisioning by quota: from its first tick on, the pool has SHARE of the largest size that it may have.

The answer is SHARE of max_replicas, rounded to the nearest number, halves up; whatever the load. With SHARE = 1 that is
a fleet for the peak. `fixed` keeps the size that the scenario starts with.

Source: static provisioning, for the peak or for a part of it.
Loses: wherever the load moves and a replica is soon there: a fleet for the peak idles, a smaller one queues.
"""

from glia_bench.features import Cluster, Memory, Window

SOURCE = "textbook: static provisioning; no single publication"
SHARE = 1.0
TUNABLE = {"SHARE": (0.05, 1.0)}


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Ask for the same size at every tick."""
    size = int(SHARE * window.max_replicas[0] + 0.5)
    return max(1, int(window.min_replicas[0]), size)
