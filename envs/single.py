"""One episode at a time: what the environments of all tracks are, but for their role."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from glia_bench.envs.game import Game, Observation, Role
from glia_bench.tasks.task import Task


class SingleEnv(gymnasium.Env[Observation, Any]):
    """One episode at a time.

    Rewards are the negative growth of the task's cost; those of an episode, added one after the other, are the negative
    cost to the last bit. All arrays that are handed out are copies.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 # no ClassVar in Gymnasium
    role: ClassVar[Role]

    def __init__(
        self,
        *,
        task: str | Task | None = None,
        load: float | None = None,
        num_requests: int | None = None,
        lengths: str | None = None,
        interval_s: float | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Make the environment.

        Args:
            task: Id of a task of the track, or a task of one's own; None for the role's.
            load: Fraction of the task's reference rate; None for the first of its default loads.
            num_requests: Only the first so many requests of each trace; None for all.
            lengths: Path of a lengths file, for tasks that need one.
            interval_s: Of roles that set sizes, the time between two such questions; None for 15 s.
            render_mode: "ansi" or None.
        """
        self.render_mode = render_mode
        options = {"load": load, "num_requests": num_requests, "lengths": lengths, "interval_s": interval_s}
        self.game = Game(self.role, 1, task=task, **options)  # type: ignore[arg-type]
        self.observation_space = self.game.observation_space
        self.action_space = self.game.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode: the case of this seed, or of the next seed that `np_random` draws. No options."""
        super().reset(seed=seed)
        self.game.load(0, seed, self.np_random)
        self.game.start()
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Answer the question and go on to the next one or the end.

        Raises:
            InvalidAction: If the action is not in the action space.
            ResetNeeded: If no episode is in progress.
        """
        game = self.game
        if not game.stepper.waits[0]:
            raise ResetNeeded("no episode is in progress: call reset() before the first step and after terminated")
        if not self.action_space.contains(action):
            raise game.invalid(action)
        alone = {name: np.array([value]) for name, value in action.items()} if isinstance(action, dict) else [action]
        game.play(game.checked(alone))
        info = self._info()
        terminated = not game.stepper.waits[0]
        if terminated:
            info |= game.end_info(0)
        return self._observation(), float(game.stepper.rewards[0]), terminated, False, info

    def render(self) -> str | None:
        """Return a picture of the cluster in a few lines of text, or None without a render mode."""
        return None if self.render_mode is None else self.game.picture(0)

    def _observation(self) -> Observation:
        return {name: array[0].copy() for name, array in self.game.observation().items()}

    def _info(self) -> dict[str, Any]:
        masks = {name: mask[0] for name, mask in self.game.masks().items()}
        return {"action_mask": masks if len(masks) > 1 else next(iter(masks.values()))}
