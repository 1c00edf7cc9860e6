"""Write tests/golden/runs.json: what every shipped policy does on a few cases of its track.

    python tools/make_golden_runs.py

A change in that file means that a task's costs changed: make a new task version and say so in the CHANGELOG.
"""

import json
from pathlib import Path
from typing import Any

from glia_bench.case import Case
from glia_bench.evaluation.foresight import foreseen
from glia_bench.loading import load_policy, shipped_policies
from glia_bench.sim.engine import simulate
from glia_bench.tasks.catalog import get_task
from glia_bench.tasks.task import Task

CASES = (
    ("routing/paper-v0", 1.0, 0),
    ("routing/paper-v0", 1.0, 1),
    ("routing/paper-sweep-v0", 0.9, 0),
    ("routing/sessions-v0", 0.5, 0),
    ("routing/hetero-v0", 0.7, 0),
    ("routing/stale-routers-v0", 0.7, 0),
    ("routing/failures-v0", 0.7, 0),
    ("scheduling/chat-v0", 1.1, 0),
    ("autoscaling/burst-v0", 0.7, 0),
    ("cluster/sessions-v0", 0.5, 0),
)
PATH = Path(__file__).parents[1] / "tests" / "golden" / "runs.json"


def outcome(task: Task, case: Case, name: str) -> dict[str, Any]:
    """Return what a shipped policy does on a case of a task, as golden runs keep it."""
    policy, known = load_policy(name, task.track), case
    if policy.kind == "bound":
        policy, known = foreseen(policy, case, task)
    result = simulate(known, policy)
    return {
        "status": result.status,
        "workload_sha256": case.trace.sha256,
        "num_decisions": result.num_decisions,
        "decision_hash": f"{result.decision_hash:016x}",
        "records_sha256": result.records.sha256,
        "end_ps": result.end_ps,
    }


def golden_runs() -> list[dict[str, Any]]:
    """Return one row per case and policy of its track."""
    rows = []
    for task_id, load, seed in CASES:
        task = get_task(task_id)
        case = task.case(load, seed)
        for name in sorted(policy.name for policy in shipped_policies(task.track)):
            key = {"task": task_id, "load": load, "seed": seed, "policy": name}
            rows.append(key | outcome(task, case, name))
    return rows


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden_runs(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {PATH.relative_to(PATH.parents[2])}")
