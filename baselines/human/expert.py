"""The paper's human expert: shortest prompt first, to replicas whose committed memory is at most 93.75 %.

Committed blocks are those that running requests hold and waiting ones will take. A replica is eligible while it has
committed at most 2100 blocks of 2240; the request's own need is not counted, so the last one may overshoot. Of the
eligible the one with the fewest requests is taken, ties at random; if none is eligible, the queue is held.

Source: CustomGlobalSchedulerV3 of the Glia paper's released code (arXiv 2510.27176, "Expert").
Loses: long prompts starve under sustained load, and p99 pays for the mean. Nothing is reserved for the tokens that
running requests are still to generate, so a burst of long outputs preempts all the same.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "mit-nms/Engram@17bff7a, SystemBench/vidur/baselines.py (CustomGlobalSchedulerV3)"
MOST_COMMITTED = 2100
OF_BLOCKS = 2240
TUNABLE = {"MOST_COMMITTED": (1120, 2800)}


def rank(request: Request, cluster: Cluster, memory: Memory) -> float:
    """Shortest prompt first."""
    return float(request.prompt_tokens)


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick one of the least-loaded replicas below the commitment limit, uniformly; hold if there is none."""
    fewest, ties = 0, 0
    for i in range(cluster.num_replicas):
        committed = replicas.allocated_blocks[i] + replicas.waiting_blocks[i]
        eligible = replicas.ready[i] == 1 and committed * OF_BLOCKS <= MOST_COMMITTED * replicas.capacity_blocks[i]
        load = replicas.waiting[i] + replicas.running[i]
        if eligible and (ties == 0 or load < fewest):
            fewest, ties = load, 1
        elif eligible and load == fewest:
            ties += 1
    skip = int(request.u[0] * ties)
    for i in range(cluster.num_replicas):
        committed = replicas.allocated_blocks[i] + replicas.waiting_blocks[i]
        eligible = replicas.ready[i] == 1 and committed * OF_BLOCKS <= MOST_COMMITTED * replicas.capacity_blocks[i]
        if eligible and replicas.waiting[i] + replicas.running[i] == fewest:
            if skip == 0:
                return i
            skip -= 1
    return HOLD
