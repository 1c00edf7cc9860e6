"""Rows over tasks: one per policy and track, and one over all tracks for a design that covers several.

Guards stand outside the mean. A policy that lacks one of the other tasks has no row: a mean over the tasks that it
likes would say nothing. Costs of different tasks have different units, so these rows have none; what else they lack is
null.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from glia_bench.scoring import score
from glia_bench.scoring.diagnostics import describe
from glia_bench.scoring.intervals import strata_interval
from glia_bench.scoring.metrics import METRICS
from glia_bench.scoring.score import Gains

Row: TypeAlias = dict[str, Any]

ALL_TASKS = "all"
ALL_TRACKS = "all"

_Found: TypeAlias = tuple[Mapping[str, Row], Mapping[str, Gains]]


def suite_rows(tasks: Mapping[str, _Found]) -> list[Row]:
    """Return the rows over tasks, by track, best `expert_ratio` first; none where every task is a guard.

    Args:
        tasks: Task id to policy to its row over all loads, and policy to its log-gains.
    """
    tracks = list(dict.fromkeys(name.split("/")[0] for name in tasks))
    rows = []
    for track in tracks:
        rows += _track_rows(track, {name: found for name, found in tasks.items() if name.split("/")[0] == track})
    return rows + (_track_rows(ALL_TRACKS, tasks) if len(tracks) > 1 else [])


def _track_rows(track: str, tasks: Mapping[str, _Found]) -> list[Row]:
    scored = [name for name, (rows, _) in tasks.items() if not any(row["is_guard"] for row in rows.values())]
    policies = sorted({policy for rows, _ in tasks.values() for policy in rows})
    found = {
        policy: {name: tasks[name][1][policy] for name in scored}
        for policy in policies
        if scored and all(tasks[name][1].get(policy) for name in scored)
    }
    rows = {
        policy: _row(track, policy, gains, [rows[policy] for rows, _ in tasks.values() if policy in rows])
        for policy, gains in found.items()
    }
    bands = score.rank_bands({policy: found[policy] for policy, row in rows.items() if score.is_ranked(row)})
    for policy, band in bands.items():
        rows[policy]["rank_low"], rows[policy]["rank_high"] = band
    return sorted(rows.values(), key=lambda row: (-row["expert_ratio"], row["policy"]))


def _row(track: str, policy: str, gains: Mapping[str, Gains], rows: Sequence[Row]) -> Row:
    """Return one policy's row.

    Args:
        track: A track, or `ALL_TRACKS`.
        policy: Its name.
        gains: Log-gains on every task that is no guard.
        rows: Its rows over all loads on these tasks and on guards.
    """
    of_task = {row["task"]: row for row in rows}
    worst = min(gains, key=lambda name: (of_task[name]["expert_ratio"], name))
    scores = [of_task[name]["score"] for name in gains]
    status = next((row["status"] for row in rows if row["status"] != "ok"), "ok")
    ratios = score.ratio_fields(strata_interval([list(of_seed.values()) for of_seed in gains.values()]))
    kind = rows[0]["kind"]
    return {
        **dict.fromkeys(rows[0]),
        "task": ALL_TASKS,
        "track": track,
        "policy": policy,
        "kind": kind,
        "load": "all",
        "num_seeds": min(len(of_seed) for of_seed in gains.values()),
        "status": status,
        "num_failed": sum(row["num_failed"] for row in rows),
        "message": next((row["message"] for row in rows if row["message"]), ""),
        "num_tasks": len(gains),
        "num_guards": len(rows) - len(gains),
        **ratios,
        "score": None if None in scores else math.fsum(scores) / len(scores),
        "worst_task": worst,
        "worst_ratio": of_task[worst]["expert_ratio"],
        "guards_failed": [row["task"] for row in rows if row["guard_failed"]],
        "starves": [
            f"{row['task']}: {group}" for row in rows for group in row["starves"] if not score.is_paper(row["task"])
        ],
        "diagnostics": describe([np.array(list(of_seed.values())) for of_seed in gains.values()]),
        "beyond": ratios["expert_ratio"] - 1.0 if kind == "bound" else None,
        "metrics": dict.fromkeys(METRICS),
    }
