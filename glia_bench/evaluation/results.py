"""A plan to a result folder: run it, keep what a report and a reader need, write the record last.

A folder holds `result.json`, `records/` (tables of requests and samples, Parquet), `timelines/` (what every replica
computed; only if asked for), `policies/` (the text of every design that came from a file) and `logs/` (what designs
printed, and our own tracebacks; only if there are any).
"""

import contextlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glia_bench.errors import EvaluationFailure, GliaBenchError
from glia_bench.evaluation.environment import describe_environment, utc_now
from glia_bench.evaluation.plan import Plan
from glia_bench.evaluation.runner import Limits, Refusal, Watcher, run_trials
from glia_bench.evaluation.trial import needs_full_engine, warm_up
from glia_bench.scoring.gaps import gap_rows
from glia_bench.scoring.record import (
    DESIGN_FIELDS,
    RESULT_FILE,
    ResultRecord,
    TrialRecord,
    build_record,
    read_record,
    write_record,
)
from glia_bench.scoring.signature import sign_record
from glia_bench.scoring.summary import summarise
from glia_bench.tasks.catalog import find_task
from glia_bench.tasks.task import Task

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a plan.

    Attributes:
        record: The result record, as written; None if nothing was finished.
        refusals: Designs that could not be run at all.
        is_interrupted: Whether it was stopped before the end.
        failure: What broke on our side and ended the run; empty if nothing did.
    """

    record: ResultRecord | None
    refusals: tuple[Refusal, ...]
    is_interrupted: bool
    failure: str = ""

    @property
    def exit_code(self) -> int:
        """0 if all is well, 1 if a design failed or the run was interrupted, 3 if our own machinery failed."""
        trials = self.record["trials"] if self.record else []
        if self.failure or any(trial["status"] == "infra_error" for trial in trials):
            return 3
        is_failed = any(trial["status"] != "ok" for trial in trials)
        return 1 if is_failed or self.refusals or self.is_interrupted or not trials else 0


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


def _tasks(trials: Sequence[TrialRecord]) -> list[Task]:
    """Return the tasks of trials, of those made from files all but the workload."""
    return [task for name in sorted({trial["task"] for trial in trials}) if (task := find_task(name))]


def _designs(plan: Plan) -> list[dict[str, Any]]:
    """Return each design of a plan as its record has it; a file's path says where it lay on one machine, and stays."""
    designs = {(design.track, design.name): design for design in (trial.design for trial in plan.trials)}
    return [{name: getattr(design, name) for name in sorted(DESIGN_FIELDS)} for design in designs.values()]


def run_plan(
    plan: Plan,
    limits: Limits,
    *,
    folder: Path,
    command: str = "",
    watcher: Watcher | None = None,
    key: "Ed25519PrivateKey | None" = None,
) -> Report:
    """Run a plan and write `result.json`, tables, logs and the sources of designs from files into a folder.

    On Ctrl-C what has been done is written. An earlier result in the folder stands until this one is written whole.

    Args:
        plan: What to run.
        limits: How.
        folder: Where to.
        command: The command line that asked for it, for the record.
        watcher: Told what starts and what ends.
        key: Signs the record.
    """
    started_at, start = utc_now(), time.monotonic()
    earlier = _files_of_earlier(folder)
    _prepare(folder, plan)
    records: list[TrialRecord] = []
    refusals: list[Refusal] = []
    is_interrupted, failure = False, ""
    outcomes = run_trials(plan.trials, limits, log_folder=folder / "logs", watcher=watcher)
    try:
        warm_up("compiled", full=any(needs_full_engine(trial) for trial in plan.trials))
        for outcome in outcomes:
            if isinstance(outcome, Refusal):
                refusals.append(outcome)
            else:
                records.append(outcome)
    except KeyboardInterrupt:
        is_interrupted = True
        outcomes.close()
    except EvaluationFailure as error:
        failure = str(error)
    if plan.season:  # what a design printed on hidden cases stays hidden
        shutil.rmtree(folder / "logs", ignore_errors=True)
    _log_failures(folder, records)
    if not records:
        _forget(folder, plan, keep=earlier)
        return Report(record=None, refusals=tuple(refusals), is_interrupted=is_interrupted, failure=failure)
    environment = describe_environment() | {
        "command": command,
        "started_at": started_at,
        "ended_at": utc_now(),
        "wall_s": time.monotonic() - start,
        "jobs": limits.jobs,
        "timeout_s": limits.timeout_s,
        "lengths_sha256": plan.lengths_sha256,
        "trace": plan.trace,
        "num_planned": len(plan.trials),
        "interrupted": is_interrupted,
        "refused": [{"policy": refusal.policy, "message": refusal.message} for refusal in refusals],
    }
    record = build_record(
        suite=plan.suite,
        trials=records,
        summary=summary_of(records),
        environment=environment,
        designs=_designs(plan),
        season=plan.season,
        gaps=gaps_of(records),
    )
    if key is not None:
        record = sign_record(record, key)
    write_record(folder, record)
    for stale in earlier - _files_of(folder, record):
        (folder / stale).unlink(missing_ok=True)
    return Report(record=record, refusals=tuple(refusals), is_interrupted=is_interrupted, failure=failure)


def _prepare(folder: Path, plan: Plan) -> None:
    """Make the folder, drop an earlier run's logs, and keep a copy of every design that is not shipped."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / RESULT_FILE).exists():
        shutil.rmtree(folder / "logs", ignore_errors=True)
    for design in {trial.design.name: trial.design for trial in plan.trials}.values():
        if design.source is not None:
            copy = folder / "policies" / f"{design.name}.py"
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(design.source, encoding="utf-8")


def _files_of_earlier(folder: Path) -> set[str]:
    """Return what the result in a folder names; nothing without a readable one."""
    try:
        return _files_of(folder, read_record(folder))
    except (GliaBenchError, LookupError, TypeError):
        return set()


def _files_of(folder: Path, record: ResultRecord) -> set[str]:
    """Return the tables and sources in the folder that a record names.

    Only what an earlier record names may ever be removed: what else lies there is not ours.
    """
    trials, refused = record["trials"], record["environment"]["refused"]
    named = {trial[table] for trial in trials for table in ("records", "samples", "decisions") if trial.get(table)}
    named |= {name for trial in trials for name in trial.get("timelines") or ()}
    named |= {f"policies/{design['policy']}.py" for design in (*trials, *refused)}
    inside = {name for name in named if (folder / name).resolve().is_relative_to(folder.resolve())}
    return {name for name in inside if (folder / name).is_file()}


def _forget(folder: Path, plan: Plan, *, keep: set[str]) -> None:
    """Remove what `_prepare` made for a run that ended before its first trial."""
    for design in {trial.design for trial in plan.trials if trial.design.source is not None}:
        if (name := f"policies/{design.name}.py") not in keep:
            (folder / name).unlink(missing_ok=True)
    for empty in (folder / "policies", folder):
        with contextlib.suppress(OSError):
            empty.rmdir()


def _log_failures(folder: Path, records: Sequence[TrialRecord]) -> None:
    """Keep tracebacks of our own failures in the logs, one line of each in the record; drop empty logs."""
    logs = folder / "logs"
    for record in records:
        if record["status"] == "infra_error":
            logs.mkdir(exist_ok=True)
            with (logs / "@errors.log").open("a", encoding="utf-8") as log:
                where = f"{record['policy']} on {record['task']}, load {record['load']}, seed {record['seed']}"
                log.write(f"{where}\n{record['message']}\n\n")
            last_line = record["message"].strip().splitlines()[-1]
            record["message"] = f"{last_line} (our failure, see logs/@errors.log)"
    for log_file in logs.glob("*.log"):
        if log_file.stat().st_size == 0:
            log_file.unlink()
    if logs.is_dir() and not any(logs.iterdir()):
        logs.rmdir()
