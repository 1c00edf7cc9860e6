"""A schedule made from the arrivals to come: the fleet that the load will need, asked for a cold start ahead.

Before the run SCHEDULE is filled in: for every tick the replicas that bring the largest load from then until a new
replica could be ready to UTILISATION of what the fleet can serve, loads averaged over SMOOTH_S. Requests weigh by their
true tokens.

Source: the usual upper reference for autoscalers: planned with the future rate known, shifted by the cold start.
Loses: it plans for a mean rate, knows nothing of queues, and never corrects itself.
"""

from glia_bench.features import Cluster, Memory, Window

SOURCE = "textbook: planning with the future known; no single publication"
INTERVAL_S = 5.0
UTILISATION = 0.7
SMOOTH_S = 30
TUNABLE = {"UTILISATION": (0.3, 1.2), "SMOOTH_S": (1, 120, "log")}
SCHEDULE = (1,)
MEMORY = {"shared": 1}  # ticks so far


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Ask for what the schedule says of this tick."""
    tick = int(memory.shared[0])
    memory.shared[0] += 1.0
    wanted = SCHEDULE[min(tick, len(SCHEDULE) - 1)]
    return max(int(window.min_replicas[0]), min(wanted, int(window.max_replicas[0])))
