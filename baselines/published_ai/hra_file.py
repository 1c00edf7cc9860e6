"""Head-Room Admission as the public scheduler file has it: 50 % and 2 %, and the shortest queue before memory.

Admission as in `hra` with other constants; of the admissible replicas the one with the fewest requests is taken, then
the one with the least allocated and reserved blocks, then the lowest index. (The file's own docstring speaks of a ratio
of about 1.3 and a margin of 0.10; what it runs is 0.5 and 0.02.)

Source: the public file "Head-room admission global scheduler (HRA)" for Vidur's global scheduler interface.
Loses: as `hra` does, with a thinner margin: more preemptions where outputs are long.
"""

import math

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "public file 'Head-room admission global scheduler (HRA)' for Vidur, after arXiv 2510.27176"
RATIO = 0.5
MARGIN = 0.02


def rank(request: Request, cluster: Cluster, memory: Memory) -> float:
    """Shortest prompt first."""
    return float(request.prompt_tokens)


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the admissible replica with the fewest requests, then the least used memory; hold if there is none."""
    need = math.ceil(request.prompt_tokens * (1 + RATIO) / cluster.block_size_tokens)
    best, best_used, best_load = HOLD, 0, 0
    for i in range(cluster.num_replicas):
        reserved = math.ceil(replicas.waiting_tokens[i] * (1 + RATIO) / cluster.block_size_tokens)
        used = replicas.allocated_blocks[i] + reserved
        load = replicas.waiting[i] + replicas.running[i]
        capacity = replicas.capacity_blocks[i]
        if replicas.ready[i] == 0 or capacity - used - need < int(MARGIN * capacity):
            continue
        if best == HOLD or load < best_load or (load == best_load and used < best_used):
            best, best_used, best_load = i, used, load
    return best
