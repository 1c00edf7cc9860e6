"""Head-Room Admission as deployed on a real cluster: re-tuned to 25 % and 5 %, to the shortest queue.

Admission as in `hra` with the constants that the authors needed on 4 x A10 under vLLM; of the admissible replicas the
one with the fewest requests is taken, the lowest index on ties. There the router estimated allocated blocks from the
tokens that it had sent and seen streamed; here it reads them from the replica, as the simulated variants do.

Source: the authors' fork of vLLM's production-stack, HRARouter with its constants of 18 May 2025; arXiv 2510.27176.
Loses: as `hra` does; that the simulator's constants did not survive deployment says that they do not carry over.
"""

import math

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "pouyahmdn/production-stack, src/vllm_router (HRARouter; constants of 2025-05-18)"
RATIO = 0.25
MARGIN = 0.05


def rank(request: Request, cluster: Cluster, memory: Memory) -> float:
    """Shortest prompt first."""
    return float(request.prompt_tokens)


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the admissible replica with the fewest requests, the lowest index on ties; hold if there is none."""
    need = math.ceil(request.prompt_tokens * (1 + RATIO) / cluster.block_size_tokens)
    best, best_load = HOLD, 0
    for i in range(cluster.num_replicas):
        reserved = math.ceil(replicas.waiting_tokens[i] * (1 + RATIO) / cluster.block_size_tokens)
        used = replicas.allocated_blocks[i] + reserved
        load = replicas.waiting[i] + replicas.running[i]
        capacity = replicas.capacity_blocks[i]
        if replicas.ready[i] == 0 or capacity - used - need < int(MARGIN * capacity):
            continue
        if best == HOLD or load < best_load:
            best, best_load = i, load
    return best
