"""Head-Room Admission as the paper prints it: admit where the prompt plus 60 % still leaves 3 % of memory free.

Shortest prompt first. A request needs ceil(prompt * (1 + RATIO) / block) blocks; waiting requests reserve the same on
their replica. If need, reserved and allocated blocks leave fewer than floor(MARGIN * capacity) free everywhere, the
head is held and so is all behind it. Of the admissible replicas the one with the least allocated and reserved is taken,
then the fewest requests, then the lowest index. The paper adds each pick's rounded need to the reserve within a scan;
here the reserve is rounded once over the sum of waiting tokens, at most one block less for each pick of that scan.

Source: designed by Glia, arXiv 2510.27176, its HRA figure (r = 0.6, m = 0.03): the row of its results table.
Loses: long prompts starve under sustained load, so p99 is no better than LLQ's. Output does not depend on prompt
length there, so short prompts reserve too little; and growth of running requests is not reserved at all. A prompt that
does not fit an empty replica with head-room is held for ever.
"""

import math

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "arXiv 2510.27176, HRA figure; transcribed in ronyw7/glia-repro@f33efca, routers/glia_hra.py"
RATIO = 0.6
MARGIN = 0.03


def rank(request: Request, cluster: Cluster, memory: Memory) -> float:
    """Shortest prompt first."""
    return float(request.prompt_tokens)


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
