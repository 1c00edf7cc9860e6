"""What a run is asked to do, checked before anything runs: tasks, designs, loads and seeds to a list of trials.

A file's text is read here and only hashed; it is checked and executed in the process that runs it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from glia_bench.errors import GliaBenchError, InvalidPolicyError
from glia_bench.evaluation.designs import TUNED, Design, is_path, make_designs
from glia_bench.evaluation.folder_lock import LOCK_FILE
from glia_bench.evaluation.journal import JOURNAL_FILE, TUNING_FILE
from glia_bench.evaluation.sealed import Season, sealed_season
from glia_bench.evaluation.trial import Trial
from glia_bench.loading import load_policy, read_source, shipped_policies
from glia_bench.policy import Track
from glia_bench.scoring.record import RESULT_FILE
from glia_bench.scoring.starvation import PLAIN_REFERENCE
from glia_bench.static_check import fitting_tracks
from glia_bench.tasks.catalog import SUITE_NUM_SEEDS, get_suite, get_task
from glia_bench.tasks.recorded import recorded_task
from glia_bench.tasks.task import Task
from glia_bench.workloads.lengths_file import read_lengths
from glia_bench.workloads.traces import Recording

Split: TypeAlias = Literal["dev", "sealed", "both"]

DEFAULT_SUITE = "quick"
DEFAULT_NUM_SEEDS = 3
"""Seeds of a run that names tasks rather than a suite."""
NO_DESIGNS: Mapping[str, Sequence[Design]] = MappingProxyType({})
QUICK_POLICIES: Mapping[Track, tuple[str, ...]] = MappingProxyType(
    {
        "routing": (
            *("round_robin", "lor", "llq", "po2", "spt_hold", "expert", "llmd_default", "lmetric"),
            *("hra", "hra_file", "hra_deployed", "hra_fifo", "funsearch_fig13", "random", "do_nothing"),
        ),
        "scheduling": ("vllm_v1_fcfs", "sjf_prompt", "sjf-aged-style", "edf", "headroom", "random_order"),
        "autoscaling": ("fixed", "hpa", "hpa_inflight", "keda_queue", "queueing_sqrt"),
        "cluster": ("stack_plain", "stack_careful"),
    }
)
"""Designs of a run of the quick suite that names none: well-known ones, so that it takes seconds."""
TRACE_TASK = "routing/paper-v0"
"""Whose cluster a file of recorded requests runs on where no task is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run of the benchmark, ready to go.

    Attributes:
        suite: Its suite, or None where tasks were named.
        tasks: Tasks, in the order of tables.
        trials: All trials: seed by seed, so that an interrupted run has compared every design.
        skipped: Remarks for the user: tasks left out and why, what of the options has no effect.
        lengths_sha256: Hash of the lengths file, if one is used.
        season: Name and commitment of the sealed cases, if there are any.
        trace: What is known of the file of recorded requests, if one is used, for the record.
    """

    suite: str | None
    tasks: tuple[Task, ...]
    trials: tuple[Trial, ...]
    skipped: tuple[str, ...] = ()
    lengths_sha256: str | None = None
    season: Mapping[str, str] | None = None
    trace: dict[str, Any] | None = None


def make_plan(
    *,
    suite: str | None = None,
    task_ids: Sequence[str] = (),
    policies: Sequence[str] = (),
    loads: Sequence[float] = (),
    num_seeds: int | None = None,
    lengths: Path | None = None,
    trace: Path | None = None,
    skip_unfit: bool = False,
    folder: Path | None = None,
    keeps_all_requests: bool = False,
    keeps_timelines: bool = False,
    split: Split = "dev",
    keeps_decisions: bool = False,
    adds_references: bool = False,
    adds_tuned: bool = False,
    also: Mapping[str, Sequence[Design]] = NO_DESIGNS,
) -> Plan:
    """Return the trials of a run; what is not given takes the suite's or the task's own choice.

    Args:
        suite: Name of a suite; left out, and without tasks, the quick one.
        task_ids: Tasks, instead of a suite.
        policies: Shipped names and paths of files; left out, all shipped policies of each task's track, in the quick
            suite `QUICK_POLICIES`. Where tasks are of several tracks, each runs on those that it is made for.
        loads: Fractions of each task's reference rate; left out, the task's default loads (the full suite: all).
        num_seeds: Seeds 0, 1, ... of each task; left out, as many as the suite says.
        lengths: Lengths file, for tasks that need one.
        trace: File of recorded requests, to run in place of each task's own (default: on the paper's cluster).
        skip_unfit: Leave out recorded requests that no replica can hold, rather than refuse the file.
        folder: Where tables will be written.
        keeps_all_requests: Write the per-request table of every seed rather than the first only.
        keeps_timelines: Write what every replica computed, of every trial.
        keeps_decisions: Write what every design decided, of every trial on development seeds.
        split: Development seeds, all cases of the sealed season, or both. Of sealed cases no tables are kept.
        adds_references: Run the references of each task too, without which policies have no ratio and no flags.
        adds_tuned: Run each shipped policy also with the constants that are frozen with the task.
        also: Further designs by task id.

    Raises:
        GliaBenchError: If something that was asked for does not exist or does not fit together.
    """
    if trace is not None:
        if suite is not None:
            raise GliaBenchError(f"--trace runs on the clusters of tasks, not of a suite (got {suite!r}); pass --task")
        task_ids = task_ids or (TRACE_TASK,)
        num_seeds = num_seeds or 1
    if not task_ids and suite is None:
        suite = DEFAULT_SUITE
    wanted = [get_task(task_id) for task_id in dict.fromkeys(task_ids or get_suite(suite or DEFAULT_SUITE))]
    remarks: tuple[str, ...] = ()
    facts = None
    if trace is not None:
        made = [recorded_task(task, trace, skip_unfit=skip_unfit) for task in wanted]
        wanted = [task for task, _ in made]
        remarks, facts = _trace_remarks(trace, made, num_seeds or 1), _trace_facts(trace, made)
    tasks = [task for task in wanted if task_ids or lengths or not task.needs_lengths]
    skipped = remarks + tuple(
        f"{task.id} is left out: it needs {task.lengths_hint}; pass --lengths FILE"
        for task in wanted
        if task not in tasks
    )
    if num_seeds is None:
        num_seeds = SUITE_NUM_SEEDS[suite] if suite is not None else DEFAULT_NUM_SEEDS
    known_lengths = read_lengths(lengths) if lengths else None
    if suite == DEFAULT_SUITE and not task_ids and not policies:
        policies = [name for names in QUICK_POLICIES.values() for name in names]
    by_track = _by_track(policies, list(dict.fromkeys(task.track for task in tasks)))
    if policies:
        left_out = [task for task in tasks if not by_track[task.track]]
        tasks = [task for task in tasks if by_track[task.track]]
        skipped += tuple(
            f"{task.id} is left out: none of the policies is for the {task.track} track" for task in left_out
        )
    if split != "dev" and trace is not None:
        raise GliaBenchError(
            f"--trace must go with development seeds (got --split {split}); a season has its own traces"
        )
    season = None if split == "dev" else sealed_season()
    if season is not None:
        skipped += tuple(
            f"{task.id} is left out: season {season.name!r} has no cases of it"
            for task in tasks
            if task.id not in season.tasks
        )
        tasks = [task for task in tasks if task.id in season.tasks]
    trials: list[Trial] = []
    for task in tasks:
        here = [*make_designs(by_track[task.track], task.track, task.id), *also.get(task.id, ())]
        if adds_references:
            references = (task.naive, task.expert, PLAIN_REFERENCE[task.track])
            here += make_designs(references, task.track, task.id)
        if adds_tuned:
            here += make_designs([f"{d.idea}@{TUNED}" for d in here if d.is_shipped], task.track, task.id)
        here = list({design.name: design for design in here}.values())
        task_loads = tuple(dict.fromkeys(loads)) or (task.loads if suite == "full" else task.default_loads)
        for load in task_loads:  # made once here, so that what is wrong with it is said before anything runs
            task.case(load, 0, known_lengths if task.needs_lengths else None)
        plain = [
            Trial(
                design=design,
                task=task.id,
                load=float(load),
                seed=0,
                lengths=str(lengths) if lengths and task.needs_lengths else None,
                trace=str(trace) if trace else None,
                folder=str(folder) if folder else None,
            )
            for load in task_loads
            for design in here
        ]
        if split != "sealed":
            trials += [
                replace(
                    trial,
                    seed=seed,
                    keeps_requests=keeps_all_requests or seed == 0,
                    keeps_samples=seed == 0,
                    keeps_timeline=keeps_timelines,
                    keeps_decisions=keeps_decisions,
                )
                for seed in range(num_seeds)
                for trial in plain
            ]
        if season is not None:
            trials += _sealed_trials(plain, season, task.id)
    is_used = any(trial.lengths for trial in trials)
    if known_lengths and not is_used:
        skipped += (f"--lengths {lengths} is not used: none of these tasks takes lengths from a file",)
    elif known_lengths and not known_lengths.is_authors:
        skipped += (
            f"{lengths} ({len(known_lengths.prompt_tokens)} requests) is not the authors' file: "
            f"the published row does not apply",
        )
    return Plan(
        suite=None if task_ids else suite,
        tasks=tuple(tasks),
        trials=tuple(trials),
        skipped=skipped,
        lengths_sha256=known_lengths.sha256 if known_lengths and is_used else None,
        season={"name": season.name, "commitment": season.commitment} if season else None,
        trace=facts,
    )


def _sealed_trials(plain: Sequence[Trial], season: Season, task_id: str) -> list[Trial]:
    """Return the trials of a task on its sealed cases and unseen traces, which keep no tables."""
    cases = [(task_id, case) for case in season.cases(task_id)] + list(season.unseen(task_id).items())
    return [
        replace(
            trial,
            task=name,
            split="sealed",
            seed=case.seed,
            label=case.label,
            season=season.commitment,
            perturbation=case.perturbation,
            trace=str(case.trace) if case.trace else None,
        )
        for name, case in cases
        for trial in plain
    ]


def _trace_facts(path: Path, made: Sequence[tuple[Task, Recording]]) -> dict[str, Any]:
    """Return what a record says about the file that its workload came from."""
    _, first = made[0]
    return {
        "file": path.name,
        "sha256": first.sha256,
        "format": first.format,
        "num_rows": first.num_rows,
        "tasks": {
            task.id: {
                "num_requests": len(recording.trace),
                "left_out": recording.left_out,
                "not_replayed": list(recording.unused),
            }
            for task, recording in made
        },
    }


def _trace_remarks(path: Path, made: Sequence[tuple[Task, Recording]], num_seeds: int) -> tuple[str, ...]:
    """Return what the user should know about a file of recorded requests."""
    remarks = []
    for task, recording in made:
        parts = [
            f"{len(recording.trace):,} requests, {task.reference_rate_rps:.3g} requests/s at load 1",
            *(f"{count:,} left out ({reason})" for reason, count in recording.left_out.items()),
            *([f"not replayed: {', '.join(recording.unused)}"] if recording.unused else []),
        ]
        remarks.append(f"{path} ({recording.format}) on {task.id}: {'; '.join(parts)}")
    if num_seeds > 1:
        remarks.append("the trace is the same for every seed: seeds vary what the cluster and the policies draw")
    return tuple(remarks)


def _by_track(references: Sequence[str], tracks: Sequence[Track]) -> dict[Track, list[str]]:
    """Return the names and paths that run on each track; with one track, all of them.

    Raises:
        GliaBenchError: If a policy is for none of the tracks.
    """
    if len(tracks) == 1:
        return {track: list(references) for track in tracks}
    chosen: dict[Track, list[str]] = {track: [] for track in tracks}
    for reference in references:
        own = [track for track in tracks if _is_for(reference, track)]
        if not own:
            raise InvalidPolicyError(
                f"policy {reference!r} must be for a track of the tasks (they are of {', '.join(tracks)})"
            )
        for track in own:
            chosen[track].append(reference)
    return chosen


def _is_for(reference: str, track: Track) -> bool:
    """Return whether a shipped policy, or a file by the names in it, is for a track."""
    if is_path(reference):
        return track in fitting_tracks(read_source(Path(reference)), path=reference)
    name = reference.partition("@")[0]
    shipped = {policy.name: policy.track for policy in shipped_policies()}
    return shipped[name] == track if name in shipped else load_policy(name, track).track == track


def check_folder(folder: Path) -> None:
    """Check that results can be written into a folder that may not exist yet.

    Raises:
        GliaBenchError: If it is a file, cannot be made, or holds something else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(file.name for file in folder.iterdir())
    except OSError as error:
        raise GliaBenchError(f"results folder {folder} cannot be made ({error.strerror}); give another --out") from None
    if others and not {RESULT_FILE, JOURNAL_FILE, TUNING_FILE, LOCK_FILE} & set(
        others
    ):  # a killed run leaves one of the others
        raise GliaBenchError(
            f"results folder {folder} must be new, empty or an earlier run's (it holds {others[0]!r} and no "
            f"{RESULT_FILE}); give another --out"
        )


def new_folder(suite: str | None, tasks: Sequence[str]) -> Path:
    """Return a folder below results/ that does not exist yet."""
    what = "-".join(tasks).replace("/", "-")[:80] or suite or DEFAULT_SUITE
    stem = f"{what}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = Path("results") / stem
    count = 1
    while folder.exists():
        count += 1
        folder = Path("results") / f"{stem}-{count}"
    return folder
