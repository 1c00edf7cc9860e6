"""Weighted scores over reported caches: a cached prefix counts twice, a short queue and free memory once each.

Each score is in [0, 1]: the share of the prompt's whole blocks that are cached there by the engines' cache events, the
queue's place between the longest and the shortest, and the share of KV blocks that are free. Ties at random.

Source: llm-d's endpoint picker, its profile for precise prefix caching.
Loses: where several short requests of one prefix arrive together: they all follow a cache that is being filled, or all
miss it before its event arrives. It sees no running requests, and metrics and events lag.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "llm-d/llm-d-router@ebab6879, deploy/config/epp-precise-prefix-cache-config.yaml"
PREFIX_VIEW = "events"
TUNABLE = {"PREFIX_WEIGHT": (0.0, 10.0), "QUEUE_WEIGHT": (0.0, 10.0), "KV_WEIGHT": (0.0, 10.0)}
PREFIX_WEIGHT = 2.0
QUEUE_WEIGHT = 1.0
KV_WEIGHT = 1.0


def score(i: int, request: Request, replicas: Replicas, cluster: Cluster, shortest: int, longest: int) -> float:
    """Return the weighted sum of a replica's scores, given the shortest and the longest queue of the ready ones."""
    queue = 1.0
    if longest > shortest:
        queue = (longest - replicas.waiting[i]) / (longest - shortest)
    free = 1.0 - replicas.allocated_blocks[i] / replicas.capacity_blocks[i]
    blocks = request.prompt_tokens // cluster.block_size_tokens
    match = 0.0
    if blocks > 0:
        match = min(replicas.prefix_hit_tokens[i] // cluster.block_size_tokens, blocks) / blocks
    return PREFIX_WEIGHT * match + QUEUE_WEIGHT * queue + KV_WEIGHT * free


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick one of the ready replicas with the highest score, uniformly."""
    shortest, longest, num_ready = 0, 0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            shortest = replicas.waiting[i] if num_ready == 0 else min(shortest, replicas.waiting[i])
            longest = max(longest, replicas.waiting[i])
            num_ready += 1
    highest, ties = 0.0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            value = score(i, request, replicas, cluster, shortest, longest)
            if ties == 0 or value > highest:
                highest, ties = value, 1
            elif value == highest:
                ties += 1
    skip = int(request.u[0] * ties)
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and score(i, request, replicas, cluster, shortest, longest) == highest:
            if skip == 0:
                return i
            skip -= 1
    return HOLD
