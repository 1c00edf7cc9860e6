"""Nearly whole prompt cached: the replica with the longest cached prefix, if it leaves at most 2,000 tokens to compute.

Otherwise, or where nothing is cached, the session's replica on a hash ring, and outside a session the fewest requests
in flight (the lowest rate of requests in the original). The lowest index wins ties of either kind. What is cached comes
from the engines' cache events, as from the original's cache controller.

Source: production-stack's KV-aware router with LMCache's controller.
Loses: with prompts below 2,000 tokens, which follow any single cached block, so that a common system prompt herds
everybody to one replica; no load stops it. Half of a very long prompt cached counts for nothing.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "vllm-project/production-stack@a6c01db0, src/vllm_router/routers/routing_logic.py (KvawareRouter)"
PREFIX_VIEW = "events"
TUNABLE = {"THRESHOLD_TOKENS": (0, 32768)}
THRESHOLD_TOKENS = 2000
VIRTUAL_NODES = 40
MASK = 0x7FFFFFFF


def mixed(number: int) -> int:
    """Return a hash of a number below 2**31, of 31 bits; no two numbers share one."""
    number = (((number >> 16) ^ number) * 0x45D9F3B) & MASK
    number = (((number >> 16) ^ number) * 0x45D9F3B) & MASK
    return (number >> 16) ^ number


def distance(session: int, i: int) -> int:
    """Return how far clockwise of a session's place on the ring a replica's next point is."""
    place, nearest = mixed((2 * session + 1) & MASK), MASK
    for node in range(VIRTUAL_NODES):
        nearest = min(nearest, (mixed((2 * (i * VIRTUAL_NODES + node)) & MASK) - place) & MASK)
    return nearest


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the ready replica with the longest cached prefix; if it is too short, the session's or the least loaded."""
    follow, matched = HOLD, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and replicas.prefix_hit_tokens[i] > matched:
            follow, matched = i, replicas.prefix_hit_tokens[i]
    if follow != HOLD and matched >= request.prompt_tokens - THRESHOLD_TOKENS:
        return follow
    best, least = HOLD, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            here = replicas.inflight[i]
            if request.session >= 0:
                here = distance(request.session, i)
            if best == HOLD or here < least:
                best, least = i, here
    return best
