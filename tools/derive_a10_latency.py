"""Derive glia_bench/sim/tables/a10_llama3_8b.json from Vidur's operator profile of one A10.

Input: data/profiling/compute/a10/meta-llama/Meta-Llama-3-8B/mlp.csv of github.com/pouyahmdn/vidur at commit
cd1adc83545a1dcfd66d22ef5f1b849ac3a5172a (MIT licence), plain or gzipped. Its rows are ms per layer and operator.

    python tools/derive_a10_latency.py mlp.csv glia_bench/sim/tables/a10_llama3_8b.json

For each token count measured with tensor parallel degree 1: the median of each operator (the mean over the rows of
that count; they agree within 0.1 %), summed over the nine operators other than the embedding, times 32 layers, in
integer nanoseconds. The LM head is not in the profile. Only these sums are shipped, not the rows.
"""

import argparse
import csv
import gzip
import json
from collections import defaultdict
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

LAYERS = 32
OPERATORS = (
    "input_layernorm",
    "attn_pre_proj",
    "attn_rope",
    "attn_post_proj",
    "post_attention_layernorm",
    "mlp_up_proj",
    "mlp_act",
    "mlp_down_proj",
    "add",
)


def derive(profile: Path) -> list[tuple[int, int]]:
    """Return (tokens in the batch, nanoseconds per iteration) pairs in order of tokens."""
    sums: dict[int, list[Decimal]] = defaultdict(list)
    opener = gzip.open if profile.suffix == ".gz" else open
    with opener(profile, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["num_tensor_parallel_workers"] != "1":
                continue
            # Medians are multiples of 0.5 us; the digits behind that are the profiler's float noise.
            per_layer_ms = sum(
                (round(Decimal(row[f"time_stats.{name}.median"]), 4) for name in OPERATORS), start=Decimal(0)
            )
            sums[int(row["num_tokens"])].append(per_layer_ms * LAYERS)
    return [
        (tokens, int((sum(rows, start=Decimal(0)) / len(rows) * 1_000_000).quantize(Decimal(1), ROUND_HALF_EVEN)))
        for tokens, rows in sorted(sums.items())
    ]


def main() -> None:
    """Read the profile, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", type=Path)
    parser.add_argument("table", type=Path)
    arguments = parser.parse_args()
    points = derive(arguments.profile)
    table = {
        "what": "one iteration's non-attention operators on one A10, Llama-3-8B bf16, tensor parallel 1",
        "unit": "[tokens in the batch, nanoseconds per iteration of 32 layers]",
        "source": "github.com/pouyahmdn/vidur@cd1adc83545a1dcfd66d22ef5f1b849ac3a5172a "
        "data/profiling/compute/a10/meta-llama/Meta-Llama-3-8B/mlp.csv",
        "licence": "MIT (Vidur, Copyright (c) Microsoft Corporation)",
        "derived_by": "tools/derive_a10_latency.py",
        "points": points,
    }
    lines = json.dumps({**table, "points": []}, indent=1)
    rows = ",\n  ".join(", ".join(map(str, map(list, points[i : i + 8]))) for i in range(0, len(points), 8))
    arguments.table.write_text(lines.replace('"points": []', f'"points": [\n  {rows}\n ]') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
