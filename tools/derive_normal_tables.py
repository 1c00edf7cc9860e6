"""Derive the tables of glia_bench/workloads/tables that integer arithmetic with normal variables needs.

No data goes in.

    python tools/derive_normal_tables.py glia_bench/workloads/tables

`half_normal` is the quantile function of |z| in 2^-16; `normal_cdf` is P(z < x) at x = 0, 1/64 ... 8 in 2^-40, and
`exp2` is 2^x at x = 0, 1/256 ... 1 in 2^-30. What they are used for stands in glia_bench/workloads/normal.py.
"""

import argparse
import json
from pathlib import Path
from statistics import NormalDist

from derive_law_tables import upper_tails

OCTAVES = 24
BINS_LOG2 = 6


def half_normal_knots() -> list[int]:
    """Return the knots; u = 1 takes the quantile of the middle of its bin."""
    tails = upper_tails(OCTAVES, BINS_LOG2)
    tails.append((2.0 ** -(OCTAVES - 1)) / (1 << BINS_LOG2) / 2)
    # P(|z| > x) = p means P(z < -x) = p / 2, which keeps all digits in the tail
    return [max(round(-NormalDist().inv_cdf(tail / 2) * (1 << 16)), 0) for tail in tails]


def main() -> None:
    """Compute and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    origin = {"licence": "none needed: computed from a formula", "derived_by": "tools/derive_normal_tables.py"}
    normal = {"source": "law: standard normal", **origin}
    tables: dict[str, dict[str, object]] = {
        "half_normal": {
            "what": "absolute value of a standard normal: quantiles",
            "unit": "2^-16",
            **normal,
            "octaves": OCTAVES,
            "bins_log2": BINS_LOG2,
            "knots": half_normal_knots(),
        },
        "normal_cdf": {
            "what": "distribution function of the standard normal at 0, 1/64 ... 8",
            "unit": "2^-40",
            **normal,
            "values": [round(NormalDist().cdf(step / 64) * (1 << 40)) for step in range(513)],
        },
        "exp2": {
            "what": "2^x at 0, 1/256 ... 1",
            "unit": "2^-30",
            "source": "law: powers of two",
            **origin,
            "values": [round(2.0 ** (step / 256) * (1 << 30)) for step in range(257)],
        },
    }
    for name, table in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
