"""`GliaBench/Routing-v0`: the router of a cluster, one step per considered request.

The request at the head of the held queue, in arrival order, is the question; the action is a replica, or the last index
to hold, which ends this scan of the queue. Not offered: rejecting a request, or another order of the queue. What a step
means, word for word, is on docs/simulator.md; spaces, rewards and seeds are on docs/environments.md.
"""

from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from glia_bench.envs.episodes import (
    Observation,
    action_masks,
    end_info,
    invalid_action,
    make_episodes,
    observation_space,
    picture,
)
from glia_bench.features import HOLD
from glia_bench.sim.stepper import CLUSTER_FIELDS, REPLICA_FIELDS, REQUEST_FIELDS
from glia_bench.tasks.task import Task

Action: TypeAlias = np.int64


class RoutingEnv(gymnasium.Env[Observation, Action]):
    """One routing episode at a time.

    Rewards are the negative growth of the task's cost; those of an episode, added one after the other, are the negative
    cost to the last bit. All arrays that are handed out are copies.

    Attributes:
        request_fields, replica_fields, cluster_fields: Names of the columns of the observation's three arrays.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 # no ClassVar in Gymnasium
    request_fields = REQUEST_FIELDS
    replica_fields = REPLICA_FIELDS
    cluster_fields = CLUSTER_FIELDS

    def __init__(
        self,
        *,
        task: str | Task = "routing/paper-v0",
        load: float | None = None,
        num_requests: int | None = None,
        lengths: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Make the environment; arguments as in `episodes.make_episodes`, render_mode "ansi" or None."""
        self.render_mode = render_mode
        self._episodes = make_episodes(task, load, num_requests, lengths)
        self._stepper = self._episodes.stepper(1)
        self._num_replicas = self._episodes.task.cluster.num_replicas
        self._last_action: int | None = None
        self._answer = np.zeros(1, dtype=np.int64)
        self.observation_space = observation_space(self._episodes.task.cluster)
        self.action_space = spaces.Discrete(self._num_replicas + 1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode: the case of this seed, or of the next seed that `np_random` draws. No options."""
        super().reset(seed=seed)
        case = self._episodes.draw_case(self.np_random) if seed is None else self._episodes.case(seed)
        self._stepper.load(0, case)
        self._stepper.start()
        self._last_action = None
        return self._observation(), self._info()

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Answer for the considered request and go on to the next question or the end.

        Raises:
            InvalidAction: If the action is not in the action space.
            ResetNeeded: If no episode is in progress.
        """
        if not self._stepper.waits[0]:
            raise ResetNeeded("no episode is in progress: call reset() before the first step and after terminated")
        if not self.action_space.contains(action):
            raise invalid_action(action, self._num_replicas)
        self._last_action = int(action)
        self._answer[0] = HOLD if action == self._num_replicas else action
        self._stepper.run(self._answer)
        info = self._info()
        terminated = not self._stepper.waits[0]
        if terminated:
            info |= end_info(self._stepper, 0)
        return self._observation(), float(self._stepper.rewards[0]), terminated, False, info

    def render(self) -> str | None:
        """Return a picture of the cluster in a few lines of text, or None without a render mode."""
        return None if self.render_mode is None else picture(self._stepper, 0, self._last_action)

    def _observation(self) -> Observation:
        stepper = self._stepper
        return {
            "request": stepper.request[0].copy(),
            "replicas": stepper.replicas[0].copy(),
            "cluster": stepper.cluster[0].copy(),
        }

    def _info(self) -> dict[str, Any]:
        return {"action_mask": action_masks(self._stepper.replicas)[0]}
