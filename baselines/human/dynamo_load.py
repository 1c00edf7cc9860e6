"""Dynamo's load planner: one replica more above a full KV memory, queue included, one fewer where the rest stays below.

Every 5 s. The load of a replica is the KV memory that its running requests hold and its waiting ones will need, over
its capacity. Above UP of any one the pool grows by one; below DOWN of all it shrinks by one, unless the load of the
remaining ones would reach FULL. While a replica is still to come nothing grows. The window has sums of the pool: here
every replica has their mean, and a waiting request is taken to need as much memory as the mean running one.

Source: NVIDIA Dynamo's planner, aggregated mode, load scaling for throughput (UP and DOWN 0.4 and 0.1 for latency).
Loses: for first tokens: a replica is asked for when requests queue already, and a burst gets one per cold start. Pools
whose limit is time and not memory seem idle.
"""

from glia_bench.features import Cluster, Memory, Window

SOURCE = "ai-dynamo/dynamo 1.6.1, components/src/dynamo/planner/core/load_scaling.py"
INTERVAL_S = 5.0
UP = 1.0
DOWN = 0.6
FULL = 1.0
TUNABLE = {
    "INTERVAL_S": (1.0, 60.0, "log"),
    "UP": (0.1, 2.0),
    "DOWN": (0.0, 1.0),
    "FULL": (0.1, 2.0),
}


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """One more above UP, one fewer below DOWN if the rest has room, else the size that was asked for last."""
    current, ready = int(window.desired[0]), int(window.ready[-1, 0])
    if ready == 0:
        return current
    load = window.kv_utilisation[-1, 0]
    if window.running[-1, 0] > 0:
        load *= 1 + window.waiting[-1, 0] / window.running[-1, 0]
    wanted = current
    if load > UP:
        wanted += 1 if window.loading[-1, 0] == 0 else 0
    elif ready > 1 and load < DOWN and load * ready / (ready - 1) < FULL:
        wanted -= 1
    return max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
