"""Pieces of the kernels that Python needs by themselves, between two calls of a kernel: compiled once, and cached.

Called as plain Python on a `State` they would run too, but whatever they are made of would be compiled for it in every
process anew, which takes seconds.
"""

from typing import Any

import numba
from numba import types

from glia_bench.features import Cluster, Inflight
from glia_bench.sim import fleet, replica
from glia_bench.sim.jit import kernel
from glia_bench.sim.signatures import EXAMPLE_CLUSTER, NOBODY, STATE
from glia_bench.sim.state import State
from glia_bench.sim.stretch import stretch_time
from glia_bench.sim.views import PlainCluster, plain_cluster_view


@kernel(numba.typeof(PlainCluster(*EXAMPLE_CLUSTER[:-1]))(STATE, numba.typeof(NOBODY)))
def _plain_cluster(s: State, nobody: Inflight) -> Any:
    return plain_cluster_view(s, nobody, 0)


def cluster_of(s: State, inflight: Inflight) -> Cluster:
    """Return the cluster of a single run, given by reference, as `views.cluster_view` has it."""
    return Cluster(**_plain_cluster(s, NOBODY)._asdict(), inflight=inflight)


@kernel(types.void(STATE, types.int64, types.int64))
def forget_cache(s: State, e: int, g: int) -> None:
    """Do `fleet.forget_cache` on a state given by reference."""
    fleet.forget_cache(s, e, g)


@kernel(types.void(STATE, types.int64, types.int64, types.int64))
def catch_up(s: State, e: int, g: int, now: int) -> None:
    """Do `replica.catch_up` on a state given by reference."""
    replica.catch_up(s, e, g, now)


@kernel(types.int64(STATE, types.int64))
def first_iteration_ps(s: State, g: int) -> int:
    """Return how long the first iteration of replica g's stretch takes; the state by reference."""
    return stretch_time(s, g, 1)
