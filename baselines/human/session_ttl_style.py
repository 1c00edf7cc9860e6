"""Session affinity with an expiry: a session's replica scores extra until the session is unused for TTL_S.

A session is bound to the replica where it is sent. Its binding weighs AFFINITY_WEIGHT against scores in [0, 1] for a
short queue and for free KV memory; without one the load scores decide alone, ties at random.

Source: llm-d's session-affinity scorer, combined with its queue and KV scorers at their default weights; bindings
expire when they are next looked at rather than in a sweep every 10 s, and the affinity weighs what a prefix does.
Loses: on prefixes that sessions share, which it does not know of; when a pause outlasts the cache but not the binding,
or the cache outlasts the binding. A queue longer by one request can move a session away from its cache.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

NAME = "session_ttl-style"
SOURCE = "llm-d/llm-d-router@ebab6879, pkg/epp/framework/plugins/scheduling/scorer (session affinity, queue, KV cache)"
MEMORY = {"session": 2}
TUNABLE = {
    "AFFINITY_WEIGHT": (0.0, 10.0),
    "QUEUE_WEIGHT": (0.0, 10.0),
    "KV_WEIGHT": (0.0, 10.0),
    "TTL_S": (1.0, 3600.0, "log"),
}
AFFINITY_WEIGHT = 3.0
QUEUE_WEIGHT = 2.0
KV_WEIGHT = 2.0
TTL_S = 300.0


def score(i: int, bound: int, replicas: Replicas, shortest: int, longest: int) -> float:
    """Return the weighted sum of a replica's scores, given the session's replica and the range of the queues."""
    queue = 1.0
    if longest > shortest:
        queue = (longest - replicas.waiting[i]) / (longest - shortest)
    free = 1.0 - replicas.allocated_blocks[i] / replicas.capacity_blocks[i]
    affinity = AFFINITY_WEIGHT if i == bound else 0.0
    return affinity + QUEUE_WEIGHT * queue + KV_WEIGHT * free


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick one of the ready replicas with the highest score, uniformly, and bind the session to it."""
    bound = HOLD
    if request.session >= 0 and cluster.now_s - memory.session[request.session, 1] <= TTL_S:
        bound = int(memory.session[request.session, 0]) - 1  # -1: never bound
    shortest, longest, num_ready = 0, 0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            shortest = replicas.waiting[i] if num_ready == 0 else min(shortest, replicas.waiting[i])
            longest = max(longest, replicas.waiting[i])
            num_ready += 1
    highest, ties = 0.0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            value = score(i, bound, replicas, shortest, longest)
            if ties == 0 or value > highest:
                highest, ties = value, 1
            elif value == highest:
                ties += 1
    skip = int(request.u[0] * ties)
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and score(i, bound, replicas, shortest, longest) == highest:
            if skip == 0:
                if request.session >= 0:
                    memory.session[request.session, 0] = i + 1.0
                    memory.session[request.session, 1] = cluster.now_s
                return i
            skip -= 1
    return HOLD
