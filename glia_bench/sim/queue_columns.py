"""The held queue as the columns that `assign` receives."""

from typing import Any, NamedTuple

import numpy as np

from glia_bench.features import FloatArray, IntArray, Queue
from glia_bench.sim import columns as col
from glia_bench.sim.jit import inlined
from glia_bench.sim.state import State
from glia_bench.sim.views import request_view


class AssignBuffers(NamedTuple):
    """Room for the queue's columns and the answers: as wide as the live slots, or 1 without `assign`."""

    ints: IntArray
    floats: FloatArray
    u: FloatArray
    out: IntArray


def assign_buffers(capacity: int) -> AssignBuffers:
    """Return empty columns for at most `capacity` held requests."""
    return AssignBuffers(
        ints=np.zeros((13, capacity), dtype=np.int64),
        floats=np.zeros((5, capacity)),
        u=np.zeros((capacity, 4)),
        out=np.zeros(capacity, dtype=np.int64),
    )


@inlined
def fill_columns(s: State, tag: FloatArray, buffers: AssignBuffers, e: int, key: np.uint64) -> None:
    """Write the held queue into the columns; the answers start as HOLD."""
    q = e * s.params[col.P_ROUTERS] + s.ctl[e, col.C_ROUTER]
    head = s.held_meta[q, col.Q_HEAD]
    ints = buffers.ints
    floats = buffers.floats
    for k in range(s.held_meta[q, col.Q_LENGTH]):
        slot = s.held_slot[q, head + k]
        request = request_view(s, tag, key, e, slot, s.slots[slot, col.S_GENERATED] if s.params[col.P_FULL] else 0)
        ints[0, k] = request.id
        ints[1, k] = request.slot
        ints[2, k] = request.tenant
        ints[3, k] = request.session
        ints[4, k] = request.turn
        ints[5, k] = request.prompt_tokens
        ints[6, k] = request.max_tokens
        ints[7, k] = request.priority
        ints[8, k] = request.slo_class
        ints[9, k] = request.generated_tokens
        ints[10, k] = request.restarts
        ints[11, k] = request.computed_tokens
        ints[12, k] = request.cached_tokens
        floats[0, k] = request.predicted_tokens
        floats[1, k] = request.ttft_slo_s
        floats[2, k] = request.tpot_slo_s
        floats[3, k] = request.arrival_s
        floats[4, k] = request.tag
        for i in range(4):
            buffers.u[k, i] = request.u[i]
        buffers.out[k] = -1


@inlined
def queue_view(buffers: AssignBuffers, n: int) -> Any:
    """Return the first n rows of the columns as the `Queue` that `assign` receives."""
    i = buffers.ints
    f = buffers.floats
    return Queue(
        i[0, :n],
        i[1, :n],
        i[2, :n],
        i[3, :n],
        i[4, :n],
        i[5, :n],
        i[6, :n],
        i[7, :n],
        i[8, :n],
        i[9, :n],
        i[10, :n],
        i[11, :n],
        i[12, :n],
        f[0, :n],
        f[1, :n],
        f[2, :n],
        f[3, :n],
        f[4, :n],
        buffers.u[:n],
    )
