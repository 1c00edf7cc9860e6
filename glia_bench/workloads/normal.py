"""Normal and lognormal variables in integers: quantiles from random bits, the way back to bits, and powers of two.

Left out: densities, other dimensions than two.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from glia_bench.cluster import Ints
from glia_bench.workloads.quantile_table import Bits, shipped_data, shipped_table

Z_LOG2 = 16
"""Normal variables, correlations and logarithms are in units of 2^-16."""

POWER_LOG2 = 20
"""Powers of two are in units of 2^-20."""

_CDF_LOG2 = 40
_CDF_STEP_LOG2 = 10
_HIGHEST_POWER = 40


@cache
def _values(name: str) -> Ints:
    values = np.array(shipped_data(name)["values"], dtype=np.int64)
    values.setflags(write=False)
    return values


def normal(bits: Bits) -> Ints:
    """Return one standard normal per 64 random bits, in units of 2^-16: their quantile, rising with the bits."""
    is_low = bits >> np.uint64(63) == 0
    size = shipped_table("half_normal").draw(np.where(is_low, ~bits, bits) << np.uint64(1))
    return np.where(is_low, -size, size)


def normal_bits(z: Ints) -> Bits:
    """Return the 64 bits at which standard normals stand in their distribution: uniform if they are normal.

    Args:
        z: In units of 2^-16; beyond 8 deviations the last value holds.
    """
    size = np.minimum(np.abs(z), (8 << Z_LOG2) - 1)
    cell, rest = size >> _CDF_STEP_LOG2, size & ((1 << _CDF_STEP_LOG2) - 1)
    cdf = _values("normal_cdf")
    above = cdf[cell] + (((cdf[cell + 1] - cdf[cell]) * rest) >> _CDF_STEP_LOG2)
    whole = 1 << _CDF_LOG2
    place = np.clip(np.where(z < 0, whole - above, above), 0, whole - 1)
    return np.asarray(place.astype(np.uint64) << np.uint64(64 - _CDF_LOG2), dtype=np.uint64)


def correlated_bits(bits: Bits, other: Bits, rho: int) -> Bits:
    """Return bits that are tied to `bits` by a Gaussian copula, and otherwise driven by `other`.

    Args:
        bits: uint64, any shape.
        other: Independent of them; the same shape.
        rho: Correlation in units of 2^-16, between -1 and 1.
    """
    rest = math.isqrt((1 << 2 * Z_LOG2) - rho * rho)
    return normal_bits((rho * normal(bits) + rest * normal(other)) >> Z_LOG2)


def power_of_two(exponent: Ints) -> Ints:
    """Return 2^exponent in units of 2^-20, rounded down.

    Args:
        exponent: In units of 2^-16; cut at 2^40 from above.
    """
    exponent = np.minimum(exponent, _HIGHEST_POWER << Z_LOG2)
    whole, fraction = exponent >> Z_LOG2, exponent & ((1 << Z_LOG2) - 1)
    cell, rest = fraction >> 8, fraction & 255
    table = _values("exp2")
    mantissa = table[cell] + (((table[cell + 1] - table[cell]) * rest) >> 8)
    shift = whole + POWER_LOG2 - 30
    large, small = mantissa << np.maximum(shift, 0), mantissa >> np.minimum(np.maximum(-shift, 0), 62)
    return np.asarray(np.where(shift >= 0, large, small), dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """A lognormal law of whole numbers, cut at both ends.

    Attributes:
        log2_median, log2_sigma: Median and deviation of its logarithm to base 2, in units of 2^-16.
        least, most: What lies outside is moved to these.
    """

    log2_median: int
    log2_sigma: int
    least: int
    most: int

    def draw(self, bits: Bits) -> Ints:
        """Return one value per 64 random bits, rounded to the nearest."""
        power = power_of_two(self.log2_median + (self.log2_sigma * normal(bits) >> Z_LOG2))
        rounded = (power + (1 << (POWER_LOG2 - 1))) >> POWER_LOG2
        return np.asarray(np.clip(rounded, self.least, self.most), dtype=np.int64)


def shipped_lognormal(name: str) -> Lognormal:
    """Return a law of workloads/tables/lognormal_lengths.json."""
    return Lognormal(**shipped_data("lognormal_lengths")["laws"][name])
