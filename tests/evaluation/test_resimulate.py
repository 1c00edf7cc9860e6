"""The robustness table of a result folder: designs of both kinds, what is left out, and what is refused."""

import copy
import json
from pathlib import Path

import pytest

from glia_bench.errors import GliaBenchError
from glia_bench.evaluation.plan import make_plan
from glia_bench.evaluation.resimulate import ROBUSTNESS_FILE, write_robustness
from glia_bench.evaluation.results import run_plan
from glia_bench.evaluation.runner import Limits
from glia_bench.scoring.record import ResultRecord
from glia_bench.scoring.robustness import VARIANTS
from glia_bench.tasks.catalog import get_task

TASK = "routing/paper-v0"
EXPERT = get_task(TASK).expert
FIRST = "def route(request, replicas, cluster, memory):\n    return 0\n"


def run(folder: Path, *policies: str) -> ResultRecord:
    """Run policies beside the references, some 75 requests a trial."""
    plan = make_plan(task_ids=[TASK], policies=policies, loads=[0.01], num_seeds=2, folder=folder, adds_references=True)
    record = run_plan(plan, Limits(), folder=folder).record
    assert record is not None
    return record


@pytest.mark.slow
def test_shipped_designs_and_files_are_simulated_on_every_variant(tmp_path: Path) -> None:
    """One row per variant, with all four designs; the table lies beside the result and names it."""
    (tmp_path / "mine.py").write_text(FIRST)
    folder = tmp_path / "result"
    record = run(folder, str(tmp_path / "mine.py"))
    (tmp_path / "mine.py").unlink()  # the text in the record is what counts
    rows = write_robustness(record, folder, Limits())
    assert [row["variant"] for row in rows] == list(VARIANTS)
    for row in rows:
        assert (row["task"], row["num_designs"], row["num_seeds"]) == (TASK, 4, 2)
        assert set(row["order"]) == {"mine", EXPERT, "round_robin", "llq"}
    assert json.loads((folder / ROBUSTNESS_FILE).read_bytes()) == {"results_id": record["results_id"], "rows": rows}


def test_a_design_that_has_changed_is_refused(tmp_path: Path) -> None:
    """A table must be of what was run: another text of a design, or another shipped one, is an error that names it."""
    (tmp_path / "mine.py").write_text(FIRST)
    record = run(tmp_path / "result", str(tmp_path / "mine.py"))
    for name, field, value in (("mine", "source", FIRST + "# edited\n"), ("llq", "sha256", "0" * 64)):
        altered = copy.deepcopy(record)
        (design,) = (design for design in altered["designs"] if design["name"] == name)
        design[field] = value
        with pytest.raises(GliaBenchError, match=f"{name} must be the design that was run"):
            write_robustness(altered, tmp_path / "result", Limits())


def test_a_result_without_its_expert_has_no_table(tmp_path: Path) -> None:
    """Nothing to rank by is an error with the way out, not an empty table."""
    record = run(tmp_path)
    record["trials"] = [trial for trial in record["trials"] if trial["policy"] != EXPERT]
    with pytest.raises(GliaBenchError, match="its expert must have been run"):
        write_robustness(record, tmp_path, Limits())
