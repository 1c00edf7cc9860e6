"""Confidence intervals over seeds: Student's t for a mean, and for a ratio through paired log-ratios.

Every policy faces the same traces, so a ratio is taken seed by seed and averaged in logarithms; the spread between
traces, which is far larger than the difference between good policies, cancels. Bootstrap intervals, corrections for
many comparisons and rank bands are not modelled here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its two-sided interval.

    Attributes:
        value: The estimate.
        low, high: Ends of the interval; None with fewer than two values, where the spread is unknown.
        count: Values behind it.
    """

    value: float
    low: float | None
    high: float | None
    count: int


def t_cdf(t: float, dof: int) -> float:
    """Return the probability that Student's t with `dof` degrees of freedom is at most `t`.

    The closed form for whole degrees of freedom, with theta = atan(t / sqrt(dof)): a finite sum of powers of
    cos(theta).

    Raises:
        ValueError: If `dof` is below 1.

    Source:
        Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    if dof < 1:
        raise ValueError(f"degrees of freedom must be at least 1 (got {dof})")
    theta = math.atan2(t, math.sqrt(dof))
    cos = math.cos(theta)
    is_odd = dof % 2 == 1
    term = cos if is_odd else 1.0
    total = 0.0
    for k in range(2 if is_odd else 1, dof, 2):
        total += term
        term *= cos * cos * k / (k + 1)
    central = math.sin(theta) * total
    if is_odd:
        central = 2.0 / math.pi * (theta + central)
    return 0.5 + 0.5 * central


def t_quantile(probability: float, dof: int) -> float:
    """Return the t below which Student's t with `dof` degrees of freedom lies with this probability.

    Bisection of `t_cdf` until the interval is as narrow as float64 allows.

    Raises:
        ValueError: If `probability` is not strictly between 0 and 1, or `dof` is below 1.
    """
    if not 0.0 < probability < 1.0:
        raise ValueError(f"a probability must lie strictly between 0 and 1 (got {probability})")
    if probability < 0.5:
        return -t_quantile(1.0 - probability, dof)
    low, high = 0.0, 1.0
    while t_cdf(high, dof) < probability:
        low, high = high, 2.0 * high
    while low < (middle := 0.5 * (low + high)) < high:
        if t_cdf(middle, dof) < probability:
            low = middle
        else:
            high = middle
    return high


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean with its 95 % t interval: mean ± t(0.975, n - 1) * s / sqrt(n).

    Raises:
        ValueError: If there are no values.
    """
    count = len(values)
    if count == 0:
        raise ValueError("an interval needs at least one value (got none)")
    mean = math.fsum(values) / count
    if count == 1:
        return Interval(value=mean, low=None, high=None, count=1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = t_quantile(0.5 + 0.5 * CONFIDENCE, count - 1) * math.sqrt(variance / count)
    return Interval(value=mean, low=mean - half, high=mean + half, count=count)


def ratio_interval(costs: Sequence[float], reference_costs: Sequence[float]) -> Interval:
    """Return the geometric mean of cost / reference cost with its interval, from log-ratios paired by seed.

    exp of `mean_interval` over ln(cost_i / reference_i): below 1 is better than the reference.

    Args:
        costs: One positive cost per seed.
        reference_costs: The reference's cost on the very same seeds, in the same order.

    Raises:
        ValueError: If the two do not pair up, are empty, or hold a cost that is not positive.
    """
    logs = [log_ratio(cost, reference) for cost, reference in zip(costs, reference_costs, strict=True)]
    return exp_interval(mean_interval(logs))


def log_ratio(cost: float, reference_cost: float) -> float:
    """Return ln(cost / reference cost).

    Raises:
        ValueError: If either is not positive: a ratio then says nothing.
    """
    if not (cost > 0.0 and reference_cost > 0.0):
        raise ValueError(f"costs must be positive to be compared as a ratio (got {cost} and {reference_cost})")
    return math.log(cost) - math.log(reference_cost)


def exp_interval(interval: Interval) -> Interval:
    """Return an interval of logarithms as an interval of ratios."""
    return Interval(
        value=math.exp(interval.value),
        low=None if interval.low is None else math.exp(interval.low),
        high=None if interval.high is None else math.exp(interval.high),
        count=interval.count,
    )
