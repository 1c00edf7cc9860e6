"""The careful stack: a scored router, admission with head-room by class, and an autoscaler with a forecast and a model.

*Router*: llm-d's default profile. Each ready replica has QUEUE_WEIGHT times its place between the longest and the
shortest queue, KV_WEIGHT times its free share of KV memory, and PREFIX_WEIGHT times the share of the prompt that the
router has sent there before; the highest sum is taken, ties at random. It tags a request with its class.
*Scheduler*: a class waits CLASS_DELAY_S longer than the one before it, by arrival within; the next in order enters only
where SIGMA of the blocks and GROWTH_BLOCKS for each running request stay free.
*Autoscaler*: every THROUGHPUT_TICKS ticks a floor: the arrivals of the last minute and their trend, over what a replica
serves within ITL_S by the iteration-time model, at UTILISATION. Every tick one replica more where first tokens come
later than TTFT_S or requests wait, unless one is loading; one less after CALM_TICKS ticks in a row at which all would
have been well without it. Replicas drain.

Source: llm-d's router, vLLM's watermark widened by growth, and the SLA planner of NVIDIA Dynamo, put together here. The
planner's slow loop runs every 180 s there and every 30 s here; its patience before it shrinks is ours.
Loses: the model knows no prefix hits but HIT_SHARE and no queueing, so bursts and cached conversations are mis-sized;
its parts do not talk to each other.
"""

import math

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replica, Replicas, Request, Window

SOURCE = (
    "llm-d/llm-d-router@ebab6879, pkg/epp/config/loader/defaults.go; vllm/core/block_manager.py (watermark); "
    "ai-dynamo 1.6.1, components/src/dynamo/planner/core/"
)
PREFIX_VIEW = "own"
INTERVAL_S = 5.0
QUEUE_WEIGHT = 2.0
KV_WEIGHT = 2.0
PREFIX_WEIGHT = 3.0
BLOCK_TOKENS = 64
MATCHED_TOKENS = 131072
CLASS_DELAY_S = 10.0
SIGMA = 0.05
GROWTH_BLOCKS = 1
THROUGHPUT_TICKS = 6
TTFT_S = 0.5
ITL_S = 0.05
UTILISATION = 0.8
HIT_SHARE = 0.0
WAITING = 2.0
CALM_TICKS = 12
TUNABLE = {
    "QUEUE_WEIGHT": (0.0, 6.0),
    "KV_WEIGHT": (0.0, 6.0),
    "PREFIX_WEIGHT": (0.0, 6.0),
    "CLASS_DELAY_S": (0.0, 120.0),
    "SIGMA": (0.0, 0.2),
    "GROWTH_BLOCKS": (0, 16),
    "THROUGHPUT_TICKS": (1, 72, "log"),
    "TTFT_S": (0.1, 5.0, "log"),
    "UTILISATION": (0.3, 1.5),
    "HIT_SHARE": (0.0, 0.95),
    "WAITING": (0.25, 32.0, "log"),
    "CALM_TICKS": (1, 60, "log"),
}
MEMORY = {"shared": 3}  # the autoscaler's: ticks so far, its floor, and calm ticks in a row
RECENT = 60  # newest samples that rates and lengths are taken from
LATE = 10  # newest samples that lateness is judged by


def score(i: int, request: Request, replicas: Replicas, cluster: Cluster, shortest: int, longest: int) -> float:
    """Return llm-d's weighted sum for one replica."""
    queue = 1.0
    if longest > shortest:
        queue = (longest - replicas.waiting[i]) / (longest - shortest)
    free = 1.0 - replicas.allocated_blocks[i] / replicas.capacity_blocks[i]
    block = max(BLOCK_TOKENS, cluster.block_size_tokens)
    blocks, hits = min(request.prompt_tokens, MATCHED_TOKENS) // block, replicas.prefix_hit_tokens[i] // block
    match = 0.0
    if blocks > 0:
        match = min(hits, blocks) / blocks
    return float(QUEUE_WEIGHT * queue + KV_WEIGHT * free + PREFIX_WEIGHT * match)


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Tag the request with its class and pick one of the replicas with the highest score, uniformly."""
    memory.tag[request.slot] = request.slo_class
    shortest, longest, num_ready = 0, 0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            shortest = replicas.waiting[i] if num_ready == 0 else min(shortest, replicas.waiting[i])
            longest = max(longest, replicas.waiting[i])
            num_ready += 1
    best, ties = -1.0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            value = score(i, request, replicas, cluster, shortest, longest)
            if ties == 0 or value > best:
                best, ties = value, 1
            elif value == best:
                ties += 1
    skip = int(request.u[0] * ties)
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and score(i, request, replicas, cluster, shortest, longest) == best:
            if skip == 0:
                return i
            skip -= 1
    return HOLD


def schedule_rank(request: Request, replica: Replica, memory: Memory) -> float:
    """By arrival, later classes set back."""
    return request.arrival_s + CLASS_DELAY_S * request.tag


def admit(request: Request, replica: Replica, memory: Memory) -> bool:
    """Admit where the blocks of what is to be computed leave the head-room free, or nothing runs."""
    if replica.running == 0:
        return True
    tokens = request.prompt_tokens + request.generated_tokens - request.cached_tokens
    need = (tokens + replica.block_size_tokens - 1) // replica.block_size_tokens
    return replica.free_blocks - need >= int(SIGMA * replica.capacity_blocks) + GROWTH_BLOCKS * replica.running


def rate_of_replica(prompt: float, output: float, cluster: Cluster) -> float:
    """Return the requests a second that one replica serves with ITL_S between tokens; lengths are means."""
    perf = cluster.perf
    per_decode_s = perf.token_s + perf.context_token_s * (prompt + 0.5 * output)
    batch = max(1.0, (ITL_S - perf.fixed_s) / per_decode_s)
    prefill_s = (1.0 - HIT_SHARE) * prompt * perf.token_s
    return 1.0 / (prefill_s + output * max(ITL_S, perf.fixed_s + per_decode_s) / batch)


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Return the larger of the floor and what the latest samples ask for."""
    current, ready = int(window.desired[0]), max(1, int(window.ready[-1, 0]))
    if int(memory.shared[0]) % THROUGHPUT_TICKS == 0:
        arrived, before, prompts, outputs, finished = 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(1, RECENT + 1):
            arrived += window.arrivals[-k, 0]
            before += window.arrivals[-k - RECENT, 0]
            prompts += window.arrival_tokens[-k, 0]
            outputs += window.generated_tokens[-k, 0]
            finished += window.finished[-k, 0]
        if arrived > 0.0 and finished > 0.0:
            forecast = max(arrived, 2.0 * arrived - before if before > 0.0 else arrived) / RECENT
            rate = rate_of_replica(prompts / arrived, outputs / finished, cluster)
            memory.shared[1] = math.ceil(forecast / (rate * UTILISATION))
    memory.shared[0] += 1.0
    waiting, ttft, firsts, used = 0.0, 0.0, 0, 0.0
    for k in range(1, LATE + 1):
        waiting += (window.waiting[-k, 0] + window.held[-k, 0]) / LATE
        used += window.kv_utilisation[-k, 0] / LATE
        if window.ttft_s[-k, 0] > 0.0:
            ttft += window.ttft_s[-k, 0]
            firsts += 1
    late = firsts > 0 and ttft / firsts > TTFT_S
    wanted = current
    is_calm = not late and waiting < 0.5 * WAITING * (ready - 1) and used * ready < 0.8 * (ready - 1)
    memory.shared[2] = memory.shared[2] + 1.0 if is_calm else 0.0
    if (late or waiting > WAITING * ready) and int(window.loading[-1, 0]) == 0:
        wanted = current + 1
    elif memory.shared[2] >= CALM_TICKS:
        wanted = current - 1
        memory.shared[2] = 0.0
    wanted = max(wanted, int(memory.shared[1]))
    return max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
