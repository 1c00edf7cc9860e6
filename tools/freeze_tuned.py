"""Freeze tuned constants with their tasks: from what runs with --tune found into glia_bench/tasks/tables/tuned.json.

    glia-bench run --task routing/stale-v0 --tune 20 --seeds 5 --out results/tuning
    python tools/freeze_tuned.py results/tuning ...

Entries of tasks and policies that the runs did not tune stay as they are. Policies from files are left out.
"""

import argparse
import json
from pathlib import Path

from glia_bench.evaluation.designs import make_designs, varied
from glia_bench.evaluation.tuning import TUNED_FILE
from glia_bench.loading import shipped_policies
from glia_bench.tasks.catalog import get_task

TABLE = Path(__file__).parents[1] / "glia_bench" / "tasks" / "tables" / "tuned.json"


def main() -> None:
    """Merge the tables of the given folders into the shipped one."""
    parser = argparse.ArgumentParser(description="freeze tuned constants with their tasks")
    parser.add_argument("folder", nargs="+", type=Path, help="folder of a run with --tune")
    table = json.loads(TABLE.read_text())
    shipped = {policy.name for policy in shipped_policies() if policy.kind == "human"}
    for folder in parser.parse_args().folder:
        for task_id, policies in json.loads((folder / TUNED_FILE).read_text()).items():
            for name, entry in policies.items():
                if name not in shipped:
                    continue
                (design,) = make_designs([name], get_task(task_id).track)
                if varied(design, entry["constants"]).sha256 != entry["sha256"]:
                    raise SystemExit(f"{name} has changed since it was tuned for {task_id}: tune it again")
                table.setdefault(task_id, {})[name] = entry
    TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    print(f"wrote {TABLE}: {sum(map(len, table.values()))} entries")


if __name__ == "__main__":
    main()
