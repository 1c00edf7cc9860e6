"""Write tests/golden/runs.json: what every shipped router does on two seeds of the paper task and one of the sweep.

    python tools/make_golden_runs.py

A change in that file means that a task's costs changed: make a new task version and say so in the CHANGELOG.
"""

import json
from pathlib import Path
from typing import Any

from glia_bench.loading import load_policy, shipped_policies
from glia_bench.sim.engine import simulate
from glia_bench.tasks.catalog import get_task
from glia_bench.types import Case

CASES = (("routing/paper-v0", 1.0, 0), ("routing/paper-v0", 1.0, 1), ("routing/paper-sweep-v0", 0.9, 0))
PATH = Path(__file__).parents[1] / "tests" / "golden" / "runs.json"


def outcome(case: Case, router: str) -> dict[str, Any]:
    """Return what a shipped router does on a case, as golden runs keep it."""
    result = simulate(case, load_policy(router))
    return {
        "status": result.status,
        "workload_sha256": case.trace.sha256,
        "num_decisions": result.num_decisions,
        "decision_hash": f"{result.decision_hash:016x}",
        "records_sha256": result.records.sha256,
        "end_ps": result.end_ps,
    }


def golden_runs() -> list[dict[str, Any]]:
    """Return one row per case and router."""
    rows = []
    for task_id, load, seed in CASES:
        case = get_task(task_id).case(load, seed)
        for name in sorted(policy.name for policy in shipped_policies("routing")):
            key = {"task": task_id, "load": load, "seed": seed, "policy": name}
            rows.append(key | outcome(case, name))
    return rows


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden_runs(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {PATH.relative_to(PATH.parents[2])}")
