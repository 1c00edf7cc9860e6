"""Weighted scores as in llm-d, with the index of what replicas really hold: prefix 2, queue 1, free memory 1.

The queue score is 1 for the shortest waiting queue and 0 for the longest (1 for all if equal), the memory score the
free share of KV blocks, the prefix score the share of the prompt that the replica has cached by its KV events. The
highest sum is taken, ties at random.

Source: llm-d router, the profile "precise prefix cache", which BLIS takes as its default too.
Loses: a queue of one against none counts as much as fifty against none; events are late in a burst of equal prompts.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "llm-d/llm-d-router@ebab6879, deploy/config/epp-precise-prefix-cache-config.yaml"
PREFIX_VIEW = "events"
QUEUE_WEIGHT = 1.0
KV_WEIGHT = 1.0
PREFIX_WEIGHT = 2.0
TUNABLE = {"QUEUE_WEIGHT": (0.0, 6.0), "KV_WEIGHT": (0.0, 6.0), "PREFIX_WEIGHT": (0.0, 6.0)}


def score(request: Request, replicas: Replicas, i: int, shortest: int, longest: int) -> float:
    """Return the weighted sum for one replica."""
    spread = longest - shortest
    queue = (longest - replicas.waiting[i]) / spread if spread > 0 else 1.0
    free = 1.0 - replicas.allocated_blocks[i] / replicas.capacity_blocks[i]
    hit = replicas.prefix_hit_tokens[i] / request.prompt_tokens
    return QUEUE_WEIGHT * queue + KV_WEIGHT * free + PREFIX_WEIGHT * hit


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick one of the replicas with the highest score, uniformly."""
    shortest, longest, num_ready = 0, 0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            shortest = replicas.waiting[i] if num_ready == 0 else min(shortest, replicas.waiting[i])
            longest = max(longest, replicas.waiting[i])
            num_ready += 1
    best, ties = -1.0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            value = score(request, replicas, i, shortest, longest)
            if ties == 0 or value > best:
                best, ties = value, 1
            elif value == best:
                ties += 1
    skip = int(request.u[0] * ties)
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and score(request, replicas, i, shortest, longest) == best:
            if skip == 0:
                return i
            skip -= 1
    return HOLD
