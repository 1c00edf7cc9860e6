"""Least KV memory: the replica whose KV cache is used least, the last one on ties.

The share of blocks that running requests hold is what engines report; cached blocks that nobody references are free.

Source: AIBrix, least-kv-cache router, which scans with "at most" and so keeps the last minimum.
Loses: where waiting requests pile up before they hold any memory, most of all with metrics that are seconds old.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "vllm-project/aibrix@e3e10f9e, pkg/plugins/gateway/algorithms/least_kv_cache.go"


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the last of the ready replicas with the smallest share of blocks in use."""
    best = HOLD
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            mine = replicas.allocated_blocks[i] * replicas.capacity_blocks[max(best, 0)]
            if best == HOLD or mine <= replicas.allocated_blocks[best] * replicas.capacity_blocks[i]:
                best = i
    return best
