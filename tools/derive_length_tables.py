"""Derive glia_bench/workloads/tables/sharegpt_{prompt,output}.json from the Glia paper's public trace.

Input: data/processed_traces/sharegpt_12.0.csv of github.com/pouyahmdn/vidur at commit
0209d4843a80482ac9d62022717e1400864fae18 (MIT licence), plain or gzipped: 3,973 requests of ShareGPT V3, first turn
and first reply in Llama-3 tokens, with the paper's inflation and system prompt.

    python tools/derive_length_tables.py sharegpt_12.0.csv glia_bench/workloads/tables

Each table is a marginal quantile function at 385 points (the layout is in glia_bench/workloads/quantile_table.py).
Prompt and output lengths are drawn independently: the correlation of their logarithms is 0.02. The rows themselves
are not shipped.
"""

import argparse
import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path

OCTAVES = 6
BINS_LOG2 = 6
COLUMNS = {"prompt": "num_prefill_tokens", "output": "num_decode_tokens"}


def quantile(ordered: Sequence[int], u: float) -> int:
    """Return the quantile of sorted values by Hazen's rule (row i stands at (i - 0.5) / n), rounded."""
    place = min(max(u * len(ordered) - 0.5, 0.0), len(ordered) - 1.0)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (place - low) * (ordered[high] - ordered[low]))


def knot_positions(octaves: int, bins_log2: int) -> list[float]:
    """Return the u of each knot: octave k starts at 1 - 2^-k and is cut into equal bins; the last one ends at 1."""
    bins = 1 << bins_log2
    positions = []
    for k in range(octaves):
        width = 2.0 ** -(k + 1) if k < octaves - 1 else 2.0**-k
        positions += [1 - 2.0**-k + width * j / bins for j in range(bins)]
    return [*positions, 1.0]


def main() -> None:
    """Read the trace, write both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    opener = gzip.open if arguments.trace.suffix == ".gz" else open
    with opener(arguments.trace, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name, column in COLUMNS.items():
        ordered = sorted(int(row[column]) for row in rows)
        knots = [quantile(ordered, u) for u in knot_positions(OCTAVES, BINS_LOG2)]
        table = {
            "what": f"{name} tokens of the Glia paper's ShareGPT requests: quantiles",
            "unit": "tokens",
            "source": "github.com/pouyahmdn/vidur@0209d4843a80482ac9d62022717e1400864fae18 "
            f"data/processed_traces/sharegpt_12.0.csv, column {column}, {len(ordered)} rows",
            "licence": "MIT (Vidur, Copyright (c) Microsoft Corporation)",
            "derived_by": "tools/derive_length_tables.py",
            "octaves": OCTAVES,
            "bins_log2": BINS_LOG2,
            "knots": knots,
        }
        (arguments.folder / f"sharegpt_{name}.json").write_text(json.dumps(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
