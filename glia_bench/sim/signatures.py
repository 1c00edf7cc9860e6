"""The Numba types of everything that crosses into the kernels, taken from `numba.typeof` of examples."""

from typing import Any

import numba
import numpy as np
from numba import types

from glia_bench.cluster import EngineSpec, LatencyTable, uniform_cluster
from glia_bench.features import (
    FLOAT_REPLICA_FIELDS,
    INT_REPLICA_FIELDS,
    Cluster,
    Inflight,
    Perf,
    Replica,
    Replicas,
    Request,
    Window,
    schema,
)
from glia_bench.sim import columns as col
from glia_bench.sim.by_reference import reference_type
from glia_bench.sim.jit import plain
from glia_bench.sim.queue_columns import assign_buffers, queue_view
from glia_bench.sim.state import State, make_memory, make_state
from glia_bench.sim.views import PlainCluster

EXAMPLE_PERF = Perf(0.0, 0.0, 0.0, 0.0, 0.0)
_zeros = [0.0 if f.dtype == "float64" else 0 for f in schema("request")]
EXAMPLE_REQUEST = Request._make([*_zeros[:-1], (0.0, 0.0, 0.0, 0.0)])
NOBODY = Inflight(*(np.zeros(0, dtype=f.dtype) for f in schema("inflight")))
"""In-flight rows of a design that does not read them."""
EXAMPLE_CLUSTER = Cluster(0.0, 1, 1, 1, 0, 16, 0.0, EXAMPLE_PERF, NOBODY)
EXAMPLE_REPLICA = Replica(0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, EXAMPLE_PERF)


def read_only(array: Any) -> Any:
    """Return a view that hooks cannot write to."""
    view = array.view()
    view.flags.writeable = False
    return view


def replica_view(state: State) -> Replicas:
    """Return the replicas of a single run as hooks see them: read-only rows of the view arrays."""
    rows = {name: read_only(state.view_int[k]) for k, name in enumerate(INT_REPLICA_FIELDS)}
    if state.params[col.P_INTERVAL]:
        rows |= {INT_REPLICA_FIELDS[k]: read_only(state.published[k]) for k in col.ENGINE_FIELDS}
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
    one = np.ones(3, dtype=np.int64)
    latency = LatencyTable(name="example", token_ps=one, context_ps=one, decode_ps=one, pair_ps=0)
    cluster = uniform_cluster(num_replicas=1, engine=engine, latency=latency)
    return make_state(cluster, num_envs=1, num_requests=1, capacity=1)


_state = _example_state()
_buffers = assign_buffers(1)
_memory = make_memory({}, num_replicas=1, request_rows=1)
_REQUEST, _CLUSTER, _MEMORY = numba.typeof(EXAMPLE_REQUEST), numba.typeof(EXAMPLE_CLUSTER), numba.typeof(_memory)
_REPLICAS, _REPLICA = numba.typeof(replica_view(_state)), numba.typeof(EXAMPLE_REPLICA)
_QUEUE = numba.typeof(plain(queue_view)(_buffers, 1))
_WINDOW = numba.typeof(
    Window(
        *(read_only(np.zeros((1, 1) if k < 13 else 1, dtype=field.dtype)) for k, field in enumerate(schema("window")))
    )
)


def _router_types(cluster: Any) -> dict[str, tuple[tuple[Any, ...], Any]]:
    return {
        "route": ((_REQUEST, _REPLICAS, cluster, _MEMORY), types.int64),
        "rank": ((_REQUEST, cluster, _MEMORY), types.float64),
        "assign": ((_QUEUE, _REPLICAS, cluster, _MEMORY, types.int64[::1]), types.none),
        "on_dispatch": ((_REQUEST, types.int64, _MEMORY), types.none),
        "on_first_token": ((_REQUEST, types.int64, _MEMORY), types.none),
        "on_finish": ((_REQUEST, types.int64, _MEMORY), types.none),
    }


PLAIN_ROUTER_TYPES = _router_types(numba.typeof(PlainCluster(*EXAMPLE_CLUSTER[:-1])))
"""Numba argument types and result type of every routing hook, as the plain engine calls it."""
FULL_ROUTER_TYPES = _router_types(_CLUSTER)
"""The same for the full engine."""
SCHEDULER_TYPES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "rank": ((_REQUEST, _REPLICA, _MEMORY), types.float64),
    "admit": ((_REQUEST, _REPLICA, _MEMORY), types.boolean),
    "evict_rank": ((_REQUEST, _REPLICA, _MEMORY), types.float64),
    "tokens": ((_REQUEST, _REPLICA, types.int64, _MEMORY), types.int64),
    "plan": ((_REPLICA, _MEMORY), types.UniTuple(types.int64, 2)),
    "on_step": ((_REPLICA, _MEMORY), types.none),
}
"""The same of every scheduling hook."""
SCALER_TYPES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "scale": ((_WINDOW, _CLUSTER, _MEMORY), None),
    "drain_rank": ((_REPLICA, _MEMORY), types.float64),
}
"""The same of every autoscaling hook; `scale` answers an integer or a tuple of them."""

STATE = reference_type(_state)
"""Type of references to a `State`."""
SERVICES = (_REPLICAS, numba.typeof(_buffers), numba.typeof(NOBODY), types.uint64, types.uint64)
"""Types of the last arguments of every kernel: replicas, buffers, nobody, keys of `request.u` and `draw`."""


def functions(table: dict[str, tuple[tuple[Any, ...], Any]]) -> list[Any]:
    """Return the first-class function types of a table of hooks."""
    return [types.FunctionType(result(*arguments)) for arguments, result in table.values()]
