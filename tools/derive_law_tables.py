"""Derive the tables of glia_bench/workloads/tables that come from a formula: gaps and factors, all of mean 1.

No data goes in; values are in units of 2^-20 of the mean.

    python tools/derive_law_tables.py glia_bench/workloads/tables

`lognormal_sigma2_gaps` is the law of the Glia paper's inter-arrival times (arXiv 2510.27176), `exponential_gaps` that
of a Poisson process, `lognormal_sigmaP_factors` are lognormal with a sigma of P / 100. The quantile of u is
exp(sigma z(u) - sigma^2 / 2), z the standard normal quantile, or -ln(1 - u).

The upper half is cut into octaves (1/2, 1/4, ... of the probability), 33 for gaps, so that their tail is right to
beyond 1 - 2^-32, and 20 for factors. The bins of the first half are 1/128 wide; a gap's lowest bin is a straight line
from 0, which misplaces gaps below a thousandth of the mean, and a factor's one from the quantile of its middle.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

BINS_LOG2 = 6
UNIT_LOG2 = 20
GAP_OCTAVES = 33
FACTOR_OCTAVES = 20
FACTOR_SIGMA_PERCENTS = (30, 70, 93, 120)


def lognormal(sigma: float) -> Callable[[float], float]:
    """Return the value that a lognormal of mean 1 exceeds with a given probability."""

    def quantile(upper_tail: float) -> float:
        # z(1 - p) = -z(p) keeps all digits in the tail
        return math.exp(-sigma * NormalDist().inv_cdf(upper_tail) - sigma * sigma / 2)

    return quantile


def exponential(upper_tail: float) -> float:
    """Return the value that an exponential of mean 1 exceeds with a given probability."""
    return -math.log(upper_tail)


def upper_tails(octaves: int, bins_log2: int) -> list[float]:
    """Return the probability above each knot of a table but the last, at u = 1."""
    bins = 1 << bins_log2
    tails = []
    for k in range(octaves):
        width = 2.0 ** -(k + 1) if k < octaves - 1 else 2.0**-k
        tails += [2.0**-k - width * j / bins for j in range(bins)]
    return tails


def knots(quantile: Callable[[float], float], octaves: int, *, starts_at_0: bool) -> list[int]:
    """Return the knots of a table; where u = 1 would be infinite, it takes the quantile of the middle of its bin."""
    bins = 1 << BINS_LOG2
    tails = upper_tails(octaves, BINS_LOG2)
    low = 0.0 if starts_at_0 else quantile(1.0 - 0.25 / bins)
    values = [low, *map(quantile, tails[1:]), quantile((2.0 ** -(octaves - 1)) / bins / 2)]
    return [round(value * (1 << UNIT_LOG2)) for value in values]


def main() -> None:
    """Compute and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    paper = "law: Glia paper, arXiv 2510.27176, trace generator in github.com/pouyahmdn/vidur"
    gap_unit, factor_unit = f"2^-{UNIT_LOG2} of the mean gap", f"2^-{UNIT_LOG2} of the mean"
    laws = [
        (
            "lognormal_sigma2_gaps",
            "inter-arrival gaps, lognormal with mean 1 and sigma 2: quantiles",
            gap_unit,
            paper,
            GAP_OCTAVES,
            knots(lognormal(2.0), GAP_OCTAVES, starts_at_0=True),
        ),
        (
            "exponential_gaps",
            "inter-arrival gaps of a Poisson process of rate 1: quantiles",
            gap_unit,
            "law: exponential",
            GAP_OCTAVES,
            knots(exponential, GAP_OCTAVES, starts_at_0=True),
        ),
    ]
    for percent in FACTOR_SIGMA_PERCENTS:
        values = knots(lognormal(percent / 100), FACTOR_OCTAVES, starts_at_0=False)
        what = f"factors, lognormal with mean 1 and sigma {percent / 100:g}: quantiles"
        laws.append((f"lognormal_sigma{percent}_factors", what, factor_unit, "law: lognormal", FACTOR_OCTAVES, values))
    for name, what, unit, source, octaves, values in laws:
        table = {
            "what": what,
            "unit": unit,
            "source": source,
            "licence": "none needed: computed from a formula",
            "derived_by": "tools/derive_law_tables.py",
            "octaves": octaves,
            "bins_log2": BINS_LOG2,
            "knots": values,
        }
        (folder / f"{name}.json").write_text(json.dumps(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
