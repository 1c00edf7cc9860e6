"""Longest prefix sent before, whatever the load: one of the replicas that share the longest match, at random.

Matches are counted in chunks of 32 tokens (128 characters in the original) over what this router has dispatched. A
match shorter than MIN_MATCH_TOKENS goes to the least loaded replica instead: here the fewest requests in flight, there
the lowest rate of requests. With the default of 0 a new prompt, which matches all replicas equally, goes to any.

Source: production-stack's prefix-aware router. Its trie never forgets; the view here holds as much as a replica does.
Loses: on any prefix that many requests share: whoever got it first gets it for ever, with no load to say stop. New
prompts are placed blindly.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "vllm-project/production-stack@a6c01db0, src/vllm_router/{routers/routing_logic,prefix/hashtrie}.py"
PREFIX_VIEW = "own"
TUNABLE = {"MIN_MATCH_TOKENS": (0, 16384)}
MIN_MATCH_TOKENS = 0
CHUNK_TOKENS = 32


def is_candidate(i: int, replicas: Replicas, matched: int, fewest: int) -> bool:
    """Return whether a ready replica has the longest match, or the fewest in flight if that match is too short."""
    if matched < MIN_MATCH_TOKENS:
        return bool(replicas.inflight[i] == fewest)
    return bool(replicas.prefix_hit_tokens[i] // CHUNK_TOKENS * CHUNK_TOKENS == matched)


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick one of the ready replicas with the longest match, uniformly; the least loaded if it is too short."""
    matched, fewest = -1, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            fewest = replicas.inflight[i] if matched < 0 else min(fewest, replicas.inflight[i])
            matched = max(matched, replicas.prefix_hit_tokens[i] // CHUNK_TOKENS * CHUNK_TOKENS)
    candidates = 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and is_candidate(i, replicas, matched, fewest):
            candidates += 1
    skip = int(request.u[0] * candidates) if matched >= MIN_MATCH_TOKENS else 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and is_candidate(i, replicas, matched, fewest):
            if skip == 0:
                return i
            skip -= 1
    return HOLD
