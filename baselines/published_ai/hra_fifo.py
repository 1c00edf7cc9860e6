"""Head-Room Admission in arrival order: `hra` without shortest-prompt-first, the paper's first stage and ablation.

The queue keeps its arrival order, for want of a rank; admission and choice are those of `hra`, constants included.

Source: Glia, arXiv 2510.27176, the "initial HRA" of its section 3.3; the ablation of ronyw7/glia-repro.
Loses: to `hra` by most of the gain over LLQ, which comes from the order of the held queue: one long prompt at the head
holds every short one behind it.
"""

import math

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "ronyw7/glia-repro@f33efca, routers/ablation_hra_fifo.py; after arXiv 2510.27176, section 3.3"
RATIO = 0.6
MARGIN = 0.03


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the admissible replica with the least allocated and reserved memory; hold if there is none."""
    need = math.ceil(request.prompt_tokens * (1 + RATIO) / cluster.block_size_tokens)
    best, best_used, best_load = HOLD, 0, 0
    for i in range(cluster.num_replicas):
        reserved = math.ceil(replicas.waiting_tokens[i] * (1 + RATIO) / cluster.block_size_tokens)
        used = replicas.allocated_blocks[i] + reserved
        load = replicas.waiting[i] + replicas.running[i]
        capacity = replicas.capacity_blocks[i]
        if replicas.ready[i] == 0 or capacity - used - need < int(MARGIN * capacity):
            continue
        if best == HOLD or used < best_used or (used == best_used and load < best_load):
            best, best_used, best_load = i, used, load
    return best
