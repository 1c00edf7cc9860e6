"""SageServe's reactive arbiter: one replica more above half the memory, one fewer below a quarter, then a lock.

The pool's memory utilisation is looked at all the time. Above UP one replica is asked for and nothing moves for LOCK_S,
the time that a new one takes there; below DOWN one is let go, and DOWN_LOCK_S is the wait after that. The forecast by
ARIMA and the plan by integer program above it work by the hour and are left out; so are spot replicas, which another
model lends. Memory is here the KV cache's, without what waits.

Source: SageServe's simulator, the arbiter that knows no global plan; the hourly plan only tells it when to hold still.
Loses: for first tokens and on bursts: one replica per lock. Nothing waits before the next one is let go, so that a lull
empties the pool within seconds, and each return of the load is then paid for with a lock.
"""

from glia_bench.features import Cluster, Memory, Window

NAME = "sageserve-style"
SOURCE = "kjain1810/SageServe@635bcbd, arbiter.py (BasicArbiter), configs/arbiter_repo/arbiters/basic_arbiter.yaml"
INTERVAL_S = 1.0
UP = 0.5
DOWN = 0.25
LOCK_S = 155.0
DOWN_LOCK_S = 0.0
TUNABLE = {
    "INTERVAL_S": (1.0, 60.0, "log"),
    "UP": (0.1, 1.0),
    "DOWN": (0.0, 0.9),
    "LOCK_S": (1.0, 300.0, "log"),
    "DOWN_LOCK_S": (0.0, 300.0),
}
MEMORY = {"shared": 2}  # when it may move again, and whether it has moved at all


def scale(window: Window, cluster: Cluster, memory: Memory) -> int:
    """Move by one outside the lock, or ask for what was asked for last."""
    current = int(window.desired[0])
    locked = memory.shared[1] > 0 and cluster.now_s < memory.shared[0]
    if locked or window.ready[-1, 0] == 0:
        return current
    used, wanted = window.kv_utilisation[-1, 0], current
    if used > UP:
        wanted = min(current + 1, int(window.max_replicas[0]))
    elif used < DOWN:
        wanted = max(current - 1, int(window.min_replicas[0]))
    if wanted != current:
        memory.shared[0] = cluster.now_s + (LOCK_S if wanted > current else DOWN_LOCK_S)
        memory.shared[1] = 1.0
    return wanted
