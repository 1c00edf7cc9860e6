"""The power of two choices: of two replicas drawn at random, the one with fewer requests in flight.

The two are different and uniform over the ready ones; if both have as many in flight, the first drawn is taken.

Source: Mitzenmacher 1996; AIBrix' power-of-two router and SGLang's gateway, which count requests in flight.
Loses: with few replicas to a full comparison; what it is made for is many routers that know little of each other.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "vllm-project/aibrix@e3e10f9e, pkg/plugins/gateway/algorithms/power_of_two.go"


def ready_at(replicas: Replicas, cluster: Cluster, place: int) -> int:
    """Return the ready replica with so many ready ones before it."""
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            if place == 0:
                return i
            place -= 1
    return HOLD


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Draw two and pick the less busy."""
    num_ready = 0
    for i in range(cluster.num_replicas):
        num_ready += replicas.ready[i]
    if num_ready < 2:
        return ready_at(replicas, cluster, 0)
    place = int(request.u[0] * num_ready)
    other = int(request.u[1] * (num_ready - 1))
    first = ready_at(replicas, cluster, place)
    second = ready_at(replicas, cluster, other + 1 if other >= place else other)
    return second if replicas.inflight[second] < replicas.inflight[first] else first
