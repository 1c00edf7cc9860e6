"""What designs that were found are worth on cases that no designer has met: sealed ones where there are any.

Every design that was the best so far at some point of some run is simulated after the runs, from its stored text, in
processes of its own, with the task's references on the same cases. What was simulated stands in a journal and is not
simulated again. Left out: unseen traces of a season, which are tasks of their own.

Texts are executed, as every file's that is run here: the processes bound accidents, they are no sandbox. Report runs
whose texts you would run.
"""

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from glia_bench.designer.curves import Choice, Trajectory
from glia_bench.errors import EvaluationFailure, GliaBenchError, InvalidPolicyError
from glia_bench.evaluation.build import describe_build
from glia_bench.evaluation.designs import Design, make_designs
from glia_bench.evaluation.folder_lock import locked
from glia_bench.evaluation.journal import Journal
from glia_bench.evaluation.resume import entry_of, find_settled
from glia_bench.evaluation.runner import Limits, Refusal, Watcher, settle_trials
from glia_bench.evaluation.sealed import Season, season_of_environment
from glia_bench.evaluation.stopping import Stop
from glia_bench.evaluation.trial import Trial
from glia_bench.scoring.gaps import difference_interval
from glia_bench.scoring.intervals import Interval, strata_interval
from glia_bench.scoring.record import TrialRecord
from glia_bench.scoring.score import MAX_GAIN, Gains, gains, is_guard, is_paper
from glia_bench.scoring.starvation import PLAIN_REFERENCE, starved_groups
from glia_bench.static_check import static_check
from glia_bench.tasks.catalog import get_task

HELD_OUT_SEEDS = range(1000, 1020)
"""Seeds that stand in for sealed ones where there is no season; public, so that they say less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScores:
    """What designs are worth on one task.

    Attributes:
        task: Task id.
        split: "sealed" or "held-out".
        season: Name of the season, or empty.
        cases: Seeds, or labels of sealed cases.
        expert: Name of the expert.
        naive: Log-gains of the naive reference over the expert.
        designs: Hash of a design to its log-gains over the expert, by case; of a failed case it is -ln 4.
        starved: Hash of a design to the groups that it starves on these cases.
        failures: Hash of a design to why it failed on some of them.
    """

    task: str
    split: str
    season: str
    cases: tuple[int | str, ...]
    expert: str
    naive: Gains
    designs: Mapping[str, Gains]
    starved: Mapping[str, tuple[str, ...]]
    failures: Mapping[str, str]

    @property
    def is_guard(self) -> bool:
        """Whether the references are too close for ratios to tell designs apart."""
        return is_guard(self.naive)

    def gains_of(self, choice: Choice | None) -> list[float]:
        """Return log-gains by case; a run that has nothing to choose counts as one whose design fails everywhere."""
        if choice is None:
            return [-MAX_GAIN] * len(self.cases)
        return list(self.designs[choice.sha256].values())

    def interval(self, choice: Choice | None) -> Interval:
        """Return a design's mean log-gain with its interval over cases."""
        return strata_interval([self.gains_of(choice)])

    def gaps(self, choice: Choice) -> dict[str, Interval]:
        """Return the mean log-gain of a design here less that on development seeds, by part of the cases.

        Below 0: it is worse than it seemed.
        """
        parts: dict[str, list[float]] = defaultdict(list)
        for case, gain in self.designs[choice.sha256].items():
            parts[str(case).rpartition("-")[0] if self.split == "sealed" else self.split].append(gain)
        dev = list(choice.dev.values())
        return {part: difference_interval(found, dev) for part, found in parts.items()} if dev else {}


def scored(
    trajectories: Sequence[Trajectory],
    folder: Path,
    *,
    seeds: Sequence[int] = HELD_OUT_SEEDS,
    limits: Limits | None = None,
    watcher: Watcher | None = None,
    stop: Stop | None = None,
) -> dict[str, TaskScores]:
    """Return, by task, what every design that was the best so far is worth on cases that no designer has met.

    Args:
        trajectories: The runs.
        folder: Where the journal of what was simulated lies; an earlier one there is gone on with.
        seeds: Held-out seeds, for tasks that no sealed season has.
        limits: How trials are run.
        watcher: Told what starts and what ends.
        stop: Ends it early; what was simulated is kept.

    Raises:
        GliaBenchError: If a run was developed on held-out seeds, or a run's task has no cases.
        EvaluationFailure: If our own machinery fails.
        KeyboardInterrupt: If it was stopped before all was simulated.
    """
    limits, stop = limits or Limits(), stop or Stop()
    season = season_of_environment()  # none is no error here, a broken one is
    plans = {
        task_id: _Plan(task_id, [run for run in trajectories if run.settings.task == task_id], season, seeds)
        for task_id in dict.fromkeys(run.settings.task for run in trajectories)
    }
    trials = [trial for plan in plans.values() for trial in plan.trials]
    records: dict[tuple[str, str], list[TrialRecord]] = defaultdict(list)
    refused: dict[str, str] = {}
    build = describe_build()
    with locked(folder), Journal(folder) as journal, stop.gently():
        reuse = find_settled(journal.entries, trials, build=build, timeout_s=limits.timeout_s, folder=folder)
        for entry in reuse.entries:
            records[entry["trial"]["task"], entry["trial"]["policy"]].append(entry["record"])
        settled = settle_trials(reuse.left, limits, log_folder=folder / "logs", watcher=watcher, stop=stop)
        with contextlib.closing(settled):
            for trial, outcome in settled:
                if isinstance(outcome, Refusal):
                    refused[outcome.policy] = outcome.message
                    continue
                if outcome["status"] == "infra_error":
                    raise EvaluationFailure(f"{outcome['policy']} on {outcome['task']}: {outcome['message']}")
                journal.append(entry_of(trial, outcome, build=build, timeout_s=limits.timeout_s))
                records[trial.task, trial.design.name].append(outcome)
    if stop.is_requested:
        raise KeyboardInterrupt
    return {task_id: plan.scores(records, refused) for task_id, plan in plans.items()}


class _Plan:
    """The cases and designs of one task."""

    def __init__(self, task_id: str, runs: Sequence[Trajectory], season: Season | None, seeds: Sequence[int]) -> None:
        self.task = get_task(task_id)
        sealed = season.cases(self.task.id) if season else ()
        self.season = season if sealed else None
        if not sealed:
            _check_seeds(runs, seeds)
        names = (self.task.expert, self.task.naive, PLAIN_REFERENCE[self.task.track])
        self.references = [make_designs([name], self.task.track, self.task.id)[0] for name in names]
        last = [run.best for run in runs if run.best]  # what matters most is simulated first
        chosen = {choice.sha256: choice for choice in (*last, *(choice for run in runs for choice in run.choices))}
        self.designs = {sha256: self._design(choice) for sha256, choice in chosen.items()}
        self.refused: dict[str, str] = {}  # by name, with the reason: rules may have changed since
        for design in self.designs.values():
            try:
                static_check(design.source or "", self.task.track)
            except InvalidPolicyError as error:
                self.refused[design.name] = str(error)
        allowed = [design for design in self.designs.values() if design.name not in self.refused]
        distinct = {design.name: design for design in (*self.references, *allowed)}
        plain = [
            Trial(design=design, task=self.task.id, load=float(load), seed=0)
            for design in distinct.values()
            for load in self.task.default_loads
        ]
        commitment = season.commitment if season else ""
        self.cases: tuple[int | str, ...] = tuple(case.label for case in sealed) or tuple(seeds)
        self.trials = [
            replace(
                trial,
                split="sealed",
                seed=case.seed,
                label=case.label,
                season=commitment,
                perturbation=case.perturbation,
            )
            for trial in plain
            for case in sealed
        ] or [replace(trial, seed=seed) for trial in plain for seed in seeds]

    def _design(self, choice: Choice) -> Design:
        return Design(
            name=f"d{choice.sha256[:10]}",
            track=self.task.track,
            kind="user",
            sha256=choice.sha256,
            path="policy.py",
            source=choice.source,
        )

    def scores(
        self, records: Mapping[tuple[str, str], Sequence[TrialRecord]], refused: Mapping[str, str]
    ) -> TaskScores:
        """Return what the records of all trials come to."""
        refused = {**refused, **self.refused}
        expert, naive, plain = (records[self.task.id, design.name] for design in self.references)
        loads = self.task.default_loads
        nothing = {case: -MAX_GAIN for case in gains(expert, expert, loads)}
        if not nothing:
            raise EvaluationFailure(
                f"the expert of {self.task.id} failed on every case: there is nothing to compare with"
            )
        found, starved, failures = {}, {}, {}
        for sha256, design in self.designs.items():
            ours = records.get((self.task.id, design.name), ())
            found[sha256] = nothing if design.name in refused else gains(ours, expert, loads)
            if not is_paper(self.task.id) and (groups := starved_groups(ours, plain)):
                starved[sha256] = tuple(groups)
            bad = [record for record in ours if record["status"] != "ok"]
            if design.name in refused or bad:
                why = (
                    refused.get(design.name) or f"{bad[0]['status']} in {len(bad)} of {len(ours)}: {bad[0]['message']}"
                )
                failures[sha256] = why
        return TaskScores(
            task=self.task.id,
            split="sealed" if self.season else "held-out",
            season=self.season.name if self.season else "",
            cases=tuple(nothing),
            expert=self.references[0].name,
            naive=gains(naive, expert, loads),
            designs=found,
            starved=starved,
            failures=failures,
        )


def _check_seeds(runs: Sequence[Trajectory], seeds: Sequence[int]) -> None:
    if not seeds:
        raise GliaBenchError("held-out seeds must be at least one (got none)")
    for run in runs:
        if met := sorted(set(seeds) & set(run.settings.seeds)):
            raise GliaBenchError(
                f"held-out seeds must be such as no designer has met, but {run.folder} was developed on seed {met[0]}; "
                f"give others"
            )
