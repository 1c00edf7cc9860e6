"""Least-loaded queue that holds while KV memory is short: a router to copy and change.

Idea: send each request to the replica with the fewest requests, but only where its prompt and some room for its output
fit; otherwise keep it in the held queue, shortest prompt first, until memory is free.
Source: the template of this benchmark; put your paper, repository or name here.
Loses: long prompts wait while short ones keep coming, and RESERVED_TOKENS suits one mix of output lengths.
"""

from glia_bench import HOLD

SOURCE = "the template of this benchmark"
RESERVED_TOKENS = 200  # room kept for the output that a request is about to generate


def rank(request, cluster, memory):
    """Shortest prompt first."""
    return float(request.prompt_tokens)


def route(request, replicas, cluster, memory):
    """Pick the shortest queue among the replicas where prompt and reserve fit; hold if there is none."""
    need = (request.prompt_tokens + RESERVED_TOKENS) / cluster.block_size_tokens
    best, shortest = HOLD, 0
    for i in range(cluster.num_replicas):
        free = replicas.capacity_blocks[i] - replicas.allocated_blocks[i] - replicas.waiting_blocks[i]
        queue = replicas.waiting[i] + replicas.running[i]
        fits = free >= need or queue == 0  # an empty replica takes anything, so nothing is held for ever
        if replicas.ready[i] == 1 and fits and (best == HOLD or queue < shortest):
            best, shortest = i, queue
    return best
