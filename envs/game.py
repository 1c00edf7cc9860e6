"""What the single and the vector environment of a track share: E episodes, what their agents see and may do.

A role says which questions an agent answers; everything else follows from its parts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import InvalidAction

from glia_bench.cluster import ClusterSpec, PrefixView
from glia_bench.envs.episodes import make_episodes
from glia_bench.envs.parts import Ints, Part, ScalePart
from glia_bench.errors import InvalidSpecError
from glia_bench.policy import Track
from glia_bench.sim.stepper import ASK_ADMIT, ASK_ROUTE, ASK_SCALE, Questions, Stepper
from glia_bench.tasks.task import Task

Observation: TypeAlias = dict[str, npt.NDArray[Any]]
Actions: TypeAlias = Ints | dict[str, Ints]
"""Actions of all copies: of one part, or by the name of the part."""

DEFAULT_INTERVAL_S = 15.0
"""As designs that declare none."""
_VIEWS: tuple[PrefixView, ...] = ("truth", "events", "own")


@dataclass(frozen=True, slots=True)
class Role:
    """What an agent of a track decides.

    Attributes:
        track: The track.
        task: Id of the task that is played if none is named.
        parts: Makes its kinds of questions for a cluster.
    """

    track: Track
    task: str
    parts: Callable[[ClusterSpec], tuple[Part, ...]]


class Game:
    """E episodes of a role.

    Attributes:
        episodes: Where cases come from.
        parts: The kinds of questions.
        stepper: The runs.
        observation_space, action_space: Of one copy.
    """

    def __init__(
        self,
        role: Role,
        num_envs: int,
        *,
        task: str | Task | None,
        load: float | None,
        num_requests: int | None,
        lengths: str | None,
        interval_s: float | None,
    ) -> None:
        self.episodes = make_episodes(role.track, role.task if task is None else task, load, num_requests, lengths)
        of_task = self.episodes.task
        self.parts = role.parts(of_task.cluster)
        asks = {part.asked for part in self.parts}
        views = [view for view in _VIEWS if of_task.cluster.has_prefix_cache and view in of_task.cluster.prefix_views]
        questions = Questions(
            route=ASK_ROUTE in asks,
            admit=ASK_ADMIT in asks,
            scale_s=_interval_s(of_task, interval_s, self.parts),
            prefix_view=views[0] if ASK_ROUTE in asks and views else "none",
        )
        self.stepper = Stepper(self.episodes.case(0), num_envs=num_envs, questions=questions, goal=self.episodes.goal)
        self._last: tuple[Actions, Ints] | None = None
        arrays: dict[str, spaces.Space[Any]] = {
            name: spaces.Box(0.0, np.inf, shape, np.float32)
            for part in self.parts
            for name, shape in part.shapes.items()
        }
        if len(self.parts) > 1:
            arrays["asked"] = spaces.Discrete(len(self.parts))
        self.observation_space = cast("spaces.Space[Observation]", spaces.Dict(arrays))
        self.action_space: spaces.Space[Any] = (
            spaces.Dict({part.name: part.space for part in self.parts}) if len(self.parts) > 1 else self.parts[0].space
        )

    def load(self, e: int, seed: int | None, generator: np.random.Generator) -> None:
        """Put copy e at the start of the case of a seed, or else of one that its generator draws."""
        episodes = self.episodes
        self.stepper.load(e, episodes.draw_case(generator) if seed is None else episodes.case(seed))

    def start(self) -> None:
        """Take the copies that were loaded to their first question."""
        self.stepper.start()
        self._last = None

    def observation(self) -> Observation:
        """Return what all copies see; the arrays that the next step rewrites."""
        found: Observation = {name: self.stepper.seen[name] for part in self.parts for name in part.shapes}
        if len(self.parts) > 1:
            found["asked"] = np.zeros(len(self.stepper.why), dtype=np.int64)
            for k, part in enumerate(self.parts):
                found["asked"][self.stepper.why == part.asked] = k
        return found

    def masks(self) -> dict[str, npt.NDArray[np.int8]]:
        """Return which actions each copy may take, by part; where a part is not asked, only the one without effect."""
        masks = {}
        for part in self.parts:
            masks[part.name] = part.masks(self.stepper)
            masks[part.name][self.stepper.why != part.asked] = part.nothing
        return masks

    def checked(self, actions: Any) -> Actions:
        """Return the actions of all copies as int64.

        Raises:
            InvalidAction: If one is not in the action space.
        """
        num_envs = len(self.stepper.why)
        if len(self.parts) == 1:
            return self.parts[0].checked(actions, num_envs)
        names = [part.name for part in self.parts]
        if not isinstance(actions, dict) or set(actions) != set(names):
            found = list(actions) if isinstance(actions, dict) else actions
            raise InvalidAction(f"an action must be a dict of {', '.join(names)} (got {found!r})")
        return {part.name: part.checked(actions[part.name], num_envs) for part in self.parts}

    def invalid(self, found: object) -> InvalidAction:
        """Return the error for what is no action of one copy."""
        if len(self.parts) == 1:
            return self.parts[0].invalid(found)
        rules = "; ".join(f"{part.name}: {part.rule()}" for part in self.parts)
        return InvalidAction(f"an action must be a dict of all parts, {rules} (got {found!r})")

    def play(self, actions: Actions) -> None:
        """Answer in all copies that wait, and go on to their next questions."""
        stepper = self.stepper
        answers, sizes = np.zeros(len(stepper.why), dtype=np.int64), None
        for part in self.parts:
            mine = part.answers(stepper, actions[part.name] if isinstance(actions, dict) else actions)
            if part.asked == ASK_SCALE:
                sizes = mine
            else:
                answers = np.where(stepper.why == part.asked, mine, answers)
        self._last = (actions, stepper.why.copy())
        stepper.run(answers, sizes)

    def end_info(self, e: int) -> dict[str, Any]:
        """Return what is told of an episode at its end, and not before."""
        stepper = self.stepper
        return {
            "status": stepper.status(e),
            "cost": float(stepper.costs[e]),
            "num_requests": stepper.num_requests(e),
            "decision_hash": f"{stepper.decision_hash(e):016x}",
        }

    def picture(self, e: int) -> str:
        """Return a few lines that show copy e: time, question, the last action."""
        stepper = self.stepper
        lines = [f"t = {stepper.now_s(e):.3f} s"]
        if stepper.waits[e]:
            part = next(part for part in self.parts if part.asked == stepper.why[e])
            first, *others = part.picture(stepper, e)
            lines = [f"{lines[0]}, {first}", *others]
        else:
            lines.append(f"ended: {stepper.status(e)}, cost {stepper.costs[e]:.3f}")
        if self._last is not None:
            actions, why = self._last
            for part in self.parts:
                if part.asked == why[e]:
                    mine = actions[part.name] if isinstance(actions, dict) else actions
                    lines.append(f"last action: {part.words(mine[e])}")
        return "\n".join(lines) + "\n"


def _interval_s(task: Task, interval_s: float | None, parts: tuple[Part, ...]) -> float | None:
    """Return at which interval sizes are asked for, or None."""
    if not any(isinstance(part, ScalePart) for part in parts):
        if interval_s is not None:
            raise InvalidSpecError(f"interval_s has no meaning here: nobody asks for sizes (got {interval_s})")
        return None
    if len(parts) == 1 and not task.cluster.is_elastic:
        raise InvalidSpecError(f"the size of {task.id}'s cluster is fixed: there is nothing to decide")
    found = DEFAULT_INTERVAL_S if interval_s is None else interval_s
    if not 1.0 <= found <= task.drain_s:
        raise InvalidSpecError(f"interval_s must be between 1 and the task's drain time, {task.drain_s} (got {found})")
    return found
