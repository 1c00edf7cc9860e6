"""The integer hashes that both implementations share by definition: SplitMix64 for draws and the decision hash.

Source of the constants: Steele, Lea and Flood, OOPSLA 2014 (SplitMix64).
"""

import numpy as np

from glia_bench.sim.jit import inlined

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


def scenario_draw(scenario_seed: int, purpose: int, index: int) -> int:
    """Return draw(purpose, index) of docs/simulator.md in plain integers."""
    z = (int(mixed_seed(scenario_seed)) + (purpose * 2**40 + index + 1) * int(GAMMA)) % 2**64
    return int(mixed_seed(z))


@inlined
def draw(key: np.uint64, purpose: int, index: int) -> np.uint64:
    """Return the scenario's draw for a purpose and an index, from a mixed scenario seed."""
    return mix(key + np.uint64((purpose << 40) + index + 1) * GAMMA)


@inlined
def uniform(key: np.uint64, request_id: int, k: int) -> float:
    """Return `request.u[k]` for a mixed policy seed."""
    return float(mix(key + np.uint64(4 * request_id + k + 1) * GAMMA) >> np.uint64(11)) * _TO_UNIT


@inlined
def fold(value: np.uint64, x: int) -> np.uint64:
    """Fold one number into the decision hash."""
    return mix((value + GAMMA) ^ np.uint64(x))
