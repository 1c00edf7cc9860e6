"""Least time to first token: what is to be prefilled there, then the uncached prompt, by the iteration-time model.

The prompts that a replica has not answered yet and the uncached part of this one are cut into iterations of its token
budget, less one token for each request in flight; each iteration costs its fixed part, its tokens, and DECODE_WEIGHT
times the context that is read beside. QUEUE_WEIGHT scales the work ahead. The least is taken, the lowest index on ties.

Source: Mooncake's Conductor (FAST 2025), which prefills on nodes apart; the model of a replica that also decodes is
ours. It rejects what would miss its objective; here that would be charged as never answered, so all are dispatched.
Loses: on long outputs: who answers first may be who decodes slowest, and memory is not seen. Of prompts ahead it does
not know what is cached or half done.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

NAME = "ttft_min-style"
SOURCE = "Qin et al., Mooncake: A KVCache-centric Disaggregated Architecture (arXiv 2407.00079), algorithm 1"
PREFIX_VIEW = "own"
QUEUE_WEIGHT = 1.0
DECODE_WEIGHT = 1.0
TUNABLE = {"QUEUE_WEIGHT": (0.0, 4.0), "DECODE_WEIGHT": (0.0, 16.0)}


def first_token_s(request: Request, replicas: Replicas, cluster: Cluster, i: int) -> float:
    """Return the seconds to the first token on a replica, by the model."""
    perf = cluster.perf
    own = max(request.prompt_tokens - replicas.prefix_hit_tokens[i], 1)
    tokens = QUEUE_WEIGHT * replicas.unprefilled_tokens[i] + own
    iterations = 1.0 + tokens // max(1, replicas.token_budget[i] - replicas.inflight[i])
    decoding = max(0, replicas.inflight_tokens[i] - replicas.unprefilled_tokens[i])
    each_s = perf.fixed_s + DECODE_WEIGHT * perf.context_token_s * decoding
    return float((iterations * each_s + tokens * perf.token_s) / replicas.speed[i])


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the replica that answers first."""
    best, least = HOLD, 0.0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            seconds = first_token_s(request, replicas, cluster, i)
            if best == HOLD or seconds < least:
                best, least = i, seconds
    return best
