"""Fixtures of the simulators' tests."""

import functools
from typing import Literal

import pytest
from timeline import FAST_SIMULATES_CLUSTERS, Simulate

from glia_bench.sim import reference

FAST = ["python", pytest.param("compiled", marks=pytest.mark.slow)]


def _simulator(name: Literal["reference", "python", "compiled"]) -> Simulate:
    if name == "reference":
        return reference.simulate
    from glia_bench.sim import engine  # the reference must be testable without Numba

    return functools.partial(engine.simulate, tier=name)


@pytest.fixture(params=["reference", *FAST])
def simulators(request: pytest.FixtureRequest) -> Simulate:
    """Each simulator in turn: the reference, the fast one with plain hooks and, which takes longer, compiled ones."""
    return _simulator(request.param)


@pytest.fixture(params=["reference", *(FAST if FAST_SIMULATES_CLUSTERS else [])])
def cluster_simulators(request: pytest.FixtureRequest) -> Simulate:
    """The same for what the fast simulator does only if the flag of `timeline` says so."""
    return _simulator(request.param)
