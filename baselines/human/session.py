"""Session affinity by consistent hashing: a session keeps its replica, unless that one has far more than its share.

The session's number and VIRTUAL_NODES points per replica are hashed onto a ring; the next point clockwise decides among
the ready replicas with at most BOUND times the mean of requests in flight. So sessions move only when load or the fleet
makes them, and only as many as must. Requests outside a session go to the fewest in flight, where production-stack
takes the lowest rate of requests; the lowest index wins a tie.

Source: production-stack's session router (key, ring) with the bounded loads of SGLang's gateway.
Loses: prefixes that sessions share are computed on every replica; a session that has moved goes back to a replica that
has forgotten it; heavy sessions that hash together stay together until the bound is hit.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = (
    "vllm-project/production-stack@a6c01db0, src/vllm_router/routers/routing_logic.py; "
    "sgl-project/sglang@14a1fa7d, sgl-model-gateway/src/policies/bounded_consistent_hashing.rs"
)
TUNABLE = {"BOUND": (1.0, 8.0)}
BOUND = 1.5
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
    """Pick the session's first replica on the ring within the bound; outside a session, the least loaded."""
    num_ready, total = 0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            num_ready += 1
            total += replicas.inflight[i]
    best, least = HOLD, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            here = replicas.inflight[i]
            if request.session >= 0:
                if here * num_ready > BOUND * total:
                    continue
                here = distance(request.session, i)
            if best == HOLD or here < least:
                best, least = i, here
    return best
