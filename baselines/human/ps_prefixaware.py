"""Where the longest prefix went before, whatever the load; unknown prompts to the least busy replica.

The router's own table of the prompts that it sent gives each replica's match. If the longest has at least MIN_MATCH
tokens, one of the replicas with it is drawn; else the one with the fewest requests in flight, lowest index on ties.

Source: vLLM production-stack's prefix-aware router; its query rate over the last minute is taken to be the requests in
flight, and its blocks of 128 characters to be KV blocks.
Loses: there is no load term: a popular prefix stays where it was first seen, and that replica drowns.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "vllm-project/production-stack@a6c01db0, src/vllm_router/routers/routing_logic.py, prefix/hashtrie.py"
PREFIX_VIEW = "own"
MIN_MATCH = 1
TUNABLE = {"MIN_MATCH": (1, 16_384, "log")}


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick one of the longest matches, uniformly, or the least busy replica."""
    hit, ties, idlest, fewest = 0, 0, HOLD, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            if replicas.prefix_hit_tokens[i] > hit:
                hit, ties = replicas.prefix_hit_tokens[i], 1
            elif replicas.prefix_hit_tokens[i] == hit:
                ties += 1
            if idlest == HOLD or replicas.inflight[i] < fewest:
                idlest, fewest = i, replicas.inflight[i]
    if hit < MIN_MATCH:
        return idlest
    skip = int(request.u[0] * ties)
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and replicas.prefix_hit_tokens[i] == hit:
            if skip == 0:
                return i
            skip -= 1
    return idlest
