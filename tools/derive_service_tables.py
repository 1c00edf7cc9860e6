"""Derive the length tables of measured services, glia_bench/workloads/tables/<service>_{prompt,output}.json.

Inputs, CSVs (plain or gzipped) with the columns prompt_tokens and output_tokens (and arrival_s, for azure23_code), one
request per row, in this order:

    azure23_conv, azure23_code   first 2,400 s of the Azure LLM inference trace 2023
                                 (github.com/Azure/AzurePublicDataset)
    mooncake_conv                first 2,400 s of Mooncake's conversation trace (github.com/kvcache-ai/Mooncake)
    arxiv_summ                   arXiv summarisation lengths of Vidur (github.com/microsoft/vidur)
    servegen_mlarge, servegen_msmall, servegen_r1   requests drawn from ServeGen's per-client statistics
                                 (github.com/alibaba/ServeGen), one day, one day and 18 h

    python tools/derive_service_tables.py azure23_conv.csv azure23_code.csv ... glia_bench/workloads/tables

Each pair is two marginal quantile functions; the output table also holds the correlation of the Gaussian copula that
ties it to the prompt, 2 sin(pi r / 6) of Spearman's r. `azure23_code_gaps` holds the gaps within bursts of the code
trace, those below 2 s, scaled to a mean of 1. The rows themselves are not shipped.
"""

import argparse
import csv
import gzip
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path

from derive_length_tables import knot_positions, quantile

OCTAVES = 8
BINS_LOG2 = 7
AZURE = (
    "Azure LLM inference trace 2023 ({}), github.com/Azure/AzurePublicDataset; Patel et al., Splitwise, ISCA 2024",
    "CC-BY 4.0",
)
SERVEGEN = (
    "regenerated from ServeGen's per-client statistics ({}), github.com/alibaba/ServeGen; Xiang et al., "
    "arXiv 2505.09999; prompt and output are independent within a client",
    "Apache-2.0",
)
SERVICES: dict[str, tuple[str, str]] = {
    "azure23_conv": (AZURE[0].format("conversation"), AZURE[1]),
    "azure23_code": (AZURE[0].format("code"), AZURE[1]),
    "mooncake_conv": (
        "Mooncake conversation trace, github.com/kvcache-ai/Mooncake; Qin et al., FAST 2025",
        "Apache-2.0",
    ),
    "arxiv_summ": ("github.com/microsoft/vidur, data/processed_traces, arXiv summarisation", "MIT (Microsoft)"),
    "servegen_mlarge": (SERVEGEN[0].format("m-large, day 2"), SERVEGEN[1]),
    "servegen_msmall": (SERVEGEN[0].format("m-small, day 1"), SERVEGEN[1]),
    "servegen_r1": (SERVEGEN[0].format("deepseek-r1, 0-18 h"), SERVEGEN[1]),
}
RHO_UNIT_LOG2 = 16
LONGEST_GAP_S = 2.0
GAP_OCTAVES, GAP_BINS_LOG2 = 24, 5
"""Layout of gap tables: that of gamma_gaps.json, so that the two can be mixed."""


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV, plain or gzipped."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def ranks(values: Sequence[int]) -> list[float]:
    """Return the rank of each value, ties sharing their mean rank."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for place in order[start:end]:
            found[place] = (start + end - 1) / 2
        start = end
    return found


def copula_correlation(one: Sequence[int], other: Sequence[int]) -> float:
    """Return the correlation of the Gaussian copula that has the rank correlation of two columns."""
    x, y = ranks(one), ranks(other)
    middle = (len(x) - 1) / 2
    covariance = math.fsum((a - middle) * (b - middle) for a, b in zip(x, y, strict=True))
    spread = math.sqrt(math.fsum((a - middle) ** 2 for a in x) * math.fsum((b - middle) ** 2 for b in y))
    return 2 * math.sin(math.pi * covariance / spread / 6)


def length_table(what: str, values: Sequence[int], source: str, licence: str) -> dict[str, object]:
    """Return a quantile table of token counts."""
    ordered = sorted(values)
    return {
        "what": f"{what}: quantiles of {len(ordered)} counts",
        "unit": "tokens",
        "source": source,
        "licence": licence,
        "derived_by": "tools/derive_service_tables.py",
        "octaves": OCTAVES,
        "bins_log2": BINS_LOG2,
        "knots": [quantile(ordered, u) for u in knot_positions(OCTAVES, BINS_LOG2)],
    }


def gap_table(arrivals_s: Sequence[float]) -> dict[str, object]:
    """Return the quantile table of gaps within bursts, of mean 2^20 as it is read, in straight lines."""
    gaps = [after - before for before, after in itertools.pairwise(arrivals_s)]
    ordered = sorted(round(gap * 1_000_000) for gap in gaps if gap < LONGEST_GAP_S)
    positions = knot_positions(GAP_OCTAVES, GAP_BINS_LOG2)
    knots = [quantile(ordered, u) for u in positions]
    pieces = list(zip(positions, positions[1:], knots, knots[1:], strict=False))
    mean = math.fsum((v - u) * (low + high) / 2 for u, v, low, high in pieces)
    square = math.fsum((v - u) * (low * low + low * high + high * high) / 3 for u, v, low, high in pieces)
    return {
        "what": f"gaps below {LONGEST_GAP_S:g} s between requests: quantiles of {len(ordered)} gaps",
        "unit": "2^-20 of their mean",
        "source": SERVICES["azure23_code"][0],
        "licence": SERVICES["azure23_code"][1],
        "derived_by": "tools/derive_service_tables.py",
        "mean_us": round(mean),
        "cv_permille": round(math.sqrt(square / mean**2 - 1) * 1000),
        "octaves": GAP_OCTAVES,
        "bins_log2": GAP_BINS_LOG2,
        "knots": [round(knot / mean * (1 << 20)) for knot in knots],
    }


def write(path: Path, table: dict[str, object]) -> None:
    """Write a table as one line."""
    path.write_text(json.dumps(table) + "\n", encoding="utf-8")


def main() -> None:
    """Read the traces, write two tables for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SERVICES:
        parser.add_argument(name, type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    for name, (source, licence) in SERVICES.items():
        rows = read_rows(getattr(arguments, name))
        columns = {part: [int(row[f"{part}_tokens"]) for row in rows] for part in ("prompt", "output")}
        for part, values in columns.items():
            table = length_table(f"{part} tokens of {name}", values, source, licence)
            if part == "output":
                rho = copula_correlation(columns["prompt"], values)
                table["copula_rho_unit"] = f"2^-{RHO_UNIT_LOG2}"
                table["copula_rho"] = round(rho * (1 << RHO_UNIT_LOG2))
            write(arguments.folder / f"{name}_{part}.json", table)
        if name == "azure23_code":
            write(arguments.folder / "azure23_code_gaps.json", gap_table([float(row["arrival_s"]) for row in rows]))


if __name__ == "__main__":
    main()
