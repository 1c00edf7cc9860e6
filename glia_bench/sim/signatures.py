"""The Numba types of everything that crosses into the kernels, taken from `numba.typeof` of examples."""

from typing import Any

import numba
import numpy as np
from numba import types

from glia_bench.features import (
    FLOAT_REPLICA_FIELDS,
    INT_REPLICA_FIELDS,
    Cluster,
    Perf,
    Replicas,
    Request,
    schema,
)
from glia_bench.sim.jit import plain
from glia_bench.sim.queue_columns import assign_buffers, queue_view
from glia_bench.sim.state import State, make_memory, make_state
from glia_bench.types import ClusterSpec, EngineSpec, LatencyTable

EXAMPLE_PERF = Perf(0.0, 0.0, 0.0, 0.0, 0.0)
_zeros = [0.0 if f.dtype == "float64" else 0 for f in schema("request")]
EXAMPLE_REQUEST = Request._make([*_zeros[:-1], (0.0, 0.0, 0.0, 0.0)])
EXAMPLE_CLUSTER = Cluster(0.0, 1, 1, 1, 16, 0.0, EXAMPLE_PERF)


def read_only(array: Any) -> Any:
    """Return a view that hooks cannot write to."""
    view = array.view()
    view.flags.writeable = False
    return view


def replica_view(state: State) -> Replicas:
    """Return the replicas of a single run as hooks see them: read-only rows of the view arrays."""
    rows = {name: read_only(state.view_int[k]) for k, name in enumerate(INT_REPLICA_FIELDS)}
    rows |= {name: read_only(state.view_float[k]) for k, name in enumerate(FLOAT_REPLICA_FIELDS)}
    return Replicas(**rows)


def _example_state() -> State:
    engine = EngineSpec(
        mode="example",
        order="admission",
        watermark=0.0,
        admit_after_preemption=False,
        spare_block=False,
        token_budget=2,
        max_running=1,
        num_blocks=1,
    )
    latency = LatencyTable(name="example", token_ps=np.ones(3, dtype=np.int64), context_ps=0, pair_ps=0)
    cluster = ClusterSpec(num_replicas=1, engine=engine, latency=latency)
    return make_state(cluster, num_envs=1, num_requests=1, capacity=1)


_state = _example_state()
_buffers = assign_buffers(1)
_memory = make_memory({}, num_replicas=1, request_rows=1)
_REQUEST, _CLUSTER, _MEMORY = numba.typeof(EXAMPLE_REQUEST), numba.typeof(EXAMPLE_CLUSTER), numba.typeof(_memory)
_REPLICAS = numba.typeof(replica_view(_state))
_QUEUE = numba.typeof(plain(queue_view)(_buffers, 1))

HOOK_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "route": (_REQUEST, _REPLICAS, _CLUSTER, _MEMORY),
    "rank": (_REQUEST, _CLUSTER, _MEMORY),
    "assign": (_QUEUE, _REPLICAS, _CLUSTER, _MEMORY, types.int64[::1]),
    "on_dispatch": (_REQUEST, types.int64, _MEMORY),
    "on_first_token": (_REQUEST, types.int64, _MEMORY),
    "on_finish": (_REQUEST, types.int64, _MEMORY),
}
"""Numba argument types of every routing hook."""
HOOK_RESULTS: dict[str, Any] = {
    "route": types.int64,
    "rank": types.float64,
    "assign": types.none,
    "on_dispatch": types.none,
    "on_first_token": types.none,
    "on_finish": types.none,
}
"""Numba result type of every routing hook."""

STATE = numba.typeof(_state)
"""Type of `State`."""
SERVICES = (_REPLICAS, numba.typeof(EXAMPLE_PERF), _MEMORY, numba.typeof(_buffers), types.uint64)
"""Types of the last arguments of every kernel: replicas, perf, memory, buffers, key of `request.u`."""
