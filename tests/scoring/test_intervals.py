"""Student's t and the two intervals built on it, against printed tables and sums done by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glia_bench.scoring.intervals import mean_interval, ratio_interval, t_cdf, t_quantile


@pytest.mark.parametrize(
    ("dof", "expected"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (9, 2.26216), (10, 2.22814), (19, 2.09302), (30, 2.04227)],
)
def test_quantiles_match_printed_tables(dof: int, expected: float) -> None:
    """The 97.5 % quantile agrees with the tables to their five or six printed digits."""
    assert t_quantile(0.975, dof) == pytest.approx(expected, rel=2e-6)


def test_many_degrees_of_freedom_approach_the_normal_distribution() -> None:
    """With 100,000 degrees of freedom the 97.5 % quantile is the normal 1.959964 up to 1/dof."""
    assert t_quantile(0.975, 100_000) == pytest.approx(1.959964, rel=1e-4)


def test_quantile_is_odd_around_one_half() -> None:
    """The quantile of p is minus that of 1 - p, and the median is 0."""
    assert t_quantile(0.025, 5) == pytest.approx(-t_quantile(0.975, 5), rel=1e-12)
    assert t_quantile(0.5, 5) == pytest.approx(0.0, abs=1e-12)


@given(probability=st.floats(0.001, 0.999), dof=st.integers(1, 60))
def test_quantile_inverts_the_distribution(probability: float, dof: int) -> None:
    """Going to the quantile and back returns the probability (1e-9: far below any printed digit)."""
    assert t_cdf(t_quantile(probability, dof), dof) == pytest.approx(probability, abs=1e-9)


def test_interval_of_a_mean_by_hand() -> None:
    """For 1, 2, 3: mean 2, s = 1, half width 4.30265 * 1 / sqrt(3) = 2.48414."""
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.value == 2.0
    assert interval.low == pytest.approx(2.0 - 2.484138, abs=1e-5)
    assert interval.high == pytest.approx(2.0 + 2.484138, abs=1e-5)


def test_one_value_has_no_interval() -> None:
    """One seed tells nothing about the spread, so both ends are None."""
    interval = mean_interval([7.0])
    assert (interval.value, interval.low, interval.high, interval.count) == (7.0, None, None, 1)


def test_equal_values_have_a_zero_wide_interval() -> None:
    """Without spread the interval is the value itself."""
    interval = mean_interval([0.25, 0.25, 0.25])
    assert interval.low == interval.high == interval.value == 0.25


def test_ratio_pairs_by_seed() -> None:
    """A policy that always takes half of a reference that varies a hundredfold has ratio 0.5 with no spread."""
    interval = ratio_interval([1.0, 10.0, 50.0], [2.0, 20.0, 100.0])
    assert interval.value == pytest.approx(0.5, rel=1e-12)
    assert interval.low == pytest.approx(0.5, rel=1e-9)
    assert interval.high == pytest.approx(0.5, rel=1e-9)


def test_ratio_is_a_geometric_mean() -> None:
    """Ratios 2 and 1/2 cancel: the estimate is 1, with ln ends at -+ 12.7062 * ln 2 (n = 2, s = sqrt(2) ln 2)."""
    interval = ratio_interval([2.0, 1.0], [1.0, 2.0])
    assert interval.value == pytest.approx(1.0, rel=1e-12)
    assert interval.high is not None
    assert math.log(interval.high) == pytest.approx(12.7062 * math.log(2.0), rel=1e-5)


def test_refuses_what_cannot_be_compared() -> None:
    """No values, a cost of zero, and lists of unequal length are refused, not averaged away."""
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval([])
    with pytest.raises(ValueError, match=r"must be positive .*got 0\.0"):
        ratio_interval([0.0], [1.0])
    with pytest.raises(ValueError, match="zip"):
        ratio_interval([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="at least 1"):
        t_cdf(1.0, 0)
    with pytest.raises(ValueError, match="strictly between"):
        t_quantile(1.0, 3)
