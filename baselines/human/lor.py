"""Least outstanding requests: fewest in flight by the router's own ledger, ties broken at random.

What Kubernetes gateways and Envoy call least-request. The ledger is exact however stale the engines' metrics are, and
the random tie keeps an idle cluster from filling its first replica.

Source: AIBrix, least-request (missing metrics count as zero, random tie).
Loses: when requests differ much in size: two long ones weigh as much as two short ones, and memory is not seen.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "vllm-project/aibrix@e3e10f9e, pkg/plugins/gateway/algorithms/least_request.go"


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick one of the replicas with the fewest requests in flight, uniformly."""
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
