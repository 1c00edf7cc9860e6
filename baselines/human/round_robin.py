"""Round robin: replicas take turns, whatever they are doing.

One counter over the ready replicas in index order, kept when replicas come or go.

Source: Vidur's round-robin global scheduler; the RR of the Glia paper (arXiv 2510.27176).
Loses: whenever requests differ in size or replicas in load. It sends work to a full replica while another is idle.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "microsoft/vidur@7d475133, global_scheduler/round_robin_global_scheduler.py"
MEMORY = {"shared": 1}


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the next ready replica in turn."""
    num_ready = 0
    for i in range(cluster.num_replicas):
        num_ready += replicas.ready[i]
    if num_ready == 0:
        return HOLD
    turn = int(memory.shared[0]) % num_ready
    memory.shared[0] += 1.0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            if turn == 0:
                return i
            turn -= 1
    return HOLD
