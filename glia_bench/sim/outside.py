"""The kernel whose answers come from outside: plain-Python hooks and Gymnasium steps, for any number of runs at once.

Each call gives every run that waits its answer and takes it to its next question or its end. With a question about a
request, its observation is written; rewards are the negative growth of the cost (mean end-to-end latency, accrued while
requests are in the system). The reward of a run's last call is left to `stepper`, which has exact integers for it.
"""

import numba
import numpy as np
from numba import types

from glia_bench.features import (
    FLOAT_REPLICA_FIELDS,
    INT_REPLICA_FIELDS,
    FloatArray,
    IntArray,
    Memory,
    Perf,
    Replicas,
    Request,
)
from glia_bench.sim import kernel as k
from glia_bench.sim import state as st
from glia_bench.sim.default_hooks import no_assign, no_event, no_rank, no_route
from glia_bench.sim.jit import inlined, kernel
from glia_bench.sim.queue_columns import AssignBuffers
from glia_bench.sim.signatures import EXAMPLE_REQUEST, SERVICES, STATE
from glia_bench.sim.state import State
from glia_bench.sim.views import request_view
from glia_bench.types import FINISHED, PS_PER_S

REQUEST_FIELDS = ("prompt_tokens", "max_tokens", "predicted_tokens", "priority", "slo_class", "waited_s")
"""Columns of the request observation; `waited_s` = cluster.now_s - request.arrival_s."""
REPLICA_FIELDS = INT_REPLICA_FIELDS + FLOAT_REPLICA_FIELDS
"""Columns of the replica observation: all fields of the schema."""
CLUSTER_FIELDS = ("num_held", "num_replicas", "block_size_tokens", "metrics_interval_s")
"""Columns of the cluster observation."""
REWARD_GRID = 2.0**-32
"""Seconds (a quarter of a nanosecond) of which all rewards but an episode's last are multiples."""

Floats32 = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def observation_arrays(num_envs: int, num_replicas: int) -> tuple[Floats32, Floats32, Floats32]:
    """Return zeroed request, replica and cluster observations."""
    return (
        np.zeros((num_envs, len(REQUEST_FIELDS)), dtype=np.float32),
        np.zeros((num_envs, num_replicas, len(REPLICA_FIELDS)), dtype=np.float32),
        np.zeros((num_envs, len(CLUSTER_FIELDS)), dtype=np.float32),
    )


@inlined
def add_cost(s: State, e: int, latency_ps: int) -> None:
    """Add picoseconds of latency to the exact total."""
    total = s.ctl[e, st.C_COST_PS] + latency_ps
    s.ctl[e, st.C_COST_S] += total // PS_PER_S
    s.ctl[e, st.C_COST_PS] = total % PS_PER_S


@inlined
def reward_of(s: State, e: int) -> float:
    """Return the negative growth of the cost since the last call, of a run that goes on.

    The cost so far is rounded to REWARD_GRID, so that rewards and their sums are exact and the last reward can always
    make the sum what it should be.
    """
    seen = s.ctl[e, st.C_SUM] + s.ctl[e, st.C_LIVE] * s.ctl[e, st.C_NOW]
    add_cost(s, e, seen - s.ctl[e, st.C_SEEN])
    s.ctl[e, st.C_SEEN] = seen
    total = float(s.ctl[e, st.C_COST_S]) + float(s.ctl[e, st.C_COST_PS]) * 1e-12
    reward = -np.rint(total / s.ctl[e, st.C_REQUESTS] / REWARD_GRID) * REWARD_GRID - s.reals[e, 1]
    s.reals[e, 1] += reward
    return reward


@inlined
def settle(s: State, e: int) -> None:
    """Write the exact total latency of a run that has ended, from its records; what did not finish ends at the horizon.

    Not by growth: between the last decision and the end, latency of all requests together can exceed an int64.
    """
    s.ctl[e, st.C_COST_S] = 0
    s.ctl[e, st.C_COST_PS] = 0
    first = e * s.arrival_ps.shape[1]
    for i in range(s.ctl[e, st.C_REQUESTS]):
        end = s.ctl[e, st.C_HORIZON]
        if s.records[first + i, 0] == FINISHED:
            end = s.records[first + i, 6]
        add_cost(s, e, end - s.arrival_ps[e, i])


@inlined
def observe(s: State, e: int, request: Floats32, replicas: Floats32, cluster: Floats32) -> None:
    """Write the observation of the request that waits for an answer."""
    slot = s.ctl[e, st.C_SLOT]
    number = s.slots[slot, st.S_ROW] - e * s.max_tokens.shape[1]
    request[e, 0] = s.slots[slot, st.S_PROMPT]
    request[e, 1] = s.max_tokens[e, number]
    request[e, 2] = 0.0
    request[e, 3] = 0.0
    request[e, 4] = 0.0
    request[e, 5] = float(s.ctl[e, st.C_NOW] - s.slots[slot, st.S_ARRIVED]) * 1e-12
    num = s.params[st.P_REPLICAS]
    ints = s.view_int.shape[0]
    for r in range(num):
        for f in range(ints):
            replicas[e, r, f] = s.view_int[f, e * num + r]
        for f in range(s.view_float.shape[0]):
            replicas[e, r, ints + f] = s.view_float[f, e * num + r]
    cluster[e, 0] = s.ctl[e, st.C_QLEN]
    cluster[e, 1] = num
    cluster[e, 2] = s.params[st.P_BLOCK]
    cluster[e, 3] = 0.0


_INTS = types.int64[::1]
_F32 = types.float32


@kernel(
    types.void(
        STATE, _INTS, _INTS, types.int64, types.float64[::1], _F32[:, ::1], _F32[:, :, ::1], _F32[:, ::1], *SERVICES
    )
)
def run_outside(
    s: State,
    answers: IntArray,
    why: IntArray,
    stop_arrivals: int,
    rewards: FloatArray,
    request: Floats32,
    replica: Floats32,
    cluster: Floats32,
    replicas: Replicas,
    perf: Perf,
    memory: Memory,
    buffers: AssignBuffers,
    key: np.uint64,
) -> None:
    """Take every run that has not ended to its next question or its end.

    Args:
        s: The runs, with P_OUTSIDE set. Changed in place.
        answers: Answer to each run's last ASK_ROUTE; int64, shape (E,).
        why: Why each run stopped last (constants of `kernel`); those that ended are left alone. Changed in place.
        stop_arrivals: Arrivals after which to pause.
        rewards: float64, shape (E,); 0 for runs that have ended. Written.
        request: Request observations; float32, shape (E, 6). Written.
        replica: Replica observations; float32, shape (E, N, fields). Written.
        cluster: Cluster observations; float32, shape (E, 4). Written.
        replicas: The replicas, for hooks.
        perf: The iteration-time model, for hooks.
        memory: The design's memory; rows of requests are zeroed at arrival.
        buffers: Room for the columns of `assign`.
        key: Key of `request.u`.
    """
    for e in range(s.ctl.shape[0]):
        if why[e] == k.DONE or why[e] >= k.BAD_ANSWER:
            rewards[e] = 0.0
            continue
        if why[e] == k.ASK_ROUTE:
            s.ctl[e, st.C_ANSWER] = answers[e]
            s.ctl[e, st.C_ANSWERED] = 1
        why[e] = k.advance(
            s,
            e,
            stop_arrivals,
            no_route,
            no_rank,
            no_assign,
            no_event,
            no_event,
            no_event,
            replicas,
            perf,
            memory,
            buffers,
            key,
        )
        if why[e] == k.ASK_ROUTE:
            observe(s, e, request, replica, cluster)
            rewards[e] = reward_of(s, e)
        elif why[e] == k.DONE or why[e] >= k.BAD_ANSWER:
            settle(s, e)
            rewards[e] = 0.0


@kernel(numba.typeof(EXAMPLE_REQUEST)(STATE, types.float64[::1], types.uint64, types.int64, types.int64))
def request_of(s: State, tag: FloatArray, key: np.uint64, slot: int, generated: int) -> Request:
    """Return a live request of a single run, for hooks that run as plain Python."""
    return request_view(s, tag, key, 0, slot, generated)
