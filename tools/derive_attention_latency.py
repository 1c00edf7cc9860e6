"""Derive glia_bench/sim/tables/attention.json: attention kernels of the A100 and H100 by number of heads.

Input: the unpacked wheel aiconfigurator-core 0.12.0 (PyPI, NVIDIA, Apache-2.0), which holds measured milliseconds of
vLLM's kernels, one layer each.

    python -m zipfile -e aiconfigurator_core-0.12.0-*.whl FOLDER
    python tools/derive_attention_latency.py FOLDER glia_bench/sim/tables/attention.json

Decode: for each measured batch of up to 1024 requests with contexts of 64 to 16,384, the straight line of least
relative squares in the context. One line per batch size is what few heads need: they do not fill the GPU until many
requests run at once. Prefill: one line in the squared chunk, single chunks of 16 to 8192 tokens. Both are fitted to
every second measured length and their errors taken on the others. Models without grouped queries (32/32) use the
measurements of 8/8 heads at four times the batch: the same thread blocks. Only these lines are shipped.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SOURCES = {"a100": "a100_sxm/attention/vllm/0.14.0", "h100": "h100_sxm/attention/vllm/0.24.0"}
HEADS = ((32, 8), (16, 4), (8, 2), (32, 4), (16, 2), (8, 1), (32, 32))
"""Query and KV heads on one GPU."""


def read(folder: Path, kind: str) -> pd.DataFrame:
    """Return one GPU's bf16 kernels of head size 128 without a window, as means of repeated rows."""
    rows = pd.read_parquet(folder / f"{kind}_attention_perf.parquet")
    rows = rows[(rows.head_dim == 128) & (rows.attn_dtype == "bfloat16") & (rows.kv_cache_dtype == "bfloat16")]
    rows = rows[rows.kernel_source != "vllm_flash_attn_fa4"]
    if "window_size" in rows:
        rows = rows[rows.window_size == 0]
    rows = rows.assign(length=rows.isl + (rows.step if kind == "generation" else 0))
    keys = ["num_heads", "num_key_value_heads", "batch_size", "length"]
    return rows.groupby(keys, as_index=False).latency.mean()


def line(size: Any, ms: Any) -> tuple[float, float, list[float]]:
    """Fit ms = fixed + slope * size to every second row; return both and the relative errors of the others."""
    weight = 1 / ms[::2]
    design = np.column_stack([weight, size[::2] * weight])
    fixed, slope = np.linalg.lstsq(design, np.ones(len(weight)), rcond=None)[0]
    return float(fixed), float(slope), list(abs((fixed + slope * size[1::2]) / ms[1::2] - 1))


def decode(rows: pd.DataFrame, heads: int, kv_heads: int) -> tuple[list[list[int]], float]:
    """Return [decodes, fixed ps, fs per context token] and the mean relative error."""
    fold = 4 if (heads, kv_heads) == (32, 32) else 1
    rows = rows[(rows.num_heads == heads // fold) & (rows.num_key_value_heads == kv_heads // fold)]
    rows = rows[rows.length.between(64, 16384)]
    lines, errors = [], []
    for batch, group in rows.groupby("batch_size"):
        group = group.sort_values("length")
        if fold <= batch <= 1024 and len(group) >= 4:
            fixed, slope, error = line(batch * group.length.to_numpy(float), group.latency.to_numpy())
            lines.append([int(batch) // fold, round(fixed * 1e9), round(slope * fold * 1e12)])
            errors += error
    return lines, float(np.mean(errors))


def prefill(rows: pd.DataFrame, heads: int, kv_heads: int) -> tuple[list[int], float]:
    """Return [ps per chunk, fs per unit of chunk^2] and the mean relative error."""
    rows = rows[(rows.num_heads == heads) & (rows.num_key_value_heads == kv_heads) & (rows.batch_size == 1)]
    rows = rows[rows.length.between(16, 8192)].sort_values("length")
    fixed, slope, errors = line(rows.length.to_numpy(float) ** 2, rows.latency.to_numpy())
    return [round(fixed * 1e9), round(slope * 1e12)], float(np.mean(errors))


def main() -> None:
    """Read the measurements, write the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("table", type=Path)
    arguments = parser.parse_args()
    data = arguments.wheel / "aiconfigurator_core/systems/data"
    gpus: dict[str, dict[str, Any]] = {}
    for gpu, folder in SOURCES.items():
        generation, context = (read(data / folder, kind) for kind in ("generation", "context"))
        gpus[gpu] = {}
        for heads, kv_heads in HEADS:
            lines, decode_error = decode(generation, heads, kv_heads)
            coefficients, prefill_error = prefill(context, heads, kv_heads)
            gpus[gpu][f"{heads}/{kv_heads}"] = {
                "decode": lines,
                "prefill": coefficients,
                "decode_mape_percent": round(100 * decode_error, 1),
                "prefill_mape_percent": round(100 * prefill_error, 1),
            }
    table = {
        "what": "attention of one layer on one GPU, head size 128, bf16, by query/KV heads on that GPU",
        "unit": "decode: [decodes, ps, fs per context token of them all]; prefill: [ps per chunk, fs per unit of "
        "2 * chunk * cached + chunk^2]; errors on measured lengths that were not fitted",
        "source": "aiconfigurator-core 0.12.0 (PyPI, NVIDIA): " + ", ".join(SOURCES.values()),
        "licence": "Apache-2.0",
        "derived_by": "tools/derive_attention_latency.py",
    }
    text = json.dumps({**table, "gpus": {}}, indent=1)
    blocks = []
    for gpu, by_heads in gpus.items():
        rows = ",\n   ".join(f"{json.dumps(heads)}: {json.dumps(entry)}" for heads, entry in by_heads.items())
        blocks.append(f"{json.dumps(gpu)}: {{\n   {rows}\n  }}")
    body = ",\n  ".join(blocks)
    arguments.table.write_text(text.replace('"gpus": {}', f'"gpus": {{\n  {body}\n }}') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
