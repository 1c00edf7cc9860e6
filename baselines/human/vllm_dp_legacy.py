"""vLLM's data-parallel balancer of 2025: four times the waiting plus the running requests of the last snapshot.

The lowest score wins; each router scans from a replica of its own, the first minimum is kept. What a router sent to a
replica since its last report counts as waiting there, times the number of routers.

Source: vLLM's engine client for data parallelism of 2025; a report is taken to be new when it is younger than the last.
Loses: as metrics grow old, and on prompts of very different length. Without the request's own ledger and the memory in
use, it cannot tell a long queue of short prompts from a replica that is about to preempt; idle ties go to one replica.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "vllm-project/vllm 0.10.2, vllm/v1/engine/core_client.py, coordinator.py"
WAITING_WEIGHT = 4.0
SAME_REPORT_S = 1e-6  # instants of one report differ in their last bits, as clock minus age
TUNABLE = {"WAITING_WEIGHT": (0.0, 32.0)}
MEMORY = {"replica": 2}  # sent since the last report, and when that was made


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the first lowest score, seen from the router's own start."""
    start = cluster.num_replicas * cluster.router // cluster.num_routers
    best, least = HOLD, 0.0
    for k in range(cluster.num_replicas):
        i = (start + k) % cluster.num_replicas
        reported_s = cluster.now_s - replicas.metrics_age_s[i]
        if reported_s > memory.replica[i, 1] + SAME_REPORT_S:
            memory.replica[i, 0], memory.replica[i, 1] = 0.0, reported_s
        if replicas.ready[i] == 1:
            waiting = replicas.waiting[i] + cluster.num_routers * memory.replica[i, 0]
            value = WAITING_WEIGHT * waiting + replicas.running[i]
            if best == HOLD or value < least:
                best, least = i, value
    if best != HOLD and cluster.metrics_interval_s > 0:  # reports that are always new count it themselves
        memory.replica[best, 0] += 1.0
    return best
