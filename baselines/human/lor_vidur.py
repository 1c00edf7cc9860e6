"""Fewest waiting requests: Vidur's "least outstanding requests", which does not count those that run.

The lowest index wins a tie, as in the original, which scans replicas in order.

Source: Vidur's LOR global scheduler; the LOR of the Glia paper (arXiv 2510.27176).
Loses: at moderate load, when nothing waits anywhere: every replica ties at zero and the first one is filled up. Blind
to memory, so it cannot see the preemptions that it causes.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "microsoft/vidur@7d475133, global_scheduler/lor_global_scheduler.py"


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the replica with the fewest waiting requests; the lowest index on ties."""
    best, fewest = HOLD, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and (best == HOLD or replicas.waiting[i] < fewest):
            best, fewest = i, replicas.waiting[i]
    return best
