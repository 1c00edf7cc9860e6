"""One trial: one design on one case, from names to a record.

A `Trial` is plain data, so that it can cross to another process as JSON; so is what comes back. A design from a file
travels as its source text: what runs is what was hashed, even if the file changes meanwhile, and it is loaded anew for
every trial, so that no trial sees what an earlier one left behind. Limits on time and memory belong to `worker`.
"""

import dataclasses
import math
import time
import traceback
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S
from glia_bench.errors import InvalidPolicyError
from glia_bench.policy import TRACKS, Policy, Track
from glia_bench.scoring.metrics import METRICS, cost, group_metrics, request_frame, trial_metrics
from glia_bench.scoring.record import TrialRecord, write_atomically
from glia_bench.static_check import static_check
from glia_bench.types import RunResult, Samples, Status

if TYPE_CHECKING:
    import pandas as pd

    from glia_bench.workloads.lengths_file import Lengths

NUM_SAMPLES = 500
"""Samples of the cluster's state between the first and the last arrival, about."""

WARM_UP_TASK, WARM_UP_LOAD = "routing/paper-v0", 0.01
"""Some 75 requests: enough to pass through every compiled function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A policy as a run names it.

    Attributes:
        name: What it is called in records and tables; unique within a run.
        track: Its track.
        kind: As in `Policy.kind`.
        sha256: Hash of its source.
        path: Where it was read from.
        source: Its text if it comes from a file; None for a shipped policy, which is loaded by name.
    """

    name: str
    track: Track
    kind: str
    sha256: str
    path: str
    source: str | None = None

    @property
    def is_shipped(self) -> bool:
        """Whether it is part of the distribution, and so may run in this process."""
        return self.source is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One design on one case.

    Attributes:
        design: The policy.
        task: Task id.
        load: Fraction of the task's reference rate.
        seed: Seed of the case.
        lengths: Path of a lengths file, for tasks that need one.
        folder: Where tables go; None writes none.
        keeps_requests: Whether the per-request table is written.
        keeps_samples: Whether the cluster's state is sampled and written.
        keeps_timeline: Whether every iteration is logged and drawn.
    """

    design: Design
    task: str
    load: float
    seed: int
    lengths: str | None = None
    folder: str | None = None
    keeps_requests: bool = False
    keeps_samples: bool = False
    keeps_timeline: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the trial as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Trial":
        """Return the trial that `to_json` wrote."""
        return cls(**{**fields, "design": Design(**fields["design"])})

    @property
    def requests_path(self) -> str:
        """Per-request table (`metrics.request_frame`), relative to the result's folder."""
        return f"records/{self.task}/{self.design.name}/load={self.load},seed={self.seed}.parquet"

    @property
    def samples_path(self) -> str:
        """Samples (`sample_frame`), relative to the result's folder."""
        return self.requests_path.removesuffix(".parquet") + ".samples.parquet"

    @property
    def timeline_stem(self) -> str:
        """Timelines, relative to the result's folder, without the ends of their names."""
        task = self.task.replace("/", "-")
        return f"timelines/{task}-{self.design.name}-{self.load:g}-{self.seed}"


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
    unknown = known.keys() - fields
    assert not unknown, unknown
    return {
        "task": trial.task,
        "policy": trial.design.name,
        "kind": trial.design.kind,
        "policy_sha256": trial.design.sha256,
        "load": trial.load,
        "seed": trial.seed,
        "status": status,
        "message": message,
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
    from glia_bench.tasks.catalog import get_task

    try:
        policy = _load(trial.design)
        task = get_task(trial.task)
        case = _case(trial.task, trial.load, trial.seed, trial.lengths)
        interval_s = sample_interval_s(case) if trial.keeps_samples else None
        start = time.perf_counter()
        result = simulate(case, policy, sample_interval_s=interval_s, log_iterations=trial.keeps_timeline)
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
            **_write_tables(trial, case, result),
            **_write_timelines(trial, case, result),
        )
    except InvalidPolicyError:
        raise
    except MemoryError:
        return trial_record(trial, status="policy_oom", message="ran out of memory")
    except Exception:
        return trial_record(trial, status="infra_error", message=traceback.format_exc())


def needs_full_engine(trial: Trial) -> bool:
    """Return whether the full engine will run a trial, or may: a design's text is not executed to find out."""
    from glia_bench.sim.engine import is_plain

    design = trial.design
    case = _small_case(trial.task)
    if trial.keeps_timeline:
        return True
    if design.source is None:
        return not is_plain(case, _shipped(design.name, design.track))
    return not is_plain(case, _shipped("round_robin", "routing")) or _may_need_full_engine(design.source, design.track)


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

    case, policy = _small_case(WARM_UP_TASK), _shipped("round_robin", "routing")
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
            simulate(_small_case(task.id), policy)
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


def _load(design: Design) -> Policy:
    from glia_bench.loading import policy_from_source

    if design.source is None:
        return _shipped(design.name, design.track)
    return policy_from_source(design.source, name=design.name, path=design.path, track=design.track)


@cache
def _shipped(name: str, track: Track) -> Policy:
    from glia_bench.loading import load_policy

    return load_policy(name, track)


@lru_cache(maxsize=8)
def _case(task: str, load: float, seed: int, lengths: str | None) -> Case:
    """Return a case; policies that follow each other on one case share it."""
    from glia_bench.tasks.catalog import get_task

    return get_task(task).case(load, seed, _lengths(lengths))


@cache
def _lengths(path: str | None) -> "Lengths | None":
    if path is None:
        return None
    from glia_bench.workloads.lengths_file import read_lengths

    return read_lengths(Path(path))


def sample_interval_s(case: Case) -> float:
    """Return an interval of 1, 2 or 5 times a power of ten that gives about `NUM_SAMPLES` up to the last arrival."""
    last_ps = int(case.trace.arrival_ps[case.trace.num_clock - 1])
    exact = max(last_ps / PS_PER_S / NUM_SAMPLES, 0.01)
    power = 10.0 ** math.floor(math.log10(exact))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= exact * 0.999)


def sample_frame(samples: Samples) -> "pd.DataFrame":
    """Return samples as a table, one row per instant.

    Columns: time_s, held, and per replica k waiting_k, running_k, allocated_blocks_k.
    """
    import numpy as np
    import pandas as pd

    columns: dict[str, Any] = {
        "time_s": np.arange(len(samples.held)) * samples.interval_s,
        "held": samples.held.astype(np.int32),
    }
    for name in ("waiting", "running", "allocated_blocks"):
        table = getattr(samples, name).astype(np.int32)
        columns |= {f"{name}_{replica}": table[:, replica] for replica in range(table.shape[1])}
    return pd.DataFrame(columns)


def _write_tables(trial: Trial, case: Case, result: RunResult) -> dict[str, str]:
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
    return written


def _write_timelines(trial: Trial, case: Case, result: RunResult) -> dict[str, list[str]]:
    """Write what every replica computed, as a page and for a trace viewer; return the field that names the files."""
    if trial.folder is None or not trial.keeps_timeline or result.iterations is None:
        return {}
    from glia_bench.timeline import write_timelines

    folder = Path(trial.folder)
    (folder / trial.timeline_stem).parent.mkdir(parents=True, exist_ok=True)
    title = f"{trial.task}, {trial.design.name}, load {trial.load:g}, seed {trial.seed}"
    paths = write_timelines(case, result, folder / trial.timeline_stem, title)
    return {"timelines": [path.relative_to(folder).as_posix() for path in paths]}


def _write_table(path: Path, frame: "pd.DataFrame") -> None:
    write_atomically(path, frame.to_parquet(compression="zstd"))
