"""The robustness table of a result: its best designs simulated again on variants of each task's cluster.

Designs are those of the result, bit for bit: shipped ones by name, others by the text in its record. Tasks that this
version does not know, or that need a file from the user, are left out, and so are sealed cases.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glia_bench.errors import GliaBenchError
from glia_bench.evaluation.designs import Design, what_became_of
from glia_bench.evaluation.runner import Limits, Refusal, Watcher, run_trials
from glia_bench.evaluation.trial import Trial
from glia_bench.policy import Track
from glia_bench.scoring.record import ResultRecord, TrialRecord, canonical, write_atomically
from glia_bench.scoring.robustness import VARIANTS, compare_rankings
from glia_bench.scoring.summary import ALL_LOADS
from glia_bench.tasks.catalog import TASKS
from glia_bench.tasks.task import Task

ROBUSTNESS_FILE = "robustness.json"
NUM_DESIGNS, NUM_SEEDS = 6, 10
"""How many of the best designs are simulated again, the expert beside them, and on how many seeds."""


def write_robustness(
    record: ResultRecord, folder: Path, limits: Limits, watcher: Watcher | None = None
) -> list[dict[str, Any]]:
    """Simulate a result's best designs on every variant, write the table into its folder and return it.

    Returns:
        One row per task and variant: task, variant, num_seeds, and what `compare_rankings` finds.

    Raises:
        GliaBenchError: If a design has changed since, or nothing in the result can be simulated again.
    """
    rows = []
    for task in TASKS.values():
        ours = [trial for trial in record["trials"] if trial["task"] == task.id and isinstance(trial["seed"], int)]
        if not ours or task.needs_lengths or task.expert not in {trial["policy"] for trial in ours}:
            continue
        seeds = sorted({trial["seed"] for trial in ours})[:NUM_SEEDS]
        base = [trial for trial in ours if trial["seed"] in seeds]
        names = _best(record, task)
        designs = [_design(record, next(t for t in base if t["policy"] == name), task.track) for name in names]
        for variant in VARIANTS:
            varied = _simulated(designs, base, variant, limits, folder, watcher)
            ranking = compare_rankings(names, task.expert, base, varied)
            rows.append({"task": task.id, "variant": variant, "num_seeds": len(seeds), **ranking})
    if not rows:
        raise GliaBenchError(
            f"no task of {folder} can be simulated again: it must be of this version's catalog, need no file, and its "
            "expert must have been run"
        )
    write_atomically(folder / ROBUSTNESS_FILE, canonical({"results_id": record["results_id"], "rows": rows}) + b"\n")
    return rows


def _best(record: ResultRecord, task: Task) -> list[str]:
    """Return the best ranked policies of a task over all its loads, and its expert."""
    rows = [row for row in record["summary"] if row["task"] == task.id and row["load"] == ALL_LOADS and row["rank_low"]]
    rows.sort(key=lambda row: -row["expert_ratio"])
    return list(dict.fromkeys([*(row["policy"] for row in rows[:NUM_DESIGNS]), task.expert]))


def _design(record: ResultRecord, trial: TrialRecord, track: Track) -> Design:
    """Return the design of a trial, checked to be the one that was run."""
    fields = next(
        fields for fields in record["designs"] if (fields["track"], fields["name"]) == (track, trial["policy"])
    )
    design = Design.from_json({**fields, "path": f"{fields['name']}.py"})
    if was := what_became_of(design):
        raise GliaBenchError(f"{design.name} must be the design that was run, but it {was}; run it again")
    return design


def _simulated(
    designs: Sequence[Design],
    base: Sequence[TrialRecord],
    variant: str,
    limits: Limits,
    folder: Path,
    watcher: Watcher | None,
) -> list[TrialRecord]:
    trials = [
        Trial(design=design, task=base[0]["task"], load=load, seed=seed, variant=variant)
        for seed, load in sorted({(trial["seed"], trial["load"]) for trial in base})
        for design in designs
    ]
    outcomes = list(run_trials(trials, limits, log_folder=folder / "logs", watcher=watcher))
    done = [outcome for outcome in outcomes if not isinstance(outcome, Refusal)]
    return [outcome for outcome in done if outcome["status"] != "infra_error"]
