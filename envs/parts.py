"""The kinds of questions to an agent: of each its observation, its actions, their masks, and words for both.

An environment of a track is one part; the cluster environment is all three.
"""

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import InvalidAction

from glia_bench.cluster import ClusterSpec
from glia_bench.features import HOLD
from glia_bench.sim.stepper import (
    ASK_ADMIT,
    ASK_ROUTE,
    ASK_SCALE,
    CLUSTER_FIELDS,
    ENGINE_FIELDS,
    POOL_FIELDS,
    REPLICA_FIELDS,
    REQUEST_FIELDS,
    WAITING_FIELDS,
    WAITING_SLOTS,
    WINDOW_FIELDS,
    WINDOW_SPANS_S,
    Stepper,
)

Ints: TypeAlias = npt.NDArray[np.int64]
Masks: TypeAlias = npt.NDArray[np.int8]

MOST_STEP = 2
"""Replicas by which one action can change the size of a pool."""

_BAR = 30


class Part(ABC):
    """One kind of question.

    Attributes:
        name: Its key in the cluster environment's actions and masks.
        asked: Why the stepper stops at it.
        shapes: Arrays of the stepper that are its observation, with the shape of each for one run.
        actions: Number of actions, of each component: Discrete(n), or MultiDiscrete where there are several.
    """

    name: str
    asked: int
    shapes: dict[str, tuple[int, ...]]
    actions: Ints

    @property
    def space(self) -> spaces.Space[Any]:
        """The space of one action."""
        return spaces.Discrete(int(self.actions)) if self.actions.ndim == 0 else spaces.MultiDiscrete(self.actions)

    @abstractmethod
    def masks(self, stepper: Stepper) -> Masks:
        """Return which actions are allowed in each run that asks this, 1 or 0, one that changes nothing among them."""

    @property
    @abstractmethod
    def nothing(self) -> Masks:
        """The mask that allows only the action that changes nothing: of runs that ask something else, or have ended."""

    @abstractmethod
    def answers(self, stepper: Stepper, actions: Ints) -> Ints:
        """Return what the stepper is told for actions of the space."""

    @abstractmethod
    def rule(self) -> str:
        """Return what an action must be, for the error message."""

    @abstractmethod
    def words(self, action: Any) -> str:
        """Return an action in words."""

    @abstractmethod
    def picture(self, stepper: Stepper, e: int) -> list[str]:
        """Return lines that show the question that run e asks."""

    def checked(self, found: Any, num_envs: int) -> Ints:
        """Return the actions of all runs as int64.

        Raises:
            InvalidAction: If one is not in the space.
        """
        array = np.asarray(found)
        shape = (num_envs, *self.actions.shape)
        if array.shape != shape or array.dtype.kind not in "iu":
            raise InvalidAction(
                f"actions must be integers of shape {shape}, one per copy (got {array.dtype}, {array.shape})"
            )
        is_wrong = (array < 0) | (array >= self.actions)
        if is_wrong.any():
            raise self.invalid(array[np.argwhere(is_wrong)[0][0]].tolist())
        return array.astype(np.int64)

    def invalid(self, found: object) -> InvalidAction:
        """Return the error for what is no action."""
        return InvalidAction(f"an action must be {self.rule()} (got {found!r})")


class RoutePart(Part):
    """Where the request at the head of a held queue goes."""

    name, asked = "route", ASK_ROUTE

    def __init__(self, cluster: ClusterSpec) -> None:
        self.num_replicas = cluster.num_replicas
        self.actions = np.array(self.num_replicas + 1)
        self.shapes = {
            "request": (len(REQUEST_FIELDS),),
            "replicas": (self.num_replicas, len(REPLICA_FIELDS)),
            "cluster": (len(CLUSTER_FIELDS),),
        }

    def masks(self, stepper: Stepper) -> Masks:
        """Replicas that are ready, and holding."""
        ready = stepper.seen["replicas"][:, :, REPLICA_FIELDS.index("ready")]
        return _and_last(ready)

    @property
    def nothing(self) -> Masks:
        """Holding."""
        return _last(self.num_replicas)

    def answers(self, stepper: Stepper, actions: Ints) -> Ints:
        """A replica, or HOLD."""
        return np.where(actions == self.num_replicas, HOLD, actions)

    def rule(self) -> str:
        """A replica or the index after the last."""
        return f"a replica 0..{self.num_replicas - 1} or {self.num_replicas} to hold, as an integer"

    def words(self, action: Any) -> str:
        """The replica, or hold."""
        return "hold" if action == self.num_replicas else f"replica {action}"

    def picture(self, stepper: Stepper, e: int) -> list[str]:
        """Request, and one bar of KV blocks per replica."""
        request, cluster = (
            dict(zip(fields, stepper.seen[name][e], strict=True))
            for name, fields in (("request", REQUEST_FIELDS), ("cluster", CLUSTER_FIELDS))
        )
        lines = [
            f"{cluster['num_held']:.0f} held",
            f"request of {request['prompt_tokens']:.0f} prompt tokens, waited {request['waited_s']:.3f} s",
        ]
        for r, row in enumerate(stepper.seen["replicas"][e]):
            of = dict(zip(REPLICA_FIELDS, row, strict=True))
            share = of["allocated_blocks"] / of["capacity_blocks"]
            lines.append(f"replica {r} {_bar(share)} {of['running']:4.0f} running {of['waiting']:4.0f} waiting")
        return lines


class AdmitPart(Part):
    """Whom a replica admits to the iteration that it forms."""

    name, asked = "admit", ASK_ADMIT
    actions = np.array(WAITING_SLOTS + 1)

    def __init__(self) -> None:
        self.shapes = {"waiting": (WAITING_SLOTS, len(WAITING_FIELDS)), "engine": (len(ENGINE_FIELDS),)}

    def masks(self, stepper: Stepper) -> Masks:
        """Waiting requests that fit, and stopping."""
        return _and_last(stepper.seen["waiting"][:, :, WAITING_FIELDS.index("fits")])

    @property
    def nothing(self) -> Masks:
        """Stopping."""
        return _last(WAITING_SLOTS)

    def answers(self, stepper: Stepper, actions: Ints) -> Ints:
        """A place in the waiting queue, or -1."""
        return np.where(actions == WAITING_SLOTS, -1, actions)

    def rule(self) -> str:
        """A place or the index after the last."""
        return f"a place 0..{WAITING_SLOTS - 1} in the waiting queue or {WAITING_SLOTS} to stop, as an integer"

    def words(self, action: Any) -> str:
        """The place, or stop."""
        return "stop" if action == WAITING_SLOTS else f"admit place {action}"

    def picture(self, stepper: Stepper, e: int) -> list[str]:
        """The replica's blocks, and the first few of its queue."""
        of = dict(zip(ENGINE_FIELDS, stepper.seen["engine"][e], strict=True))
        share = 1 - of["free_blocks"] / of["capacity_blocks"]
        lines = [
            f"{of['waiting']:.0f} waiting",
            f"replica {of['replica']:.0f} {_bar(share)} {of['running']:4.0f} running, "
            f"{of['budget_left']:.0f} tokens left",
        ]
        for place, row in enumerate(stepper.seen["waiting"][e, : min(int(of["waiting"]), 5)]):
            of = dict(zip(WAITING_FIELDS, row, strict=True))
            fits = "fits" if of["fits"] else "does not fit"
            lines.append(f"place {place}: {of['prefill_tokens']:.0f} tokens, waited {of['waited_s']:.3f} s, {fits}")
        return lines


class ScalePart(Part):
    """By how much the size of each pool changes."""

    name, asked = "scale", ASK_SCALE

    def __init__(self, cluster: ClusterSpec) -> None:
        self.pools = cluster.pools
        self.smallest = np.array([pool.smallest for pool in self.pools])
        self.largest = np.array([pool.largest for pool in self.pools])
        self.actions = np.full(len(self.pools), 2 * MOST_STEP + 1)
        self.shapes = {
            "window": (len(WINDOW_SPANS_S), len(self.pools), len(WINDOW_FIELDS)),
            "pools": (len(self.pools), len(POOL_FIELDS)),
        }

    def masks(self, stepper: Stepper) -> Masks:
        """Changes that stay within the quota."""
        sizes = stepper.desired[:, :, None] + np.arange(-MOST_STEP, MOST_STEP + 1)
        masks: Masks = ((sizes >= self.smallest[:, None]) & (sizes <= self.largest[:, None])).astype(np.int8)
        return masks

    @property
    def nothing(self) -> Masks:
        """The same sizes."""
        mask = np.zeros((len(self.pools), 2 * MOST_STEP + 1), dtype=np.int8)
        mask[:, MOST_STEP] = 1
        return mask

    def answers(self, stepper: Stepper, actions: Ints) -> Ints:
        """Sizes; what would leave the quota goes to its end."""
        sizes: Ints = np.clip(stepper.desired + actions - MOST_STEP, self.smallest, self.largest)
        return sizes

    def rule(self) -> str:
        """One number per pool."""
        most = 2 * MOST_STEP
        return f"{len(self.pools)} integers 0..{most}, one per pool: {MOST_STEP} more than the change of its size"

    def words(self, action: Any) -> str:
        """The change of each pool."""
        return ", ".join(f"{pool.name} {step - MOST_STEP:+d}" for pool, step in zip(self.pools, action, strict=True))

    def picture(self, stepper: Stepper, e: int) -> list[str]:
        """One line per pool."""
        lines = ["asked for sizes"]
        for k, pool in enumerate(self.pools):
            of = dict(zip(WINDOW_FIELDS, stepper.seen["window"][e, 0, k], strict=True))
            states = ", ".join(f"{of[name]:.1f} {name}" for name in ("ready", "loading", "draining"))
            lines.append(
                f"{pool.name}: {stepper.desired[e, k]} wanted, {states}; {of['running']:.0f} running, "
                f"{of['waiting']:.0f} waiting"
            )
        return lines


def _bar(share: float) -> str:
    return f"[{('#' * round(float(share) * _BAR)).ljust(_BAR, '.')}] {share:4.0%} KV"


def _and_last(allowed: npt.NDArray[np.float32]) -> Masks:
    masks = np.ones((allowed.shape[0], allowed.shape[1] + 1), dtype=np.int8)
    masks[:, :-1] = allowed
    return masks


def _last(index: int) -> Masks:
    mask = np.zeros(index + 1, dtype=np.int8)
    mask[index] = 1
    return mask
