"""Many episodes side by side, all advanced by one kernel call: of all tracks, but for their role.

Step by step it equals Gymnasium's SyncVectorEnv around single environments, seeds, autoreset and infos included; a test
compares. Only copies whose episode ends cost a Python loop.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from glia_bench.envs.game import Actions, Game, Observation, Role
from glia_bench.errors import InvalidSpecError
from glia_bench.tasks.task import Task

Seeds: TypeAlias = int | Sequence[int | None] | None


class ManyEnv(VectorEnv[Observation, Actions, npt.NDArray[Any]]):
    """Many episodes side by side."""

    metadata: dict[str, Any] = {  # noqa: RUF012 # no ClassVar in Gymnasium
        "render_modes": ["ansi"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }
    role: ClassVar[Role]

    def __init__(
        self,
        num_envs: int = 1,
        *,
        task: str | Task | None = None,
        load: float | None = None,
        num_requests: int | None = None,
        lengths: str | None = None,
        interval_s: float | None = None,
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        copy: bool = True,
    ) -> None:
        """Make the environments.

        Args:
            num_envs: How many.
            task: As of `SingleEnv`, like the next four.
            load: Fraction of the task's reference rate.
            num_requests: Only the first so many requests of each trace.
            lengths: Path of a lengths file.
            interval_s: Time between two questions about sizes.
            render_mode: "ansi" or None.
            autoreset_mode: When an ended episode gives way to the next: at the next step, in the same step, or never.
            copy: Whether observations are copies; if not, every step rewrites the arrays handed out before.
        """
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.copy = copy
        options = {"load": load, "num_requests": num_requests, "lengths": lengths, "interval_s": interval_s}
        self.game = Game(self.role, num_envs, task=task, **options)  # type: ignore[arg-type]
        self._stepper = self.game.stepper
        self._generators: list[np.random.Generator | None] = [None] * num_envs
        self._generator_seeds: list[int | None] = [None] * num_envs
        self._was_reset = False
        self.single_observation_space = self.game.observation_space
        self.single_action_space = self.game.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode in every copy.

        Args:
            seed: An integer s gives copy i the seed s + i; a list gives each its own; without one, each goes on to the
                next seed that its own generator draws.
            options: "reset_mask", a boolean array, resets only some of the copies.
        """
        seeds: Sequence[int | None]
        if seed is None or isinstance(seed, int):
            seeds = [None if seed is None else seed + e for e in range(self.num_envs)]
        else:
            seeds = seed
        if len(seeds) != self.num_envs:
            raise InvalidSpecError(f"seed must be one integer or {self.num_envs}, one per copy (got {len(seeds)})")
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, dtype=np.bool_)))
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise InvalidSpecError(
                f"reset_mask must be a boolean array of shape ({self.num_envs},) that is true somewhere (got {mask!r})"
            )
        chosen = np.flatnonzero(mask).tolist()
        for e in chosen:
            self._load(e, seeds[e])
        self.game.start()
        self._was_reset = True
        return self._observations(), self._infos(mask)

    def step(
        self, actions: Actions
    ) -> tuple[Observation, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], dict[str, Any]]:
        """Answer in every copy; a copy that ended in the step before begins its next episode instead (NEXT_STEP).

        Raises:
            InvalidAction: If an action is not in the action space.
            ResetNeeded: Before the first reset; with autoreset disabled, if an ended copy was not reset.
        """
        stepper = self._stepper
        checked = self.game.checked(actions)
        waits = stepper.waits
        if not waits.all():
            if not self._was_reset or self.autoreset_mode == AutoresetMode.DISABLED:
                raise ResetNeeded(f"copies {np.flatnonzero(~waits).tolist()} have no episode in progress: call reset()")
            for e in np.flatnonzero(~waits).tolist():
                self._load(e, None)
        self.game.play(checked)
        rewards = stepper.rewards.copy()
        terminations = ~stepper.waits
        infos: dict[str, Any] = {}
        if terminations.any():
            infos = self._end(np.flatnonzero(terminations).tolist())
        infos |= self._infos(np.ones(self.num_envs, dtype=np.bool_))
        return self._observations(), rewards, terminations, np.zeros(self.num_envs, dtype=np.bool_), infos

    def render(self) -> tuple[str, ...] | None:
        """Return a picture of each copy in a few lines of text, or None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(self.game.picture(e) for e in range(self.num_envs))

    @property  # type: ignore[misc]  # cannot be set, as in SyncVectorEnv
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generators that case seeds are drawn from, one per copy."""
        return tuple(self._generator(e) for e in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int | None, ...]:  # type: ignore[override]
        """The seeds of those generators."""
        for e in range(self.num_envs):
            self._generator(e)  # made when first asked for
        return tuple(self._generator_seeds)

    def _generator(self, e: int, seed: int | None = None) -> np.random.Generator:
        """Return copy e's generator, made anew if there is a seed."""
        generator = self._generators[e]
        if generator is None or seed is not None:
            generator, self._generator_seeds[e] = seeding.np_random(seed)
            self._generators[e] = generator
        return generator

    def _load(self, e: int, seed: int | None) -> None:
        """Put copy e at the start of its next episode, as a single environment's reset does."""
        self.game.load(e, seed, self._generator(e, seed))

    def _end(self, ended: list[int]) -> dict[str, Any]:
        """Return the infos of the copies that have just ended; in SAME_STEP, begin their next episodes."""
        infos: dict[str, Any] = {}
        if self.autoreset_mode != AutoresetMode.SAME_STEP:
            for e in ended:
                infos = self._add_info(infos, self.game.end_info(e), e)
            return infos
        masks = self.game.masks()
        observations = self._observations()
        for e in ended:
            final_obs = {name: array[e].copy() for name, array in observations.items()}
            mine = {name: mask[e] for name, mask in masks.items()}
            final_info = {"action_mask": _unpacked(mine), **self.game.end_info(e)}
            infos = self._add_info(infos, {"final_obs": final_obs, "final_info": final_info}, e)
            self._load(e, None)
        self._stepper.start()
        return infos

    def _infos(self, told: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """Return the infos that every step and reset has, for the copies in `told`."""
        masks = self.game.masks()
        if not told.all():
            for mask in masks.values():
                mask[~told] = 0
        found: Any = _unpacked(masks)
        if isinstance(found, dict):
            found |= {f"_{name}": told.copy() for name in masks}
        return {"action_mask": found, "_action_mask": told.copy()}

    def _observations(self) -> Observation:
        observation = self.game.observation()
        return {name: array.copy() for name, array in observation.items()} if self.copy else observation


def _unpacked(masks: dict[str, Any]) -> Any:
    """Return the masks of all parts, or that of the only one."""
    return masks if len(masks) > 1 else next(iter(masks.values()))
