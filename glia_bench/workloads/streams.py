"""Random bits: one PCG64 stream per (task, seed, purpose), and integers drawn from it without floating point.

The load is not part of the key. At every load a seed has the same lengths and the same gaps in units of the mean, so
that loads are paired.
"""

import hashlib

import numpy as np

from glia_bench.workloads.quantile_table import Bits


class Stream:
    """An endless sequence of 64-bit words, keyed by task id, seed and purpose; equal keys give equal words."""

    def __init__(self, task_id: str, seed: int, purpose: str) -> None:
        key = hashlib.sha256(f"glia-bench/1\n{task_id}\n{seed}\n{purpose}".encode()).digest()
        self._generator = np.random.PCG64(int.from_bytes(key, "big"))

    def bits(self, count: int) -> Bits:
        """Return the next `count` words; uint64, shape (count,)."""
        return np.asarray(self._generator.random_raw(count), dtype=np.uint64)

    def below(self, limit: int) -> int:
        """Return an integer in 0..limit - 1, by multiply and shift (bias below limit * 2^-64)."""
        return (int(self._generator.random_raw()) * limit) >> 64

    def permutation(self, count: int) -> list[int]:
        """Return 0..count - 1 in random order (Fisher-Yates)."""
        order = list(range(count))
        for last, word in zip(range(count - 1, 0, -1), self.bits(max(count - 1, 0)).tolist(), strict=True):
            chosen = (word * (last + 1)) >> 64
            order[last], order[chosen] = order[chosen], order[last]
        return order
