"""Arrival times on a microsecond grid: renewal processes along a rate, and the paper's own sequence.

Renewal processes draw their gaps from an integer table and use no floating point; their rate is constant or follows a
curve. The paper's sequence is NumPy's legacy lognormal, whose last bit may depend on
the platform's libm; rounded to microseconds it is checked against a frozen hash, so a platform that differs fails
loudly. Left out here: recorded traces.
"""

import hashlib
import itertools
import math
from bisect import bisect_right

import numpy as np

from glia_bench.cluster import Ints
from glia_bench.errors import EvaluationFailure
from glia_bench.features import FloatArray
from glia_bench.workloads.quantile_table import UNIT_LOG2, QuantileTable
from glia_bench.workloads.streams import Stream

US_PER_S = 1_000_000
PS_PER_US = 1_000_000

PAPER_SEED = 192
PAPER_SIGMA = 2.0
PAPER_ARRIVALS = 7859
PAPER_ARRIVALS_SHA256 = "8777bfaa2caec75796e5a5f1198a40bcf21b7ed9801e33edebb4925ec12b9520"
"""Hash of the paper's 7.5-rps arrivals in microseconds (little-endian int64)."""

WARM_UP = 512
"""Mean gaps before a stationary process is looked at; the most uneven gaps here (CV 19) need about CV^2 = 361."""

_DRAWS_AT_ONCE = 4096


def renewal_arrivals_us(stream: Stream, gaps: QuantileTable, *, rate_urps: int, horizon_us: int) -> Ints:
    """Return arrivals of a renewal process: the first at 0, the last before the horizon.

    Args:
        stream: Source of the gaps, used from where it stands.
        gaps: Gap quantiles in units of 2^-20 of the mean.
        rate_urps: Mean rate in requests per 1,000,000 s; at least 1.
        horizon_us: End; arrivals are strictly before it; at least 1.

    Returns:
        Microseconds, not decreasing; int64.
    """
    arrivals = [0]
    units = 0
    # arrival = units * 2^-20 / rate: Python integers, as the product passes 64 bits
    divisor = rate_urps << UNIT_LOG2
    while True:
        for gap in gaps.draw(stream.bits(_DRAWS_AT_ONCE)).tolist():
            units += gap
            arrival = units * US_PER_S * 1_000_000 // divisor
            if arrival >= horizon_us:
                return np.array(arrivals, dtype=np.int64)
            arrivals.append(arrival)


def modulated_arrivals_us(
    stream: Stream, gaps: QuantileTable, *, rate_urps: int, levels: list[int], step_us: int
) -> Ints:
    """Return arrivals of a renewal process whose clock runs with a rate curve: gaps are drawn in expected requests.

    Args:
        stream: Source of the gaps, used from where it stands.
        gaps: Gap quantiles in units of 2^-20 of the mean.
        rate_urps: Mean rate over the whole curve in requests per 1,000,000 s; at least 1.
        levels: Relative rates of consecutive steps, at least 0, not all 0; their scale does not matter.
        step_us: Length of a step.

    Returns:
        Microseconds from the start of the curve to before its end, not decreasing; int64.
    """
    # In a step of level L the expected requests grow by rate * L / mean level; all terms stand here times their
    # denominators, in Python integers.
    speeds = [(rate_urps * level * len(levels)) << UNIT_LOG2 for level in levels]
    reached = [0, *itertools.accumulate(speed * step_us for speed in speeds)]
    scale = US_PER_S * 1_000_000 * sum(levels)
    arrivals: list[int] = []
    units = 0
    while True:
        for gap in gaps.draw(stream.bits(_DRAWS_AT_ONCE)).tolist():
            units += gap
            due = units * scale
            if due >= reached[-1]:
                return np.array(arrivals, dtype=np.int64)
            step = bisect_right(reached, due) - 1
            arrivals.append(step * step_us + (due - reached[step]) // speeds[step])


def curve_arrivals_us(stream: Stream, gaps: QuantileTable, *, rate_urps: int, levels: Ints) -> Ints:
    """Return arrivals of a renewal process that has run for long and whose clock runs with a rate curve.

    As `modulated_arrivals_us`, but on arrays, and the first gap is not a whole one: the process starts WARM_UP mean
    gaps before the curve, so that uneven gaps bring no crowd at its beginning.

    Args:
        stream: Source of the gaps, used from where it stands.
        gaps: Gap quantiles in units of 2^-20 of the mean.
        rate_urps: Mean rate over the whole curve in requests per 1,000,000 s; at least 1.
        levels: Relative rates of consecutive seconds, from 0 to below 2^22, not all 0; int64, shape (num_seconds,).

    Returns:
        Microseconds from the start of the curve to before its end, not decreasing; int64.
    """
    expected = rate_urps * len(levels)
    limit = (WARM_UP << UNIT_LOG2) + ((expected << UNIT_LOG2) // 1_000_000)
    parts, reached = [], 0
    while reached < limit:
        count = 64 + ((limit - reached) >> UNIT_LOG2)
        units = np.cumsum(gaps.draw(stream.bits(count))) + reached
        reached = int(units[-1])
        parts.append(units)
    units = np.concatenate(parts)
    due = units[(units >= WARM_UP << UNIT_LOG2) & (units < limit)] - (WARM_UP << UNIT_LOG2)
    # places on the curve in 2^-20 of a level times a second: Python integers, as the product passes 64 bits
    scale = int(levels.sum()) * 1_000_000
    last = (int(levels.sum()) << UNIT_LOG2) - 1
    place = np.array([min(unit * scale // expected, last) for unit in due.tolist()], dtype=np.int64)
    ends = np.cumsum(levels) << UNIT_LOG2
    second = np.searchsorted(ends, place, side="right")
    speed = levels[second] << UNIT_LOG2
    return np.asarray(second * US_PER_S + (place - ends[second] + speed) * US_PER_S // speed, dtype=np.int64)


def paper_arrivals_s(rate_rps: float, horizon_s: float) -> FloatArray:
    """Return arrivals as the Glia paper's trace generator draws them: lognormal gaps of sigma 2, NumPy's legacy stream.

    Source:
        github.com/pouyahmdn/vidur, data/processed_traces/trace_gen.py; its 12-rps file is met to 1e-9 s.
    """
    generator = np.random.RandomState(PAPER_SEED)
    mean = math.log(1 / rate_rps) - PAPER_SIGMA**2 / 2
    arrivals = [0.0]
    while True:
        for gap in generator.lognormal(mean=mean, sigma=PAPER_SIGMA, size=_DRAWS_AT_ONCE).tolist():
            following = arrivals[-1] + gap
            if following >= horizon_s:
                return np.array(arrivals, dtype=np.float64)
            arrivals.append(following)


def paper_exact_arrivals_us() -> Ints:
    """Return the paper's 7,859 arrivals at nominal 7.5 rps within 1000 s, in microseconds.

    Raises:
        EvaluationFailure: If this platform's NumPy does not reproduce them.
    """
    arrivals = np.rint(paper_arrivals_s(7.5, 1000.0) * US_PER_S).astype(np.int64)
    found = hashlib.sha256(arrivals.astype("<i8").tobytes()).hexdigest()
    if found != PAPER_ARRIVALS_SHA256:
        raise EvaluationFailure(
            f"the paper's arrivals must be {PAPER_ARRIVALS} requests with hash {PAPER_ARRIVALS_SHA256[:12]}… (got "
            f"{len(arrivals)} with {found[:12]}…): numpy {np.__version__} on this platform draws "
            f"RandomState.lognormal differently; use another NumPy or machine for routing/paper-exact-v0"
        )
    return arrivals
