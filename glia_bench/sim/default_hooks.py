"""The hooks of a design that leaves them out: never called, but a kernel needs a function of each type."""

from typing import Any

from glia_bench.features import Cluster, IntArray, Memory, Replicas, Request
from glia_bench.sim.jit import inlined


@inlined
def no_route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Stand in for `route`."""
    return 0


@inlined
def no_rank(request: Request, cluster: Cluster, memory: Memory) -> float:
    """Stand in for `rank`."""
    return 0.0


@inlined
def no_assign(queue: Any, replicas: Replicas, cluster: Cluster, memory: Memory, out: IntArray) -> None:
    """Stand in for `assign`."""
    return


@inlined
def no_event(request: Request, replica: int, memory: Memory) -> None:
    """Stand in for the event hooks."""
    return
