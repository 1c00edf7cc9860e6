"""Of every track, the vector environment equals Gymnasium's SyncVectorEnv around single environments, step by step."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from glia_bench.envs import (
    AutoscalingEnv,
    AutoscalingVectorEnv,
    ClusterEnv,
    ClusterVectorEnv,
    RoutingEnv,
    RoutingVectorEnv,
    SchedulingEnv,
    SchedulingVectorEnv,
)
from glia_bench.tasks.task import Task

NUM_ENVS = 3
ENVS: dict[str, tuple[Any, Any]] = {
    "routing": (RoutingEnv, RoutingVectorEnv),
    "scheduling": (SchedulingEnv, SchedulingVectorEnv),
    "autoscaling": (AutoscalingEnv, AutoscalingVectorEnv),
    "cluster": (ClusterEnv, ClusterVectorEnv),
}

Make = Callable[..., Task]


def drawn(masks: Any, rng: np.random.Generator) -> Any:
    """Return an allowed action of each copy; the first of a copy that has no mask."""
    if isinstance(masks, dict):
        return {name: drawn(mask, rng) for name, mask in masks.items() if not name.startswith("_")}
    return (rng.random(masks.shape) * masks).argmax(axis=-1)


def arguments(track: str, task: Task) -> dict[str, Any]:
    """Return what makes an environment of a task."""
    return {"task": task, **({"interval_s": 1.0} if track in ("autoscaling", "cluster") else {})}


def assert_same(one: Any, other: Any) -> None:
    """Compare everything that a step or reset returned, types and bits."""
    for found, expected in zip(one, other, strict=True):
        assert data_equivalence(found, expected, exact=True), f"{found}\n{expected}"


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("track", ENVS)
def test_equals_single_environments(track: str, mode: AutoresetMode, make_task: Make) -> None:
    """Observations, rewards, ends, masks and infos agree over several episodes, whose rewards sum to their costs."""
    single, many = ENVS[track]
    kwargs = arguments(track, make_task(track, 1, objective="gpu_seconds_slo"))
    vector = many(NUM_ENVS, autoreset_mode=mode, **kwargs)
    singles = SyncVectorEnv([lambda: single(**kwargs)] * NUM_ENVS, autoreset_mode=mode)
    rng = np.random.default_rng(0)
    outcome = vector.reset(seed=0)
    assert_same(outcome, singles.reset(seed=0))
    sums, num_ends, num_steps = np.zeros(NUM_ENVS), 0, 0
    while num_ends < 2 * NUM_ENVS or num_steps < 80:
        actions = drawn(outcome[-1]["action_mask"], rng)
        outcome = vector.step(actions)
        assert_same(outcome, singles.step(actions))
        _, rewards, ended, _, infos = outcome
        sums += rewards
        num_steps += 1
        told = infos.get("final_info", infos)
        for e in np.flatnonzero(ended):
            assert sums[e] == -told["cost"][e]
            assert told["status"][e] == "ok"
            sums[e] = 0.0
            num_ends += 1
        if mode == AutoresetMode.DISABLED and ended.any():
            outcome = vector.reset(options={"reset_mask": ended})
            assert_same(outcome, singles.reset(options={"reset_mask": ended.copy()}))
            infos = outcome[-1]
            told_now = infos["_action_mask"]
            assert told_now.tolist() == ended.tolist()
            # copies that were not reset keep their question: their masks are those of the step before
            outcome = (*outcome[:-1], {"action_mask": _masks_of(vector)})


def _masks_of(vector: Any) -> Any:
    masks = vector.game.masks()
    return masks if len(masks) > 1 else next(iter(masks.values()))


@pytest.mark.parametrize("track", ENVS)
def test_made_by_gymnasium(track: str) -> None:
    """make_vec takes the vector class by itself; what it samples and shows is in its spaces."""
    envs = gymnasium.make_vec(f"GliaBench/{track.capitalize()}-v0", num_envs=2, num_requests=20, render_mode="ansi")
    assert isinstance(envs, ENVS[track][1])
    observations, _ = envs.reset(seed=1)
    assert observations in envs.observation_space
    envs.action_space.seed(1)
    assert envs.step(envs.action_space.sample())[0] in envs.observation_space
    pictures = envs.render()
    assert isinstance(pictures, tuple)
    assert all("last action: " in str(text) or "ended: " in str(text) for text in pictures)
    envs.close()


@pytest.mark.parametrize(
    ("track", "actions", "message"),
    [
        ("scheduling", [0.0, 1.0], r"integers of shape \(2,\), one per copy \(got float64"),
        ("scheduling", [0, 33], r"place 0\.\.31 in the waiting queue or 32 to stop, as an integer \(got 33\)"),
        ("autoscaling", [[0], [5]], r"integers of shape \(2, 2\), one per copy \(got int64, \(2, 1\)\)"),
        ("autoscaling", [[0, 0], [5, 1]], r"one per pool: 2 more than the change of its size \(got \[5, 1\]\)"),
        ("cluster", [0, 0], "must be a dict of route, admit, scale"),
        ("cluster", {"route": [0, 0], "admit": [0, 0]}, r"must be a dict of route, admit, scale \(got \['route'"),
    ],
)
def test_wrong_actions_are_refused(track: str, actions: Any, message: str, make_task: Make) -> None:
    """What is no action of every copy raises, names the rule, and changes nothing."""
    kwargs = arguments(track, make_task(track, 1))
    vector, other = (ENVS[track][1](2, **kwargs) for _ in range(2))
    _, infos = vector.reset(seed=0)
    other.reset(seed=0)
    with pytest.raises(InvalidAction, match=message):
        vector.step(actions)
    good = drawn(infos["action_mask"], np.random.default_rng(0))
    assert_same(vector.step(good), other.step(good))
