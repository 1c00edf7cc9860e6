"""Integer inverse-CDF tables: exact arithmetic, order, refusals, and the lognormal gap table against its formula."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glia_bench.workloads.quantile_table import FRACTION_LOG2, QuantileTable, shipped_table
from glia_bench.workloads.streams import Stream

NAMES = ("lognormal_sigma2_gaps", "sharegpt_prompt", "sharegpt_output")
WORD = st.one_of(
    st.integers(0, 2**64 - 1),
    # words with many leading ones, and their neighbours: the octaves of the tail
    st.builds(lambda k, d: min(max(2**64 - 2**k + d, 0), 2**64 - 1), st.integers(0, 64), st.integers(-2, 2)),
)


def slow_draw(table: QuantileTable, word: int) -> int:
    """The table's definition on one word, in Python integers, by looking for the leading ones one by one."""
    octave = 0
    while octave < table.octaves - 1 and word >> (63 - octave) & 1:
        octave += 1
    offset_log2 = 64 - octave - (octave < table.octaves - 1)
    offset = word % 2**offset_log2
    scaled = offset * 2**table.bins_log2 * 2**FRACTION_LOG2 // 2**offset_log2
    bin_id, fraction = divmod(scaled, 2**FRACTION_LOG2)
    low, high = (int(table.knots[octave * 2**table.bins_log2 + bin_id + k]) for k in (0, 1))
    return (2 * (low * 2**FRACTION_LOG2 + (high - low) * fraction) + 2**FRACTION_LOG2) // 2 ** (FRACTION_LOG2 + 1)


@pytest.mark.parametrize("name", NAMES)
@given(word=WORD)
def test_draw_equals_big_integer_arithmetic(name: str, word: int) -> None:
    """A drawn value is the one that unbounded integers give, for every pattern of leading bits."""
    table = shipped_table(name)
    assert table.draw(np.array([word], dtype=np.uint64))[0] == slow_draw(table, word)


@pytest.mark.parametrize("name", NAMES)
def test_draw_is_monotone_and_spans_the_knots(name: str) -> None:
    """Larger bits never give a smaller value; all zeros give the first knot, all ones nearly the last."""
    table = shipped_table(name)
    words = [w for k in range(65) for w in (2**64 - 2**k, 2**64 - 2**k + 2**k // 3) if 0 <= w < 2**64]
    words += (Stream("test", 0, name).bits(20_000)).tolist()
    values = table.draw(np.array(sorted(words), dtype=np.uint64))
    assert np.all(np.diff(values) >= 0)
    assert values[0] == table.knots[0]
    assert table.knots[-2] <= values[-1] <= table.knots[-1]
    assert values.dtype == np.int64


def test_tables_that_could_overflow_or_decrease_are_refused() -> None:
    """A table whose arithmetic would leave int64, or that is no quantile function, cannot be built."""
    good = np.arange(3, dtype=np.int64)
    QuantileTable(octaves=1, bins_log2=1, knots=good)
    with pytest.raises(ValueError, match="random bits"):
        QuantileTable(octaves=34, bins_log2=1, knots=good)
    with pytest.raises(ValueError, match="int64"):
        QuantileTable(octaves=1, bins_log2=1, knots=good.astype(np.int32))
    for bad in ([0, 2, 1], [-1, 0, 1], [0, 1, 2**46]):
        with pytest.raises(ValueError, match="must not decrease"):
            QuantileTable(octaves=1, bins_log2=1, knots=np.array(bad, dtype=np.int64))


def exact_gap(upper_tail: float) -> float:
    """Quantile of the lognormal with mean 1 and sigma 2."""
    return math.exp(-2 * NormalDist().inv_cdf(upper_tail) - 2)


def word_of(upper_tail: float) -> int:
    """The 64-bit word at 1 - upper_tail."""
    return 2**64 - max(round(upper_tail * 2**64), 1)


# Straight lines through 64 bins an octave: 1e-3 of a convex quantile function; 2^-21 of the mean is half a unit.
@pytest.mark.parametrize("upper_tail", [0.9, 0.5, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9])
def test_gap_quantiles_follow_the_lognormal_far_into_the_tail(upper_tail: float) -> None:
    """Quantiles of the gap table are within 0.1 % of the exact ones, beyond 1 - 1e-6 as well."""
    drawn = shipped_table("lognormal_sigma2_gaps").draw(np.array([word_of(upper_tail)], dtype=np.uint64))[0] / 2**20
    assert drawn == pytest.approx(exact_gap(upper_tail), rel=1e-3, abs=2**-21)


def test_gap_table_has_mean_one_and_the_lognormal_variation() -> None:
    """The mean over the table itself is 1 within 0.003 %, its CV that of the law, sqrt(e^4 - 1), within 0.1 %."""
    table = shipped_table("lognormal_sigma2_gaps")
    knots = table.knots / 2**20
    bins = 1 << table.bins_log2
    widths = np.repeat([*(2.0 ** -(k + 1) for k in range(table.octaves - 1)), 2.0 ** -(table.octaves - 1)], bins) / bins
    assert widths.sum() == 1
    low, high = knots[:-1], knots[1:]
    mean = float((widths * (low + high) / 2).sum())
    second = float((widths * (low * low + low * high + high * high) / 3).sum())
    assert mean == pytest.approx(1, abs=3e-5)
    assert math.sqrt(second / mean**2 - 1) == pytest.approx(math.sqrt(math.exp(4) - 1), rel=1e-3)


def test_drawn_gaps_have_the_lognormal_distribution() -> None:
    """The Kolmogorov-Smirnov distance of 100,000 draws to the law is what chance gives (1.63/sqrt(n) at 1 %)."""
    count = 100_000
    gaps = np.sort(shipped_table("lognormal_sigma2_gaps").draw(Stream("test", 7, "gaps").bits(count))) / 2**20
    normal = NormalDist()
    cdf = np.array([normal.cdf((math.log(max(gap, 1e-12)) + 2) / 2) for gap in gaps])
    ranks = np.arange(1, count + 1) / count
    distance = max(np.abs(cdf - ranks).max(), np.abs(cdf - ranks + 1 / count).max())
    # below half of the first bin a straight line from 0 stands for the law's foot: at most 1/256 of the probability
    assert distance < 1.63 / math.sqrt(count) + 1 / 256
    body = gaps > float(shipped_table("lognormal_sigma2_gaps").knots[1]) / 2**20
    assert np.abs(cdf - ranks)[body].max() < 1.63 / math.sqrt(count)
