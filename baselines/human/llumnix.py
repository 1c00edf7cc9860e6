"""Llumnix' dispatch: the replica whose free blocks last its requests the longest, the last one on ties.

A replica's freeness is what is left of its free KV blocks after the demand of all that wait there, over the requests
that wait or run: the iterations that they could go on for, if each took a block. An idle replica's is infinite.

Source: Llumnix (OSDI 2024), dispatch by remaining steps without defragmentation. It sorts by "at least as free", so of
equals the last comes first. Its live migration, which mends what dispatch gets wrong, is not modelled.
Loses: where compute, not memory, is short: two replicas with as many free blocks per request may differ much in work.
With metrics seconds old everything goes to the one that was freest.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "AlibabaPAI/llumnix@24220fb8, llumnix/load_computation.py, llumnix/global_scheduler/"


def freeness(replicas: Replicas, i: int) -> float:
    """Return the free blocks for each request of a replica; below 0 if those that wait do not fit."""
    requests = replicas.waiting[i] + replicas.running[i]
    if requests == 0:
        return float("inf")
    free = replicas.capacity_blocks[i] - replicas.allocated_blocks[i] - replicas.waiting_blocks[i]
    return float(free / requests)


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the last of the freest ready replicas."""
    best, most = HOLD, 0.0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            free = freeness(replicas, i)
            if best == HOLD or free >= most:
                best, most = i, free
    return best
