"""The kernels whose answers come from outside: plain-Python hooks and Gymnasium steps, for any number of runs at once.

Each call gives every run that waits its answer and takes it to its next question or its end. With a question about a
request, its observation is written. Every run has a state of its own; what an answer was worth is for tally.py to say.
"""

from typing import Any

import numba
import numpy as np
from numba import types

from glia_bench.features import (
    FLOAT_REPLICA_FIELDS,
    INT_REPLICA_FIELDS,
    Cluster,
    Inflight,
    IntArray,
    Memory,
    Replicas,
    Request,
)
from glia_bench.sim import columns as col
from glia_bench.sim.by_reference import nth
from glia_bench.sim.jit import inlined, kernel
from glia_bench.sim.kernel import advance_plain
from glia_bench.sim.queue_columns import AssignBuffers
from glia_bench.sim.scans import ASK_ADMIT, ASK_ROUTE, BAD_ANSWER, DONE
from glia_bench.sim.signatures import EXAMPLE_REQUEST, SERVICES, STATE
from glia_bench.sim.state import State
from glia_bench.sim.views import request_view

REQUEST_FIELDS = ("prompt_tokens", "max_tokens", "predicted_tokens", "priority", "slo_class", "waited_s")
"""Columns of the request observation; `waited_s` = cluster.now_s - request.arrival_s."""
REPLICA_FIELDS = INT_REPLICA_FIELDS + FLOAT_REPLICA_FIELDS
"""Columns of the replica observation: all fields of the schema."""
CLUSTER_FIELDS = ("num_held", "num_replicas", "block_size_tokens", "metrics_interval_s")
"""Columns of the cluster observation."""

Floats32 = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def observation_arrays(num_envs: int, num_replicas: int) -> tuple[Floats32, Floats32, Floats32]:
    """Return zeroed request, replica and cluster observations."""
    return (
        np.zeros((num_envs, len(REQUEST_FIELDS)), dtype=np.float32),
        np.zeros((num_envs, num_replicas, len(REPLICA_FIELDS)), dtype=np.float32),
        np.zeros((num_envs, len(CLUSTER_FIELDS)), dtype=np.float32),
    )


@inlined
def observe(s: State, e: int, request: Floats32, replicas: Floats32, cluster: Floats32) -> None:
    """Write the observation of the request of a run that waits for an answer into the arrays' row e."""
    slot = s.ctl[0, col.C_SLOT]
    i = s.slots[slot, col.S_ROW]
    request[e, 0] = s.slots[slot, col.S_PROMPT]
    request[e, 1] = s.max_tokens[0, i]
    request[e, 2] = 0.0
    request[e, 3] = 0.0
    request[e, 4] = 0.0
    if s.params[col.P_META]:
        request[e, 2] = s.meta[0, i, col.M_PREDICTED]
        request[e, 3] = s.meta[0, i, col.M_PRIORITY]
        request[e, 4] = s.meta[0, i, col.M_CLASS]
    request[e, 5] = float(s.ctl[0, col.C_NOW] - s.slots[slot, col.S_ARRIVED]) * 1e-12
    num = s.params[col.P_REPLICAS]
    ints = s.view_int.shape[0]
    for r in range(num):
        for f in range(ints):
            replicas[e, r, f] = s.view_int[f, r]
        if s.params[col.P_INTERVAL]:
            for k in range(6):
                f = col.ENGINE_FIELDS[k]
                replicas[e, r, f] = s.published[f, r]
        for f in range(s.view_float.shape[0]):
            replicas[e, r, ints + f] = s.view_float[f, r]
    cluster[e, 0] = s.held_meta[s.ctl[0, col.C_ROUTER], col.Q_LENGTH]
    cluster[e, 1] = num
    cluster[e, 2] = s.params[col.P_BLOCK]
    cluster[e, 3] = s.settings[0]


_INTS = types.int64[::1]
_F32 = types.float32
_OBSERVED = (_F32[:, ::1], _F32[:, :, ::1], _F32[:, ::1])
OUTSIDE = (STATE, types.uint64[:, ::1], _INTS, _INTS, types.int64, *_OBSERVED)
"""Types of the first arguments of the kernels."""
OUTSIDE_SERVICES = SERVICES[:3]
"""Types of the last ones."""


@inlined
def give_answer(s: State, why: int, answer: int) -> None:
    """Give a run the answer that it waits for, if it does."""
    if why in (ASK_ROUTE, ASK_ADMIT):
        s.ctl[0, col.C_ANSWER] = answer
        s.ctl[0, col.C_ANSWERED] = 1


@inlined
def no_route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Stand in for `route`, which is asked outside."""
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


@kernel(types.void(*OUTSIDE, *OUTSIDE_SERVICES))
def run_outside(
    runs: State,
    keys: np.ndarray[tuple[int, int], np.dtype[np.uint64]],
    answers: IntArray,
    why: IntArray,
    stop_arrivals: int,
    request: Floats32,
    replica: Floats32,
    cluster: Floats32,
    replicas: Replicas,
    buffers: AssignBuffers,
    nobody: Inflight,
) -> None:
    """Take every run of the plain engine that has not ended to its next question or its end.

    Args:
        runs: References to the states of E single runs, with P_OUTSIDE set. Changed in place.
        keys: Each run's keys of `request.u` and of the scenario's draws; uint64, shape (E, 2).
        answers: Answer to each run's last ASK_ROUTE; int64, shape (E,).
        why: Why each run stopped last (constants of `scans`); those that ended are left alone. Changed in place.
        stop_arrivals: Arrivals after which to pause.
        request: Request observations; float32, shape (E, 6). Written.
        replica: Replica observations; float32, shape (E, N, fields). Written.
        cluster: Cluster observations; float32, shape (E, 4). Written.
        replicas: The replicas, for hooks.
        buffers: Room for the columns of `assign`.
        nobody: In-flight rows of a design that does not read them.
    """
    for e in range(len(why)):
        if why[e] == DONE or why[e] >= BAD_ANSWER:
            continue
        s = nth(runs, e)
        give_answer(s, why[e], answers[e])
        why[e] = advance_plain(
            s,
            0,
            stop_arrivals,
            no_route,
            no_rank,
            no_assign,
            no_event,
            no_event,
            no_event,
            0,
            replicas,
            buffers,
            nobody,
            keys[e, 0],
            keys[e, 1],
        )
        if why[e] == ASK_ROUTE:
            observe(s, e, request, replica, cluster)


@kernel(numba.typeof(EXAMPLE_REQUEST)(STATE, types.uint64, types.int64, types.int64))
def request_of(s: State, key: np.uint64, slot: int, generated: int) -> Request:
    """Return a live request of a single run, for hooks that run as plain Python."""
    return request_view(s, s.memory.tag, key, 0, slot, generated)
