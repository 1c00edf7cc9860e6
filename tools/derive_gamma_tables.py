"""Derive glia_bench/workloads/tables/gamma_gaps.json: gamma-distributed gaps of mean 1 for a ladder of CVs.

No data goes in; values are in units of 2^-20 of the mean. CV is standard deviation / mean; the shape is 1 / CV^2.

    python tools/derive_gamma_tables.py glia_bench/workloads/tables

Each row of knots is a table of glia_bench/workloads/quantile_table.py; rungs of the ladder are a factor of sqrt(2)
apart. The incomplete gamma function is computed by its series and its continued fraction, quantiles by bisection and
Newton steps in the logarithm. Knots are then scaled so that the mean of the table, read in straight lines, is 1.
"""

import argparse
import json
import math
from pathlib import Path

from derive_law_tables import UNIT_LOG2, upper_tails

OCTAVES = 24
BINS_LOG2 = 5
CV_PERMILLES = tuple(round(1000 * 2 ** (step / 2)) for step in range(-2, 10))
SMALLEST_LOG = -60.0
"""Gaps below e^-60 of the mean count as 0."""


def upper_gamma(shape: float, x: float) -> float:
    """Return the regularised upper incomplete gamma function Q(shape, x)."""
    front = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    if x < shape + 1:
        term = total = 1 / shape
        k = shape
        while abs(term) > 1e-17 * total:
            k += 1
            term *= x / k
            total += term
        return 1 - front * total
    # Lentz's method
    b = x + 1 - shape
    c, d = 1e300, 1 / b
    value = d
    for i in range(1, 1000):
        a = -i * (i - shape)
        b += 2
        d = 1 / (a * d + b)
        c = b + a / c
        value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return front * value


def gamma_quantiles(shape: float, tails: list[float]) -> list[float]:
    """Return, for falling upper tails, the values of a gamma law of mean 1 that are exceeded with each."""
    found, log_x = [], SMALLEST_LOG
    for tail in tails:
        low, high = log_x, math.log(shape + 40 * math.sqrt(shape) + 80)
        if tail >= 1 or upper_gamma(shape, math.exp(low)) <= tail:
            found.append(0.0)
            continue
        for _ in range(100):
            middle = (low + high) / 2
            gap = upper_gamma(shape, math.exp(middle)) - tail
            low, high = (middle, high) if gap > 0 else (low, middle)
            density = math.exp(shape * middle - math.exp(middle) - math.lgamma(shape))
            step = middle + gap / density if density > 0 else low
            if low < step < high:
                gap = upper_gamma(shape, math.exp(step)) - tail
                low, high = (step, high) if gap > 0 else (low, step)
            if high - low < 1e-11 or abs(gap) < 1e-12 * tail:
                break
        log_x = low
        found.append(math.exp((low + high) / 2) / shape)
    return found


def knots(cv: float) -> list[int]:
    """Return the knots of a table of mean 1."""
    bins = 1 << BINS_LOG2
    tails = upper_tails(OCTAVES, BINS_LOG2)
    values = gamma_quantiles(1 / cv**2, [*tails, tails[-1] / 2])
    widths = [one - two for one, two in zip(tails, [*tails[1:], 0.0], strict=True)]
    assert len(widths) == OCTAVES * bins
    mean = sum(width * (values[k] + values[k + 1]) / 2 for k, width in enumerate(widths))
    return [round(value / mean * (1 << UNIT_LOG2)) for value in values]


def main() -> None:
    """Compute and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    table = {
        "what": "inter-arrival gaps, gamma with mean 1: quantiles, one row of knots for each CV",
        "unit": f"2^-{UNIT_LOG2} of the mean gap",
        "source": "law: gamma",
        "licence": "none needed: computed from a formula",
        "derived_by": "tools/derive_gamma_tables.py",
        "octaves": OCTAVES,
        "bins_log2": BINS_LOG2,
        "cv_permilles": CV_PERMILLES,
        "rows": [knots(permille / 1000) for permille in CV_PERMILLES],
    }
    (folder / "gamma_gaps.json").write_text(json.dumps(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
