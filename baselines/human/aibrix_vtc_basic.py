"""Place tenants by what they used: the more tokens in five minutes, the higher the index of their replica.

A tenant's tokens, INPUT_WEIGHT times prompts plus OUTPUT_WEIGHT times the outputs guessed as OUTPUT_RATIO times the
prompts, over a bucket make a place among the ready replicas, at most the last. The bucket is the mean of the least and
the most that a tenant used, at least MIN_TOKENS. The lowest sum of the distance to that place, LOAD_WEIGHT times the
running requests over MAX_LOAD (at most 1), and up to a tenth of noise is taken.

Source: AIBrix, vtc-basic router. Its window slides by the second, here by ten; the noise of replicas beyond the fourth
is that of the first four, shifted.
Loses: on latency everywhere: nobody uses more than twice the bucket, so places end at the third replica and the load
term, below 1, reaches one further; more replicas than that idle, and with one tenant nearly all but one.
"""

import math

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "vllm-project/aibrix@e3e10f9e, pkg/plugins/gateway/algorithms/vtc/{vtc_basic,token_estimator}.go"
INPUT_WEIGHT = 1.0
OUTPUT_WEIGHT = 2.0
OUTPUT_RATIO = 1.5
MIN_TOKENS = 1000.0
FAIRNESS_WEIGHT = 1.0
LOAD_WEIGHT = 1.0
MAX_LOAD = 100.0
TUNABLE = {
    "MIN_TOKENS": (100.0, 10_000_000.0, "log"),
    "FAIRNESS_WEIGHT": (0.01, 4.0, "log"),
    "LOAD_WEIGHT": (0.0, 16.0),
    "MAX_LOAD": (1.0, 1000.0, "log"),
}
DEFAULT_MOST_TOKENS = 8000.0
NOISE = 0.1
GOLDEN = 0.618033988749895
NUM_BUCKETS = 30
BUCKET_S = 10.0
MEMORY = {"shared": NUM_BUCKETS, "tenant": NUM_BUCKETS + 1}  # which ten seconds; tokens in them, and their sum


def slide(number: int, memory: Memory) -> None:
    """Forget what is five minutes old."""
    for b in range(NUM_BUCKETS):
        if memory.shared[b] <= number - NUM_BUCKETS:
            for t in range(len(memory.tenant)):
                memory.tenant[t, NUM_BUCKETS] -= memory.tenant[t, b]
                memory.tenant[t, b] = 0.0
    memory.shared[number % NUM_BUCKETS] = number


def place(tenant: int, num_ready: int, memory: Memory) -> float:
    """Return where among the ready replicas a tenant belongs."""
    least, most = 0.0, 0.0  # of those who used any
    for t in range(len(memory.tenant)):
        used = memory.tenant[t, NUM_BUCKETS]
        if used > 0.0:
            least = used if least == 0.0 else min(least, used)
            most = max(most, used)
    if most == 0.0:
        least, most = MIN_TOKENS, DEFAULT_MOST_TOKENS
    return float(min(memory.tenant[tenant, NUM_BUCKETS] / max(MIN_TOKENS, 0.5 * (least + most)), num_ready - 1.0))


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the replica nearest to the tenant's place, unless it is busy, and charge the tenant."""
    number = int(cluster.now_s / BUCKET_S)
    if memory.shared[number % NUM_BUCKETS] != number:
        slide(number, memory)
    num_ready = 0
    for i in range(cluster.num_replicas):
        num_ready += replicas.ready[i]
    if num_ready == 0:
        return HOLD
    at, index, best, least = place(request.tenant, num_ready, memory), 0, HOLD, 0.0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            noise = (request.u[index % 4] + index // 4 * GOLDEN) % 1.0
            load = min(replicas.running[i] / MAX_LOAD, 1.0)
            value = FAIRNESS_WEIGHT * abs(index - at) + LOAD_WEIGHT * load + NOISE * noise
            if best == HOLD or value < least:
                best, least = i, value
            index += 1
    tokens = INPUT_WEIGHT * request.prompt_tokens + OUTPUT_WEIGHT * math.ceil(OUTPUT_RATIO * request.prompt_tokens)
    memory.tenant[request.tenant, number % NUM_BUCKETS] += tokens
    memory.tenant[request.tenant, NUM_BUCKETS] += tokens
    return best
