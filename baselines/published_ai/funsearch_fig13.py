"""FunSearch's router: predict outputs by prompt size, project every replica's memory, send where the cost is lowest.

Output is predicted by a moving average per prompt bucket (< 128, < 512, longer), or over all requests until a bucket
has seen 10. The whole queue is gone through, restarted requests first, then by predicted total; a request goes to the
replica of least cost, or stays held if it would be projected above the soft cap there. A replica's projection is what
it holds plus what each of its requests is still predicted to take; picks are added as they are made.

Chosen here, where the original reads what a router cannot: a request has generated its share, by time since dispatch,
of all tokens streamed by its replica; the backlog is that of waiting requests; averages learn whole outputs, by
original prompt; a preempted request keeps its prediction; picks of one scan are dispatched in arrival order. The
discount on a restarted request is left out: it scales all its costs alike.

Source: found by FunSearch, printed as Fig. 13 of the Glia paper (arXiv 2510.27176).
Loses: on the tail, since long predictions wait behind short ones; and it reserves the mean, so long outputs preempt.
"""

import math
from typing import Any

import numpy as np

from glia_bench.features import Cluster, IntArray, Memory, Replicas, Request

SOURCE = "arXiv 2510.27176, Fig. 13; transcribed in ronyw7/glia-repro@f33efca, routers/funsearch_fig13.py"
MID, LARGE, ENOUGH = 128, 512, 10
ALPHA, START, SHORTEST, LONGEST = 0.10, 96.0, 32.0, 1024.0
SOFT_CAP, SOFT_CAP_RESTARTED, OVER_CAP = 1.03, 1.10, 12.0
W_UTIL, W_BACKLOG, W_QUEUE, W_DEFICIT = 0.55, 0.25, 0.10, 0.10
MEMORY = {"shared": 9, "replica": 5, "request": 4}
COUNT, ALL, ROWS = 3, 7, 8  # shared: 0-2 averages, 3-5 their counts, 7 average over all, 8 request rows ever used
WHERE, PROMPT, SINCE, SEEN = 0, 1, 2, 3  # request: replica + 1, prompt, time of dispatch, 1 after the first token
BLOCKS, BACKLOG, QUEUE, STREAMS, SINCES = 0, 1, 2, 3, 4  # replica: projection; streaming requests, sum of their SINCE


def on_first_token(request: Request, replica: int, memory: Memory) -> None:
    """Count a request among those that stream."""
    memory.request[request.slot, SEEN] = 1.0
    memory.replica[replica, STREAMS] += 1.0
    memory.replica[replica, SINCES] += memory.request[request.slot, SINCE]


def on_finish(request: Request, replica: int, memory: Memory) -> None:
    """Forget a request and learn its output length."""
    memory.request[request.slot, WHERE] = 0.0
    memory.replica[replica, STREAMS] -= 1.0
    memory.replica[replica, SINCES] -= memory.request[request.slot, SINCE]
    bucket = 0 if request.prompt_tokens < MID else (1 if request.prompt_tokens < LARGE else 2)
    memory.shared[COUNT + bucket] += 1.0
    for k in (bucket, ALL):
        old = memory.shared[k] if memory.shared[k] > 0.0 else START
        memory.shared[k] = min(max((1.0 - ALPHA) * old + ALPHA * request.generated_tokens, SHORTEST), LONGEST)


def assign(queue: Any, replicas: Replicas, cluster: Cluster, memory: Memory, out: IntArray) -> None:
    """Go through the queue by priority and place what fits under the soft cap."""
    block, num, now = cluster.block_size_tokens, cluster.num_replicas, cluster.now_s
    output = np.full(3, memory.shared[ALL] if memory.shared[ALL] > 0.0 else START)
    for k in range(3):
        if memory.shared[COUNT + k] >= ENOUGH:
            output[k] = memory.shared[k]
    queued = 0.0  # requests on all replicas
    for i in range(num):
        memory.replica[i, BLOCKS] = replicas.allocated_blocks[i]
        memory.replica[i, BACKLOG] = replicas.waiting_tokens[i]
        memory.replica[i, QUEUE] = replicas.waiting[i] + replicas.running[i]
        queued += memory.replica[i, QUEUE]
    for row in range(int(memory.shared[ROWS])):
        i, prompt, has = int(memory.request[row, WHERE]) - 1, memory.request[row, PROMPT], 0.0
        if i >= 0:
            if memory.request[row, SEEN] == 1.0:
                ages = max(memory.replica[i, STREAMS] * now - memory.replica[i, SINCES], 1e-6)
                streamed = replicas.inflight_tokens[i] - replicas.inflight_prompt_tokens[i]
                has = prompt + streamed * ((now - memory.request[row, SINCE]) / ages)
            total = prompt + output[0 if prompt < MID else (1 if prompt < LARGE else 2)]
            memory.replica[i, BLOCKS] += max(0, math.ceil(total / block) - math.ceil(has / block))
    totals = np.empty(len(out))
    for k in range(len(out)):
        prompt = queue.prompt_tokens[k]
        totals[k] = prompt + output[0 if prompt < MID else (1 if prompt < LARGE else 2)]
    for k in np.argsort(totals - 1e9 * queue.restarts, kind="mergesort"):
        prompt, need = queue.prompt_tokens[k], math.ceil(totals[k] / block)
        best, best_cost, best_util = -1, math.inf, 0.0
        for i in range(num):
            size = replicas.capacity_blocks[i]
            util = (memory.replica[i, BLOCKS] + need) / size
            deficit = max(0, math.ceil(prompt / block) - size + replicas.allocated_blocks[i])
            cost = W_UTIL * (util * util) + W_BACKLOG * ((memory.replica[i, BACKLOG] + prompt) / (size * block))
            cost += W_QUEUE * ((memory.replica[i, QUEUE] + 1.0) / (queued / num + 1e-6)) + W_DEFICIT * (deficit / size)
            cost += OVER_CAP * max(util - 1.0, 0.0) * max(util - 1.0, 0.0)
            if replicas.ready[i] == 1 and cost < best_cost - 1e-12:
                best, best_cost, best_util = i, cost, util
        if best >= 0 and best_util <= (SOFT_CAP_RESTARTED if queue.restarts[k] > 0 else SOFT_CAP):
            out[k] = best
            queued += 1.0
            for column, amount in ((BLOCKS, float(need)), (BACKLOG, float(prompt)), (QUEUE, 1.0)):
                memory.replica[best, column] += amount
            for column, value in ((WHERE, best + 1.0), (PROMPT, float(prompt)), (SINCE, now), (SEEN, 0.0)):
                memory.request[queue.slot[k], column] = value
            memory.shared[ROWS] = max(memory.shared[ROWS], queue.slot[k] + 1.0)
