"""How a scenario is varied: all lengths scaled, and the unevenness of its arrivals scaled; in integers.

The CV (standard deviation / mean) of gaps is scaled by taking a gap law of the wanted CV: gamma laws lie on a ladder of
CVs between whose rungs knots are interpolated, which is within 0.7 per cent of the CV in between; a measured law is
mixed, quantile by quantile, with the constant gap (less even: with a gamma law of twice its CV), which is as good where
the two have alike ranks. The depth of a rate curve is scaled by stretching it about its mean, by as much as gives the
wanted CV over the horizon. Rates below the mean at most halve or double in this, so that a deeper curve has no new
pauses and a shallower one keeps those it has; where pauses make the wanted CV impossible, the stretch ends at STRONGEST
or at 0, with bursts of one height.
Left out: durations of bursts, dwell times of states, correlation of lengths.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from glia_bench.cluster import Ints
from glia_bench.errors import InvalidSpecError
from glia_bench.workloads.quantile_table import UNIT_LOG2, QuantileTable, shipped_data

LOWEST, HIGHEST = 500, 2000
"""Bounds of both scales, in thousandths."""

STRONGEST = 16_000
"""Largest stretch of a rate curve, in thousandths."""

LEVEL_MEAN_LOG2 = 12
"""A stretched curve has levels of about 2^12 on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """Scales of a scenario, in thousandths; 1000 leaves it as it is.

    Attributes:
        length_permille: Of all prompt and output lengths, shared prefixes and messages included.
        burst_permille: Of the CV of gaps between arrivals and of the depth of their rate's modulation.
    """

    length_permille: int = 1000
    burst_permille: int = 1000

    def __post_init__(self) -> None:
        for name in ("length_permille", "burst_permille"):
            value = getattr(self, name)
            if not LOWEST <= value <= HIGHEST:
                raise InvalidSpecError(f"{name} must be between {LOWEST} and {HIGHEST} (got {value})")

    def tokens(self, counts: Ints) -> Ints:
        """Return scaled token counts, rounded to the nearest, at least 1."""
        return np.maximum((counts * self.length_permille + 500) // 1000, 1)

    def cv(self, cv_permille: int) -> int:
        """Return the scaled CV of gaps, in thousandths."""
        return cv_permille * self.burst_permille // 1000


PLAIN = Variation()


@cache
def _ladder() -> tuple[Ints, tuple[QuantileTable, ...]]:
    """Return the CVs of the shipped gamma laws, 0 first, and the laws."""
    data = shipped_data("gamma_gaps")
    rows = [np.array(row, dtype=np.int64) for row in data["rows"]]
    rows.insert(0, np.full(len(rows[0]), 1 << UNIT_LOG2, dtype=np.int64))
    tables = (QuantileTable(octaves=data["octaves"], bins_log2=data["bins_log2"], knots=row) for row in rows)
    return np.array([0, *data["cv_permilles"]], dtype=np.int64), tuple(tables)


@cache
def gamma_gaps(cv_permille: int) -> QuantileTable:
    """Return a gamma law of gaps of mean 2^20 with the given CV in thousandths (at most 22,627)."""
    cvs, tables = _ladder()
    above = int(np.clip(np.searchsorted(cvs, cv_permille), 1, len(cvs) - 1))
    low, high = int(cvs[above - 1]), int(cvs[above])
    return mixed(tables[above - 1], tables[above], min(cv_permille, high) - low, high - low)


def mixed(one: QuantileTable, other: QuantileTable, part: int, whole: int) -> QuantileTable:
    """Return the table whose quantiles are (whole - part) parts of one and `part` parts of the other."""
    knots = (one.knots * (whole - part) + other.knots * part) // whole
    return QuantileTable(octaves=one.octaves, bins_log2=one.bins_log2, knots=knots)


def uneven_gaps(gaps: QuantileTable, cv_permille: int, variation: Variation) -> QuantileTable:
    """Return a measured law of gaps with its CV scaled.

    Args:
        gaps: Of mean 2^20, in the layout of the gamma laws.
        cv_permille: Its CV.
        variation: How much.
    """
    excess = variation.burst_permille - 1000
    if excess == 0:
        return gaps
    return mixed(gaps, gamma_gaps(2 * cv_permille if excess > 0 else 0), abs(excess), 1000)


def uneven_levels(levels: Ints, variation: Variation) -> Ints:
    """Return a rate curve with the CV of its levels scaled; its scale changes, which does not matter.

    Args:
        levels: Relative rates of equal steps, at least 0, below 2^22; int64, shape (num_steps,).
        variation: How much.
    """
    wanted = variation.burst_permille
    if wanted == 1000:
        return levels
    mean = 1 << LEVEL_MEAN_LOG2
    plain = (levels << LEVEL_MEAN_LOG2) * len(levels) // int(levels.sum())
    excess = plain - mean
    target = int((excess * excess).sum()) * wanted * wanted

    def stretched(stretch: int) -> Ints:
        moved = mean + excess * stretch // 1000
        bounded = np.maximum(moved, plain >> 1) if wanted > 1000 else np.minimum(moved, plain << 1)
        return np.asarray(np.minimum(bounded, (1 << 22) - 1), dtype=np.int64)

    def is_enough(stretch: int) -> bool:
        found = stretched(stretch)
        total, num = int(found.sum()), len(found)
        # variance / mean^2 against that of the plain curve, whose mean is `mean`
        spread = num * int((found * found).sum()) - total * total
        return spread * num * mean * mean * 1_000_000 >= target * total * total

    low, high = (0, 1000) if wanted < 1000 else (1000, STRONGEST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return stretched(high)
