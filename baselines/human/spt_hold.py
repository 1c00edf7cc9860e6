"""Shortest prompt first with a hold threshold: dispatch only where KV use stays within 90 %.

The head of the queue goes to the replica with the fewest requests in flight (lowest index on ties) among those whose
blocks, held, waited for and needed by this prompt, stay within THETA of the capacity. An empty replica takes any
prompt, so that a very long one is never held for ever.

Source: the textbook control between `llq` and `expert`; no single publication, THETA chosen here and tunable.
Loses: long prompts starve under sustained load; decode growth is not reserved, so a threshold that suits short outputs
preempts on long ones.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "textbook: shortest processing time first with admission by memory; no single publication"
THETA = 0.9
TUNABLE = {"THETA": (0.3, 1.0)}


def rank(request: Request, cluster: Cluster, memory: Memory) -> float:
    """Shortest prompt first."""
    return float(request.prompt_tokens)


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the replica with the fewest requests in flight that stays within the threshold; hold if there is none."""
    need = (request.prompt_tokens + cluster.block_size_tokens - 1) // cluster.block_size_tokens
    best, fewest = HOLD, 0
    for i in range(cluster.num_replicas):
        blocks = replicas.allocated_blocks[i] + replicas.waiting_blocks[i] + need
        fits = blocks <= THETA * replicas.capacity_blocks[i] or replicas.inflight[i] == 0
        if replicas.ready[i] == 1 and fits and (best == HOLD or replicas.inflight[i] < fewest):
            best, fewest = i, replicas.inflight[i]
    return best
