"""Weighted scores: a short queue, a free KV cache and a cached prefix add up, ties broken at random.

Each score is in [0, 1]: the queue's place between the longest and the shortest, the share of KV blocks that are free,
and the share of the prompt's whole blocks (of 64 tokens, of at most 131,072) that this router has sent there before.

Source: llm-d's endpoint picker (Gateway API inference extension), default profile and weights.
Loses: where one waiting request spans the whole range of the queue score and moves a session off its cache, and
wherever load sits in running requests, which no score sees. Scraped metrics lag, so bursts pile up on one replica.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "llm-d/llm-d-router@ebab6879, pkg/epp/config/loader/defaults.go; scorer/{queue,kvcacheutilization,prefix}"
PREFIX_VIEW = "own"
TUNABLE = {"QUEUE_WEIGHT": (0.0, 10.0), "KV_WEIGHT": (0.0, 10.0), "PREFIX_WEIGHT": (0.0, 10.0)}
QUEUE_WEIGHT = 2.0
KV_WEIGHT = 2.0
PREFIX_WEIGHT = 3.0
BLOCK_TOKENS = 64
MATCHED_TOKENS = 131072


def score(i: int, request: Request, replicas: Replicas, cluster: Cluster, shortest: int, longest: int) -> float:
    """Return the weighted sum of a replica's scores, given the shortest and the longest queue of the ready ones."""
    queue = 1.0
    if longest > shortest:
        queue = (longest - replicas.waiting[i]) / (longest - shortest)
    free = 1.0 - replicas.allocated_blocks[i] / replicas.capacity_blocks[i]
    block = max(BLOCK_TOKENS, cluster.block_size_tokens)
    blocks, hits = min(request.prompt_tokens, MATCHED_TOKENS) // block, replicas.prefix_hit_tokens[i] // block
    match = 0.0
    if blocks > 0:
        match = min(hits, blocks) / blocks
    return QUEUE_WEIGHT * queue + KV_WEIGHT * free + PREFIX_WEIGHT * match


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
