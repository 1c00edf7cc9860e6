"""Inverse-CDF tables in integers: 64 random bits go in, an integer quantile comes out, by integer arithmetic only.

Layout: the unit interval is cut into octaves. Octave k < octaves - 1 holds u in [1 - 2^-k, 1 - 2^-(k+1)), so the
number of leading one bits selects it; the last one runs to 1. Each octave is cut into 2^bins_log2 equal bins, a knot
at each bin's lower end, and one more knot at u = 1. Within a bin the value is linear in steps of 2^-16 of the bin,
rounded to the nearest. An upper tail is therefore as fine, relative to its probability, as the middle.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from glia_bench.cluster import Ints

FRACTION_LOG2 = 16
UNIT_LOG2 = 20
"""Tables of gaps and factors are in units of 2^-20 of the mean."""

Bits = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class QuantileTable:
    """A quantile function at octaves * 2^bins_log2 + 1 knots; values are integers in the table's own unit.

    Attributes:
        octaves: How many octaves; at most 33.
        bins_log2: Bins per octave, as a power of two.
        knots: Values, not decreasing; int64.
    """

    octaves: int
    bins_log2: int
    knots: Ints

    def __post_init__(self) -> None:
        if not 1 <= self.octaves <= 33 or not 0 <= self.bins_log2 <= 15:
            raise ValueError("octaves must be in 1..33 and bins_log2 in 0..15, or a bin has too few random bits")
        if self.knots.dtype != np.int64 or self.knots.shape != ((self.octaves << self.bins_log2) + 1,):
            raise ValueError("knots must be int64, octaves * 2^bins_log2 + 1 of them")
        # a negative first knot is not wanted by anyone; the limit keeps step * fraction inside int64
        if self.knots[0] < 0 or np.any(np.diff(self.knots) < 0) or self.knots[-1] >= 1 << 46:
            raise ValueError("knots must be in 0..2^46 and must not decrease")

    def draw(self, bits: Bits) -> Ints:
        """Return one value per 64 random bits.

        Args:
            bits: Raw output of a 64-bit generator; uint64, any shape.
        """
        starts, shifts = self._octave_starts()
        octave = np.searchsorted(starts, bits, side="right") - 1
        place = ((bits - starts[octave]) >> shifts[octave]).astype(np.int64)
        knot = (octave.astype(np.int64) << self.bins_log2) + (place >> FRACTION_LOG2)
        fraction = place & ((1 << FRACTION_LOG2) - 1)
        low = self.knots[knot]
        half = 1 << (FRACTION_LOG2 - 1)
        return np.asarray(low + (((self.knots[knot + 1] - low) * fraction + half) >> FRACTION_LOG2), dtype=np.int64)

    def _octave_starts(self) -> tuple[Bits, Bits]:
        """Return the first bit pattern of each octave, and the shift that leaves bin and fraction of an offset."""
        starts, shifts = [], []
        for k in range(self.octaves):
            starts.append((1 << 64) - (1 << (64 - k)))
            width_log2 = 64 - k - (k < self.octaves - 1)
            shifts.append(width_log2 - self.bins_log2 - FRACTION_LOG2)
        return np.array(starts, dtype=np.uint64), np.array(shifts, dtype=np.uint64)


@cache
def shipped_data(name: str) -> Mapping[str, Any]:
    """Return a file of workloads/tables by its stem; it says unit, source and licence."""
    text = resources.files("glia_bench.workloads").joinpath("tables", f"{name}.json").read_text(encoding="utf-8")
    return MappingProxyType(json.loads(text))


@cache
def shipped_table(name: str) -> QuantileTable:
    """Return a quantile table of workloads/tables by its file's stem."""
    data = shipped_data(name)
    knots = np.array(data["knots"], dtype=np.int64)
    knots.setflags(write=False)
    return QuantileTable(octaves=data["octaves"], bins_log2=data["bins_log2"], knots=knots)
