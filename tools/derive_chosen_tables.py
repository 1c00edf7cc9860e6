"""Derive the tables of glia_bench/workloads/tables for scenarios of which only published moments are known.

Input: scenarios.json, the description of the suite, for the lengths of shared prompts; the rest stands below.

    python tools/derive_chosen_tables.py scenarios.json glia_bench/workloads/tables

`lognormal_lengths` holds lognormal laws by mean and standard deviation, as powers of two in units of 2^-16;
`zipf_thresholds` the cumulative shares of ranks 1 ... N, proportional to rank^-s, in 2^-32; `toolagent_prefixes` the
lengths of 64 shared prompts, the most used first.
"""

import argparse
import json
import math
from pathlib import Path

from derive_rate_tables import thresholds

LENGTHS = {
    "agent_first": (10_000, 10_000, 500, 60_000),
    "agent_later": (1_500, 1_200, 20, 20_000),
    "agent_output": (425, 825, 10, 8_000),
    "agent_wait_ms": (15_000, 55_000, 500, 600_000),
    "toolagent_suffix": (3_250, 5_000, 16, 60_000),
    "toolagent_output": (184, 260, 1, 4_000),
    "rag_document": (10_000, 9_000, 1_024, 100_000),
    "rag_question": (250, 300, 1, 10_000),
}
"""Law to mean, standard deviation, least and most, in tokens or as named."""

AGENT_TURNS = (33, 0.6, 3, 150)
"""Median, sigma of the logarithm, least and most turns of an agent's session."""

ZIPF = {"zipf_1.0_8": (1.0, 8), "zipf_1.1_64": (1.1, 64), "zipf_0.9_400": (0.9, 400)}
UNIT = 1 << 16
ORIGIN = {
    "licence": "none needed: chosen to match published moments",
    "derived_by": "tools/derive_chosen_tables.py",
}


def law(median: float, sigma: float, least: int, most: int) -> dict[str, int]:
    """Return a lognormal law in integers."""
    return {
        "log2_median": round(math.log2(median) * UNIT),
        "log2_sigma": round(sigma / math.log(2) * UNIT),
        "least": least,
        "most": most,
    }


def moments(mean: float, deviation: float) -> tuple[float, float]:
    """Return median and sigma of a lognormal by its mean and standard deviation."""
    sigma = math.sqrt(math.log(1 + (deviation / mean) ** 2))
    return mean * math.exp(-sigma * sigma / 2), sigma


def main() -> None:
    """Compute and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    suite = json.loads(arguments.scenarios.read_text(encoding="utf-8"))["scenarios"]
    laws = {name: law(*moments(mean, sd), least, most) for name, (mean, sd, least, most) in LENGTHS.items()}
    tables: dict[str, dict[str, object]] = {
        "lognormal_lengths": {
            "what": "lognormal laws, cut at their least and most",
            "unit": "powers of two in 2^-16; least and most in tokens, turns or ms",
            "source": "agent_*: llm-d-benchmark's agentic profile (Apache-2.0), vLLM's account of Codex on SWE-bench; "
            "toolagent_*: published means of Mooncake's tool and agent trace; rag_*: assumed",
            **ORIGIN,
            "laws": {**laws, "agent_turns": law(*AGENT_TURNS)},
        },
        "zipf_thresholds": {
            "what": "cumulative shares of ranks, by exponent and number",
            "unit": "2^-32",
            "source": "law: Zipf",
            **ORIGIN,
            "laws": {
                name: thresholds([rank**-exponent for rank in range(1, num + 1)])
                for name, (exponent, num) in ZIPF.items()
            },
        },
        "toolagent_prefixes": {
            "what": "lengths of prompts that groups of requests share, the most used group first",
            "unit": "tokens",
            "source": "chosen: with Zipf shares of exponent 1.1 they meet the mean prompt and the cache ratio that are "
            "published of Mooncake's tool and agent trace",
            **ORIGIN,
            "values": suite["toolagent_shared_prompts"]["prefix"]["group_prefix_tokens"],
        },
    }
    for name, table in tables.items():
        (arguments.folder / f"{name}.json").write_text(json.dumps(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
