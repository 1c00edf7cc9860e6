"""Tuning designs by their own constants: a search over what each declares as TUNABLE, on the plan's development cases.

One simulation is one text with some constants on all cases of one task. The first is the design as it is; the others
are proposed by Optuna's tree-structured Parzen estimator, seeded, so that a search repeats. What counts is the
geometric mean of the cost; values with which a design starves a group of requests, or fails, are worse than any with
which it does not. Designs of a round run together; every simulation is written down, so that a search that was
interrupted goes on where it was. Left out: stopping early on a few seeds, which would make the budget unclear.
"""

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from glia_bench.errors import EvaluationFailure, GliaBenchError
from glia_bench.evaluation.build import describe_build
from glia_bench.evaluation.designs import Design, make_designs, shipped, varied
from glia_bench.evaluation.folder_lock import locked
from glia_bench.evaluation.journal import TUNING_FILE
from glia_bench.evaluation.plan import Plan
from glia_bench.evaluation.resume import identity
from glia_bench.evaluation.runner import Limits, Refusal, Watcher, settle_trials
from glia_bench.evaluation.stopping import Stop
from glia_bench.evaluation.trial import Trial
from glia_bench.scoring.record import TrialRecord, canonical, write_atomically
from glia_bench.scoring.score import is_paper
from glia_bench.scoring.starvation import PLAIN_REFERENCE, starved_groups
from glia_bench.static_check import static_check
from glia_bench.tunables import Number, Tunable

if TYPE_CHECKING:
    import optuna

TUNED_FILE = "tuned.json"
STARVES, FAILS = 100.0, 1000.0
"""Added to the logarithm of a cost, which is far smaller."""
DIGITS = 4
"""Significant digits of a constant that is not whole."""

Case: TypeAlias = tuple[float, int | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A design with the best constants that were found for a task.

    Attributes:
        task: Task id.
        design: The design; the one that was given where nothing better was found.
        constants: Those in which it differs from the one that was given.
        simulations: Simulations that were spent on it.
        gain: Cost of the design that was given over its own; below 1 where that starves requests and this does not, NaN
            where that fails.
    """

    task: str
    design: Design
    constants: Mapping[str, Number]
    simulations: int
    gain: float


@dataclass(slots=True, kw_only=True)
class _Search:
    """The search over one design's constants on one task."""

    task: str
    design: Design
    tunable: Sequence[Tunable]
    trials: Sequence[Trial]
    study: "optuna.Study"
    values: dict[str, float] = field(default_factory=dict)  # by hash of the text
    best: tuple[float, dict[str, Number]] | None = None
    told: int = 0
    asked: "tuple[optuna.trial.Trial, dict[str, Number], Design] | None" = None

    def ask(self) -> None:
        """Propose constants; the first time those of the file."""
        proposed = self.study.ask()
        constants = {t.name: value for t in self.tunable if (value := suggested(proposed, t)) != t.default}
        self.asked = proposed, constants, varied(self.design, constants)

    def tell(self, value: float) -> None:
        """Learn what they came to."""
        assert self.asked is not None
        proposed, constants, design = self.asked
        self.told += 1
        self.values[design.sha256] = value
        self.study.tell(proposed, value)
        if self.best is None or value < self.best[0]:
            self.best = value, constants

    def tuned(self) -> Tuned:
        """Return the best constants so far."""
        assert self.best is not None
        value, constants = self.best
        return Tuned(
            task=self.task,
            design=varied(self.design, constants),
            constants=constants,
            simulations=self.told,
            gain=math.exp(_log_cost(self.values[self.design.sha256]) - _log_cost(value)) if constants else 1.0,
        )


def tune(
    plan: Plan,
    simulations: int,
    limits: Limits,
    *,
    folder: Path,
    watcher: Watcher | None = None,
    say: Callable[[str], None] = lambda text: None,
    stop: Stop | None = None,
) -> list[Tuned]:
    """Tune every design of a plan that declares tunable constants, for each of its tasks by itself.

    Writes `tuning.jsonl`, every simulation, and `tuned.json`, what came of them, into the folder.

    Args:
        plan: Whose designs, on whose development cases.
        simulations: Budget of each design on each task.
        limits: How trials run.
        folder: Where to; what an earlier search wrote there is not run again.
        watcher: Told what starts and what ends.
        say: Told which round it is.
        stop: Ends the search early, with the best so far.

    Raises:
        GliaBenchError: If Optuna is missing, or nothing can be tuned.
        EvaluationFailure: If our own machinery fails.
    """
    stop = stop or Stop()
    searches = _searches(plan, num_random=min(10, max(4, simulations // 3)))
    if not searches:
        raise GliaBenchError("--tune needs designs that declare TUNABLE constants, on development seeds (got none)")
    with locked(folder), stop.gently():
        history = _History(folder / TUNING_FILE)
        plain = _plain_records(searches, limits, folder, watcher, stop)
        for number in range(simulations):
            say(f"tuning {len(searches)} designs, simulation {number + 1} of {simulations}")
            for search in searches:
                search.ask()
            if stop.is_requested or not _round(searches, plain, history, limits, folder, watcher, stop):
                break
        searches = [search for search in searches if search.best is not None]
        _write(searches, folder)
    return [search.tuned() for search in searches]


def _searches(plan: Plan, *, num_random: int) -> list[_Search]:
    """Return a search for each design and task; the first `num_random` proposals are drawn, later ones learned."""
    try:
        import optuna
    except ImportError:
        raise GliaBenchError(
            "--tune needs Optuna, which is not installed: pip install 'glia-bench[designer]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    by_pair: dict[tuple[str, Design], list[Trial]] = defaultdict(list)
    for trial in plan.trials:
        if trial.split == "dev" and trial.design.kind != "bound":
            bare = replace(trial, folder=None, keeps_requests=False, keeps_samples=False, keeps_timeline=False)
            by_pair[trial.task, trial.design].append(replace(bare, keeps_decisions=False))
    searches = []
    for (task, design), trials in by_pair.items():
        if tunable := _tunable(design):
            seed = int(hashlib.sha256(f"{task} {design.idea}".encode()).hexdigest()[:8], 16)
            study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=num_random))
            study.enqueue_trial({t.name: t.default for t in tunable})
            searches.append(_Search(task=task, design=design, tunable=tunable, trials=trials, study=study))
    return searches


def _tunable(design: Design) -> tuple[Tunable, ...]:
    if design.constants:  # tuned already
        return ()
    if design.source is None:
        return shipped(design.name, design.track).tunable
    return static_check(design.source, design.track, path=design.path).tunable


def suggested(proposed: "optuna.trial.Trial", tunable: Tunable) -> Number:
    """Return a proposal's value of a constant, rounded as texts have it."""
    if isinstance(tunable.default, int):
        return proposed.suggest_int(tunable.name, int(tunable.low), int(tunable.high), log=tunable.is_log)
    value = proposed.suggest_float(tunable.name, tunable.low, tunable.high, log=tunable.is_log)
    return tunable.default if value == tunable.default else float(f"{value:.{DIGITS}g}")


def _plain_records(
    searches: Iterable[_Search], limits: Limits, folder: Path, watcher: Watcher | None, stop: Stop
) -> dict[str, list[TrialRecord]]:
    """Return, by task, the records of the track's plain reference, by which starvation is judged."""
    trials = []
    for search in {search.task: search for search in searches}.values():
        if not is_paper(search.task):
            (design,) = make_designs([PLAIN_REFERENCE[search.design.track]], search.design.track)
            trials += [replace(trial, design=design) for trial in search.trials]
    found: dict[str, list[TrialRecord]] = defaultdict(list)
    for trial, record in _run(trials, limits, folder, watcher, stop):
        found[trial.task].append(record)
    return found


def _round(
    searches: Sequence[_Search],
    plain: Mapping[str, Sequence[TrialRecord]],
    history: "_History",
    limits: Limits,
    folder: Path,
    watcher: Watcher | None,
    stop: Stop,
) -> bool:
    """Simulate what every search has asked for; return whether all of it could be."""
    keys: dict[str, str] = {}  # by task and name of the text
    waiting: dict[str, _Search] = {}
    trials: list[Trial] = []
    for search in searches:
        assert search.asked is not None
        design = search.asked[2]
        asked = [replace(trial, design=design) for trial in search.trials]
        place = f"{search.task} {design.name}"
        keys[place] = _key(asked)
        if design.sha256 not in search.values and keys[place] not in history.values:
            waiting[place] = search
            trials += asked
    records: dict[str, list[TrialRecord]] = defaultdict(list)
    for trial, record in _run(trials, limits, folder, watcher, stop):
        place = f"{trial.task} {trial.design.name}"
        records[place].append(record)
        search = waiting[place]
        if len(records[place]) == len(search.trials):
            assert search.asked is not None
            value = _value(records.pop(place), plain.get(search.task, ()))
            what = {"task": search.task, "policy": search.design.name, "constants": search.asked[1]}
            history.append(keys[place], value, **what)
    for search in searches:
        assert search.asked is not None
        design = search.asked[2]
        value = search.values.get(design.sha256, history.values.get(keys[f"{search.task} {design.name}"], math.nan))
        if math.isnan(value):
            return False
        search.tell(value)
    return True


def _run(
    trials: Sequence[Trial], limits: Limits, folder: Path, watcher: Watcher | None, stop: Stop
) -> Iterable[tuple[Trial, TrialRecord]]:
    with closing(settle_trials(trials, limits, log_folder=folder / "logs", watcher=watcher, stop=stop)) as settled:
        for trial, outcome in settled:
            if isinstance(outcome, Refusal):
                raise GliaBenchError(f"{outcome.policy} cannot be run: {outcome.message}")
            if outcome["status"] == "infra_error":
                raise EvaluationFailure(f"{outcome['policy']} on {outcome['task']}: {outcome['message']}")
            yield trial, outcome


def _value(records: Sequence[TrialRecord], plain: Sequence[TrialRecord]) -> float:
    """Return what a search minimises: the mean logarithm of the cost, after penalties."""
    costs = [math.log(record["cost"]) for record in records if record["status"] == "ok"]
    if num_failed := len(records) - len(costs):
        return FAILS * (1 + num_failed / len(records))
    return math.fsum(sorted(costs)) / len(costs) + (STARVES if starved_groups(records, plain) else 0.0)


def _log_cost(value: float) -> float:
    """Return what is left of a value of `_value` without its penalty; NaN for a design that fails."""
    return math.nan if value > FAILS / 2 else value - STARVES if value > STARVES / 2 else value


def _key(trials: Sequence[Trial]) -> str:
    build = describe_build()
    return hashlib.sha256(b"".join(canonical(identity(trial, build)) for trial in trials)).hexdigest()


class _History:
    """Every simulation of a folder's searches, one line of JSON each, appended as it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, float] = {}
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
                self.values[entry["key"]] = float(entry["value"])
            except (ValueError, KeyError, TypeError):  # a line that was not written whole
                continue

    def append(self, key: str, value: float, **what: Any) -> None:
        self.values[key] = value
        try:
            with self.path.open("ab") as file:
                if file.tell() and not self.path.read_bytes().endswith(b"\n"):
                    file.write(b"\n")
                file.write(canonical({"key": key, "value": value, **what}) + b"\n")
        except OSError as error:
            raise EvaluationFailure(f"{self.path} cannot be written ({error.strerror})") from error


def _write(searches: Sequence[_Search], folder: Path) -> None:
    """Write what was found in the form of `tasks.tuned`."""
    table: dict[str, dict[str, Any]] = {}
    for search in searches:
        tuned = search.tuned()
        table.setdefault(tuned.task, {})[tuned.design.idea] = {
            "constants": dict(tuned.constants),
            "sha256": tuned.design.sha256,
            "simulations": tuned.simulations,
            "num_seeds": len({trial.seed for trial in search.trials}),
            "loads": sorted({trial.load for trial in search.trials}),
            "gain": None if math.isnan(tuned.gain) else round(tuned.gain, 4),
        }
    write_atomically(folder / TUNED_FILE, json.dumps(table, indent=1, sort_keys=True).encode() + b"\n")
