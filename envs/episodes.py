"""Which case an episode plays, and what it is charged for. Nothing here advances a simulation.

An episode is one case of a task, from its first request to the end of the run.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from glia_bench.case import Case, Trace
from glia_bench.errors import InvalidSpecError
from glia_bench.policy import Track
from glia_bench.scoring.metrics import SLO_MISS_PRICE, cost
from glia_bench.scoring.unloaded import unloaded_ps
from glia_bench.sim.stepper import Goal
from glia_bench.tasks.catalog import get_task
from glia_bench.tasks.task import Task
from glia_bench.workloads.lengths_file import Lengths, read_lengths

FIRST_DRAWN_SEED, SEED_LIMIT = 2**20, 2**31
"""Case seeds of episodes without a seed of their own: far from the development seeds of any task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episodes:
    """The cases that an environment plays.

    Attributes:
        task: A task of the environment's track.
        load: Fraction of its reference rate.
        num_requests: Only the first so many requests of each trace that arrive by the clock, and the follow-up turns of
            their sessions; None for all.
        lengths: Known requests, for tasks that need them.
    """

    task: Task
    load: float
    num_requests: int | None
    lengths: Lengths | None

    def case(self, seed: int) -> Case:
        """Return the case of a seed, as `glia-bench run --seed` plays it, cut to `num_requests`."""
        case = self.task.case(self.load, seed, self.lengths)
        num_clock = case.trace.num_clock
        if self.num_requests is None or self.num_requests >= num_clock:
            return case
        is_kept = np.arange(len(case.trace)) < self.num_requests
        if case.trace.session is not None:
            first = case.trace.session[: self.num_requests]
            is_kept[num_clock:] = np.isin(case.trace.session[num_clock:], first[first >= 0])
        predicted = case.predicted_tokens
        return dataclasses.replace(
            case,
            trace=rows_of(case.trace, is_kept),
            predicted_tokens=None if predicted is None else predicted[is_kept],
        )

    def draw_case(self, generator: np.random.Generator) -> Case:
        """Return the case of a seed drawn from a generator."""
        return self.case(int(generator.integers(FIRST_DRAWN_SEED, SEED_LIMIT)))

    @property
    def goal(self) -> Goal:
        """What an episode costs, and the prices that rewards are made of."""
        task = self.task
        prices = {
            "mean_e2e_s": {"latency": 1.0},
            "slowdown_slo": {"slowdown": 1.0, "miss": float(SLO_MISS_PRICE)},
            "gpu_seconds_slo": {"gpu": 1.0, "miss": SLO_MISS_PRICE * task.gpu_seconds_per_request},
        }
        return Goal(
            cost=lambda case, result: cost(case, result, task), unloaded_ps=unloaded_ps, **prices[task.objective]
        )


def rows_of(trace: Trace, is_kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Trace:
    """Return some rows of a trace."""
    columns = {}
    for field in dataclasses.fields(Trace):
        column = getattr(trace, field.name)
        if column is not None and not field.name.startswith("block_"):
            columns[field.name] = column[is_kept]
    if trace.block_start is not None and trace.block_ids is not None:
        counts = np.diff(trace.block_start)
        columns["block_start"] = np.concatenate([[0], np.cumsum(counts[is_kept])])
        columns["block_ids"] = trace.block_ids[np.repeat(is_kept, counts)]
    return Trace(**columns)


def make_episodes(
    track: Track, task: str | Task, load: float | None, num_requests: int | None, lengths: str | None
) -> Episodes:
    """Return the episodes that an environment's arguments ask for.

    Args:
        track: Track of the environment.
        task: Id of a task of this track, or a task of one's own.
        load: Fraction of the task's reference rate; None for the first of its default loads.
        num_requests: At least 1, or None for whole traces.
        lengths: Path of a lengths file, for tasks that need one.

    Raises:
        UnknownTaskError: If no task has this id.
        InvalidSpecError: If the task is of another track, or a number is out of range.
        InvalidTraceError: If the task needs a lengths file and has none, or it cannot be read.
    """
    found = task if isinstance(task, Task) else get_task(task)
    if found.track != track:
        raise InvalidSpecError(f"task of this environment must be of the {track} track ({found.id} is {found.track})")
    if num_requests is not None and (not isinstance(num_requests, int | np.integer) or num_requests < 1):
        raise InvalidSpecError(f"num_requests must be an integer >= 1, or None for whole traces (got {num_requests!r})")
    known = None if lengths is None else read_lengths(lengths)
    if found.needs_lengths and known is None:
        raise InvalidSpecError(f"{found.id} needs {found.lengths_hint}: pass its path as lengths=...")
    return Episodes(
        task=found, load=found.default_loads[0] if load is None else load, num_requests=num_requests, lengths=known
    )
