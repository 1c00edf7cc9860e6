"""Exploit or explore: follow a prefix that is most of the prompt, else go where the last three minutes cost least.

A replica's cost is the prefill seconds of the tokens that were not cached when they were sent there in the window, plus
OUTPUT_TOKENS iterations for each request in flight. A prompt of which more than EXPLOIT_SHARE matches goes to the
cheapest of the replicas with the longest match; once 50 requests per replica have come, no longer if that one costs
REBALANCE times the least. All others go to the cheapest; the lowest index wins a tie.

Source: Preble's E2 scheduler (ICLR 2025). Times come from the granted model, where Preble measures them; evicting costs
nothing and prefixes are not replicated by their TTFT, as routers cannot see what a cache would drop.
Loses: when load shifts within the window, since finished prefills count for three minutes, and on long outputs.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

NAME = "preble-e2-style"
SOURCE = "WukLab/preble@8e7906a3, preble/global_scheduler_with_time.py"
PREFIX_VIEW = "own"
NUM_BUCKETS = 18
BUCKET_S = 10.0
MEMORY = {"shared": NUM_BUCKETS + 1, "replica": NUM_BUCKETS}
TUNABLE = {"EXPLOIT_SHARE": (0.05, 0.95), "REBALANCE": (1.05, 16.0, "log"), "OUTPUT_TOKENS": (0, 2048)}
EXPLOIT_SHARE = 0.5
REBALANCE = 1.5
OUTPUT_TOKENS = 45
WARM_UP_REQUESTS = 50


def prefill_s(i: int, request: Request, replicas: Replicas, cluster: Cluster) -> float:
    """Return how long the part of a prompt that is not cached on a replica takes to compute."""
    hit = replicas.prefix_hit_tokens[i]
    miss = max(request.prompt_tokens - hit, 1)
    return miss * (cluster.perf.token_s + cluster.perf.prefill_pair_s * (hit + 0.5 * miss))


def cost(i: int, bucket: float, replicas: Replicas, cluster: Cluster, memory: Memory) -> float:
    """Return a replica's cost in seconds; shared[b] is the number of the ten seconds that bucket b is of."""
    in_flight = replicas.inflight[i]
    context_s = cluster.perf.context_token_s * replicas.inflight_tokens[i]
    iteration_s = cluster.perf.fixed_s + cluster.perf.token_s * in_flight + context_s
    seconds = in_flight * OUTPUT_TOKENS * iteration_s
    for b in range(NUM_BUCKETS):
        if memory.shared[b] > bucket - NUM_BUCKETS:
            seconds += memory.replica[i, b]
    return seconds


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the cheapest of the longest matches if they are long enough and not overloaded, else the cheapest."""
    number = int(cluster.now_s / BUCKET_S)
    bucket = float(number)
    if memory.shared[number % NUM_BUCKETS] != bucket:
        memory.shared[number % NUM_BUCKETS] = bucket
        for i in range(cluster.num_replicas):
            memory.replica[i, number % NUM_BUCKETS] = 0.0
    cheapest, least, follow, matched, follow_cost, num_ready = HOLD, 0.0, HOLD, 0, 0.0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            num_ready += 1
            here, hit = cost(i, bucket, replicas, cluster, memory), replicas.prefix_hit_tokens[i]
            if cheapest == HOLD or here < least:
                cheapest, least = i, here
            if follow == HOLD or hit > matched or (hit == matched and here < follow_cost):
                follow, matched, follow_cost = i, hit, here
    if cheapest == HOLD:
        return HOLD
    is_warm = memory.shared[NUM_BUCKETS] >= WARM_UP_REQUESTS * num_ready
    is_overloaded = is_warm and follow_cost >= REBALANCE * least and follow_cost > least
    pick = cheapest
    if matched > EXPLOIT_SHARE * request.prompt_tokens and not is_overloaded:
        pick = follow
    memory.replica[pick, number % NUM_BUCKETS] += prefill_s(pick, request, replicas, cluster)
    memory.shared[NUM_BUCKETS] += 1.0
    return pick
