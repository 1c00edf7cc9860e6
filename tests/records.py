"""Small results to check, and forgeries of them, for the tests of verifying and comparing."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glia_bench.evaluation.plan import Split, make_plan
from glia_bench.evaluation.results import run_plan
from glia_bench.evaluation.runner import Limits
from glia_bench.evaluation.summaries import gaps_of, summary_of
from glia_bench.scoring.record import RESULT_FILE, ResultRecord, build_record, canonical, record_id, results_id

TASK = "routing/paper-v0"
LOAD = 0.01
"""Some 75 requests."""

MINE = '''"""Least in flight, by a curve."""

import math


def route(request, replicas, cluster, memory):
    best, least = 0, 1e300
    for k in range(cluster.num_replicas):
        cost = math.exp(0.01 * replicas.inflight[k])
        if cost < least:
            best, least = k, cost
    return best
'''


def make_result(
    folder: Path, *policies: str, num_seeds: int = 2, split: Split = "dev", keeps_decisions: bool = False
) -> ResultRecord:
    """Run policies on a small load into a folder and return the record."""
    plan = make_plan(
        task_ids=[TASK],
        policies=policies,
        loads=[LOAD],
        num_seeds=num_seeds,
        folder=folder,
        split=split,
        keeps_decisions=keeps_decisions,
    )
    report = run_plan(plan, Limits(), folder=folder)
    assert report.record is not None
    return report.record


def with_new_ids(record: ResultRecord) -> ResultRecord:
    """Return a record whose ids match its content, as any forger can make them; unsigned."""
    bare = {key: value for key, value in record.items() if key != "signature"}
    bare["results_id"] = results_id(bare["trials"])
    return {**bare, "id": record_id(bare)}


def forged(record: ResultRecord, change: Callable[[ResultRecord], Any]) -> ResultRecord:
    """Return a changed copy with ids made anew, and nothing else."""
    copied = copy.deepcopy(record)
    change(copied)
    return with_new_ids(copied)


def well_forged(record: ResultRecord, change: Callable[[ResultRecord], Any]) -> ResultRecord:
    """Return a changed copy that adds up: order, summary, gaps and ids made anew, as a careful forger does."""
    copied = copy.deepcopy(record)
    change(copied)
    return build_record(
        suite=copied["suite"],
        trials=copied["trials"],
        summary=summary_of(copied["trials"]),
        environment=copied["environment"],
        designs=copied["designs"],
        season=copied.get("season"),
        gaps=gaps_of(copied["trials"]),
    )


def as_read(record: ResultRecord, folder: Path) -> Path:
    """Write a record as it is into a new folder and return the folder."""
    folder.mkdir(parents=True)
    (folder / RESULT_FILE).write_bytes(canonical(record))
    return folder
