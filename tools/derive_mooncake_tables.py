"""Derive glia_bench/workloads/tables/mooncake_turn*.json: how conversations of Mooncake's trace take turns.

Input: a CSV (plain or gzipped) with the columns arrival_s, prompt_tokens, output_tokens, session and turn (from 1) of
the first 2,400 s of Mooncake's conversation trace, where a request belongs to the session whose content it continues.

    python tools/derive_mooncake_tables.py mooncake_conv.csv glia_bench/workloads/tables

Quantile functions of the first prompt without the 512 tokens that all requests share, of the tokens that a later turn
adds (at least 1), and of the gap between requests of a session in milliseconds (the stamps are 3 s apart); and for each
turn the share of sessions that go on after it, among those that begin in the first 1,500 s, so that the end of the
slice cuts few of them.
"""

import argparse
import itertools
import json
from collections import defaultdict
from pathlib import Path

from derive_length_tables import knot_positions, quantile
from derive_service_tables import BINS_LOG2, OCTAVES, SERVICES, read_rows

COMMON_TOKENS = 512
LAST_START_S = 1500.0
NUM_HAZARDS = 8
HAZARD_UNIT_LOG2 = 16
ORIGIN = {
    "source": SERVICES["mooncake_conv"][0],
    "licence": SERVICES["mooncake_conv"][1],
    "derived_by": "tools/derive_mooncake_tables.py",
}


def table(what: str, unit: str, values: list[int]) -> dict[str, object]:
    """Return a quantile table."""
    ordered = sorted(values)
    return {
        "what": f"{what}: quantiles of {len(ordered)} values",
        "unit": unit,
        **ORIGIN,
        "octaves": OCTAVES,
        "bins_log2": BINS_LOG2,
        "knots": [quantile(ordered, u) for u in knot_positions(OCTAVES, BINS_LOG2)],
    }


def main() -> None:
    """Read the trace, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    sessions = defaultdict(list)
    for row in read_rows(arguments.trace):
        entry = (int(row["turn"]), float(row["arrival_s"]), int(row["prompt_tokens"]), int(row["output_tokens"]))
        sessions[int(row["session"])].append(entry)
    first, later, gaps_ms, num_turns = [], [], [], []
    for turns in sessions.values():
        turns.sort()
        first.append(turns[0][2] - COMMON_TOKENS)
        for (_, start_s, prompt, output), (_, next_s, next_prompt, _) in itertools.pairwise(turns):
            later.append(max(next_prompt - prompt - output, 1))
            gaps_ms.append(round((next_s - start_s) * 1000))
        if turns[0][1] < LAST_START_S:
            num_turns.append(len(turns))
    shares = []
    for turn in range(1, NUM_HAZARDS + 1):
        at_risk = sum(count >= turn for count in num_turns)
        shares.append(round(sum(count > turn for count in num_turns) / at_risk * (1 << HAZARD_UNIT_LOG2)))
    tables = {
        "mooncake_turn_first": table("first prompt less the common 512 tokens", "tokens", first),
        "mooncake_turn_later": table("new tokens of a later turn", "tokens", later),
        "mooncake_turn_gap": table("gap between requests of a session", "ms", gaps_ms),
        "mooncake_turn_continues": {
            "what": f"share of {len(num_turns)} sessions that go on after turn 0, 1 ...; the last for all later ones",
            "unit": f"2^-{HAZARD_UNIT_LOG2}",
            **ORIGIN,
            "continues": shares,
        },
    }
    for name, content in tables.items():
        (arguments.folder / f"{name}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
