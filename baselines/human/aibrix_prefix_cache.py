"""Best prefix match among replicas that are not crowded: at most one standard deviation above the mean load.

Candidates come in order of the share of the prompt's blocks that this router has sent there (whole per cents), then of
requests in flight, ties at random; the first within STD_FACTOR sample standard deviations of the mean takes it. Where
requests in flight differ by more than IMBALANCE, only the least loaded replicas are candidates.

Source: AIBrix's prefix-cache router, local index with blocks of the engine's size.
Loses: with long prompts, as 8 requests more may be minutes of prefill; on two replicas, where the larger load is never
a whole deviation above the mean, so that only IMBALANCE balances. It sees counts, no tokens and no memory.
"""

import math

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "vllm-project/aibrix@e3e10f9e, pkg/plugins/gateway/algorithms/prefix_cache.go"
PREFIX_VIEW = "own"
TUNABLE = {"IMBALANCE": (0, 128), "STD_FACTOR": (0.0, 4.0)}
IMBALANCE = 8
STD_FACTOR = 1.0


def percent(i: int, request: Request, replicas: Replicas, cluster: Cluster) -> int:
    """Return how many per cent of the prompt's whole blocks a replica has been sent."""
    blocks = request.prompt_tokens // cluster.block_size_tokens
    return 100 * (replicas.prefix_hit_tokens[i] // cluster.block_size_tokens) // max(blocks, 1)


def crowd_limit(replicas: Replicas, cluster: Cluster) -> float:
    """Return the most requests in flight that a replica may have to be chosen for its cache."""
    num, total = 0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            num += 1
            total += replicas.inflight[i]
    mean, squares = total / max(num, 1), 0.0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            squares += (replicas.inflight[i] - mean) * (replicas.inflight[i] - mean)
    return mean + STD_FACTOR * math.sqrt(squares / max(num - 1, 1))


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the best match within the limit, then the fewest in flight, uniformly among equals."""
    fewest, most = -1, -1
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            fewest = replicas.inflight[i] if fewest < 0 else min(fewest, replicas.inflight[i])
            most = max(most, replicas.inflight[i])
    limit = crowd_limit(replicas, cluster)
    if most - fewest > IMBALANCE:
        limit = float(fewest)
    limit = max(limit, float(fewest))  # the fewest are never above a mean, but for rounding
    best, best_match, least, ties = HOLD, 0, 0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and replicas.inflight[i] <= limit:
            load, match = replicas.inflight[i], percent(i, request, replicas, cluster)
            if best == HOLD or match > best_match or (match == best_match and load < least):
                best, best_match, least, ties = i, match, load, 1
            elif match == best_match and load == least:
                ties += 1
    skip = int(request.u[0] * ties)
    for i in range(cluster.num_replicas):
        is_ready = replicas.ready[i] == 1 and replicas.inflight[i] == least
        if is_ready and percent(i, request, replicas, cluster) == best_match:
            if skip == 0:
                return i
            skip -= 1
    return HOLD
