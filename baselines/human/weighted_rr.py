"""Smooth weighted round robin: replicas take turns in proportion to their speed, without runs of one of them.

Every replica's credit grows by its relative speed at each request; the largest credit is taken, lowest index on ties,
and pays the sum of all speeds.

Source: nginx' smooth weighted round-robin balancing; the weight is the replica's relative speed.
Loses: it knows how fast replicas are, not how full: requests that differ in size pile up by chance.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "nginx, ngx_http_upstream_round_robin.c (smooth weighted round robin)"
MEMORY = {"replica": 1}  # credit


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the ready replica with the most credit."""
    best, total = HOLD, 0.0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            memory.replica[i, 0] += replicas.speed[i]
            total += replicas.speed[i]
            if best == HOLD or memory.replica[i, 0] > memory.replica[best, 0]:
                best = i
    if best != HOLD:
        memory.replica[best, 0] -= total
    return best
