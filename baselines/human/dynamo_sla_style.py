"""NVIDIA Dynamo's SLA planner: replicas by a forecast and an iteration-time model, and a quick loop on lateness.

*Throughput loop*, every THROUGHPUT_TICKS ticks: the arrivals of the last minute and their trend, over the requests a
second that one replica serves with ITL_S between tokens by the model, at UTILISATION: a floor. *Load loop*, every tick:
one more where first tokens come later than TTFT_S or more than WAITING requests wait for each replica, unless one is
loading; one less where the load on one fewer would stay below SAFE of the memory with hardly any queue.

Source: Dynamo's planner in SLA mode. Its profile is the task's linear model here, its forecast (ARIMA) a linear trend.
Loses: the model knows batch and prefill but no queueing, prefix hits or preemption, so it is too hopeful near capacity.
"""

import math

from glia_bench.features import Cluster, Memory, Window

NAME = "dynamo_sla-style"
SOURCE = "ai-dynamo 1.6.1, components/src/dynamo/planner/core/{throughput_scaling,load_scaling}.py"
INTERVAL_S = 5.0
THROUGHPUT_TICKS = 36
TTFT_S = 0.5
ITL_S = 0.05
UTILISATION = 1.0
SAFE = 0.8
WAITING = 2.0
TUNABLE = {
    "THROUGHPUT_TICKS": (1, 72, "log"),
    "TTFT_S": (0.1, 10.0, "log"),
    "ITL_S": (0.02, 0.2, "log"),
    "UTILISATION": (0.3, 2.0),
    "SAFE": (0.1, 1.0),
    "WAITING": (0.25, 64.0, "log"),
}
MEMORY = {"shared": 2}  # ticks so far, and the floor
RECENT = 60  # newest samples that rates and lengths are taken from
LATE = 10  # newest samples that lateness is judged by


def rate_of_replica(prompt: float, output: float, cluster: Cluster) -> float:
    """Return the requests a second that one replica serves with ITL_S between tokens; lengths are means."""
    perf = cluster.perf
    per_decode_s = perf.token_s + perf.context_token_s * (prompt + 0.5 * output)
    batch = max(1.0, (ITL_S - perf.fixed_s) / per_decode_s)
    iteration_s = max(ITL_S, perf.fixed_s + per_decode_s)
    return 1.0 / (prompt * perf.token_s + output * iteration_s / batch)


def floor(window: Window, cluster: Cluster) -> int:
    """Return the replicas that the coming rate needs by the model; 0 if nothing came or finished yet."""
    arrived, before, prompts, outputs, finished = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(1, RECENT + 1):
        arrived += window.arrivals[-k, 0]
        before += window.arrivals[-k - RECENT, 0]
        prompts += window.arrival_tokens[-k, 0]
        outputs += window.generated_tokens[-k, 0]
        finished += window.finished[-k, 0]
    if arrived == 0.0 or finished == 0.0:
        return 0
    trend = arrived - before if before > 0.0 else 0.0
    forecast = max(0.0, arrived + trend) / RECENT
    return math.ceil(forecast / (rate_of_replica(prompts / arrived, outputs / finished, cluster) * UTILISATION))


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Return the larger of the floor and what the latest samples ask for."""
    current, ready = int(window.desired[0]), max(1, int(window.ready[-1, 0]))
    if int(memory.shared[0]) % THROUGHPUT_TICKS == 0:
        memory.shared[1] = floor(window, cluster)
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
    if (late or waiting > WAITING * ready) and int(window.loading[-1, 0]) == 0:
        wanted = current + 1
    elif not late and waiting < 0.5 * WAITING * (ready - 1) and used * ready < SAFE * (ready - 1):
        wanted = current - 1
    wanted = max(wanted, int(memory.shared[1]))
    return max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
