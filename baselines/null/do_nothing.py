"""Do nothing: everything goes to the ready replica with the lowest index.

Source: the permanent zero row of this benchmark: a router that makes no choice.
Loses: always, but where one replica suffices; it says what the other replicas are worth.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "this benchmark: the row of a router that makes no choice"


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the first ready replica."""
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            return i
    return HOLD
