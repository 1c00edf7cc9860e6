"""Golden runs: what the shipped policies did when their task versions were made, to the last picosecond."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from make_golden_runs import outcome

from glia_bench.loading import shipped_policies
from glia_bench.policy import TRACKS
from glia_bench.tasks.catalog import get_task

ROWS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "runs.json").read_text())
CASES = [(key, list(rows)) for key, rows in groupby(ROWS, key=lambda row: (row["task"], row["load"], row["seed"]))]


@pytest.mark.parametrize(("key", "rows"), CASES, ids=[f"{task}-{load}-{seed}" for (task, load, seed), _ in CASES])
def test_runs_are_what_they_were(key: tuple[str, float, int], rows: list[dict[str, Any]]) -> None:
    """Workload, decisions and records equal the committed ones; otherwise the task needs a new version."""
    task_id, load, seed = key
    task = get_task(task_id)
    case = task.case(load, seed)
    for row in rows:
        found = outcome(task, case, row["policy"])
        assert found == {name: row[name] for name in found}, row["policy"]


def test_every_shipped_policy_has_golden_runs() -> None:
    """No policy ships without a golden run in each of its track's cases, and every track has one."""
    for (task, _, _), rows in CASES:
        shipped = {policy.name for policy in shipped_policies(get_task(task).track)}
        assert {row["policy"] for row in rows} == shipped
    assert {get_task(task).track for (task, _, _), _ in CASES} == set(TRACKS)
