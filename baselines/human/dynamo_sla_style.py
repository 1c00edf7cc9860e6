"""Dynamo's SLA planner: replicas for a forecast rate within TTFT and ITL targets, and a fast loop above that floor.

Every THROUGHPUT_S Kalman filters, one of the planner's predictors (its default is ARIMA), foretell requests, prompts
and outputs. A replica's rate is that of the most decodes at which an iteration and a first token keep ITL_S and TTFT_S
by `cluster.perf`; the floor follows. Every 5 s the pool grows by one if one of them is missed and no replica is still
to come, and shrinks by one if one fewer had the memory and kept SENSITIVITY of both. Each replica has the pool's mean.

Source: NVIDIA Dynamo's planner, aggregated mode with both loops; the granted times stand for its regression.
Loses: with targets other than those charged; on bursts, late by minutes and then by one replica per cold start.
"""

import math

from glia_bench.features import Cluster, Memory, Window

NAME = "dynamo_sla-style"
SOURCE = (
    "ai-dynamo/dynamo 1.6.1, components/src/dynamo/planner/core/{throughput_scaling,load_scaling,perf_model/agg}.py"
)
INTERVAL_S = 5.0
THROUGHPUT_S = 180
TTFT_S = 0.5
ITL_S = 0.05
SENSITIVITY = 0.8
HIT_RATE = 0.0
TUNABLE = {
    "INTERVAL_S": (1.0, 30.0, "log"),
    "THROUGHPUT_S": (5, 300, "log"),
    "TTFT_S": (0.05, 10.0, "log"),
    "ITL_S": (0.02, 0.5, "log"),
    "SENSITIVITY": (0.1, 1.0),
    "HIT_RATE": (0.0, 0.9),
}
BUDGET_TOKENS = 2048  # of an iteration; assumed, as the window does not tell
LEVEL_NOISE, TREND_NOISE, NOISE = 1.0, 0.1, 10.0
MEMORY = {"shared": 11}  # next requests, prompt, output; their trends; covariance of level and trend; floor; ticks


def foretell(memory: Memory, requests: float, prompt: float, output: float) -> None:
    """Filter the values of an interval and leave the next interval's in the first places of memory."""
    s = memory.shared
    gain, slope, p, c, t = 1.0, 0.0, 1000.0, 0.0, 1000.0
    if s[8] > 0:
        gain, slope = s[6] / (s[6] + NOISE), s[7] / (s[6] + NOISE)
        p, c, t = (1 - gain) * s[6], (1 - gain) * s[7], s[8] - slope * s[7]
    for k, value in ((0, requests), (1, prompt), (2, output)):
        s[3 + k] += slope * (value - s[k])
        s[k] += gain * (value - s[k]) + s[3 + k]
    s[6], s[7], s[8] = p + 2 * c + t + LEVEL_NOISE, c + t, t + TREND_NOISE


def time_s(cluster: Cluster, tokens: float, decodes: float, each: float) -> float:
    """Return the time of the iterations that compute prompt tokens beside decodes, each with so much context."""
    tokens *= 1 - HIT_RATE
    beside = decodes * (cluster.perf.token_s + each * cluster.perf.context_token_s)
    return max(1, math.ceil(tokens / BUDGET_TOKENS)) * (cluster.perf.fixed_s + beside) + tokens * cluster.perf.token_s


def best_rps(cluster: Cluster, prompt: float, output: float, most: int) -> float:
    """Return a replica's rate at the most decodes, up to `most`, that keep both targets; at one if none does."""
    each, rate = prompt + output / 2, 0.0
    for n in range(1, max(1, min(most, int(output * BUDGET_TOKENS / (prompt + output)))) + 1):
        step_s = time_s(cluster, n * prompt / output, n, each)
        if n > 1 and (step_s > ITL_S or time_s(cluster, (n / output + 1) * prompt, n, each) > TTFT_S):
            break
        rate = n / (output * step_s)
    return rate


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Set the floor every THROUGHPUT_S and move by one in between; without a finished request the size stays."""
    ready, wanted = window.ready[-1, 0], int(window.desired[0])
    requests, tokens, finished, generated = 0.0, 0.0, 0.0, 0.0
    for k in range(len(window.ready) - THROUGHPUT_S, len(window.ready)):
        requests += window.arrivals[k, 0]
        tokens += window.arrival_tokens[k, 0]
        finished += window.finished[k, 0]
        generated += window.generated_tokens[k, 0]
    memory.shared[10] += 1.0
    if ready > 0 and tokens > 0 and finished > 0:
        prompt, output = tokens / requests, max(1.0, generated / finished)
        used, n, queued = window.kv_utilisation[-1, 0], window.running[-1, 0] / ready, window.waiting[-1, 0] / ready
        if memory.shared[10] % max(1, round(THROUGHPUT_S / INTERVAL_S)) == 0:
            foretell(memory, requests, prompt, output)
            most = int(n / used) if used > 0 else 1024
            rate = best_rps(cluster, max(1.0, memory.shared[1]), max(1.0, memory.shared[2]), most)
            memory.shared[9] = math.ceil(max(0.0, memory.shared[0]) / THROUGHPUT_S / rate)
        each, prefill = prompt + output / 2, n * prompt / output
        if time_s(cluster, (queued + 1) * prompt, n, each) > TTFT_S or time_s(cluster, prefill, n + 1, each) > ITL_S:
            wanted += 1 if window.loading[-1, 0] == 0 else 0
        elif ready > 1:
            more = ready / (ready - 1)
            own = time_s(cluster, prompt, n * more, each)
            queue = time_s(cluster, (queued * more + 1) * prompt, n * more, each) - own
            step_s = time_s(cluster, prefill, (n + queued) * more + 1, each)
            fits = used * more * (1 + queued / max(1.0, n)) < 1
            if fits and queue < SENSITIVITY * (TTFT_S - own) and step_s < SENSITIVITY * ITL_S:
                wanted -= 1
    return max(int(window.min_replicas[0]), min(max(wanted, int(memory.shared[9])), int(window.max_replicas[0])))
