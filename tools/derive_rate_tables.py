"""Derive the rate tables of glia_bench/workloads/tables: how the arrival rates of measured services move.

Input: arrival_fits.json, fits to the public traces: Markov-modulated rates of Azure's conversation and code traces
(states in requests per second, transition probabilities per second) and daily curves of BurstGPT and of two services
in ServeGen (two harmonics, and a first-order autoregression of the logarithm in steps of 600 s).

    python tools/derive_rate_tables.py arrival_fits.json glia_bench/workloads/tables

Probabilities become cumulative thresholds in 2^-32, so that a comparison with 32 random bits moves a chain.
"""

import argparse
import itertools
import json
import math
from pathlib import Path
from typing import Any

CHAINS = {"azure23_conv": "azure23_conv.mmpp3", "azure23_code": "azure23_code.mmpp4"}
DAYS = {
    "burstgpt_day": ("burstgpt.diurnal", "servegen_mlarge.diurnal"),
    "servegen_r1_day": ("servegen_r1.diurnal", "servegen_r1.diurnal"),
}
"""Table to the fits that its daily curve and its autoregression come from."""

SOURCES = {
    "azure23_conv": ("Azure LLM inference trace 2023 (conversation), Patel et al., ISCA 2024", "CC-BY 4.0"),
    "azure23_code": ("Azure LLM inference trace 2023 (code), Patel et al., ISCA 2024", "CC-BY 4.0"),
    "burstgpt_day": (
        "daily curve: hourly totals of BurstGPT (Wang et al., arXiv 2401.17644; CC-BY 4.0) as given by "
        "github.com/IsabellaLiu99/burstgpt_analysis; autoregression: ServeGen m-large, week 1 (Xiang et al., "
        "arXiv 2505.09999)",
        "CC-BY 4.0 and Apache-2.0",
    ),
    "servegen_r1_day": ("ServeGen deepseek-r1, 0-18 h (Xiang et al., arXiv 2505.09999)", "Apache-2.0"),
}
STEPS_PER_DAY = 144
FLOOR = 0.05
DERIVED_BY = "tools/derive_rate_tables.py"


def thresholds(shares: list[float]) -> list[int]:
    """Return the cumulative shares in 2^-32; the last is the whole."""
    sums = [round(part / sum(shares) * (1 << 32)) for part in itertools.accumulate(shares)]
    return [*sums[:-1], 1 << 32]


def chain_table(fit: dict[str, Any]) -> dict[str, object]:
    """Return a Markov chain of rates in integers."""
    return {
        "unit": "rates in 10^-4 requests per second, thresholds in 2^-32, one step per second",
        "rates": [round(rate * 10_000) for rate in fit["rates_rps"]],
        "start": thresholds(fit["stationary"]),
        "moves": [thresholds(row) for row in fit["P"]],
    }


def day_table(curve: dict[str, Any], noise: dict[str, Any]) -> dict[str, object]:
    """Return a daily curve of mean about 1 and the autoregression around it in integers."""
    a0, a1, b1, a2, b2 = curve["fourier_a0_a1_b1_a2_b2"]
    levels = []
    for step in range(STEPS_PER_DAY):
        phase = 2 * math.pi * step / STEPS_PER_DAY
        level = a0 + a1 * math.cos(phase) + b1 * math.sin(phase) + a2 * math.cos(2 * phase) + b2 * math.sin(2 * phase)
        levels.append(round(max(FLOOR, level) * (1 << 16)))
    # the logarithm to base 2 of the factor: x' = phi x + shock z
    shock = noise["ar1_sigma_stationary"] / math.log(2)
    return {
        "unit": "relative rates of steps of 600 s in 2^-16; phi, stationary deviation of the log2 and shock in 2^-16",
        "levels": levels,
        "phi": round(noise["ar1_phi"] * (1 << 16)),
        "deviation": round(shock * (1 << 16)),
        "shock": round(shock * math.sqrt(1 - noise["ar1_phi"] ** 2) * (1 << 16)),
    }


def main() -> None:
    """Read the fits, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fits", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    fits = json.loads(arguments.fits.read_text(encoding="utf-8"))
    tables: dict[str, tuple[str, dict[str, object]]] = {}
    for name, fit in CHAINS.items():
        tables[f"{name}_rates"] = (name, chain_table(fits[fit]))
    for name, (curve, noise) in DAYS.items():
        tables[name] = (name, day_table(fits[curve], fits[noise]))
    for name, (key, content) in tables.items():
        source, licence = SOURCES[key]
        table = {
            "what": "how a rate of arrivals moves",
            "source": source,
            "licence": licence,
            "derived_by": DERIVED_BY,
            **content,
        }
        (arguments.folder / f"{name}.json").write_text(json.dumps(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
