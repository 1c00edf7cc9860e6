"""Derive glia_bench/workloads/tables/lognormal_sigma2_gaps.json: quantiles of a lognormal of mean 1 and sigma 2.

No data goes in: the Glia paper (arXiv 2510.27176) draws inter-arrival times from this law. Quantile of u is
exp(2 z(u) - 2), z the standard normal quantile, in units of 2^-20 of the mean.

    python tools/derive_gap_table.py glia_bench/workloads/tables/lognormal_sigma2_gaps.json

The upper half is cut into 33 octaves (1/2, 1/4, ... of the probability), so the tail is right to beyond 1 - 2^-32.
The bins of the first half are 1/128 wide; within the lowest the straight line from 0 misplaces gaps below a
thousandth of the mean.
"""

import argparse
import json
import math
from pathlib import Path
from statistics import NormalDist

SIGMA = 2.0
OCTAVES = 33
BINS_LOG2 = 6
UNIT_LOG2 = 20


def quantile(upper_tail: float) -> int:
    """Return the gap that is exceeded with this probability, in units of 2^-UNIT_LOG2 of the mean."""
    # z(1 - p) = -z(p) keeps all digits in the tail
    return round(math.exp(-SIGMA * NormalDist().inv_cdf(upper_tail) - SIGMA * SIGMA / 2) * (1 << UNIT_LOG2))


def main() -> None:
    """Compute and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    arguments = parser.parse_args()
    bins = 1 << BINS_LOG2
    tails = []
    for k in range(OCTAVES):
        width = 2.0 ** -(k + 1) if k < OCTAVES - 1 else 2.0**-k
        tails += [2.0**-k - width * j / bins for j in range(bins)]
    # u = 0 has gap 0; u = 1 would have an infinite one and takes that of the middle of its bin
    knots = [0, *map(quantile, tails[1:]), quantile((2.0 ** -(OCTAVES - 1)) / bins / 2)]
    table = {
        "what": "inter-arrival gaps, lognormal with mean 1 and sigma 2: quantiles",
        "unit": f"2^-{UNIT_LOG2} of the mean gap",
        "source": "law: Glia paper, arXiv 2510.27176, trace generator in github.com/pouyahmdn/vidur",
        "licence": "none needed: computed from a formula",
        "derived_by": "tools/derive_gap_table.py",
        "octaves": OCTAVES,
        "bins_log2": BINS_LOG2,
        "knots": knots,
    }
    arguments.table.write_text(json.dumps(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
