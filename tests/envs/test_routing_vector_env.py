"""The vector environment equals Gymnasium's SyncVectorEnv around single environments, step by step."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from glia_bench.case import Trace
from glia_bench.envs import RoutingEnv, RoutingVectorEnv
from glia_bench.errors import InvalidSpecError
from glia_bench.tasks.task import Task
from glia_bench.workloads.lengths_file import Lengths

NUM_ENVS = 5
AUTORESET = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]

Make = Callable[..., tuple[RoutingVectorEnv, SyncVectorEnv]]


@pytest.fixture
def both(small_task: Task) -> Make:
    """Makes the same copies twice: advanced by one kernel call, and one after the other."""

    def make(mode: AutoresetMode, **kwargs: Any) -> tuple[RoutingVectorEnv, SyncVectorEnv]:
        kwargs = {"task": small_task, **kwargs}
        singles = SyncVectorEnv([lambda: RoutingEnv(**kwargs)] * NUM_ENVS, autoreset_mode=mode)
        return RoutingVectorEnv(NUM_ENVS, autoreset_mode=mode, **kwargs), singles

    return make


def assert_same(one: Any, other: Any) -> None:
    """Compare everything that a step or reset returned, types and bits."""
    assert len(one) == len(other)
    for found, expected in zip(one, other, strict=True):
        assert data_equivalence(found, expected, exact=True), f"{found}\n{expected}"


def actions_of(seed: int, num_steps: int, num_actions: int = 4) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return random actions, one row per step."""
    return np.random.default_rng(seed).integers(0, num_actions, (num_steps, NUM_ENVS))


@pytest.mark.parametrize("mode", AUTORESET)
def test_equals_single_environments(mode: AutoresetMode, both: Make) -> None:
    """Observations, rewards, ends and infos agree over many episodes, of which many outgrow the arrays' first size."""
    vector, singles = both(mode)
    assert_same(vector.reset(seed=0), singles.reset(seed=0))
    num_ends, longest = 0, 0
    for actions in actions_of(1, 700):
        outcome = vector.step(actions)
        assert_same(outcome, singles.step(actions))
        num_ends += int(outcome[2].sum())
        final = outcome[4].get("final_info", outcome[4])
        longest = max(longest, *final.get("num_requests", [0]))
    assert num_ends > 4 * NUM_ENVS
    assert longest > 2 * 20 * 3 // 2  # room was made for half as many again as seed 0 has: 20
    assert_same(vector.reset(), singles.reset())
    assert_same(vector.reset(seed=77), singles.reset(seed=77))


@pytest.mark.parametrize("mode", AUTORESET)
def test_equals_single_environments_on_the_paper_task(mode: AutoresetMode, both: Make) -> None:
    """The same on routing/paper-v0, cut to short episodes."""
    vector, singles = both(mode, task="routing/paper-v0", num_requests=40)
    assert_same(vector.reset(seed=3), singles.reset(seed=3))
    for actions in actions_of(2, 150, num_actions=5):
        assert_same(vector.step(actions), singles.step(actions))


@pytest.mark.parametrize("steps_before", [1, 20, 60, 100, 140])
def test_growing_leaves_runs_in_progress_alone(steps_before: int, small_task: Task) -> None:
    """A longer case in one copy makes the arrays grow while another is busy: it finishes as if alone."""

    def trace(rate_urps: int, seed: int, lengths: Lengths | None, *_varied: object) -> Trace:
        rng = np.random.default_rng(seed)
        num = {0: 100, 1: 140, 3: 400}.get(seed, 20)  # the arrays' first size is 150
        prompt_tokens, output_tokens = rng.integers(1, 20, num), rng.integers(10, 60, num)
        arrival_ps = np.arange(num) * 6_000_000_000
        return Trace(
            arrival_ps=arrival_ps, prompt_tokens=prompt_tokens, output_tokens=output_tokens, max_tokens=output_tokens
        )

    task = replace(small_task, trace=trace)
    vector, single = RoutingVectorEnv(3, task=task), RoutingEnv(task=task)
    vector.reset(seed=[0, 1, 1])
    observation, _ = single.reset(seed=1)
    rng = np.random.default_rng(steps_before)
    terminated = False
    step = 0
    while not terminated:
        if step == steps_before:
            preemptions = observation["replicas"][:, RoutingEnv.replica_fields.index("preemptions")]
            assert preemptions.sum() > 0 or step < 60
            vector.reset(seed=[3, None, None], options={"reset_mask": np.array([True, False, False])})
        action = 3 if rng.random() < 0.4 else int(rng.integers(2))
        observations, rewards, ended, _, infos = vector.step(np.array([3, action, action]))
        observation, reward, terminated, _, info = single.step(np.int64(action))
        for e in (1, 2):
            assert all(np.array_equal(array[e], observation[name]) for name, array in observations.items())
            assert (rewards[e], ended[e]) == (reward, terminated)
        step += 1
    assert step > steps_before
    assert infos["decision_hash"].tolist() == [None, info["decision_hash"], info["decision_hash"]]


def test_disabled_autoreset_waits_for_a_reset_mask(both: Make) -> None:
    """Without autoreset an ended copy must be reset by mask; the others go on, as in SyncVectorEnv."""
    vector, singles = both(AutoresetMode.DISABLED)
    assert_same(vector.reset(seed=0), singles.reset(seed=0))
    num_ends = 0
    for actions in actions_of(4, 400):
        outcome = vector.step(actions)
        assert_same(outcome, singles.step(actions))
        if outcome[2].any():
            num_ends += 1
            with pytest.raises(ResetNeeded, match=r"have no episode in progress: call reset\(\)"):
                vector.step(actions)
            mask = outcome[2]
            assert_same(vector.reset(options={"reset_mask": mask}), singles.reset(options={"reset_mask": mask.copy()}))
    assert num_ends > 5


def test_seeds_may_be_a_list(both: Make) -> None:
    """A list seeds each copy, None leaves a copy to its own generator, and both keep their generators alike."""
    vector, singles = both(AutoresetMode.NEXT_STEP)
    for seed in (7, [3, 1, 4, 1, 5], [None, 2, None, None, 9], None):
        one, other = vector.reset(seed=seed), singles.reset(seed=seed)  # type: ignore[arg-type]
        assert_same(one, other)
    assert [generator.bit_generator.state for generator in vector.np_random] == [
        generator.bit_generator.state for generator in singles.np_random
    ]
    assert vector.np_random_seed == singles.np_random_seed == (3, 2, 4, 1, 9)
    assert len(set(RoutingVectorEnv(3).np_random_seed)) == 3


@pytest.mark.parametrize("mode", AUTORESET)
def test_rewards_sum_to_the_cost(mode: AutoresetMode, small_task: Task) -> None:
    """The rewards of each episode, added one after the other, are minus its cost to the last bit."""
    vector = RoutingVectorEnv(8, task=small_task, autoreset_mode=mode)
    vector.reset(seed=20)
    sums = np.zeros(8)
    num_ends = 0
    rng = np.random.default_rng(0)
    for _ in range(600):
        _, rewards, ended, _, infos = vector.step(rng.integers(0, 4, 8))
        sums += rewards
        told = infos.get("final_info", infos)
        for e in np.flatnonzero(ended):
            assert sums[e] == -told["cost"][e]
            assert told["status"][e] == "ok"
            sums[e] = 0.0
            num_ends += 1
    assert num_ends > 20


def test_holding_for_ever_ends_each_copy(small_task: Task) -> None:
    """All copies that hold for ever end as bad decisions, and the next episodes begin."""
    vector = RoutingVectorEnv(3, task=small_task)
    vector.reset(seed=0)
    status: set[str] = set()
    for _ in range(400):
        _, _, ended, _, infos = vector.step(np.full(3, 3))
        status |= {infos["status"][e] for e in np.flatnonzero(ended)}
    assert status == {"bad_decision"}


def test_copies_are_a_choice(small_task: Task) -> None:
    """Observations handed out stay as they were; with copy=False every step rewrites them."""
    for copy in (True, False):
        vector = RoutingVectorEnv(2, task=small_task, copy=copy)
        first, _ = vector.reset(seed=0)
        before = {name: array.copy() for name, array in first.items()}
        second = vector.step(np.array([0, 1]))[0]
        assert data_equivalence(first, before, exact=True) is copy
        assert all(np.shares_memory(first[name], second[name]) is not copy for name in first)


def test_made_by_gymnasium() -> None:
    """make_vec takes this class by itself, states the autoreset mode, and wrappers for vector environments fit."""
    envs = gymnasium.make_vec("GliaBench/Routing-v0", num_envs=3, num_requests=20, render_mode="ansi")
    assert isinstance(envs, RoutingVectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert RoutingVectorEnv.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observations, _ = envs.reset(seed=1)
    assert observations in envs.observation_space
    envs.action_space.seed(1)
    assert envs.step(envs.action_space.sample())[0] in envs.observation_space
    pictures = envs.render()
    assert isinstance(pictures, tuple)
    assert [str(text).count("replica") for text in pictures] == [4 + ("hold" not in str(text)) for text in pictures]
    same_step = gymnasium.make_vec("GliaBench/Routing-v0", num_envs=2, num_requests=20, autoreset_mode="SameStep")
    assert same_step.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    recorder = gymnasium.wrappers.vector.RecordEpisodeStatistics(envs)
    recorder.reset(seed=2)
    infos: dict[str, Any] = {}
    while "episode" not in infos:
        infos = recorder.step(np.zeros(3, dtype=np.int64))[4]
    ended = infos["_episode"]
    assert np.array_equal(infos["episode"]["r"][ended], -infos["cost"][ended])
    envs.close()
    envs.close()


def test_bad_calls_are_refused(small_task: Task) -> None:
    """Wrong actions, seeds and masks raise with the rule and the value, and change nothing."""
    vector = RoutingVectorEnv(2, task=small_task)
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        vector.step(np.array([0, 0]))
    vector.reset(seed=0)
    for actions, message in (
        (np.array([0.0, 1.0]), r"integers of shape \(2,\), one per copy \(got float64"),
        (np.array([0]), r"integers of shape \(2,\), one per copy \(got int64, \(1,\)\)"),
        (np.array([1, 4]), r"a replica 0\.\.2 or 3 to hold, as an integer \(got 4\)"),
        (np.array([-1, 0]), r"a replica 0\.\.2 or 3 to hold, as an integer \(got -1\)"),
    ):
        with pytest.raises(InvalidAction, match=message):
            vector.step(actions)
    with pytest.raises(InvalidSpecError, match=r"seed must be one integer or 2, one per copy \(got 3\)"):
        vector.reset(seed=[1, 2, 3])
    for mask in (np.array([True]), np.array([1, 0]), np.array([False, False])):
        with pytest.raises(InvalidSpecError, match=r"reset_mask must be a boolean array of shape \(2,\)"):
            vector.reset(options={"reset_mask": mask})
    with pytest.raises(InvalidSpecError, match="num_envs"):
        RoutingVectorEnv(0, task=small_task)
    other = RoutingVectorEnv(2, task=small_task)
    other.reset(seed=0)
    assert_same(vector.step(np.array([0, 1])), other.step(np.array([0, 1])))
