"""Straight lines through measured points, in exact integer arithmetic with one rounding at the end."""

from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

Points: TypeAlias = list[tuple[int, int]]
"""Measured (size, value) pairs, sizes rising."""


def interpolated(points: Points, last: int, factor: Fraction) -> list[int]:
    """Return the values at 1, 2, ..., last, times a factor, rounded to the nearest, halves up.

    Beyond the last point the line goes on with the mean slope of the upper half of the sizes: a last segment alone may
    be a few sizes of noise. Below the first point it is flat.
    """
    end = points[-1]
    middle = max((point for point in points if 2 * point[0] <= end[0]), default=points[0])
    segments = list(pairwise(points))
    values = []
    segment = 0
    for n in range(1, last + 1):
        while segment < len(segments) - 1 and n > segments[segment][1][0]:
            segment += 1
        (n0, v0), (n1, v1) = segments[segment] if n <= end[0] and segments else (middle, end)
        if n <= points[0][0] or n0 == n1:
            n0, v0, n1, v1 = n, points[0][1], n + 1, points[0][1]
        width = n1 - n0
        values.append(nearest((v0 * width + (v1 - v0) * (n - n0)) * factor.numerator, width * factor.denominator))
    return values


def nearest(numerator: int, denominator: int) -> int:
    """Return the quotient of two integers, rounded to the nearest, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def rounded(value: Fraction) -> int:
    """Return the nearest integer, halves up."""
    return nearest(value.numerator, value.denominator)
