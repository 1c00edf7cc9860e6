"""The metered evaluator for designers that are not ours: a file in, a score and feedback out, one journal behind it.

An exported task is a folder with `task.json`. Every call, from whichever process, goes on with the journal beside it,
one at a time; when the budget is spent there are no more scores. Nothing of scorer or seeds is in the folder.
"""

import json
from pathlib import Path
from typing import Any

from glia_bench.designer.budget import BudgetSpent
from glia_bench.designer.context import Candidate
from glia_bench.designer.evaluation import NO_SCORE, feedback
from glia_bench.designer.outcome import write_outcome
from glia_bench.designer.run import DesignRun, Settings
from glia_bench.errors import GliaBenchError
from glia_bench.evaluation.folder_lock import waiting_for
from glia_bench.loading import read_source

TASK_FILE = "task.json"
RUN_FOLDER = "run"


def evaluate_file(path: str | Path, folder: str | Path) -> dict[str, Any]:
    """Simulate a policy file within the budget of an exported task.

    Args:
        path: The file.
        folder: Of the export; its journal is made there with the first call.

    Returns:
        `combined_score` (higher is better: 0 naive, 1 human expert, logarithmic in cost; -99 without a score), `valid`,
        `metrics` (numbers), `artifacts` (`feedback`: text), `simulations_left`.

    Raises:
        GliaBenchError: If the folder is no export, or the file cannot be read at all.
    """
    settings = _settings(Path(folder))
    run_folder = Path(folder) / RUN_FOLDER
    run_folder.mkdir(exist_ok=True)
    with waiting_for(run_folder):
        run = DesignRun(settings, run_folder)
        context = run.context()
        for entry in list(run.journal.all("simulation", 0)):  # what was paid for is gone through again, at no cost
            context.simulate(entry["source"], purpose=entry["what"]["purpose"])
        try:
            candidate = context.simulate(read_source(Path(path)))
        except BudgetSpent as end:
            return _answer(None, f"{end}: no more designs are scored", context.simulations_left)
        except GliaBenchError as error:
            return _answer(None, f"REJECTED before any run: {error}", context.simulations_left)
        write_outcome(run, {}, model="")
        return _answer(candidate, feedback(candidate.evaluation), context.simulations_left)


def _settings(folder: Path) -> Settings:
    try:
        return Settings.from_json(json.loads((folder / TASK_FILE).read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        raise GliaBenchError(
            f"{folder} is no exported task (no usable {TASK_FILE}); make one with glia-bench export-task"
        ) from None


def _answer(candidate: Candidate | None, text: str, left: float) -> dict[str, Any]:
    evaluation = candidate.evaluation if candidate else None
    metrics = dict(evaluation.metrics) if evaluation else {}
    if evaluation and evaluation.cost is not None:
        metrics["cost"] = evaluation.cost
    return {
        "combined_score": evaluation.value if evaluation else NO_SCORE,
        "valid": bool(evaluation and evaluation.is_valid),
        "metrics": metrics,
        "artifacts": {"feedback": text},
        "simulations_left": left,
    }
