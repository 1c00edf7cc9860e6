"""A plan to a result folder: run it, keep what a report and a reader need, write the record last.

A folder holds `result.json`, `records/` (tables of requests and samples, Parquet), `timelines/` (what every replica
computed; only if asked for), `policies/` (the text of every design that came from a file), `logs/` (what designs
printed, and our own tracebacks; only if there are any) and `journal.jsonl`, by which a later run into the same folder
goes on where this one ended. A run that was interrupted or killed and then goes on gives the same result as one that
was not, timings aside.
"""

import base64
import contextlib
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glia_bench.errors import EvaluationFailure, GliaBenchError
from glia_bench.evaluation.build import describe_build
from glia_bench.evaluation.environment import describe_environment, utc_now
from glia_bench.evaluation.folder_lock import locked
from glia_bench.evaluation.journal import Entry, Journal
from glia_bench.evaluation.plan import Plan
from glia_bench.evaluation.resume import Reuse, entry_of, files_named, find_settled
from glia_bench.evaluation.runner import Limits, Refusal, Settled, Watcher, settle_trials
from glia_bench.evaluation.stopping import Stop
from glia_bench.evaluation.summaries import designs_of, gaps_of, summary_of
from glia_bench.evaluation.trial import Trial, needs_full_engine, warm_up
from glia_bench.scoring.record import RESULT_FILE, ResultRecord, TrialRecord, build_record, read_record, write_record
from glia_bench.scoring.signature import sign_record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Where trials run.

    Attributes:
        name: In processes of this machine, or by the workers of a Dask cluster.
        scheduler: Address of the cluster's scheduler; left out, a cluster is started on this machine.
    """

    name: Literal["local", "dask"] = "local"
    scheduler: str | None = None


LOCAL = Executor()


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


def run_plan(
    plan: Plan,
    limits: Limits,
    *,
    folder: Path,
    command: str = "",
    executor: Executor = LOCAL,
    watcher: Watcher | None = None,
    on_reuse: Callable[[Reuse], None] | None = None,
    stop: Stop | None = None,
    key: "Ed25519PrivateKey | None" = None,
) -> Report:
    """Run a plan and write `result.json`, tables, logs and the sources of designs from files into a folder.

    What an earlier run into the folder has settled is not run again. On Ctrl-C what has been done is written. An
    earlier result in the folder stands until this one is written whole.

    Args:
        plan: What to run.
        limits: How.
        folder: Where to.
        command: The command line that asked for it, for the record.
        executor: Where trials run.
        watcher: Told what starts and what ends.
        on_reuse: Told before anything runs what is taken from an earlier run.
        stop: Ends the run early once it is requested.
        key: Signs the record.

    Raises:
        GliaBenchError: If another run uses the folder, or its journal is none.
        EvaluationFailure: If the folder cannot be written.
    """
    if executor.name == "dask":
        from glia_bench.evaluation.dask_executor import require_dask

        require_dask()
    started_at, start, stop = utc_now(), time.monotonic(), stop or Stop()
    with locked(folder), Journal(folder) as journal:
        build = describe_build()
        reuse = find_settled(journal.entries, plan.trials, build=build, timeout_s=limits.timeout_s, folder=folder)
        if on_reuse is not None:
            on_reuse(reuse)
        journaled = _inside(folder, (name for entry in journal.entries for name in _files_of_trial(entry["record"])))
        earlier = _files_of_earlier(folder)
        with _writing(folder):
            _prepare(folder, plan, is_new=not reuse.entries)
        entries: list[Entry] = list(reuse.entries)
        refusals: list[Refusal] = []
        is_interrupted, failure = False, ""
        try:
            _warm_up(reuse.left, limits, executor)
            with stop.gently(), contextlib.closing(_settle(reuse.left, limits, executor, folder, watcher, stop)) as run:
                for trial, outcome in run:
                    if isinstance(outcome, Refusal):
                        refusals.append(outcome)
                    else:
                        entries.append(entry_of(trial, outcome, build=build, timeout_s=limits.timeout_s))
                        journal.append(entries[-1])
        except KeyboardInterrupt:
            is_interrupted = True
        except EvaluationFailure as error:
            failure = str(error)
        refused = {refusal.policy for refusal in refusals}
        num_runnable = sum(trial.design.name not in refused for trial in plan.trials)
        is_interrupted |= stop.is_requested and len(entries) < num_runnable
        if not entries:
            _forget(folder, plan, keep=earlier | journaled)
            return Report(record=None, refusals=tuple(refusals), is_interrupted=is_interrupted, failure=failure)
        records = [entry["record"] for entry in entries]
        environment = describe_environment() | {
            "source_sha256": build["source"],
            "command": command,
            "started_at": started_at,
            "ended_at": utc_now(),
            "wall_s": time.monotonic() - start,
            "executor": executor.name,
            "jobs": limits.jobs,
            "timeout_s": limits.timeout_s,
            "lengths_sha256": plan.lengths_sha256,
            "trace": plan.trace,
            "num_planned": len(plan.trials),
            "num_reused": len(reuse.entries),
            "interrupted": is_interrupted,
            "refused": [{"policy": refusal.policy, "message": refusal.message} for refusal in refusals],
        }
        with _writing(folder):
            if not (is_interrupted or failure):
                journal.replace(entries)
                journaled = set()
            record = _write(folder, plan, records, environment, key)
            for stale in earlier - journaled - _files_of(folder, record):
                (folder / stale).unlink(missing_ok=True)
        return Report(record=record, refusals=tuple(refusals), is_interrupted=is_interrupted, failure=failure)


def _warm_up(trials: Sequence[Trial], limits: Limits, executor: Executor) -> None:
    """Load the simulator before a first Ctrl-C would have to wait for it."""
    if trials and executor.name == "local":
        is_alone = limits.jobs == 1 and all(trial.design.is_shipped for trial in trials)
        tiers: tuple[Literal["compiled", "python"], ...] = ("compiled",) if is_alone else ("compiled", "python")
        warm_up(*tiers, full=any(needs_full_engine(trial) for trial in trials))


def _settle(
    trials: Sequence[Trial], limits: Limits, executor: Executor, folder: Path, watcher: Watcher | None, stop: Stop
) -> Generator[Settled, None, None]:
    logs = folder / "logs"
    if executor.name == "local":
        return settle_trials(trials, limits, log_folder=logs, watcher=watcher, stop=stop)
    from glia_bench.evaluation.dask_executor import settle_on_dask

    return settle_on_dask(trials, limits, scheduler=executor.scheduler, log_folder=logs, watcher=watcher, stop=stop)


def _write(
    folder: Path,
    plan: Plan,
    records: list[TrialRecord],
    environment: dict[str, Any],
    key: "Ed25519PrivateKey | None",
) -> ResultRecord:
    """Write logs and the result record."""
    if plan.season:  # what a design printed on hidden cases stays hidden
        shutil.rmtree(folder / "logs", ignore_errors=True)
    _log_failures(folder, records)
    # a result does not tell from its order which trials an earlier run had settled
    place = {(t.task, t.design.name, t.load, t.shown_seed): number for number, t in enumerate(plan.trials)}
    records.sort(key=lambda t: place[t["task"], t["policy"], t["load"], t["seed"]])
    record = build_record(
        suite=plan.suite,
        trials=records,
        summary=summary_of(records),
        environment=environment,
        designs=designs_of(plan.trials),
        season=plan.season,
        gaps=gaps_of(records),
    )
    if key is not None:
        record = sign_record(record, key)
    write_record(folder, record)
    return record


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what the system says against writing into one line."""
    try:
        yield
    except OSError as error:
        raise EvaluationFailure(
            f"results folder {folder} cannot be written ({error.strerror}); make room, then run the same again: what "
            f"was settled is not run again"
        ) from error


def _prepare(folder: Path, plan: Plan, *, is_new: bool) -> None:
    """Drop the logs of a run that does not go on, and keep a copy of every design that is not shipped."""
    if is_new and (folder / RESULT_FILE).exists():
        shutil.rmtree(folder / "logs", ignore_errors=True)
    for design in {trial.design.name: trial.design for trial in plan.trials}.values():
        if design.source is not None:
            text, weights = (folder / name for name in _copies_of(design.name))
            text.parent.mkdir(exist_ok=True)
            text.write_text(design.source, encoding="utf-8")
            if design.weights:
                weights.write_bytes(base64.b64decode(design.weights))


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
    names = {name for trial in record["trials"] for name in _files_of_trial(trial)}
    refused = (name for entry in record["environment"]["refused"] for name in _copies_of(entry["policy"]))
    return _inside(folder, names | set(refused))


def _files_of_trial(record: TrialRecord) -> list[str]:
    return [*files_named(record), *_copies_of(record["policy"])]


def _copies_of(policy: str) -> tuple[str, str]:
    """Return where a design's text is kept in a result's folder, and where its weights are, if it has any."""
    return f"policies/{policy}.py", f"policies/{policy}.npz"


def _inside(folder: Path, names: Iterable[str]) -> set[str]:
    """Return those names of files that lie in the folder."""
    inside = {name for name in names if (folder / name).resolve().is_relative_to(folder.resolve())}
    return {name for name in inside if (folder / name).is_file()}


def _forget(folder: Path, plan: Plan, *, keep: set[str]) -> None:
    """Remove what `_prepare` made for a run that ended before its first trial."""
    for design in {trial.design for trial in plan.trials if trial.design.source is not None}:
        for name in set(_copies_of(design.name)) - keep:
            (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (folder / "policies").rmdir()


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
