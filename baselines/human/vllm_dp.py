"""vLLM's data-parallel balancer: waiting plus running of the last snapshot, queues weighing more as memory fills.

A replica's score is the larger of its reported waiting plus running requests and the router's own in flight times the
number of routers; where requests wait, QUEUE_WEIGHT times their number times the share of memory used beyond KV_FREE is
added. The lowest wins; the scan starts one replica further at each request, each router's elsewhere. What was sent to a
replica since its last report counts as waiting there, times the number of routers.

Source: vLLM's engine client for data parallelism; a report is taken to be new when it is younger than the one before.
Loses: as metrics grow old, and on prompts of very different length, which all count as one request.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "vllm-project/vllm 0.33.0, vllm/v1/engine/core_client.py, coordinator.py"
QUEUE_WEIGHT = 6.0
KV_FREE = 0.5
SAME_REPORT_S = 1e-6  # instants of one report differ in their last bits, as clock minus age
TUNABLE = {"QUEUE_WEIGHT": (0.0, 32.0), "KV_FREE": (0.0, 1.0)}
MEMORY = {"shared": 1, "replica": 2}  # requests so far; sent since the last report, and when that was made


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the first lowest score from a start that moves on."""
    first = cluster.num_replicas * cluster.router // cluster.num_routers
    start = (first + int(memory.shared[0])) % cluster.num_replicas
    memory.shared[0] += 1.0
    best, least = HOLD, 0.0
    for k in range(cluster.num_replicas):
        i = (start + k) % cluster.num_replicas
        reported_s = cluster.now_s - replicas.metrics_age_s[i]
        if reported_s > memory.replica[i, 1] + SAME_REPORT_S:
            memory.replica[i, 0], memory.replica[i, 1] = 0.0, reported_s
        if replicas.ready[i] == 1:
            waiting = replicas.waiting[i] + cluster.num_routers * memory.replica[i, 0]
            used = replicas.allocated_blocks[i] / replicas.capacity_blocks[i]
            value = max(float(cluster.num_routers * replicas.inflight[i]), waiting + replicas.running[i])
            if waiting > 0:
                value += QUEUE_WEIGHT * waiting * max(0.0, used - KV_FREE)
            if best == HOLD or value < least:
                best, least = i, value
    if best != HOLD and cluster.metrics_interval_s > 0:  # reports that are always new count it themselves
        memory.replica[best, 0] += 1.0
    return best
