"""The hooks of a design that leaves them out: only `route` is ever called, but kernels need one of each type."""

from typing import Any

from glia_bench.features import Cluster, IntArray, Memory, Replica, Replicas, Request
from glia_bench.sim.jit import kernel, plain
from glia_bench.sim.signatures import FULL_ROUTER_TYPES, PLAIN_ROUTER_TYPES, SCHEDULER_TYPES


def least_outstanding(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Route to the ready replica with the fewest outstanding requests in the ledger, lowest index first."""
    best = -1
    for k in range(cluster.num_replicas):
        if replicas.ready[k] and (best < 0 or replicas.inflight[k] < replicas.inflight[best]):
            best = k
    return best


def no_rank(request: Request, cluster: Cluster, memory: Memory) -> float:
    """Stand in for `rank`."""
    return 0.0


def no_assign(queue: Any, replicas: Replicas, cluster: Cluster, memory: Memory, out: IntArray) -> None:
    """Stand in for `assign`."""
    return


def no_event(request: Request, replica: int, memory: Memory) -> None:
    """Stand in for the event hooks."""
    return


def no_scheduler_rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Stand in for a scheduler's `rank` and `evict_rank`."""
    return 0.0


def no_admit(request: Request, replica: Replica, memory: Memory) -> bool:
    """Stand in for `admit`."""
    return True


def no_tokens(request: Request, replica: Replica, left: int, memory: Memory) -> int:
    """Stand in for `tokens`."""
    return left


def no_plan(replica: Replica, memory: Memory) -> tuple[int, int]:
    """Stand in for `plan`."""
    return replica.token_budget, replica.max_running


def no_step(replica: Replica, memory: Memory) -> None:
    """Stand in for `on_step`."""
    return


def _compiled(functions: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    return {name: kernel(table[name][1](*table[name][0]))(plain(function)) for name, function in functions.items()}


_ROUTER = {
    "route": least_outstanding,
    "rank": no_rank,
    "assign": no_assign,
    "on_dispatch": no_event,
    "on_first_token": no_event,
    "on_finish": no_event,
}
PLAIN_ROUTER = _compiled(_ROUTER, PLAIN_ROUTER_TYPES)
"""First-class functions for the routing hooks that a design leaves out, in the plain engine."""
FULL_ROUTER = _compiled(_ROUTER, FULL_ROUTER_TYPES)
"""The same for the full engine."""
SCHEDULER = _compiled(
    {
        "rank": no_scheduler_rank,
        "admit": no_admit,
        "evict_rank": no_scheduler_rank,
        "tokens": no_tokens,
        "plan": no_plan,
        "on_step": no_step,
    },
    SCHEDULER_TYPES,
)
"""First-class functions for the scheduling hooks that a design leaves out."""
