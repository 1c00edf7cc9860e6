"""Sticky sessions on a consistent hash ring, left only where the bound on a replica's load would be broken.

Every replica has VIRTUAL_NODES places on a ring of hashes. A session starts at its key's place and takes the first
ready replica clockwise whose requests in flight are at most BOUND times the mean; with none in flight any will do, and
if all are above, the first. Requests outside a session go to the fewest in flight, ties at random. A session's key is
its row of memory, which one session has for as long as it lives.

Source: vLLM production-stack's session router (hash ring), with the bounded loads of SGLang's gateway.
Loses: where prompts are shared between sessions, which it cannot see, and where a few sessions carry most of the load.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = (
    "vllm-project/production-stack@a6c01db0, src/vllm_router/routers/routing_logic.py; "
    "sgl-project/sglang@14a1fa7d, sgl-model-gateway/src/policies/bounded_consistent_hashing.rs"
)
VIRTUAL_NODES = 32
BOUND = 1.5
TUNABLE = {"BOUND": (1.0, 4.0)}
RING = 1 << 31


def mixed(value: int) -> int:
    """Return a hash below 2^31 of an integer below 2^31; products stay below 2^63, so that all tiers agree."""
    value = (value ^ (value >> 15)) * 0x2C1B3C6D & 0x7FFFFFFF
    value = (value ^ (value >> 12)) * 0x297A2D39 & 0x7FFFFFFF
    return value ^ (value >> 15)


def distance(replica: int, place: int) -> int:
    """Return how far clockwise from a place a replica's nearest virtual node lies."""
    nearest = RING
    for node in range(VIRTUAL_NODES):
        nearest = min(nearest, (mixed(replica * 65_536 + node + 1) - place) % RING)
    return nearest


def least_loaded(request: Request, replicas: Replicas, cluster: Cluster) -> int:
    """Return one of the ready replicas with the fewest requests in flight, uniformly; HOLD if none is ready."""
    fewest, ties = 0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and (ties == 0 or replicas.inflight[i] < fewest):
            fewest, ties = replicas.inflight[i], 1
        elif replicas.ready[i] == 1 and replicas.inflight[i] == fewest:
            ties += 1
    skip = int(request.u[0] * ties)
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and replicas.inflight[i] == fewest:
            if skip == 0:
                return i
            skip -= 1
    return HOLD


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Return the first replica clockwise from the session's place that is within the bound."""
    if request.session < 0:
        return least_loaded(request, replicas, cluster)
    total, num_ready = 0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            total += replicas.inflight[i]
            num_ready += 1
    place = mixed(request.session + 0x3AD8025F & 0x7FFFFFFF)
    first, within, to_first, to_within = HOLD, HOLD, RING, RING
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            away = distance(i, place)
            if first == HOLD or away < to_first:
                first, to_first = i, away
            is_within = replicas.inflight[i] * num_ready <= BOUND * total
            if is_within and (within == HOLD or away < to_within):
                within, to_within = i, away
    return within if within != HOLD else first
