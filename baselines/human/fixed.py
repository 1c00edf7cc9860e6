"""Fixed fleet: the pool keeps the size that it started with.

What most clusters do, and the plain reference of autoscaling: it never pays for a cold start.

Source: static provisioning: a deployment without an autoscaler.
Loses: whenever the load moves: sized for the peak it idles, sized for the mean it queues.
"""

from glia_bench.features import Cluster, Memory, Window

SOURCE = "textbook: static provisioning; no single publication"


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Ask for what was asked for last."""
    return int(window.desired[0])
