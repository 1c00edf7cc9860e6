"""Student's t and the intervals built on it: printed tables, sums done by hand, and how often they cover."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interval_coverage import SHAPES, coverage, coverage_of_runs

from glia_bench.scoring.intervals import (
    holm,
    mean_interval,
    ratio_interval,
    runs_interval,
    strata_interval,
    t_cdf,
    t_quantile,
)


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


def test_skewed_values_extend_the_interval_on_the_side_of_their_tail() -> None:
    """For 0, 0, 3: mean 1, V = 1, k = 6 / (3 * 2 * 1) = 1, so the upper end moves by (1 + 2 t^2) / 6 = 6.33785."""
    interval = mean_interval([0.0, 0.0, 3.0])
    assert interval.low == pytest.approx(1.0 - 4.302653, abs=1e-5)
    assert interval.high == pytest.approx(1.0 + 4.302653 + (1 + 2 * 4.302653**2) / 6, abs=1e-5)
    mirrored = mean_interval([0.0, 0.0, -3.0])
    assert (mirrored.low, mirrored.high) == pytest.approx((-interval.high, -interval.low))


def test_p_values_by_hand() -> None:
    """For 1, 2, 3: t = 2 * sqrt(3), p = 0.0741799 on two degrees of freedom; all equal: 0, or 1 if they are 0."""
    assert mean_interval([1.0, 2.0, 3.0]).p == pytest.approx(0.0741799, abs=1e-7)
    assert mean_interval([2.0, 2.0]).p == 0.0
    assert mean_interval([0.0, 0.0]).p == 1.0
    assert mean_interval([5.0]).p is None


VALUES = st.lists(st.floats(-5, 5).map(lambda value: round(value, 3)), min_size=2, max_size=12)


@given(values=VALUES)
def test_an_interval_excludes_0_if_and_only_if_its_p_value_is_below_5_percent(values: list[float]) -> None:
    """The p-value belongs to the extended interval, not to plain t."""
    interval = mean_interval(values)
    assert interval.low is not None
    assert interval.high is not None
    assert interval.p is not None
    if abs(interval.p - 0.05) > 1e-9:
        assert (interval.low > 0 or interval.high < 0) == (interval.p < 0.05)


@given(values=VALUES, shift=st.floats(-3, 3), scale=st.floats(0.1, 10), order=st.randoms(use_true_random=False))
def test_intervals_move_and_scale_with_their_values(
    values: list[float], shift: float, scale: float, order: random.Random
) -> None:
    """Whatever the order of seeds; 1e-6 allows for rounding where values are close to each other."""
    moved = [scale * value + shift for value in values]
    order.shuffle(moved)
    before, after = mean_interval(values), mean_interval(moved)
    assert before.low is not None
    assert before.high is not None
    expected = [scale * end + shift for end in (before.value, before.low, before.high)]
    assert [after.value, after.low, after.high] == pytest.approx(expected, abs=1e-6)


def test_strata_have_equal_weight_and_satterthwaites_degrees_of_freedom() -> None:
    """Means 2 and 5 give 3.5, with variances 1/3 and 8/2 of which a quarter each counts: 1/12 and 1 on 2 and 1 dof."""
    interval = strata_interval([[1.0, 2.0, 3.0], [3.0, 7.0]])
    first, second = 1 / 12, 1.0
    variance = first + second
    assert interval.value == 3.5
    dof = int(variance**2 / (first**2 / 2 + second**2 / 1))
    assert interval.high == pytest.approx(3.5 + t_quantile(0.975, dof) * math.sqrt(variance))
    assert strata_interval([[1.0, 2.0], [3.0]]).low is None


def test_runs_are_wholes() -> None:
    """Runs of means 1, 2, 3 that agree on every seed: the interval of these means, whatever the number of seeds."""
    runs = [[[mean] * 4, [mean] * 2] for mean in (1.0, 2.0, 3.0)]
    assert runs_interval(runs).high == pytest.approx(2.0 + 2.484138, abs=1e-5)
    # one run tells nothing of further ones; seeds that all runs share add their own spread
    assert runs_interval(runs[:1]).low is None
    shared = runs_interval([[[mean - 1.0, mean + 1.0]] for mean in (1.0, 2.0, 3.0)])
    assert shared.high is not None
    assert shared.high > 2.0 + 2.484138
    with pytest.raises(ValueError, match="same tasks and seeds"):
        runs_interval([[[1.0]], [[1.0, 2.0]]])


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.03, 0.04 become 3 * 0.01, 2 * 0.03, and no less than that; never above 1."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("shape", ["normal", "gamma, skewness 1", "exponential, skewness 2"])
def test_ten_seeds_cover_nearly_as_often_as_they_say(shape: str) -> None:
    """At least 91.5 % of 1,000 samples: 93 %, less two standard errors of 0.8."""
    assert coverage(SHAPES[shape], 10, repeats=1_000)["extended t"] >= 0.915


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_coverage_of_every_shape(shape: str) -> None:
    """At least 93 % from ten seeds on and 91 % below, less two standard errors of 0.25; never less than BCa."""
    for num_seeds, least in ((3, 0.91), (5, 0.91), (10, 0.93), (20, 0.93)):
        found = coverage(SHAPES[shape], num_seeds, repeats=10_000)
        assert found["extended t"] >= least - 0.005
        assert found["extended t"] >= found["BCa"]


@pytest.mark.slow
@pytest.mark.parametrize("num_runs", [3, 5, 10])
def test_coverage_of_runs(num_runs: int) -> None:
    """Intervals over designer runs cover at least as often as they say, less two standard errors of 0.35 %."""
    assert coverage_of_runs(num_runs, 10) >= 0.943
