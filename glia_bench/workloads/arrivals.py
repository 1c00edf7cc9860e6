"""Arrival times on a microsecond grid: a renewal process from an integer gap table, and the paper's own sequence.

The renewal process uses no floating point. The paper's sequence is NumPy's legacy lognormal, whose last bit may depend
on the platform's libm; rounded to microseconds it is checked against a frozen hash, so a platform that differs fails
loudly. Left out here: modulated rates, sessions, recorded traces.
"""

import hashlib
import math

import numpy as np

from glia_bench.errors import EvaluationFailure
from glia_bench.features import FloatArray
from glia_bench.types import Ints
from glia_bench.workloads.quantile_table import QuantileTable
from glia_bench.workloads.streams import Stream

US_PER_S = 1_000_000
PS_PER_US = 1_000_000
GAP_UNIT_LOG2 = 20
"""Gap tables are in units of 2^-20 of the mean gap."""

PAPER_SEED = 192
PAPER_SIGMA = 2.0
PAPER_ARRIVALS = 7859
PAPER_ARRIVALS_SHA256 = "8777bfaa2caec75796e5a5f1198a40bcf21b7ed9801e33edebb4925ec12b9520"
"""Hash of the paper's 7.5-rps arrivals in microseconds (little-endian int64)."""

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
    divisor = rate_urps << GAP_UNIT_LOG2
    while True:
        for gap in gaps.draw(stream.bits(_DRAWS_AT_ONCE)).tolist():
            units += gap
            arrival = units * US_PER_S * 1_000_000 // divisor
            if arrival >= horizon_us:
                return np.array(arrivals, dtype=np.int64)
            arrivals.append(arrival)


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
