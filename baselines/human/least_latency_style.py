"""Least expected latency: each replica's mean queueing, prefill and decoding times so far, at the fleet's mean lengths.

Expected are the mean wait for prefill, the prefill seconds per prompt token times the fleet's mean prompt, and the
decode seconds per output token times the fleet's mean output. The last minimum is taken; a replica of which nothing is
known counts as 0, and if nothing is known of any, one is drawn.

Source: AIBrix, least-latency router, which reads engine histograms. The router takes times itself here: of the wait
for a first token it counts as prefill what the granted model says, the rest as queueing, and requests that end between
two arrivals lose that bit of their decoding.
Loses: nearly always: means over all that ever ended move slowly, so everything goes to the replica that was fastest
long after it is full, and each swing takes longer than the one before. Only unequal speeds are worth it.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

NAME = "least_latency-style"
SOURCE = "vllm-project/aibrix@e3e10f9e, pkg/plugins/gateway/algorithms/least_latency.go"
GUESSED_PROMPT_TOKENS = 10.0
GUESSED_OUTPUT_TOKENS = 100.0
QUEUE_S, PREFILL_S, PROMPTS, FIRSTS, DECODE_S, OUTPUTS, ENDED, STREAMED = range(8)
MEMORY = {"shared": 1, "replica": 8}  # when last looked; the sums above of each replica


def look(replicas: Replicas, cluster: Cluster, memory: Memory) -> None:
    """Add what has happened to the requests in flight since the last look."""
    last_s = memory.shared[0]
    seen = cluster.inflight
    memory.shared[0] = cluster.now_s
    for i in range(cluster.num_replicas):
        memory.replica[i, STREAMED] = 0.0
    for k in range(len(seen.replica)):
        i, first_s = seen.replica[k], seen.first_token_s[k]
        if last_s < first_s <= cluster.now_s:
            waited_s = first_s - seen.dispatch_s[k]
            prefill_s = min(waited_s, seen.prompt_tokens[k] * cluster.perf.token_s / replicas.speed[i])
            memory.replica[i, QUEUE_S] += waited_s - prefill_s
            memory.replica[i, PREFILL_S] += prefill_s
            memory.replica[i, PROMPTS] += seen.prompt_tokens[k]
            memory.replica[i, FIRSTS] += 1.0
        if first_s <= cluster.now_s:
            memory.replica[i, DECODE_S] += cluster.now_s - max(first_s, last_s)
            memory.replica[i, STREAMED] += seen.streamed_tokens[k]


def mean(replicas: Replicas, cluster: Cluster, memory: Memory, total: int, count: int, guess: float) -> float:
    """Return the mean over ready replicas of a mean length; the guess if there is none."""
    lengths, known = 0.0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and memory.replica[i, total] > 0.0:
            lengths += memory.replica[i, total] / memory.replica[i, count]
            known += 1
    return lengths / known if known > 0 else guess


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the last of the ready replicas with the least expected latency; draw one before anything is known."""
    look(replicas, cluster, memory)
    prompt = mean(replicas, cluster, memory, PROMPTS, FIRSTS, GUESSED_PROMPT_TOKENS)
    output = mean(replicas, cluster, memory, OUTPUTS, ENDED, GUESSED_OUTPUT_TOKENS)
    best, least, num_ready, known = HOLD, 0.0, 0, 0.0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            num_ready += 1
            known += memory.replica[i, FIRSTS]
            expected_s, tokens = 0.0, memory.replica[i, OUTPUTS] + memory.replica[i, STREAMED]
            if memory.replica[i, FIRSTS] > 0.0:
                expected_s += memory.replica[i, QUEUE_S] / memory.replica[i, FIRSTS]
                expected_s += memory.replica[i, PREFILL_S] / memory.replica[i, PROMPTS] * prompt
            if tokens > 0.0:
                expected_s += memory.replica[i, DECODE_S] / tokens * output
            if best == HOLD or expected_s <= least:
                best, least = i, expected_s
    draw = int(request.u[0] * num_ready)
    for i in range(cluster.num_replicas):
        if known == 0.0 and replicas.ready[i] == 1:
            if draw == 0:
                return i
            draw -= 1
    return best


def on_finish(request: Request, replica: int, memory: Memory) -> None:
    """Count its output."""
    memory.replica[replica, OUTPUTS] += request.generated_tokens
    memory.replica[replica, ENDED] += 1.0
