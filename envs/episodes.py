"""What the single and the vector environment share: which case an episode plays, spaces, info, the picture in text.

An episode is one case of a task, from its first request to the end of the run. Nothing here advances a simulation.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import InvalidAction

from glia_bench.errors import InvalidSpecError
from glia_bench.sim.stepper import CLUSTER_FIELDS, REPLICA_FIELDS, REQUEST_FIELDS, Stepper
from glia_bench.tasks.catalog import get_task
from glia_bench.tasks.task import Task
from glia_bench.types import Case, ClusterSpec, Trace
from glia_bench.workloads.lengths_file import Lengths, read_lengths

Observation: TypeAlias = dict[str, npt.NDArray[np.float32]]

FIRST_DRAWN_SEED, SEED_LIMIT = 2**20, 2**31
"""Case seeds of episodes without a seed of their own: far from the development seeds of any task."""

_BAR = 30
_WAITING, _RUNNING, _ALLOCATED, _CAPACITY = (
    REPLICA_FIELDS.index(name) for name in ("waiting", "running", "allocated_blocks", "capacity_blocks")
)
_READY = REPLICA_FIELDS.index("ready")


@dataclass(frozen=True, slots=True, kw_only=True)
class Episodes:
    """The cases that an environment plays.

    Attributes:
        task: A routing task.
        load: Fraction of its reference rate.
        num_requests: Only the first so many requests of each trace; None for all.
        lengths: Known requests, for tasks that need them.
    """

    task: Task
    load: float
    num_requests: int | None
    lengths: Lengths | None

    def case(self, seed: int) -> Case:
        """Return the case of a seed, as `glia-bench run --seed` plays it, cut to `num_requests`."""
        case = self.task.case(self.load, seed, self.lengths)
        first = slice(self.num_requests)
        if self.num_requests is None or self.num_requests >= len(case.trace):
            return case
        columns = {field.name: getattr(case.trace, field.name)[first] for field in dataclasses.fields(Trace)}
        return dataclasses.replace(case, trace=Trace(**columns))

    def draw_case(self, generator: np.random.Generator) -> Case:
        """Return the case of a seed drawn from a generator."""
        return self.case(int(generator.integers(FIRST_DRAWN_SEED, SEED_LIMIT)))

    def stepper(self, num_envs: int) -> Stepper:
        """Return a simulator for `num_envs` episodes at once, with room for traces half as long again as seed 0's.

        A longer one makes it grow; that copies its arrays, so it should be rare.
        """
        room = len(self.case(0).trace) * 3 // 2
        return Stepper(self.task.cluster, num_envs=num_envs, max_requests=min(room, self.num_requests or room))


def make_episodes(task: str | Task, load: float | None, num_requests: int | None, lengths: str | None) -> Episodes:
    """Return the episodes that an environment's arguments ask for.

    Args:
        task: Id of a routing task, or a task of one's own.
        load: Fraction of the task's reference rate; None for the first of its default loads.
        num_requests: At least 1, or None for whole traces.
        lengths: Path of a lengths file, for tasks that need one.

    Raises:
        UnknownTaskError: If no task has this id.
        InvalidSpecError: If the task is of another track, or a number is out of range.
        InvalidTraceError: If the task needs a lengths file and has none, or it cannot be read.
    """
    found = task if isinstance(task, Task) else get_task(task)
    if found.track != "routing":
        raise InvalidSpecError(f"task of this environment must be of the routing track ({found.id} is {found.track})")
    if num_requests is not None and (not isinstance(num_requests, int | np.integer) or num_requests < 1):
        raise InvalidSpecError(f"num_requests must be an integer >= 1, or None for whole traces (got {num_requests!r})")
    known = None if lengths is None else read_lengths(lengths)
    if found.needs_lengths and known is None:
        raise InvalidSpecError(f"{found.id} needs {found.lengths_hint}: pass its path as lengths=...")
    return Episodes(
        task=found, load=found.default_loads[0] if load is None else load, num_requests=num_requests, lengths=known
    )


def observation_space(cluster: ClusterSpec) -> spaces.Space[Observation]:
    """Return the space of one question: the request, every replica, the cluster; all quantities are at least 0."""

    def box(*shape: int) -> spaces.Box:
        return spaces.Box(0.0, np.inf, shape, np.float32)

    boxes: dict[str, spaces.Space[Any]] = {
        "request": box(len(REQUEST_FIELDS)),
        "replicas": box(cluster.num_replicas, len(REPLICA_FIELDS)),
        "cluster": box(len(CLUSTER_FIELDS)),
    }
    return cast("spaces.Space[Observation]", spaces.Dict(boxes))


def action_masks(replicas: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Return which actions are allowed: replicas that are ready, and HOLD always; int8, shape (num_envs, N + 1).

    Args:
        replicas: Replica observation; shape (num_envs, N, fields). At the end of an episode, when it is all zeros, HOLD
            alone is left, so that a masked sampler has something to draw.
    """
    masks = np.ones((replicas.shape[0], replicas.shape[1] + 1), dtype=np.int8)
    masks[:, :-1] = replicas[:, :, _READY]
    return masks


def end_info(stepper: Stepper, e: int) -> dict[str, Any]:
    """Return what is told of an episode at its end, and not before."""
    return {
        "status": stepper.status(e),
        "cost": stepper.cost(e),
        "num_requests": stepper.num_requests(e),
        "decision_hash": f"{stepper.decision_hash(e):016x}",
    }


def invalid_action(found: object, num_replicas: int) -> InvalidAction:
    """Return the error for an action outside the action space."""
    return InvalidAction(
        f"an action must be a replica 0..{num_replicas - 1} or {num_replicas} to hold, as an integer (got {found!r})"
    )


def picture(stepper: Stepper, e: int, last_action: int | None) -> str:
    """Return a few lines that show run e: time, request, one bar of KV blocks per replica, the last action."""
    num_replicas = stepper.spec.num_replicas
    lines = [f"t = {stepper.now_s(e):.3f} s"]
    if stepper.waits[e]:
        prompt, waited_s = (stepper.request[e, REQUEST_FIELDS.index(name)] for name in ("prompt_tokens", "waited_s"))
        lines[0] += f", {stepper.cluster[e, CLUSTER_FIELDS.index('num_held')]:.0f} held"
        lines.append(f"request of {prompt:.0f} prompt tokens, waited {waited_s:.3f} s")
        for r, row in enumerate(stepper.replicas[e]):
            share = row[_ALLOCATED] / row[_CAPACITY]
            bar = ("#" * round(float(share) * _BAR)).ljust(_BAR, ".")
            counts = f"{row[_RUNNING]:4.0f} running {row[_WAITING]:4.0f} waiting"
            lines.append(f"replica {r} [{bar}] {share:4.0%} KV {counts}")
    else:
        lines.append(f"ended: {stepper.status(e)}, mean latency {stepper.cost(e):.3f} s")
    if last_action is not None:
        lines.append(f"last action: {'hold' if last_action == num_replicas else f'replica {last_action}'}")
    return "\n".join(lines) + "\n"
