"""llm-d's workload variant autoscaler: one replica more when spare capacity runs out, one less when it would suffice.

A replica is saturated from KV_LIMIT of its memory or QUEUE_LIMIT waiting requests on. What is spare below those limits
must stay at KV_SPARE and QUEUE_SPARE at least: else one replica is added, unless one is loading. One is given back if
the same load on one fewer replica would leave both spares.

Source: llm-d's workload-variant-autoscaler, saturation analyser, asked every 60 s. It looks at each replica; here the
window tells means of the pool, so either all are saturated or none.
Loses: one step a minute is slow against bursts, and a mean hides the one replica that is full.
"""

from glia_bench.features import Cluster, Memory, Window

NAME = "wva_saturation-style"
SOURCE = "llm-d/workload-variant-autoscaler@b08b1c77, docs/saturation-analyzer.md, docs/saturation-scaling-config.md"
INTERVAL_S = 60.0
KV_LIMIT = 0.8
QUEUE_LIMIT = 5.0
KV_SPARE = 0.1
QUEUE_SPARE = 3.0
TUNABLE = {
    "INTERVAL_S": (5.0, 120.0, "log"),
    "KV_LIMIT": (0.2, 1.0),
    "QUEUE_LIMIT": (1.0, 64.0, "log"),
    "KV_SPARE": (0.0, 0.5),
    "QUEUE_SPARE": (0.0, 16.0),
}


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Keep the spares."""
    current, ready = int(window.desired[0]), int(window.ready[-1, 0])
    if ready == 0:
        return current
    used = window.kv_utilisation[-1, 0]
    queue = (window.waiting[-1, 0] + window.held[-1, 0]) / ready
    is_short = KV_LIMIT - used < KV_SPARE or QUEUE_LIMIT - queue < QUEUE_SPARE
    wanted = current
    if is_short and int(window.loading[-1, 0]) == 0:
        wanted = current + 1
    elif not is_short and ready >= 2:
        grown = ready / (ready - 1)
        if KV_LIMIT - used * grown >= KV_SPARE and QUEUE_LIMIT - queue * grown >= QUEUE_SPARE:
            wanted = current - 1
    return max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
