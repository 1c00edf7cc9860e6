"""What a record says beside its trials, made from them alone: summary, gaps, designs. `verify` makes it again."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from glia_bench.evaluation.trial import Trial
from glia_bench.scoring.gaps import gap_rows
from glia_bench.scoring.record import DESIGN_FIELDS, DesignRecord, TrialRecord
from glia_bench.scoring.summary import summarise
from glia_bench.tasks.catalog import find_task
from glia_bench.tasks.task import Task


def summary_of(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Return the summary of a record's trials: of the sealed ones, where there are any, else of all."""
    tasks = _tasks(trials)
    if sealed := [trial for trial in trials if trial["split"] == "sealed"]:  # no published value is of hidden seeds
        return summarise(sealed, [replace(task, published=None) for task in tasks])
    return summarise(trials, tasks)


def gaps_of(trials: Sequence[TrialRecord]) -> list[dict[str, Any]] | None:
    """Return the gaps between development and sealed seeds; None unless both were run."""
    experts = {task.id: task.expert for task in _tasks(trials)}
    return gap_rows(trials, experts) if len({trial["split"] for trial in trials}) > 1 else None


def designs_of(trials: Iterable[Trial]) -> list[DesignRecord]:
    """Return each design as its record has it; a file's path says where it lay on one machine, and stays there."""
    designs = {(trial.design.track, trial.design.name): trial.design for trial in trials}
    return [
        {name: getattr(design, name) for name in sorted(DESIGN_FIELDS)}
        | {"constants": list(map(list, design.constants))}
        for design in designs.values()
    ]


def _tasks(trials: Sequence[TrialRecord]) -> list[Task]:
    """Return the tasks of trials, of those made from files all but the workload."""
    return [task for name in sorted({trial["task"] for trial in trials}) if (task := find_task(name))]
