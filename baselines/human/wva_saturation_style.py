"""llm-d's saturation analyser: one replica more where spare memory or queue runs out, one fewer where it would not.

A replica is saturated from KV_LIMIT of its KV memory or QUEUE_LIMIT waiting requests on, each at its peak of the last
PEAK_S. What is left to those limits, averaged over the replicas that are not saturated, is the spare. The pool grows by
one if the spare memory is below KV_SPARE or the spare queue below QUEUE_SPARE, or if nobody has any, but not while a
replica is still to come; it shrinks by one if at least two are not saturated and one fewer would leave both spares.
The window has no values of single replicas: here every replica is as full as the pool's mean.

Source: llm-d's workload-variant-autoscaler, default analyser, with one variant; the mean for each replica is ours.
Loses: on bursts: one replica a minute, and none while one loads. A pool that is unevenly full looks better than it is.
"""

from glia_bench.features import Cluster, Memory, Window

NAME = "wva_saturation-style"
SOURCE = "llm-d/llm-d-workload-variant-autoscaler, docs/saturation-analyzer.md, docs/saturation-scaling-config.md"
INTERVAL_S = 60.0
PEAK_S = 60
KV_LIMIT = 0.8
QUEUE_LIMIT = 5.0
KV_SPARE = 0.1
QUEUE_SPARE = 3.0
TUNABLE = {
    "INTERVAL_S": (1.0, 120.0, "log"),
    "PEAK_S": (1, 300, "log"),
    "KV_LIMIT": (0.4, 1.0),
    "QUEUE_LIMIT": (3.0, 50.0, "log"),
    "KV_SPARE": (0.0, 0.4),
    "QUEUE_SPARE": (0.0, 3.0),
}


def has_spare(used: float, queued: float) -> bool:
    """Return whether replicas with so much memory used and so many requests waiting each keep both spares."""
    if used >= KV_LIMIT or queued >= QUEUE_LIMIT:
        return False  # all are saturated
    return KV_LIMIT - used >= KV_SPARE and QUEUE_LIMIT - queued >= QUEUE_SPARE


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """One more without spare, one fewer with spare enough for it, else the size that was asked for last."""
    current, ready = int(window.desired[0]), int(window.ready[-1, 0])
    if ready == 0:
        return current
    used, queued = 0.0, 0.0
    for k in range(len(window.ready) - PEAK_S, len(window.ready)):
        if window.ready[k, 0] > 0:
            used = max(used, window.kv_utilisation[k, 0])
            queued = max(queued, window.waiting[k, 0] / window.ready[k, 0])
    wanted = current
    if not has_spare(used, queued):
        wanted += 1 if window.loading[-1, 0] == 0 else 0
    elif ready >= 2 and has_spare(used * ready / (ready - 1), queued * ready / (ready - 1)):
        wanted -= 1
    return max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
