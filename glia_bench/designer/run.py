"""A design run: one designer on one task with one budget, in one folder, that can be gone on with.

Every designer, ours or foreign, gets a `Context` of a `DesignRun` and nothing else of the benchmark.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from glia_bench.designer.budget import Budget, Meter
from glia_bench.designer.bundle import TaskBundle
from glia_bench.designer.context import Candidate, Context
from glia_bench.designer.evaluation import Evaluation, References, geometric_means, judged
from glia_bench.designer.journal import JOURNAL, RUN, Journal, Lane
from glia_bench.errors import EvaluationFailure, GliaBenchError, InvalidPolicyError
from glia_bench.evaluation.build import describe_build
from glia_bench.evaluation.designs import Design, make_designs
from glia_bench.evaluation.runner import Limits, Refusal, settle_trials
from glia_bench.evaluation.stopping import Stop
from glia_bench.evaluation.trial import Trial
from glia_bench.scoring.record import TrialRecord
from glia_bench.scoring.starvation import PLAIN_REFERENCE
from glia_bench.static_check import static_check
from glia_bench.tunables import sha256_of

DEV_SEEDS = (0, 1, 2, 3, 4)
TRIAL_TIMEOUT_S = 30.0

Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What makes two runs of a designer the same but for the answers that they get.

    Attributes:
        task: Task id.
        designer: Name of the designer.
        budget: What it may spend.
        seeds: Development seeds that a simulation runs on.
        contexts: Contexts that share the budget.
        seed: Of the designer's own draws.
        options: The designer's own settings, as JSON values.
    """

    task: str
    designer: str
    budget: Budget
    seeds: tuple[int, ...] = DEV_SEEDS
    contexts: int = 1
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON values."""
        return {
            "task": self.task,
            "designer": self.designer,
            "budget": dict(self.budget.limits),
            "seeds": list(self.seeds),
            "contexts": self.contexts,
            "seed": self.seed,
            "options": dict(self.options),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Settings":
        """Return what `to_json` wrote."""
        return cls(**{**fields, "budget": Budget(fields["budget"]), "seeds": tuple(fields["seeds"])})


class DesignRun:
    """One designer on one task with one budget, in one folder.

    Attributes:
        bundle: The task as the designer gets it.
        settings: As given, or as the folder's journal has them.
        folder: Journal and tables.
        journal: What has happened.
        meter: What was spent.
        best: Best candidate that may be chosen so far.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        limits: Limits | None = None,
        say: Say = lambda text: None,
        stop: Stop | None = None,
    ) -> None:
        self.bundle = TaskBundle.of(settings.task)
        self.settings = settings
        self.folder = folder
        self.say = say
        self.stop = stop or Stop()
        self.limits = limits or Limits(timeout_s=TRIAL_TIMEOUT_S)
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(folder / JOURNAL)
        self.meter = Meter(settings.budget)
        self.best: Candidate | None = None
        self.num_proposals = 0
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._earlier_s = max((entry.get("at_s", 0.0) for entry in self.journal.entries), default=0.0)
        self._open()
        for failure in self.journal.all("failure"):
            self.meter.charge(failure["cost"])
        self.references = self._references()

    def _open(self) -> None:
        """Write down what this run is, or check that the folder's is the same."""
        task = self.bundle.task
        build, settings = describe_build(), self.settings.to_json()
        if not self.journal.entries:
            known = {"versions": versions_of(task.id), "build": build, "loads": list(task.default_loads)}
            self.journal.append("start", RUN, -1, settings=settings, **known)
            return
        start = self.journal.entries[0]
        known = start.get("settings", {})
        if differing := [name for name in settings if known.get(name) != settings[name]]:
            what = ", ".join(f"{name} {known.get(name)} rather than {settings[name]}" for name in differing)
            raise GliaBenchError(
                f"{self.folder} holds another run ({what}); go on with its settings, or give another --out"
            )
        if start["build"] != build:
            raise GliaBenchError(
                f"{self.folder} was begun by another version of the simulator, whose answers differ: start in a new "
                f"folder"
            )

    @property
    def wall_s(self) -> float:
        """Seconds since the start, pauses between sessions left out."""
        return self._earlier_s + time.monotonic() - self._began

    def context(self, number: int = 0) -> Context:
        """Return one of the contexts that share the budget."""
        return Context(self, number)

    def end(self, status: str, message: str) -> None:
        """Write down how the run ended."""
        self.journal.append("end", RUN, -1, status=status, message=message, at_s=self.wall_s, spent=self.spent())

    def spent(self) -> dict[str, float]:
        """Return what was spent by axis; the wall clock included."""
        return {**self.meter.spent, "wall_s": self.wall_s}

    def _references(self) -> References:
        """Return what the references cost on the development cases; not charged: every designer is told as much."""
        task = self.bundle.task
        names = (task.naive, task.expert, PLAIN_REFERENCE[task.track])
        designs = make_designs(names, task.track, task.id)
        by_name = {name: make_designs([name], task.track, task.id)[0].name for name in names}
        lane = Lane(self.journal, RUN)

        def give() -> tuple[dict[str, Any], dict[str, float]]:
            trials = [trial for design in designs for trial in self._trials(design, task.default_loads)]
            records = [record for _, record in self._settle(trials)]
            return {"records": [_brief(record) for record in records]}, {}

        what = {"names": list(names), "sha256": [design.sha256 for design in designs]}
        entry, _ = lane.answer("references", what, give)
        found: dict[str, list[TrialRecord]] = {}
        for record in entry["records"]:
            found.setdefault(record["policy"], []).append(record)
        naive, expert, plain = (found.get(by_name[name], []) for name in names)
        if len(naive) < len(self.settings.seeds) * len(task.default_loads):
            raise EvaluationFailure(f"the references of {task.id} could not be run; try again")
        return References(naive=geometric_means(naive), expert=geometric_means(expert), plain=plain)

    def evaluate(self, source: str, loads: Sequence[float]) -> Evaluation:
        """Simulate a source, whatever was simulated before, and return what came of it; the caller charges it."""
        task = self.bundle.task
        sha256 = sha256_of(source)
        design = Design(
            name=f"d{sha256[:10]}", track=task.track, kind="user", sha256=sha256, path="policy.py", source=source
        )
        try:
            static_check(source, task.track)
        except InvalidPolicyError as error:
            return Evaluation(sha256=sha256, loads=tuple(loads), status="rejected", error=str(error))
        records = []
        with contextlib.closing(self._settle(self._trials(design, loads))) as settled:
            for _, outcome in settled:
                if "status" not in outcome:
                    return Evaluation(sha256=sha256, loads=tuple(loads), status="rejected", error=outcome["message"])
                records.append(outcome)
                if outcome["status"] != "ok":
                    break
        return judged(task, sha256, loads, records, self.references)

    def _trials(self, design: Design, loads: Sequence[float]) -> list[Trial]:
        plain = Trial(design=design, task=self.bundle.task.id, load=1.0, seed=0, folder=str(self.folder))
        is_own = not design.is_shipped
        return [
            replace(
                plain,
                load=float(load),
                seed=seed,
                keeps_requests=is_own and seed == self.settings.seeds[0],
                keeps_samples=is_own and seed == self.settings.seeds[0],
            )
            for seed in self.settings.seeds
            for load in loads
        ]

    def _settle(self, trials: Sequence[Trial]) -> Any:
        """Yield trials with their records; what is refused as a mapping with a message alone."""
        with contextlib.closing(
            settle_trials(trials, self.limits, log_folder=self.folder / "logs", stop=self.stop)
        ) as settled:
            for trial, outcome in settled:
                if isinstance(outcome, Refusal):
                    yield trial, {"message": outcome.message}
                elif outcome["status"] == "infra_error":
                    raise EvaluationFailure(f"{outcome['policy']} on {outcome['task']}: {outcome['message']}")
                else:
                    yield trial, outcome
        if self.stop.is_requested:
            raise KeyboardInterrupt

    def noted(self, source: str, evaluation: Evaluation, *, is_choice: bool) -> Candidate:
        """Count a proposal and keep it if it is the best so far."""
        with self._lock:
            self.num_proposals += 1
            candidate = Candidate(source=source, evaluation=evaluation, number=self.num_proposals)
            if is_choice:
                is_better = self.best is None or evaluation.value > self.best.evaluation.value
                if evaluation.is_valid and is_better:
                    self.best = candidate
            return candidate


def versions_of(task_id: str) -> dict[str, str]:
    """Return what the words of a prompt depend on; while it is the same, a recording is compared word for word."""
    return {"task": task_id, "dspy": version("dspy") if find_spec("dspy") else "none"}


def _brief(record: TrialRecord) -> dict[str, Any]:
    """Return of a reference's record what scores and flags need."""
    return {name: record[name] for name in ("policy", "load", "seed", "status", "cost", "groups")}
