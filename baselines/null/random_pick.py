"""Random: any ready replica, with equal probability.

Source: Vidur's random global scheduler; the Random of the Glia paper (arXiv 2510.27176).
Loses: to everything that looks at the cluster; a row that fails to beat it has learnt nothing about load.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

NAME = "random"
SOURCE = "microsoft/vidur@7d475133, global_scheduler/random_global_scheduler.py"


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick a ready replica, uniformly."""
    num_ready = 0
    for i in range(cluster.num_replicas):
        num_ready += replicas.ready[i]
    skip = int(request.u[0] * num_ready)
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            if skip == 0:
                return i
            skip -= 1
    return HOLD
