"""Confidence intervals over seeds, tasks and designer runs: Student's t, widened for skewness; ratios by log-ratios.

Every policy faces the same traces, so a ratio is taken seed by seed and averaged in logarithms; the spread between
traces, which is far larger than the difference between good policies, cancels. Tasks are fixed strata with equal
weight: their seeds are drawn anew, the tasks are not. Runs of a designer are a sample of their own, taken as wholes.

A t interval of few skewed values covers too little, on the side of the long tail. So it is extended there, and only
there, to the end of Johnson's interval, which corrects for skewness; symmetric values keep plain t. A bootstrap of ten
values covers less than either: docs/scoring.md has the measured coverage of all. Rank bands are `score.rank_bands`.

Source:
    Johnson, Modified t tests and confidence intervals for asymmetrical populations, JASA 73 (1978): with V the variance
    of the mean and k its third central moment, the centre moves by k (1 + 2 t^2) / (6 V).
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its two-sided interval.

    Attributes:
        value: The estimate.
        low, high: Ends of the interval; None with fewer than two values, where the spread is unknown.
        count: Values behind it.
        p: Two-sided p-value of the estimated mean being 0; None without an interval. Kept by `exp_interval`: of a ratio
            it is that of being 1.
    """

    value: float
    low: float | None
    high: float | None
    count: int
    p: float | None = None


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


@functools.cache
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
    """Return the mean with its 95 % interval: mean ± t(0.975, n - 1) * s / sqrt(n), extended where values are skewed.

    Raises:
        ValueError: If there are no values.
    """
    return strata_interval([values])


def strata_interval(strata: Sequence[Sequence[float]]) -> Interval:
    """Return the mean of the strata's means, each with equal weight, and its interval; strata are independent.

    Its variance is the sum of those of the T means, s_t^2 / n_t / T^2, with Satterthwaite's degrees of freedom. One
    stratum gives `mean_interval`; a stratum of a single value leaves the spread unknown.

    Args:
        strata: One value per seed of each task, in any order.

    Raises:
        ValueError: If there is no stratum or one is empty.
    """
    parts = [_spread_of_mean(values, weight=1.0 / len(strata)) for values in strata]
    return _t_interval(_mean([_mean(values) for values in strata]), parts, count=sum(map(len, strata)))


def runs_interval(runs: Sequence[Sequence[Sequence[float]]]) -> Interval:
    """Return the mean over runs of a designer with its interval for further runs and further seeds.

    Runs are the top level and enter as wholes, by their means over tasks: s_runs^2 / R. To it comes the variance of the
    run-averaged values over seeds within tasks, since all runs are evaluated on the same seeds. What runs and seeds
    have in common is counted twice, so the interval errs to the wide side.

    Args:
        runs: Run to task to one value per seed, with the same tasks and seeds in each run.

    Raises:
        ValueError: If there is no run, or runs differ in tasks or seeds.
    """
    if len({tuple(map(len, run)) for run in runs}) != 1:
        raise ValueError(f"runs must be at least one, all with the same tasks and seeds (got {len(runs)} runs)")
    averaged = [[_mean(cell) for cell in zip(*task, strict=True)] for task in zip(*runs, strict=True)]
    of_runs = [_mean([_mean(task) for task in run]) for run in runs]
    parts = [_spread_of_mean(values, weight=1.0 / len(averaged)) for values in averaged]
    return _t_interval(_mean(of_runs), [_spread_of_mean(of_runs), *parts], count=len(runs))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number: those at most 0.05 are claims that all hold with 95 % confidence.

    Source:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


_Part: TypeAlias = tuple[float, float, int]
"""Variance and third central moment of a mean, and their degrees of freedom."""


def _spread_of_mean(values: Sequence[float], weight: float = 1.0) -> _Part:
    """Return the unbiased moments of a weighted mean, with n - 1 degrees of freedom: none for one value.

    Two values say nothing of skewness, which then counts as 0.
    """
    count, mean = len(values), _mean(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    cubes = math.fsum((value - mean) ** 3 for value in values)
    variance = squares / (max(count - 1, 1) * count)
    third = cubes / (count * (count - 1) * (count - 2)) if count > 2 else 0.0
    return weight**2 * variance, weight**3 * third, count - 1


def _t_interval(value: float, parts: Sequence[_Part], count: int) -> Interval:
    """Return the interval of an estimate whose variance is a sum of independent parts.

    Its p-value is that of the narrowest such interval which reaches 0.

    Source:
        Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2 (1946).
    """
    if any(dof == 0 for *_, dof in parts):
        return Interval(value=value, low=None, high=None, count=count)
    variance = math.fsum(part for part, _, _ in parts)
    error = math.sqrt(variance)
    if error == 0.0:
        return Interval(value=value, low=value, high=value, count=count, p=float(value == 0.0))
    # shares, not squares of variances, which would vanish for tiny ones; rounded down to the wider quantile
    dof = int((1.0 + 1e-9) / math.fsum((part / variance) ** 2 / dof for part, _, dof in parts))
    shift = math.fsum(third for _, third, _ in parts) / (6.0 * variance)
    t = t_quantile(0.5 + 0.5 * CONFIDENCE, dof)
    move = shift * (1.0 + 2.0 * t * t)
    low = value - t * error + min(move, 0.0)
    high = value + t * error + max(move, 0.0)
    reach = _reach(abs(value), error, max(-shift if value > 0.0 else shift, 0.0))
    return Interval(value=value, low=low, high=high, count=count, p=max(0.0, 2.0 * t_cdf(-reach, dof)))


def _reach(distance: float, error: float, shift: float) -> float:
    """Return the t at which t * error + shift * (1 + 2 t^2) is the distance; 0 where it is more from the start."""
    if shift == 0.0:
        return distance / error
    if distance <= shift:
        return 0.0
    ahead = distance - shift
    # the root of a quadratic, in the form that loses no digits for a small shift
    return 2.0 * ahead / (error + math.sqrt(error * error + 8.0 * shift * ahead))


def _mean(values: Sequence[float]) -> float:
    if len(values) == 0:
        raise ValueError("an interval needs at least one value (got none)")
    return math.fsum(values) / len(values)


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
        p=interval.p,
    )
