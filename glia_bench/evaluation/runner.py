"""Trials to records: in this process or in children, with deadlines.

Shipped policies run in this process when one trial runs at a time; everything else runs in `Worker` processes. A design
from a file has processes of its own, one after the other or side by side, never shared with another design. What a
design does to its process is its trial's status; what breaks on our side is tried once more and then says so.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import TypeAlias

from glia_bench.errors import EvaluationFailure, InvalidPolicyError
from glia_bench.evaluation.trial import Design, Trial, needs_full_engine, run_trial, trial_record, warm_up
from glia_bench.evaluation.worker import MEMORY_LIMIT_BYTES, Message, Worker
from glia_bench.scoring.record import TrialRecord
from glia_bench.types import Status

DEFAULT_TIMEOUT_S = 60.0
MAX_ATTEMPTS = 2
"""Runs of a trial that our own machinery fails."""

_POLL_S = 1.0
_SHIPPED = "@shipped"
"""Who owns the processes that shipped designs share: no file's name can be this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How trials are run.

    Attributes:
        jobs: Trials at a time.
        timeout_s: Longest that a trial may take in a process of its own, loading and compiling the design included.
        memory_bytes: Most memory that a design from a file may use.
    """

    jobs: int = 1
    timeout_s: float = DEFAULT_TIMEOUT_S
    memory_bytes: int = MEMORY_LIMIT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A design that breaks the hook contract: it has no trials, only a reason."""

    policy: str
    message: str


Outcome: TypeAlias = TrialRecord | Refusal
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
    watch = watcher or (lambda trial, outcome: None)
    is_local = [limits.jobs == 1 and trial.design.is_shipped for trial in trials]
    local = [trial for trial, here in zip(trials, is_local, strict=True) if here]
    remote = [trial for trial, here in zip(trials, is_local, strict=True) if not here]
    for outcomes in (_run_here(local, watch), _Crew(remote, limits, log_folder, watch).run()):
        for outcome in outcomes:
            watch(None, outcome)
            yield outcome


def _run_here(trials: Sequence[Trial], watch: Watcher) -> Iterator[Outcome]:
    refused: set[str] = set()
    for trial in trials:
        if trial.design.name in refused:
            continue
        watch(trial, None)
        try:
            record = run_trial(trial)
            if record["status"] == "infra_error":
                record = run_trial(trial)
            yield record
        except InvalidPolicyError as error:
            refused.add(trial.design.name)
            yield Refusal(policy=trial.design.name, message=str(error))


class _Crew:
    """A few workers and the trials that wait for them."""

    def __init__(self, trials: Sequence[Trial], limits: Limits, log_folder: Path, watch: Watcher) -> None:
        # Design by design (the sort is stable), so that a design's processes are reused before another's take over.
        order = {name: place for place, name in enumerate(dict.fromkeys(_owner(trial.design) for trial in trials))}
        self.pending = deque(sorted(trials, key=lambda trial: order[_owner(trial.design)]))
        self.limits = limits
        self.log_folder = log_folder
        self.watch = watch
        self.workers: list[Worker] = []
        self.attempts: Counter[Trial] = Counter()
        self.refused: set[str] = set()

    def run(self) -> Iterator[Outcome]:
        if self.pending:
            # compiles here once what every worker would compile at the same time
            warm_up("compiled", "python", full=any(needs_full_engine(trial) for trial in self.pending))
        try:
            while self.pending or any(worker.trial for worker in self.workers):
                self._employ()
                nearest = min((worker.deadline for worker in self.workers), default=0.0)
                busy = [worker.connection for worker in self.workers if worker.trial]
                wait(busy, timeout=max(0.0, min(nearest - time.monotonic(), _POLL_S)))
                for worker in [worker for worker in self.workers if worker.trial]:
                    yield from self._look_after(worker)
        finally:
            for worker in self.workers:
                worker.stop()

    def _employ(self) -> None:
        """Give waiting trials to idle workers of the same owner, or to new ones while there are places."""
        while self.pending:
            trial = self.pending[0]
            owner = _owner(trial.design)
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

    def _look_after(self, worker: Worker) -> Iterator[Outcome]:
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

    def _settle(self, trial: Trial, message: Message) -> Iterator[Outcome]:
        name = trial.design.name
        if message["kind"] == "invalid":
            if name not in self.refused:
                yield Refusal(policy=name, message=message["message"])
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
            yield record

    def _time_out(self, trial: Trial) -> Iterator[Outcome]:
        """Give the trial its status, and the design's waiting trials too: an endless loop costs one deadline."""
        limit = f"no result within {self.limits.timeout_s:g} s (--timeout)"
        yield trial_record(trial, status="timeout", message=limit)
        skipped = [other for other in self.pending if other.design == trial.design]
        self.pending = deque(other for other in self.pending if other.design != trial.design)
        for other in skipped:
            yield trial_record(other, status="timeout", message="not run: an earlier trial of this policy timed out")

    def _dismiss(self, worker: Worker) -> None:
        worker.stop()
        self.workers.remove(worker)


def _owner(design: Design) -> str:
    return _SHIPPED if design.is_shipped else design.name
