"""Longest cached prefix among replicas that are not much busier than the mean; the least busy where loads lie apart.

If the requests in flight differ by more than IMBALANCE, only the replicas with the fewest are candidates. Of those the
longest match in the router's own table wins, then the fewest in flight, then the draw; it must have at most the mean
and STD_FACTOR sample standard deviations in flight. If none has, the fewest in flight, ties at random.

Source: AIBrix, prefix-cache router.
Loses: the mean plus one deviation is generous with few replicas, so a hot prefix may keep one of them overloaded.
"""

import math

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "vllm-project/aibrix@e3e10f9e, pkg/plugins/gateway/algorithms/prefix_cache.go"
PREFIX_VIEW = "own"
IMBALANCE = 8
STD_FACTOR = 1.0
TUNABLE = {"IMBALANCE": (0, 128), "STD_FACTOR": (0.0, 4.0)}


def limit(replicas: Replicas, cluster: Cluster) -> float:
    """Return the most requests in flight that a candidate may have."""
    total, squares, num = 0.0, 0.0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            total += replicas.inflight[i]
            num += 1
    mean = total / max(1, num)
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            squares += (replicas.inflight[i] - mean) * (replicas.inflight[i] - mean)
    return mean + STD_FACTOR * (math.sqrt(squares / (num - 1)) if num > 1 else 0.0)


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the longest match within the limits, else one of the least busy."""
    fewest, most, num_ready = 0, 0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            fewest = replicas.inflight[i] if num_ready == 0 else min(fewest, replicas.inflight[i])
            most = max(most, replicas.inflight[i])
            num_ready += 1
    most_allowed = limit(replicas, cluster)
    if most - fewest > IMBALANCE:
        most_allowed = min(most_allowed, float(fewest))
    hit, load, ties = -1, 0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and replicas.inflight[i] <= most_allowed:
            if replicas.prefix_hit_tokens[i] > hit or (
                replicas.prefix_hit_tokens[i] == hit and replicas.inflight[i] < load
            ):
                hit, load, ties = replicas.prefix_hit_tokens[i], replicas.inflight[i], 1
            elif replicas.prefix_hit_tokens[i] == hit and replicas.inflight[i] == load:
                ties += 1
    skip = int(request.u[0] * ties)
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and replicas.prefix_hit_tokens[i] == hit and replicas.inflight[i] == load:
            if skip == 0:
                return i
            skip -= 1
    return HOLD
