"""Kernels take indices as they are; hooks keep Python's."""

import numpy as np
import pytest
from numba import types
from numba.core import config

from glia_bench.features import IntArray
from glia_bench.sim.jit import compile_hook, kernel

pytestmark = pytest.mark.skipif(
    bool(config.DISABLE_JIT or config.BOUNDSCHECK), reason="only compiled code without checks takes such an index"
)

ARGUMENTS = (types.int64[::1], types.int64)


def element(array: IntArray, index: int) -> int:
    """Return an element."""
    return int(array[index])


def test_kernels_take_an_index_as_it_is() -> None:
    """-1 is the element before the first, not the last: Numba still asks what jit.py replaces."""
    values = np.array([7, 8, 9])
    compiled = kernel(types.int64(*ARGUMENTS))(element)
    assert compiled(values[1:], 0) == 8
    assert compiled(values[1:], -1) == 7


def test_hooks_count_from_the_end() -> None:
    """In a hook, compiled after a kernel too, -1 is the last element."""
    hook = compile_hook(element, ARGUMENTS, bounds_checks=False, cached=False)
    assert hook(np.array([7, 8, 9]), -1) == 9
