"""What hooks receive, built from the simulation's arrays: the same code in the kernel and around plain Python hooks."""

from collections import namedtuple
from typing import Any

import numpy as np

from glia_bench.features import Cluster, FloatArray, Inflight, Perf, Request
from glia_bench.sim import columns as col
from glia_bench.sim.hashes import uniform
from glia_bench.sim.jit import inlined
from glia_bench.sim.state import State

_fields = [name for name in Cluster._fields if name != "inflight"]
_make: Any = namedtuple
PlainCluster: Any = _make("PlainCluster", _fields)
"""What the plain engine's hooks get for a `Cluster`.

In-flight rows are five arrays: passed by value in every call they would cost a quarter of the speed, and a design that
reads them runs in the full engine anyway.
"""


@inlined
def request_view(s: State, tag: FloatArray, key: np.uint64, e: int, slot: int, generated: int) -> Request:
    """Return a live request as routers see it, with the output tokens that have been streamed."""
    return detailed_view(s, tag, key, e, slot, generated, 0, 0)


@inlined
def detailed_view(
    s: State, tag: FloatArray, key: np.uint64, e: int, slot: int, generated: int, computed: int, cached: int
) -> Request:
    """Return a live request as hooks see it, with what a scheduler knows beside."""
    number = s.slots[slot, col.S_NUMBER]
    i = s.slots[slot, col.S_ROW] - e * s.max_tokens.shape[1]
    row = s.slots[slot, col.S_MEMORY] if s.params[col.P_REQUEST_MEMORY] else 0
    u = (0.0, 0.0, 0.0, 0.0)
    if s.params[col.P_READS_U]:
        u = (uniform(key, number, 0), uniform(key, number, 1), uniform(key, number, 2), uniform(key, number, 3))
    tenant = 0
    session = -1
    turn = 0
    priority = 0
    slo_class = 0
    predicted = 0
    if s.params[col.P_META]:
        tenant = s.meta[e, i, col.M_TENANT]
        session = s.meta[e, i, col.M_SESSION]
        turn = s.meta[e, i, col.M_TURN]
        priority = s.meta[e, i, col.M_PRIORITY]
        slo_class = s.meta[e, i, col.M_CLASS]
        predicted = s.meta[e, i, col.M_PREDICTED]
    return Request(
        number,
        row,
        tenant,
        session,
        turn,
        s.slots[slot, col.S_PROMPT],
        s.max_tokens[e, i],
        priority,
        slo_class,
        generated,
        s.slots[slot, col.S_RESTARTS],
        computed,
        cached,
        float(predicted),
        s.slo[slo_class, 0] + s.slo[slo_class, 2] * s.slots[slot, col.S_PROMPT],
        s.slo[slo_class, 1],
        float(s.slots[slot, col.S_ARRIVED] + s.ctl[e, col.C_OFFSET]) * 1e-12,
        tag[row],
        u,
    )


@inlined
def plain_cluster_view(s: State, inflight: Inflight, e: int) -> Any:
    """Return the cluster as the router that scans sees it now, or about to hold one request more."""
    now_s = float(s.ctl[e, col.C_NOW] + s.ctl[e, col.C_OFFSET]) * 1e-12
    router = s.ctl[e, col.C_ROUTER]
    held = s.held_meta[e * s.params[col.P_ROUTERS] + router, col.Q_LENGTH] + (s.ctl[e, col.C_ARRIVING] >= 0)
    interval_s = s.settings[0]
    replicas = s.params[col.P_REPLICAS]
    routers = s.params[col.P_ROUTERS]
    return PlainCluster(now_s, replicas, held, routers, router, s.params[col.P_BLOCK], interval_s, perf_view(s, 0))


@inlined
def cluster_view(s: State, inflight: Inflight, e: int) -> Cluster:
    """Return the same with the router's in-flight rows."""
    c = plain_cluster_view(s, inflight, e)
    return Cluster(
        c.now_s,
        c.num_replicas,
        c.num_held,
        c.num_routers,
        c.router,
        c.block_size_tokens,
        c.metrics_interval_s,
        c.perf,
        inflight,
    )


@inlined
def perf_view(s: State, pool: int) -> Perf:
    """Return the linear iteration-time model of a pool."""
    p = s.perf
    return Perf(p[pool, 0], p[pool, 1], p[pool, 2], p[pool, 3], p[pool, 4])
