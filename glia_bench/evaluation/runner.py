"""Trials to records: in this process or in children, with deadlines.

Shipped policies run in this process when one trial runs at a time; everything else runs in `Worker` processes. A design
from a file has processes of its own, one after the other or side by side, never shared with another design. What a
design does to its process is its trial's status; what breaks on our side is tried once more and then says so.
`dask_executor` runs the same on many machines.
"""

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from multiprocessing.connection import wait
from pathlib import Path
from typing import TypeAlias

from glia_bench.errors import EvaluationFailure, InvalidPolicyError
from glia_bench.evaluation.designs import Design
from glia_bench.evaluation.stopping import Stop
from glia_bench.evaluation.trial import Trial, needs_full_engine, run_trial, trial_record, warm_up
from glia_bench.evaluation.worker import MEMORY_LIMIT_BYTES, Message, Worker
from glia_bench.scoring.record import TrialRecord
from glia_bench.types import Status

DEFAULT_TIMEOUT_S = 60.0
MAX_ATTEMPTS = 2
"""Runs of a trial that our own machinery fails."""

POLL_S = 0.5
"""Longest between two looks at clocks and at `Stop`."""
_LOADING = threading.Lock()
_SHIPPED = "@shipped"
"""Who owns the processes that shipped designs share: no file's name can be this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How trials are run.

    Attributes:
        jobs: Trials at a time.
        timeout_s: Longest that a trial may take in a process of its own, loading and compiling the design included.
        memory_bytes: Most memory that a design from a file may use.
        is_isolated: Whether shipped designs, too, run in processes of their own where one trial runs at a time.
    """

    jobs: int = 1
    timeout_s: float = DEFAULT_TIMEOUT_S
    memory_bytes: int = MEMORY_LIMIT_BYTES
    is_isolated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A design that breaks the hook contract: it has no trials, only a reason."""

    policy: str
    message: str


Outcome: TypeAlias = TrialRecord | Refusal
Settled: TypeAlias = tuple[Trial, Outcome]
Watcher: TypeAlias = Callable[[Trial | None, Outcome | None], None]
"""Told when a trial starts (trial, None) and when something is settled (None, outcome)."""


def run_trials(
    trials: Sequence[Trial], limits: Limits, *, log_folder: Path, watcher: Watcher | None = None
) -> Generator[Outcome, None, None]:
    """Run trials and yield their records as they end, in no particular order; refused designs once each.

    Closing the iterator kills what is still running.

    Raises:
        EvaluationFailure: If a process for trials cannot be started.
    """
    with contextlib.closing(settle_trials(trials, limits, log_folder=log_folder, watcher=watcher)) as settled:
        for _, outcome in settled:
            yield outcome


def settle_trials(
    trials: Sequence[Trial],
    limits: Limits,
    *,
    log_folder: Path,
    watcher: Watcher | None = None,
    stop: Stop | None = None,
) -> Generator[Settled, None, None]:
    """Run trials as `run_trials` does, and yield each with its outcome; a refused design with one of its trials.

    Args:
        trials: What to run.
        limits: How.
        log_folder: Where to keep what designs print.
        watcher: Told what starts and what ends.
        stop: Looked at between trials; once it is requested none is started.
    """
    watch, stop = watcher or (lambda trial, outcome: None), stop or Stop()
    is_local = [limits.jobs == 1 and trial.design.is_shipped and not limits.is_isolated for trial in trials]
    local = [trial for trial, here in zip(trials, is_local, strict=True) if here]
    remote = [trial for trial, here in zip(trials, is_local, strict=True) if not here]
    with contextlib.closing(_Crew(remote, limits, log_folder, watch, stop).run()) as from_crew:
        for settled in chain(_run_here(local, watch, stop), from_crew):
            watch(None, settled[1])
            yield settled


def _run_here(trials: Sequence[Trial], watch: Watcher, stop: Stop) -> Iterator[Settled]:
    refused: set[str] = set()
    for trial in trials:
        if trial.design.name in refused:
            continue
        if stop.is_requested:
            return
        watch(trial, None)
        try:
            record = run_trial(trial)
            if record["status"] == "infra_error":
                record = run_trial(trial)
            yield trial, record
        except InvalidPolicyError as error:
            refused.add(trial.design.name)
            yield trial, Refusal(policy=trial.design.name, message=str(error))


class _Crew:
    """A few workers and the trials that wait for them."""

    def __init__(self, trials: Sequence[Trial], limits: Limits, log_folder: Path, watch: Watcher, stop: Stop) -> None:
        self.pending = deque(by_owner(trials))
        self.limits = limits
        self.log_folder = log_folder
        self.watch = watch
        self.stop = stop
        self.workers: list[Worker] = []
        self.attempts: Counter[Trial] = Counter()
        self.refused: set[str] = set()

    def run(self) -> Generator[Settled, None, None]:
        if self.pending:
            with _LOADING:  # compiles here once what every worker would compile at the same time
                warm_up("compiled", "python", full=any(needs_full_engine(trial) for trial in self.pending))
        try:
            while (self.pending and not self.stop.is_requested) or any(worker.trial for worker in self.workers):
                if self.stop.is_over:
                    return
                if not self.stop.is_requested:
                    self._employ()
                nearest = min((worker.deadline for worker in self.workers), default=0.0)
                busy = [worker.connection for worker in self.workers if worker.trial]
                wait(busy, timeout=max(0.0, min(nearest - time.monotonic(), POLL_S)))
                for worker in [worker for worker in self.workers if worker.trial]:
                    yield from self._look_after(worker)
        finally:
            for worker in self.workers:
                worker.stop()

    def _employ(self) -> None:
        """Give waiting trials to idle workers of the same owner, or to new ones while there are places."""
        while self.pending:
            trial = self.pending[0]
            owner = owner_of(trial.design)
            idle = [worker for worker in self.workers if worker.trial is None]
            if own := [worker for worker in idle if worker.owner == owner]:
                own[0].assign(trial)
            else:
                if len(self.workers) >= self.limits.jobs:
                    if not idle:
                        return
                    self._dismiss(idle[0])
                log = self.log_folder / f"{owner}.log"
                memory, timeout_s = self.limits.memory_bytes, self.limits.timeout_s
                self.workers.append(Worker(owner, trial, log=log, memory_limit_bytes=memory, timeout_s=timeout_s))
            self.pending.popleft()
            self.attempts[trial] += 1
            self.watch(trial, None)

    def _look_after(self, worker: Worker) -> Iterator[Settled]:
        """Take a worker's answer if there is one, or end it if it had long enough."""
        trial = worker.trial
        assert trial is not None
        if message := worker.receive():
            if message["kind"] == "died" or message.get("record", {}).get("status") == "policy_oom":
                self._dismiss(worker)
            yield from self._settle(trial, message)
        elif time.monotonic() > worker.deadline:
            self._dismiss(worker)
            if not worker.is_ready:
                raise EvaluationFailure(f"an evaluator process took too long to start; see {worker.log}")
            yield from self._time_out(trial)

    def _settle(self, trial: Trial, message: Message) -> Iterator[Settled]:
        name = trial.design.name
        if message["kind"] == "invalid":
            if name not in self.refused:
                yield trial, Refusal(policy=name, message=message["message"])
            self.refused.add(name)
            self.pending = deque(other for other in self.pending if other.design.name != name)
            return
        if message["kind"] == "record":
            record: TrialRecord = message["record"]
        else:
            status: Status = "infra_error" if trial.design.is_shipped else "policy_crash"
            record = trial_record(trial, status=status, message=message["message"])
        if record["status"] == "infra_error" and self.attempts[trial] < MAX_ATTEMPTS:
            self.pending.appendleft(trial)
        else:
            yield trial, record

    def _time_out(self, trial: Trial) -> Iterator[Settled]:
        """Give the trial its status, and the design's waiting trials too: an endless loop costs one deadline."""
        limit = f"no result within {self.limits.timeout_s:g} s (--timeout)"
        yield trial, trial_record(trial, status="timeout", message=limit)
        yield from skip_others(self.pending, trial.design)

    def _dismiss(self, worker: Worker) -> None:
        worker.stop()
        self.workers.remove(worker)


def skip_others(pending: deque[Trial], design: Design) -> Iterator[Settled]:
    """Take a design's trials out of those that wait, and give each the status of the one that timed out."""
    skipped = [trial for trial in pending if trial.design == design]
    kept = [trial for trial in pending if trial.design != design]
    pending.clear()
    pending.extend(kept)
    for trial in skipped:
        message = "not run: an earlier trial of this policy timed out"
        yield trial, trial_record(trial, status="timeout", message=message)


def by_owner(trials: Sequence[Trial]) -> list[Trial]:
    """Return trials design by design, so that a design's processes are reused before another's take over."""
    order = {name: place for place, name in enumerate(dict.fromkeys(owner_of(trial.design) for trial in trials))}
    return sorted(trials, key=lambda trial: order[owner_of(trial.design)])


def owner_of(design: Design) -> str:
    """Return whose processes a design runs in: its own, or those that all shipped designs share."""
    return _SHIPPED if design.is_shipped else design.name
