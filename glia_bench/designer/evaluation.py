"""What came of simulating a source: its cost against the references, who suffered, and the same in words.

Simulations run in processes that can be killed, as any file's do. What is said of them is rounded to three digits and
free of paths, seeds and times of day, so that a prompt that holds it has the same hash on every machine.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from glia_bench.scoring.record import TrialRecord
from glia_bench.scoring.score import MAX_GAIN, is_paper
from glia_bench.scoring.starvation import starved_groups
from glia_bench.tasks.task import Task

SHOWN_METRICS = (
    *("e2e_mean_s", "e2e_p50_s", "e2e_p99_s", "ttft_mean_s", "ttft_p99_s", "tpot_mean_s", "queueing_mean_s"),
    *("held_mean_s", "slowdown_mean", "slo_attainment", "restarted_fraction", "rejected_fraction"),
    *("unfinished_fraction", "cached_token_fraction", "gpu_hours"),
)
ERROR_CHARS = 1200
NO_SCORE = -99.0
"""What a designer that needs a number gets for a source that has no cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What came of one source.

    Attributes:
        sha256: Hash of the source.
        loads: Loads that it ran at.
        status: "ok", "rejected" (breaks a rule, nothing ran), "failed" (a run ended badly), "starves".
        error: Why, in words for the author; empty if all went well.
        cost: Geometric mean of the cost over seeds and loads; None unless every run ended well.
        score: 0 for the naive reference, 1 for the expert, logarithmic in cost; None without a cost. On tasks that do
            not separate the two, ln(expert / cost).
        cost_by_load: Likewise by load, as text.
        metrics: Means over runs of those of `SHOWN_METRICS` that the task has.
        starved: Groups that it starves.
        runs: [load, seed, status, cost, hash of its decisions] of each run.
        sim_requests: Requests that were simulated.
        tables: Per-request tables of the first development seed by load, as text, relative to the run's folder.
    """

    sha256: str
    loads: tuple[float, ...]
    status: str
    error: str = ""
    cost: float | None = None
    score: float | None = None
    cost_by_load: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    starved: tuple[str, ...] = ()
    runs: tuple[tuple[float, int, str, float | None, str | None], ...] = ()
    sim_requests: int = 0
    tables: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_valid(self) -> bool:
        """Whether it may be chosen: every run ended well and nobody is starved."""
        return self.status == "ok"

    @property
    def value(self) -> float:
        """The score as a number that is always there, for designers that maximise one."""
        if self.score is None:
            return NO_SCORE
        return self.score if self.is_valid else self.score - MAX_GAIN

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Evaluation":
        """Return what `to_json` wrote."""
        runs = tuple((load, seed, status, cost, digest) for load, seed, status, cost, digest in fields["runs"])
        known = {"loads": tuple(fields["loads"]), "starved": tuple(fields["starved"]), "runs": runs}
        return cls(**{**fields, **known})


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What the task's references cost on the development cases.

    Attributes:
        naive: Cost of the naive reference: geometric means by load, as text.
        expert: Likewise of the expert.
        plain: Records of the plain reference, by which starvation is judged.
    """

    naive: Mapping[str, float]
    expert: Mapping[str, float]
    plain: Sequence[TrialRecord]

    def score(self, task: Task, cost_by_load: Mapping[str, float]) -> float:
        """Return the score of a design with these costs."""
        loads = [load for load in cost_by_load if load in self.expert]
        gain = math.fsum(math.log(self.expert[load] / cost_by_load[load]) for load in loads) / len(loads)
        span = math.fsum(math.log(self.naive[load] / self.expert[load]) for load in loads) / len(loads)
        return gain if task.is_guard or span <= 0 else 1.0 + gain / span


def geometric_means(records: Iterable[TrialRecord]) -> dict[str, float]:
    """Return the geometric mean over seeds of the costs at each load, loads as text, in order."""
    logs: dict[float, list[float]] = defaultdict(list)
    for record in records:
        if record["status"] == "ok":
            logs[record["load"]].append(math.log(record["cost"]))
    return {f"{load:g}": math.exp(math.fsum(sorted(values)) / len(values)) for load, values in sorted(logs.items())}


def judged(
    task: Task, sha256: str, loads: Sequence[float], records: Sequence[TrialRecord], references: References
) -> Evaluation:
    """Return what the records of all runs, or of those up to the first that failed, come to."""
    runs = tuple(
        (record["load"], int(record["seed"]), record["status"], record["cost"], record["decision_hash"])
        for record in sorted(records, key=lambda record: (record["load"], record["seed"]))
    )
    known: dict[str, Any] = {
        "sha256": sha256,
        "loads": tuple(loads),
        "runs": runs,
        "sim_requests": sum(int(record["metrics"].get("num_requests") or 0) for record in records),
        "tables": {f"{record['load']:g}": record["records"] for record in records if record["records"]},
    }
    if bad := next((record for record in records if record["status"] != "ok"), None):
        what = f"{bad['status']} at load {bad['load']:g}: {bad['message']}"
        return Evaluation(**known, status="failed", error=what[:ERROR_CHARS])
    cost_by_load = geometric_means(records)
    starved = () if is_paper(task.id) else tuple(starved_groups(records, references.plain))
    has_references = all(load in references.expert for load in cost_by_load)
    return Evaluation(
        **known,
        status="starves" if starved else "ok",
        error=f"starves {', '.join(starved)}"[:ERROR_CHARS] if starved else "",
        cost=math.exp(math.fsum(map(math.log, cost_by_load.values())) / len(cost_by_load)),
        score=references.score(task, cost_by_load) if has_references else None,
        cost_by_load=cost_by_load,
        metrics=_mean_metrics(records),
        starved=starved,
    )


def _mean_metrics(records: Sequence[TrialRecord]) -> dict[str, float]:
    means = {}
    for name in SHOWN_METRICS:
        values = [record["metrics"].get(name) for record in records]
        if known := [value for value in values if value is not None]:
            means[name] = math.fsum(known) / len(known)
    return means


def digits(value: float | None) -> str:
    """Return a number as designers see it: three significant digits."""
    return "none" if value is None else f"{round(value, 9) + 0.0:.3g}"


def feedback(evaluation: Evaluation) -> str:
    """Return what came of a source, in a few lines."""
    if evaluation.status == "rejected":
        return f"REJECTED before any run: {evaluation.error}"
    if evaluation.cost is None:
        return f"FAILED in a run, no cost: {evaluation.error}"
    by_load = ", ".join(f"{digits(cost)} at load {load}" for load, cost in evaluation.cost_by_load.items())
    lines = [f"cost {digits(evaluation.cost)} ({by_load}); score {digits(evaluation.score)}"]
    if evaluation.starved:
        lines.append(f"STARVES and so cannot be chosen: {', '.join(evaluation.starved)}")
    lines.append(", ".join(f"{name} {digits(value)}" for name, value in evaluation.metrics.items()))
    return "\n".join(lines)
