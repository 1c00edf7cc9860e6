"""Least-loaded queue: fewest requests on the replica, waiting and running together.

The lowest index wins a tie. The designers of the Glia paper all start from this program.

Source: LLQ of the Glia paper (arXiv 2510.27176).
Loses: near saturation. It counts requests, not their memory, and holds none back, so replicas admit more than their KV
cache can carry and preempt; a quarter of all requests restart at the paper's operating point.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "mit-nms/Engram@17bff7a, SystemBench/vidur/baselines.py (CustomGlobalSchedulerV2)"


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the replica with the fewest waiting and running requests; the lowest index on ties."""
    best, fewest = HOLD, 0
    for i in range(cluster.num_replicas):
        load = replicas.waiting[i] + replicas.running[i]
        if replicas.ready[i] == 1 and (best == HOLD or load < fewest):
            best, fewest = i, load
    return best
