"""Square-root staffing: the offered load in replicas, and BETA times its square root against randomness.

Every 15 s, from the arrivals, lengths and memory use of the last WINDOW_S and the linear model of an iteration: the
rate at which one replica could serve them, the lower of two. In iterations of ITERATION_S: with `work` the seconds that
a request adds to iterations, (1 - fixed / ITERATION_S) / work. With its memory full of `batch` requests:
batch / (output * fixed + batch * work). Arrivals over that rate are the offered load rho; the size is
ceil(rho + BETA * sqrt(rho)). Nothing is smoothed but by the window.

Source: square-root staffing of many-server queues (Halfin and Whitt 1981); the rate of a replica is worked out here.
Loses: it is blind to queues that are there already and to cold starts: it follows the last minute, late by half of it,
and gives replicas back at once. Prompts that hit a prefix cache are charged in full.
"""

import math

from glia_bench.features import Cluster, Memory, Perf, Window

SOURCE = "textbook: Halfin and Whitt 1981, Heavy-traffic limits for queues with many exponential servers"
INTERVAL_S = 15.0
WINDOW_S = 60
ITERATION_S = 0.1
BETA = 1.0
TUNABLE = {"WINDOW_S": (5, 600, "log"), "ITERATION_S": (0.02, 1.0, "log"), "BETA": (0.0, 6.0)}


def rate_of_a_replica(perf: Perf, prompt: float, output: float, batch: float) -> float:
    """Return the requests per second that one replica can serve; `batch` is how many its memory holds, 0 if unknown."""
    prefill = perf.token_s * prompt + 0.5 * perf.prefill_pair_s * prompt * prompt
    work = max(1e-9, prefill + (perf.token_s + perf.context_token_s * (prompt + 0.5 * output)) * output)
    rate = max(0.05, 1.0 - perf.fixed_s / ITERATION_S) / work
    return rate if batch <= 0.0 else min(rate, batch / (output * perf.fixed_s + batch * work))


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Staff for the offered load of the window; keep the size while requests come of which none has finished."""
    rows, arrived, prompts, finished, outputs, running, used = 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(600 - WINDOW_S, 600):
        if window.ready[k, 0] + window.loading[k, 0] + window.draining[k, 0] > 0.0:
            rows += 1
            arrived += window.arrivals[k, 0]
            prompts += window.arrival_tokens[k, 0]
            finished += window.finished[k, 0]
            outputs += window.generated_tokens[k, 0]
            running += window.running[k, 0]
            used += window.kv_utilisation[k, 0] * window.ready[k, 0]
    wanted = int(window.desired[0])
    if rows > 0 and arrived == 0.0:
        wanted = 0
    elif rows > 0 and finished > 0.0:
        batch = running / used if used > 0.0 else 0.0
        rate = rate_of_a_replica(cluster.perf, prompts / arrived, outputs / finished, batch)
        load = arrived / rows / rate
        wanted = math.ceil(load + BETA * math.sqrt(load))
    return max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
