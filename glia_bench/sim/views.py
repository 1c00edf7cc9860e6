"""What hooks receive, built from the simulation's arrays: the same code in the kernel and around plain Python hooks.

Also the two integer hashes that both implementations share by definition: SplitMix64 for `request.u` and for the
decision hash. Source of the constants: Steele, Lea and Flood, OOPSLA 2014 (SplitMix64).
"""

import numpy as np

from glia_bench.features import Cluster, FloatArray, Perf, Request
from glia_bench.sim import state as st
from glia_bench.sim.jit import inlined
from glia_bench.sim.state import State

GAMMA = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 2.0**-53


@inlined
def mix(z: np.uint64) -> np.uint64:
    """Return the finaliser of SplitMix64."""
    z = (z ^ (z >> np.uint64(30))) * _M1
    z = (z ^ (z >> np.uint64(27))) * _M2
    return z ^ (z >> np.uint64(31))


def mixed_seed(seed: int) -> np.uint64:
    """Return a policy seed as the key of `request.u`: `mix` in plain integers."""
    z = seed % 2**64
    z = ((z ^ (z >> 30)) * int(_M1)) % 2**64
    z = ((z ^ (z >> 27)) * int(_M2)) % 2**64
    return np.uint64(z ^ (z >> 31))


@inlined
def uniform(key: np.uint64, request_id: int, k: int) -> float:
    """Return `request.u[k]` for a mixed policy seed."""
    return float(mix(key + np.uint64(4 * request_id + k + 1) * GAMMA) >> np.uint64(11)) * _TO_UNIT


@inlined
def fold(value: np.uint64, x: int) -> np.uint64:
    """Fold one number into the decision hash."""
    return mix((value + GAMMA) ^ np.uint64(x))


@inlined
def request_view(s: State, tag: FloatArray, key: np.uint64, e: int, slot: int, generated: int) -> Request:
    """Return a live request as hooks see it, with the output tokens that have been streamed."""
    number = s.slots[slot, st.S_ROW] - e * s.max_tokens.shape[1]
    row = s.slots[slot, st.S_MEMORY]
    u = (0.0, 0.0, 0.0, 0.0)
    if s.params[st.P_READS_U]:
        u = (uniform(key, number, 0), uniform(key, number, 1), uniform(key, number, 2), uniform(key, number, 3))
    return Request(
        number,
        row,
        0,
        -1,
        0,
        s.slots[slot, st.S_PROMPT],
        s.max_tokens[e, number],
        0,
        0,
        generated,
        s.slots[slot, st.S_RESTARTS],
        0.0,
        np.inf,
        np.inf,
        float(s.slots[slot, st.S_ARRIVED] + s.ctl[e, st.C_OFFSET]) * 1e-12,
        tag[row],
        u,
    )


@inlined
def cluster_view(s: State, perf: Perf, e: int, num_held: int) -> Cluster:
    """Return the cluster as hooks see it now."""
    now_s = float(s.ctl[e, st.C_NOW] + s.ctl[e, st.C_OFFSET]) * 1e-12
    return Cluster(now_s, s.params[st.P_REPLICAS], num_held, 1, s.params[st.P_BLOCK], 0.0, perf)
