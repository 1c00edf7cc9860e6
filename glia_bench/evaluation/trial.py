"""One trial: one design on one case, from names to a record.

A `Trial` is plain data, so that it can cross to another process as JSON; so is what comes back. A design from a file
travels as its source text: what runs is what was hashed, even if the file changes meanwhile, and it is loaded anew for
every trial, so that no trial sees what an earlier one left behind. Limits on time and memory belong to `worker`.
"""

import dataclasses
import time
import traceback
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glia_bench.case import Case
from glia_bench.errors import InvalidPolicyError, InvalidTraceError
from glia_bench.evaluation.decisions import replaying, tier_of, write_log
from glia_bench.evaluation.designs import Design, load_design, shipped
from glia_bench.evaluation.foresight import foreseen
from glia_bench.evaluation.samples import sample_frame, sample_interval_s
from glia_bench.evaluation.sealed import guarded
from glia_bench.policy import TRACKS, Policy, Track
from glia_bench.scoring.metrics import METRICS, cost, group_metrics, request_frame, trial_metrics
from glia_bench.scoring.record import TrialRecord, write_atomically
from glia_bench.scoring.robustness import VARIANTS
from glia_bench.static_check import static_check
from glia_bench.tasks.perturbation import NONE, Perturbation
from glia_bench.types import RunResult, Status

if TYPE_CHECKING:
    import pandas as pd

    from glia_bench.tasks.task import Task
    from glia_bench.workloads.lengths_file import Lengths

WARM_UP_TASK, WARM_UP_LOAD = "routing/paper-v0", 0.01
"""Some 75 requests: enough to pass through every compiled function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One design on one case.

    Attributes:
        design: The policy.
        task: Task id.
        load: Fraction of the task's reference rate.
        seed: Seed of the case.
        lengths: Path of a lengths file, for tasks that need one.
        trace: Path of the file of recorded requests that a task is made from, for such tasks.
        folder: Where tables go; None writes none.
        keeps_requests: Whether the per-request table is written.
        keeps_samples: Whether the cluster's state is sampled and written.
        keeps_timeline: Whether every iteration is logged and drawn.
        split: "dev", or "sealed": then the record says `label` where the seed would stand, and messages say little.
        label: Name of a sealed case.
        season: Commitment of its season.
        perturbation: How the case differs from the task.
        tier: How the hooks must run.
        keeps_decisions: Whether the log of its decisions is written.
        replays: Path of such a log, to answer in place of the design.
        variant: A key of `scoring.robustness.VARIANTS`, by which the cluster differs from the task's; or empty.
    """

    design: Design
    task: str
    load: float
    seed: int
    lengths: str | None = None
    trace: str | None = None
    folder: str | None = None
    keeps_requests: bool = False
    keeps_samples: bool = False
    keeps_timeline: bool = False
    split: Literal["dev", "sealed"] = "dev"
    label: str = ""
    season: str = ""
    perturbation: Perturbation = NONE
    tier: Literal["auto", "compiled", "python"] = "auto"
    keeps_decisions: bool = False
    replays: str | None = None
    variant: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the trial as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Trial":
        """Return the trial that `to_json` wrote."""
        parts = {"design": Design.from_json(fields["design"]), "perturbation": Perturbation(**fields["perturbation"])}
        return cls(**{**fields, **parts})

    @property
    def shown_seed(self) -> int | str:
        """What records and people see: the seed, or the label of a sealed case."""
        return self.label if self.split == "sealed" else self.seed

    @property
    def requests_path(self) -> str:
        """Per-request table (`metrics.request_frame`), relative to the result's folder."""
        return f"records/{self.task}/{self.design.name}/load={self.load},seed={self.shown_seed}.parquet"

    @property
    def samples_path(self) -> str:
        """Samples (`sample_frame`), relative to the result's folder."""
        return self.requests_path.removesuffix(".parquet") + ".samples.parquet"

    @property
    def timeline_stem(self) -> str:
        """Timelines, relative to the result's folder, without the ends of their names."""
        task = self.task.replace("/", "-")
        return f"timelines/{task}-{self.design.name}-{self.load:g}-{self.shown_seed}"


def trial_record(
    trial: Trial, *, status: Status, message: str = "", result: RunResult | None = None, **known: Any
) -> TrialRecord:
    """Return the record of a trial; what `known` does not give is null.

    Args:
        trial: What was asked for.
        status: How it ended.
        message: Why, in words for the design's author; empty if all went well.
        result: The run, if it came back; its hashes are recorded whatever the status.
        **known: Other fields of the record.
    """
    fields = {"cost", "metrics", "groups", "workload_sha256", "sim_s", "notes", "records", "samples", "timelines"}
    fields |= {"decisions", "decisions_sha256"}
    unknown = known.keys() - fields
    assert not unknown, unknown
    return {
        "task": trial.task,
        "policy": trial.design.name,
        "kind": trial.design.kind,
        "policy_sha256": trial.design.sha256,
        "load": trial.load,
        "split": trial.split,
        "seed": trial.shown_seed,
        "status": status,
        "message": message if trial.split == "dev" else guarded(message),
        "tier": result.tier if result else None,
        "cost": None,
        "metrics": dict.fromkeys(METRICS),
        "groups": {},
        "num_decisions": result.num_decisions if result else None,
        "decision_hash": f"{result.decision_hash:016x}" if result else None,
        "records_sha256": result.records.sha256 if result else None,
        "workload_sha256": None,
        "decision_p99_s": None,
        "sim_s": None,
        "notes": [],
        "records": None,
        "samples": None,
        "decisions": None,
        "decisions_sha256": None,
        "timelines": [],
        **known,
    }


def run_trial(trial: Trial) -> TrialRecord:
    """Run one trial here and now, and return its record.

    What a design does wrong, and what breaks on our side ("infra_error", with the traceback as message), both come
    back as a status.

    Raises:
        InvalidPolicyError: If the design breaks the hook contract, so that there is nothing to run.
    """
    from glia_bench.sim.engine import simulate

    try:
        design = trial.design
        policy = replaying(Path(trial.replays), design.name, design.track) if trial.replays else load_design(design)
        task = _task(trial.task, trial.trace)
        case = _on_variant(
            trial, _case(trial.task, trial.load, trial.seed, trial.lengths, trial.trace, trial.perturbation)
        )
        if design.kind == "bound" and design.is_shipped and not trial.replays:
            policy, case = foreseen(policy, case, task)
        interval_s = sample_interval_s(case) if trial.keeps_samples else None
        start = time.perf_counter()
        tier = tier_of(policy) if trial.replays else trial.tier
        result = simulate(case, policy, tier=tier, sample_interval_s=interval_s, log_iterations=trial.keeps_timeline)
        known: dict[str, Any] = {
            "sim_s": time.perf_counter() - start,
            "workload_sha256": case.trace.sha256,
            "notes": list(dict.fromkeys((*policy.notes, *result.notes))),
        }
        if result.status != "ok":
            written = _write_timelines(trial, case, result)  # what went wrong may be seen there
            return trial_record(
                trial, status=_status(result), message=result.message, result=result, **known, **written
            )
        return trial_record(
            trial,
            status="ok",
            message=result.message,
            result=result,
            cost=cost(case, result, task),
            metrics=trial_metrics(case, result, task),
            groups=group_metrics(case, result),
            **known,
            **_write_tables(trial, case, policy, result),
            **_write_timelines(trial, case, result),
        )
    except InvalidPolicyError:
        raise
    except MemoryError:
        return trial_record(trial, status="policy_oom", message="ran out of memory")
    except Exception:
        return trial_record(trial, status="infra_error", message=traceback.format_exc())


def _on_variant(trial: Trial, case: Case) -> Case:
    """Return the case with the variant of its cluster that the trial asks for."""
    return dataclasses.replace(case, cluster=VARIANTS[trial.variant](case.cluster)) if trial.variant else case


def needs_full_engine(trial: Trial) -> bool:
    """Return whether the full engine will run a trial, or may: a design's text is not executed to find out."""
    from glia_bench.sim.engine import is_plain

    design = trial.design
    if trial.keeps_timeline or design.kind == "bound":  # an oracle's case says more than the task's
        return True
    case = _case(trial.task, trial.load, trial.seed, None, trial.trace) if trial.trace else _small_case(trial.task)
    case = _on_variant(trial, case)
    if design.source is None:
        return not is_plain(case, load_design(design))
    return not is_plain(case, shipped("round_robin", "routing")) or _may_need_full_engine(design.source, design.track)


@lru_cache(maxsize=64)
def _may_need_full_engine(source: str, track: Track) -> bool:
    """Return whether a design's text may read what only the full engine has; where the text cannot tell, it may."""
    try:
        facts = static_check(source, track, path="")
    except InvalidPolicyError:
        return False  # it will be refused
    return facts.fields_read is None or any(word in source for word in ("inflight", "tenant", "session"))


def warm_up(*tiers: Literal["compiled", "python"], full: bool = False) -> None:
    """Load what trials of these tiers need, compiling it if this build never ran, so that no trial pays for it.

    Args:
        tiers: How hooks will run.
        full: Whether the full engine will be needed, beside the plain one.
    """
    from glia_bench.sim.engine import simulate

    case, policy = _small_case(WARM_UP_TASK), shipped("round_robin", "routing")
    for tier in tiers:
        simulate(case, policy, tier=tier)
        if full:
            simulate(case, policy, tier=tier, engine="full")


def precompile() -> list[str]:
    """Compile the simulator and every shipped policy into the cache; return the policies' names."""
    from glia_bench.loading import shipped_policies
    from glia_bench.sim.engine import simulate
    from glia_bench.tasks.catalog import TASKS

    warm_up("compiled", "python", full=True)
    for track in TRACKS:
        task = next(task for task in TASKS.values() if task.track == track)
        for policy in shipped_policies(track):
            case = _small_case(task.id)
            if policy.kind == "bound":
                policy, case = foreseen(policy, case, task)
            simulate(case, policy)
            simulate(case, policy, engine="full")  # the hooks of each engine are compiled for it
    return [policy.name for policy in shipped_policies()]


@cache
def _small_case(task_id: str) -> Case:
    """Return a case of some 75 requests of a task, or where it has none so small, of another task on a like cluster."""
    from glia_bench.tasks.catalog import get_task

    task = get_task(task_id)
    return (task if task.any_load else get_task(WARM_UP_TASK)).case(WARM_UP_LOAD, 0)


def _status(result: RunResult) -> Status:
    """Return the run's status; running out of memory inside a hook is its own."""
    return "policy_oom" if result.status == "policy_error" and "MemoryError" in result.message else result.status


@lru_cache(maxsize=16)
def _case(
    task: str, load: float, seed: int, lengths: str | None, trace: str | None, perturbation: Perturbation = NONE
) -> Case:
    """Return a case; policies that follow each other on one case share it."""
    return _task(task, trace).case(load, seed, _lengths(lengths), perturbation)


@lru_cache(maxsize=2)
def _task(task: str, trace: str | None) -> "Task":
    """Return a task of the catalog, or the one that a file was found to make when the run was planned."""
    from glia_bench.tasks.catalog import get_task
    from glia_bench.tasks.recorded import TRACE_MARK, recorded_task

    if trace is None:
        return get_task(task)
    made, _ = recorded_task(get_task(task.partition(TRACE_MARK)[0]), Path(trace), skip_unfit=True)
    if made.id != task:
        raise InvalidTraceError(f"{trace} has changed since the run was planned: it makes {made.id}, not {task}")
    return made


@cache
def _lengths(path: str | None) -> "Lengths | None":
    if path is None:
        return None
    from glia_bench.workloads.lengths_file import read_lengths

    return read_lengths(Path(path))


def _write_tables(trial: Trial, case: Case, policy: Policy, result: RunResult) -> dict[str, str]:
    """Write the tables that the trial asks for; return the record's fields that name them."""
    written: dict[str, str] = {}
    if trial.folder is None:
        return written
    if trial.keeps_requests:
        _write_table(Path(trial.folder) / trial.requests_path, request_frame(case, result))
        written["records"] = trial.requests_path
    if trial.keeps_samples and result.samples is not None:
        _write_table(Path(trial.folder) / trial.samples_path, sample_frame(result.samples))
        written["samples"] = trial.samples_path
    if trial.keeps_decisions:
        name = trial.requests_path.replace("records/", "decisions/", 1)
        if sha256 := write_log(Path(trial.folder) / name, case, policy, result):
            written |= {"decisions": name, "decisions_sha256": sha256}
    return written


def _write_timelines(trial: Trial, case: Case, result: RunResult) -> dict[str, list[str]]:
    """Write what every replica computed, as a page and for a trace viewer; return the field that names the files."""
    if trial.folder is None or not trial.keeps_timeline or result.iterations is None:
        return {}
    from glia_bench.timeline import write_timelines

    folder = Path(trial.folder)
    (folder / trial.timeline_stem).parent.mkdir(parents=True, exist_ok=True)
    title = f"{trial.task}, {trial.design.name}, load {trial.load:g}, seed {trial.shown_seed}"
    paths = write_timelines(case, result, folder / trial.timeline_stem, title)
    return {"timelines": [path.relative_to(folder).as_posix() for path in paths]}


def _write_table(path: Path, frame: "pd.DataFrame") -> None:
    write_atomically(path, frame.to_parquet(compression="zstd"))
