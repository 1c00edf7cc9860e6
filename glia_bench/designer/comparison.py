"""Designers beside each other: what their designs are worth on unseen cases at matched expenses, runs taken together.

The unit is a run. What counts at an expense is the design that development seeds would have chosen there, judged on
cases that no designer has met: `expert_ratio`, the expert's cost over the design's, as geometric means over runs.

A run counts up to where it was cut: by its budget, by an interruption, by a model that failed. One that ended by
itself with budget left would have come to nothing else with more, so its design is carried forward. A run that has no
design to choose yet counts as one whose design fails on every case, a ratio of 1/4: none is left out for doing badly.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from glia_bench.designer.catalog import DESIGNERS
from glia_bench.designer.curves import CURVE_AXES, SMALLEST_PART, Choice, Trajectory
from glia_bench.designer.held_out import TaskScores
from glia_bench.errors import GliaBenchError
from glia_bench.scoring.intervals import Interval, exp_interval, mean_interval, runs_interval
from glia_bench.scoring.score import EXPERT_LEVEL, MAX_GAIN, ratio_fields

SCHEMA = 1
MIN_RUNS = 3
"""Independent runs of a designer on a task from which a comparison means something."""
PLOTTED = ("simulations", "wall_s", "tokens", "usd")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Expenses at which designers are compared.

    Attributes:
        simulations: Numbers of simulations.
        wall_s: Seconds.
        usd: US dollars.
    """

    simulations: tuple[float, ...] = (5, 10, 20, 100, 500)
    wall_s: tuple[float, ...] = (7200,)
    usd: tuple[float, ...] = (30,)

    def __post_init__(self) -> None:
        for axis, amount in self.all:
            if not 0.0 < amount < math.inf:
                raise GliaBenchError(f"a mark of {axis} must be a number above 0 (got {amount!r})")

    @property
    def all(self) -> list[tuple[str, float]]:
        """Every (axis, amount)."""
        return [(axis, amount) for axis in ("simulations", "wall_s", "usd") for amount in getattr(self, axis)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """The runs of one designer, with the same settings, on one task.

    Attributes:
        label: The designer's name, and those settings in which it has several arms.
        runs: Its runs.
        scores: What designs are worth on the task.
    """

    label: str
    runs: tuple[Trajectory, ...]
    scores: TaskScores

    def on(self, axis: str) -> list[Trajectory]:
        """Return the runs that got anywhere on an axis, as far as is known."""
        return [run for run in self.runs if run.reach(axis) > 0.0]

    def ratio_at(self, axis: str, amount: float) -> Json | None:
        """Return the mean ratio of what would be chosen after spending so much; None where no run counts."""
        runs = [run for run in self.on(axis) if run.reach(axis) >= amount * (1.0 - SMALLEST_PART)]
        return self._cell([run.best_at(axis, amount) for run in runs])

    def num_there(self, axis: str, amount: float) -> int:
        """Return how many runs have spent so much, those aside that ended before by themselves."""
        return sum(amount <= run.reach(axis) * (1.0 + SMALLEST_PART) < math.inf for run in self.runs) + sum(
            run.is_carried and (run.end[axis] or 0.0) >= amount for run in self.runs
        )

    def ratio(self) -> Json | None:
        """Return the mean ratio of what the runs chose in the end, whatever they spent."""
        return self._cell([run.best for run in self.runs if run.steps])

    def _cell(self, choices: Sequence[Choice | None]) -> Json | None:
        if not choices:
            return None
        found = runs_interval([[self.scores.gains_of(choice)] for choice in choices])
        return {**_ends(found), "num_runs": len(choices), "of_runs": len(self.runs)}

    def curve(self, axis: str) -> list[Json]:
        """Return the ratio against an axis: at every expense where a run changes its design, up to where all count."""
        runs = self.on(axis)
        first, last = _span(runs, axis)
        if not first < last:
            return []
        changes = {x for run in runs for x, _ in run.changes(axis) if first < x < last}
        points = []
        for x in sorted({first, last, *changes}):
            chosen = [run.best_at(axis, x) for run in runs]
            scores = [choice.score for choice in chosen if choice]
            known = scores if len(scores) == len(chosen) else []  # a mean over those that have one would flatter
            dev = mean_interval(known) if known else None
            part = {"score": dev.value, "score_low": dev.low, "score_high": dev.high} if dev else {}
            points.append({"x": x, **(self._cell(chosen) or {}), **part})
        return points

    def area(self, axis: str, first: float, last: float) -> Json | None:
        """Return the ratio averaged over the logarithm of the expense, of runs that count up to its end."""
        runs = [run for run in self.on(axis) if run.reach(axis) >= last * (1.0 - SMALLEST_PART)]
        if not 0.0 < first < last or not runs:
            return None
        found = mean_interval([self._mean_over(run, axis, first, last) for run in runs])
        return {**_ends(found), "num_runs": len(runs), "of_runs": len(self.runs)}

    def _mean_over(self, run: Trajectory, axis: str, first: float, last: float) -> float:
        xs = [first, *sorted(x for x, _ in run.changes(axis) if first < x < last), last]
        parts = [
            self.scores.interval(run.best_at(axis, low)).value * math.log(high / low) for low, high in pairwise(xs)
        ]
        return math.fsum(parts) / math.log(last / first)

    def to_expert_level(self, axis: str) -> Json | None:
        """Return what it costs to choose a design at expert level; None where the axis is unknown.

        A run that never does enters with what it spent as a cost that its own is above, so that the median lies
        between two ends: that of such lower bounds, and that with never in their place.
        """
        if any(run.end[axis] is None for run in self.runs):
            return None
        ends, reached = [], []
        for run in self.runs:
            found = [x for x, choice in run.changes(axis) if self.is_expert_level(choice)]
            ends.append(found[0] if found else float(run.end[axis] or 0.0))
            reached.append(found[0] if found else math.inf)
        high = median(reached)
        return {
            "reached": sum(x < math.inf for x in reached),
            "runs": len(self.runs),
            "median_low": median(ends),
            "median_high": high if math.isfinite(high) else None,
        }

    def is_expert_level(self, choice: Choice) -> bool:
        """Return whether the interval of a design's ratio does not reach below 0.98."""
        return bool(ratio_fields(self.scores.interval(choice))["expert_level"])


def arms_of(trajectories: Sequence[Trajectory], scores: Mapping[str, TaskScores]) -> list[Arm]:
    """Return the runs by task and by what makes designers the same: settings and model, but for seed and budget."""
    designers: dict[str, list[dict[str, str]]] = {}
    models: dict[str, set[str]] = {}
    for run in trajectories:
        models.setdefault(run.settings.designer, set()).update({run.model} - {""})
    for run in trajectories:
        designers.setdefault(run.settings.designer, []).append(_facts(run, models))
    groups: dict[tuple[str, str], list[Trajectory]] = {}
    for run in sorted(trajectories, key=lambda run: _place(run.settings.designer)):
        facts, others = _facts(run, models), designers[run.settings.designer]
        told = [text for name, text in facts.items() if any(other.get(name, "") != text for other in others)]
        label = ", ".join([run.settings.designer, *filter(None, told)])
        groups.setdefault((run.settings.task, label), []).append(run)
    tasks = list(scores)
    ordered = sorted(groups.items(), key=lambda item: tasks.index(item[0][0]))
    return [Arm(label=label, runs=tuple(runs), scores=scores[task]) for (task, label), runs in ordered]


def _facts(run: Trajectory, models: Mapping[str, set[str]]) -> dict[str, str]:
    """Return what makes a run's designer another; one that no model answered belongs to the others' only model."""
    settings = run.settings
    known = models[settings.designer]
    model = run.model or (next(iter(known)) if len(known) == 1 else "")
    options = {name: f"{name} {value}" for name, value in sorted(settings.options.items())}
    contexts = f"{settings.contexts} contexts" if settings.contexts > 1 else "1 context"
    return {"model": model, "contexts": contexts, "seeds": f"{len(settings.seeds)} seeds", **options}


def _place(designer: str) -> tuple[int, str]:
    known = list(DESIGNERS)
    return (known.index(designer) if designer in known else len(known)), designer


def _span(runs: Sequence[Trajectory], axis: str) -> tuple[float, float]:
    """Return from where to where all of some runs count on an axis; where nothing limits it, to the longest's end."""
    firsts = [float(run.steps[0].spent[axis] or 0.0) for run in runs if run.steps]
    ends = [float(run.end[axis] or 0.0) for run in runs]
    if not firsts or not ends:
        return 0.0, 0.0
    last = min(run.reach(axis) for run in runs)
    first = 1.0 if axis == "simulations" else max(firsts)
    return first, last if math.isfinite(last) else max(ends)


def _ends(found: Interval) -> Json:
    """Return an interval of log-gains as one of ratios."""
    ratio = exp_interval(found)
    return {"expert_ratio": ratio.value, "expert_ratio_low": ratio.low, "expert_ratio_high": ratio.high}


def compare(
    trajectories: Sequence[Trajectory],
    scores: Mapping[str, TaskScores],
    *,
    marks: Marks | None = None,
    likeness: Mapping[tuple[str, str], Json] | None = None,
    remarks: Sequence[str] = (),
) -> Json:
    """Return everything that is reported of some runs, as JSON values.

    Args:
        trajectories: The runs.
        scores: What their designs are worth, by task.
        marks: Expenses at which they are compared.
        likeness: (task, hash of a design) to what is known of its likeness to known designs.
        remarks: What else a reader should know.
    """
    marks, likeness = marks or Marks(), likeness or {}
    arms = arms_of(trajectories, scores)
    if few := [f"{arm.label} on {arm.scores.task} ({len(arm.runs)})" for arm in arms if len(arm.runs) < MIN_RUNS]:
        remarks = [*remarks, f"fewer than {MIN_RUNS} runs, which say little of a designer: {', '.join(few)}"]
    tasks = []
    for task, found in scores.items():
        here = [arm for arm in arms if arm.scores is found]
        runs = [run for arm in here for run in arm.runs]
        spans = {axis: _span([run for run in runs if run.reach(axis) > 0.0], axis) for axis in PLOTTED}
        naive = mean_interval(list(found.naive.values())) if found.naive else None
        tasks.append(
            {
                "task": task,
                "split": found.split,
                "season": found.season,
                "num_cases": len(found.cases),
                "expert": found.expert,
                "is_guard": found.is_guard,
                "naive": _ends(naive) if naive else None,
                "area_spans": {axis: list(span) for axis, span in spans.items() if 0.0 < span[0] < span[1]},
                "arms": [_arm(arm, marks, spans, likeness) for arm in here],
            }
        )
    return {
        "schema": SCHEMA,
        "marks": [{"axis": axis, "amount": amount} for axis, amount in marks.all],
        "rules": RULES,
        "remarks": list(remarks),
        "tasks": tasks,
    }


RULES = {
    "choice": "the best design on development seeds so far",
    "carried": "a run that ended by itself with budget left counts at larger expenses too; one that was cut does not",
    "no_design": f"a run without a design counts as a ratio of {math.exp(-MAX_GAIN):g}",
    "expert_level": f"the lower end of the 95 % interval of the ratio is at least {EXPERT_LEVEL}",
    "interval": "95 %, over runs and cases together; over cases alone for a single design; none for a single run",
}


def _arm(
    arm: Arm,
    marks: Marks,
    spans: Mapping[str, tuple[float, float]],
    likeness: Mapping[tuple[str, str], Json],
) -> Json:
    return {
        "designer": arm.runs[0].settings.designer,
        "label": arm.label,
        "matched": [
            {
                "axis": axis,
                "amount": amount,
                "cell": arm.ratio_at(axis, amount),
                "num_there": arm.num_there(axis, amount),
            }
            for axis, amount in marks.all
        ],
        "end": arm.ratio(),
        "area": {axis: arm.area(axis, *span) for axis, span in spans.items()},
        "to_expert_level": {axis: arm.to_expert_level(axis) for axis in PLOTTED},
        "curves": {axis: arm.curve(axis) for axis in PLOTTED},
        "runs": [_run(arm, run, likeness) for run in arm.runs],
    }


def _run(arm: Arm, run: Trajectory, likeness: Mapping[tuple[str, str], Json]) -> Json:
    best, scores = run.best, arm.scores
    return {
        "folder": str(run.folder),
        "seed": run.settings.seed,
        "budget": dict(run.settings.budget.limits),
        "model": run.model,
        "status": run.status,
        "message": run.message,
        "is_carried": run.is_carried,
        "spent": {axis: run.end[axis] for axis in CURVE_AXES},
        "design": _design(arm, best, likeness) if best else None,
        "curve": [
            {
                "spent": dict(step.spent),
                "design_sha256": choice.sha256,
                "score": choice.score,
                **_ends(scores.interval(choice)),
            }
            for step, choice in _chosen(run)
        ],
    }


def _chosen(run: Trajectory) -> list[tuple[Any, Choice]]:
    """Return the steps at which the best design changed."""
    found: list[tuple[Any, Choice]] = []
    for step in run.steps:
        if step.best and (not found or found[-1][1] is not step.best):
            found.append((step, step.best))
    return found


def _design(arm: Arm, best: Choice, likeness: Mapping[tuple[str, str], Json]) -> Json:
    scores = arm.scores
    dev = mean_interval(list(best.dev.values())) if best.dev else None
    return {
        "sha256": best.sha256,
        "score": best.score,
        "dev": _ends(dev) if dev else None,
        **_ends(scores.interval(best)),
        "is_expert_level": arm.is_expert_level(best),
        "gaps": {
            part: {"gap": gap.value, "gap_low": gap.low, "gap_high": gap.high}
            for part, gap in scores.gaps(best).items()
        },
        "starves": list(scores.starved.get(best.sha256, ())),
        "failure": scores.failures.get(best.sha256, ""),
        "likeness": likeness.get((scores.task, best.sha256)),
    }
