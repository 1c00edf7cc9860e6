"""Holt's forecast: replicas for the prompt tokens expected a cold start from now, and no fewer than an HPA's.

Every tick the prompt tokens that arrived in bins of BIN_S, of the last ten minutes, are smoothed to a level and a trend
(no season: a run has no second day), which are carried on for a cold start and a tick. `cluster.perf` turns tokens a
second into replicas at the mean prompt and output of those minutes, if BATCH requests share an iteration, each filled
to FILL. An HPA on KV utilisation is the floor; the pool shrinks to the highest answer of the last KEEP_S.

Source: Holt's linear method with additive terms (Holt 1957, Winters 1960) in front of a Kubernetes HPA, as practice is.
Loses: at a burst's onset, which no trend foretells, and at its end: the trend overshoots. Tokens of prompts that sit in
a prefix cache count in full.
"""

import math

from glia_bench.features import Cluster, Memory, Perf, Window

SOURCE = "Holt (1957) and Winters (1960), exponential smoothing with an additive trend; no single publication"
INTERVAL_S = 15.0
BIN_S = 60
ALPHA = 0.5
BETA = 0.1
BATCH = 32.0
FILL = 0.8
TARGET = 0.7
TOLERANCE = 0.1
KEEP_S = 300.0
TUNABLE = {
    "INTERVAL_S": (1.0, 60.0, "log"),
    "BIN_S": (2, 120, "log"),
    "ALPHA": (0.05, 1.0),
    "BETA": (0.0, 1.0),
    "BATCH": (2.0, 256.0, "log"),
    "FILL": (0.3, 1.5),
    "TARGET": (0.2, 1.0),
    "KEEP_S": (1.0, 600.0, "log"),
}
KEPT = math.ceil(KEEP_S / INTERVAL_S)
MEMORY = {"shared": KEPT + 1}  # answers of KEEP_S, in a ring, and how many there were


def forecast(window: Window, ahead_s: float) -> float:
    """Return the prompt tokens per second expected so much later; 0 before the first full bin."""
    rows = len(window.ready)
    level, trend, bins = 0.0, 0.0, 0
    for b in range(rows // BIN_S, 0, -1):
        first, tokens = rows - b * BIN_S, 0.0
        if window.ready[first, 0] + window.loading[first, 0] == 0:
            continue  # from before the run, or in part
        for k in range(first, first + BIN_S):
            tokens += window.arrival_tokens[k, 0]
        before, rate = level, tokens / BIN_S
        level = rate if bins == 0 else ALPHA * rate + (1 - ALPHA) * (level + trend)
        trend = 0.0 if bins == 0 else BETA * (level - before) + (1 - BETA) * trend
        bins += 1
    return max(0.0, level + trend * ahead_s / BIN_S)


def service_s(perf: Perf, prompt: float, output: float) -> float:
    """Return the seconds of a replica that one request takes up."""
    prefill = prompt * perf.token_s + prompt * prompt / 2 * perf.prefill_pair_s
    context = (prompt + output / 2) * perf.context_token_s
    return prefill + output * (perf.fixed_s / BATCH + perf.token_s + context)


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """The larger of forecast and HPA, up at once, down to the highest answer of KEEP_S."""
    current, ready = int(window.desired[0]), int(window.ready[-1, 0])
    ratio, wanted = window.kv_utilisation[-1, 0] / TARGET, current
    if ready > 0 and ratio > 1 + TOLERANCE:
        wanted = max(current, math.ceil(ratio * ready))  # replicas still to come are idle
    elif ready > 0 and ratio < 1 - TOLERANCE:
        wanted = min(current, math.ceil(ratio * ready + window.loading[-1, 0]))  # and here on target
    arrivals, tokens, finished, generated = 0.0, 0.0, 0.0, 0.0
    for k in range(len(window.ready)):
        arrivals += window.arrivals[k, 0]
        tokens += window.arrival_tokens[k, 0]
        finished += window.finished[k, 0]
        generated += window.generated_tokens[k, 0]
    if tokens > 0 and finished > 0:
        prompt = tokens / arrivals
        expected_rps = forecast(window, window.cold_start_s[0] + INTERVAL_S) / prompt
        wanted = max(wanted, math.ceil(expected_rps * service_s(cluster.perf, prompt, generated / finished) / FILL))
    tick = int(memory.shared[KEPT])
    memory.shared[KEPT] += 1.0
    memory.shared[tick % KEPT] = max(wanted, current) if tick == 0 else wanted  # it starts from the fleet that it finds
    if wanted < current:
        for k in range(KEPT):
            wanted = max(wanted, int(memory.shared[k]))
        wanted = min(wanted, current)
    return max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
