"""From a result record back to trials that can be run: what it holds, what the reader must bring, and what is missing.

A record holds designs from files as text; shipped ones are found by name and must be the same; files that the user
brought and the sealed season must be brought again, and are known by their hashes.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from glia_bench.errors import EvaluationFailure, GliaBenchError
from glia_bench.evaluation.consistency import Cell, cell, cell_name
from glia_bench.evaluation.designs import Design, what_became_of
from glia_bench.evaluation.runner import Limits, Refusal, Watcher, run_trials
from glia_bench.evaluation.sealed import SealedCase, sealed_season
from glia_bench.evaluation.trial import Trial
from glia_bench.scoring.record import ResultRecord, TrialRecord
from glia_bench.tasks.catalog import get_task
from glia_bench.tasks.perturbation import NONE
from glia_bench.tasks.recorded import TRACE_MARK
from glia_bench.workloads.lengths_file import read_lengths
from glia_bench.workloads.traces import file_sha256

Trials: TypeAlias = dict[Cell, Trial]


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What a reader has beside the record.

    Attributes:
        lengths: Lengths file.
        trace: File of recorded requests.
        folder: Folder of the result, with its decision logs.
    """

    lengths: Path | None = None
    trace: Path | None = None
    folder: Path | None = None


def trials_of(record: ResultRecord, files: Files) -> tuple[Trials, list[str]]:
    """Return the trials of a record that adds up (`consistency.faults`) by cell, and why the others cannot be run.

    Raises:
        GliaBenchError: If a file cannot be read.
    """
    designs = {
        (fields["track"], fields["name"]): Design.from_json({**fields, "path": f"{fields['name']}.py"})
        for fields in record["designs"]
    }
    sealed, reason = _sealed_cases(record)
    problems = [reason] if reason else []
    problems += _other_files(record, files)
    trials: Trials = {}
    for trial in record["trials"]:
        task = get_task(trial["task"].partition(TRACE_MARK)[0])
        design = designs[task.track, trial["policy"]]
        case = sealed.get((trial["task"], trial["seed"])) if trial["split"] != "dev" else None
        is_traced = TRACE_MARK in trial["task"] and case is None
        if was := what_became_of(design):
            problems.append(f"shipped policy {trial['policy']!r} {was}: its trials cannot be run again by this version")
        elif task.needs_lengths and not is_traced and files.lengths is None:
            problems.append(f"{task.id} needs {task.lengths_hint}: pass --lengths FILE")
        elif is_traced and trial["split"] == "dev" and files.trace is None:
            problems.append(f"{trial['task']} needs the file that it was made from: pass --trace FILE")
        elif trial["split"] == "dev" or case is not None:
            trace = case.trace if case else files.trace if is_traced else None
            trials[cell(trial)] = Trial(
                design=design,
                task=trial["task"],
                load=trial["load"],
                seed=case.seed if case else trial["seed"],
                lengths=str(files.lengths) if task.needs_lengths and trace is None else None,
                trace=str(trace) if trace else None,
                split=trial["split"],
                label=case.label if case else "",
                perturbation=case.perturbation if case else NONE,
                tier=trial["tier"] or "auto",
            )
    return trials, list(dict.fromkeys(problems))


def _other_files(record: ResultRecord, files: Files) -> list[str]:
    """Return which files of the reader's are not those of the run, by their hashes."""
    lengths_sha256 = record["environment"].get("lengths_sha256")
    trace_sha256 = (record["environment"].get("trace") or {}).get("sha256")
    found = []
    if files.lengths is not None and read_lengths(files.lengths).sha256 != lengths_sha256:
        found.append(f"{files.lengths} is not the lengths file of this run: its hash differs")
    if files.trace is not None and known_sha256(files.trace) != trace_sha256:
        found.append(f"{files.trace} is not the file of recorded requests of this run: its hash differs")
    return found


def known_sha256(path: Path) -> str:
    """Return the hash of a file's bytes.

    Raises:
        GliaBenchError: If it cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise GliaBenchError(f"{path} cannot be read ({error.strerror})") from None


def _sealed_cases(record: ResultRecord) -> tuple[Mapping[tuple[str, str], SealedCase], str]:
    """Return the sealed cases by task and label, and why there are none although the record needs them."""
    labels = {(trial["task"], trial["seed"]) for trial in record["trials"] if trial["split"] != "dev"}
    if not labels:
        return {}, ""
    try:
        season = sealed_season()
    except GliaBenchError as error:
        return {}, f"sealed trials can be run again once their season is revealed ({error})"
    recorded = record["season"]["commitment"]
    if season.commitment != recorded:
        return {}, (
            f"season {season.name!r} is not the one of this record: the file's commitment is {season.commitment}, the "
            f"record's {recorded}"
        )
    tasks = {task for task, _ in labels}
    try:
        cases = {(task, case.label): case for task in tasks for case in season.cases(task)}
    except GliaBenchError as error:
        return {}, str(error)
    absent = sorted(cases.keys() ^ labels)
    if absent and not record["environment"].get("interrupted"):
        return cases, f"sealed case {absent[0][1]} of {absent[0][0]} is not both in the record and in its season"
    return cases, ""


def replays_of(record: ResultRecord, trials: Trials, files: Files) -> tuple[Trials, list[str]]:
    """Return the trials that have a decision log, to be answered from it, and what is wrong with logs."""
    found: Trials = {}
    problems = []
    for trial in record["trials"]:
        name, sha256 = trial.get("decisions"), trial.get("decisions_sha256")
        if not isinstance(name, str) or files.folder is None or cell(trial) not in trials:
            continue
        path = (files.folder / name).resolve()
        if not path.is_relative_to(files.folder.resolve()) or not path.is_file():
            problems.append(f"the decision log of {cell_name(trial)} must lie in the result's folder ({name})")
        elif file_sha256(path) != sha256:
            problems.append(f"the decision log of {cell_name(trial)} is not the one that was written: its hash differs")
        else:
            found[cell(trial)] = replace(trials[cell(trial)], replays=str(path))
    return found, problems


def run_again(trials: Trials, limits: Limits, watcher: Watcher | None = None) -> dict[Cell, TrialRecord]:
    """Run trials and return their records by cell; a design that is refused now has the status "refused".

    Raises:
        EvaluationFailure: If one fails for our own reasons.
    """
    found: dict[Cell, TrialRecord] = {}
    with tempfile.TemporaryDirectory() as logs:
        for outcome in run_trials(list(trials.values()), limits, log_folder=Path(logs), watcher=watcher):
            if isinstance(outcome, Refusal):
                refused = [where for where, trial in trials.items() if trial.design.name == outcome.policy]
                found |= {where: {"status": "refused", "message": outcome.message} for where in refused}
            elif outcome["status"] == "infra_error":
                raise EvaluationFailure(f"{cell_name(outcome)} could not be run here: {outcome['message']}")
            else:
                found[cell(outcome)] = outcome
    return found
