"""Square-root staffing: replicas for the offered load, and BETA times its square root against chance.

A request occupies a replica for its decodes' part of the fixed time of an iteration, if BATCH requests share it, and
for its own tokens and context, by `cluster.perf`. Times the arrival rate of the last RATE_S, that is the offered load
rho in replicas; the answer is ceil(rho + BETA * sqrt(rho)). Prompts are means of the same seconds, outputs those of the
last OUTPUT_S, of which only COMPUTED of a prompt's tokens are no prefix hit. BATCH is chosen here: windows do not tell
how many requests a replica holds within its objectives. Until a request has finished, the size stays.

Source: Halfin and Whitt (Operations Research 29(3), 1981), the square-root rule for many servers with waiting.
Loses: wherever the rate grows within a cold start: it sees the present only. Replicas are few here and serve many
requests at once, far from the rule's independent servers; and it follows every wave down as well.
"""

import math

from glia_bench.features import Cluster, Memory, Perf, Window

SOURCE = "Halfin and Whitt (1981), Heavy-Traffic Limits for Queues with Many Exponential Servers: square-root staffing"
INTERVAL_S = 15.0
BETA = 1.0
BATCH = 32.0
RATE_S = 60
OUTPUT_S = 300
COMPUTED = 1.0
TUNABLE = {
    "INTERVAL_S": (1.0, 60.0, "log"),
    "BETA": (0.0, 4.0),
    "BATCH": (2.0, 256.0, "log"),
    "RATE_S": (5, 600, "log"),
    "OUTPUT_S": (30, 600, "log"),
    "COMPUTED": (0.1, 1.0),
}


def service_s(perf: Perf, prompt: float, output: float) -> float:
    """Return the seconds of a replica that one request takes up."""
    computed = COMPUTED * prompt
    prefill = computed * perf.token_s + computed * prompt / 2 * perf.prefill_pair_s
    context = (prompt + output / 2) * perf.context_token_s
    return prefill + output * (perf.fixed_s / BATCH + perf.token_s + context)


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Staff for the arrivals of the last seconds; rows before the start of the run are no seconds."""
    rows = len(window.ready)
    arrivals, tokens, seconds = 0.0, 0.0, 0
    for k in range(rows - RATE_S, rows):
        arrivals += window.arrivals[k, 0]
        tokens += window.arrival_tokens[k, 0]
        seconds += 1 if window.ready[k, 0] + window.loading[k, 0] > 0 else 0
    finished, generated = 0.0, 0.0
    for k in range(rows - OUTPUT_S, rows):
        finished += window.finished[k, 0]
        generated += window.generated_tokens[k, 0]
    wanted = int(window.desired[0])
    if finished > 0 and seconds > 0:
        prompt = tokens / arrivals if arrivals > 0 else 0.0
        rho = arrivals / seconds * service_s(cluster.perf, prompt, generated / finished)
        wanted = math.ceil(rho + BETA * math.sqrt(rho))
    return max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
