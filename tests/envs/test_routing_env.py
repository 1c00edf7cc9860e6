"""The single environment: Gymnasium's contract, exact rewards, seeds, and agreement with `simulate` on a case."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils import seeding
from gymnasium.utils.env_checker import data_equivalence

from glia_bench.case import Case, Trace
from glia_bench.envs import RoutingEnv
from glia_bench.envs.episodes import make_episodes
from glia_bench.errors import InvalidSpecError, InvalidTraceError, UnknownTaskError
from glia_bench.features import HOLD, Cluster, Memory, Replicas, Request
from glia_bench.loading import load_policy
from glia_bench.policy import Policy
from glia_bench.scoring.metrics import cost
from glia_bench.sim.engine import simulate
from glia_bench.tasks.catalog import get_task
from glia_bench.tasks.task import Task
from glia_bench.types import RunResult
from glia_bench.workloads.lengths_file import Lengths, read_lengths

ID = "GliaBench/Routing-v0"
PAPER = get_task("routing/paper-v0")
WAITING, RUNNING, READY = (RoutingEnv.replica_fields.index(name) for name in ("waiting", "running", "ready"))

Act = Callable[[dict[str, Any]], int]


def llq(observation: dict[str, Any]) -> int:
    """Fewest waiting and running requests, the lowest index on ties: the baseline of that name."""
    return int((observation["replicas"][:, WAITING] + observation["replicas"][:, RUNNING]).argmin())


def play(env: gymnasium.Env[Any, Any], act: Act, *, seed: int | None) -> tuple[float, list[int], dict[str, Any]]:
    """Play an episode; return the sum of its rewards, its actions and its last info."""
    observation, info = env.reset(seed=seed)
    total, actions, terminated = 0.0, [], False
    while not terminated:
        assert set(info) == {"action_mask"}
        actions.append(act(observation))
        observation, reward, terminated, truncated, info = env.step(actions[-1])
        total += float(reward)
        assert not truncated
    return total, actions, info


def random_actions(env: gymnasium.Env[Any, Any], seed: int, hold: float = 0.2) -> Act:
    """Return a policy that holds with some probability and else picks a replica."""
    rng = np.random.default_rng(seed)
    num_replicas = int(env.action_space.n) - 1  # type: ignore[attr-defined]
    return lambda _: num_replicas if rng.random() < hold else int(rng.integers(num_replicas))


def test_importing_the_core_does_not_import_gymnasium() -> None:
    """Only glia_bench.envs needs Gymnasium; `module:id` in gymnasium.make imports it by itself."""
    code = (
        "import sys, glia_bench.sim.engine, glia_bench.tasks.catalog, glia_bench.scoring.metrics;"
        "assert 'gymnasium' not in sys.modules;"
        "import gymnasium;"
        "env = gymnasium.make('glia_bench.envs:GliaBench/Routing-v0', num_requests=3);"
        "print(env.reset(seed=0)[0]['replicas'].shape)"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, "(4, 20)"), run.stderr


def test_spec_survives_json() -> None:
    """An environment can be made again from its spec as text, and then plays the same."""
    env = gymnasium.make(ID, num_requests=30, load=0.9)
    assert env.spec is not None
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.spec is not None
    assert json.loads(again.spec.to_json())["kwargs"] == {
        "task": "routing/paper-v0",
        "load": 0.9,
        "num_requests": 30,
    }
    assert data_equivalence(play(env, llq, seed=5), play(again, llq, seed=5), exact=True)


def test_seeded_rollouts_repeat(small_task: Task) -> None:
    """Equal seeds and actions give equal observations, rewards and infos, also in the episodes after the seeded one."""

    def rollout() -> list[Any]:
        env = RoutingEnv(task=small_task)
        act = random_actions(env, seed=3)
        found: list[Any] = [env.reset(seed=17)]
        for _ in range(600):
            found.append(env.step(np.int64(act({}))))
            if found[-1][2]:
                found.append(env.reset())
        return found

    first, second = rollout(), rollout()
    assert data_equivalence(first, second, exact=True)
    assert sum(len(entry) == 2 for entry in first) >= 3


def test_reset_without_a_seed_draws_the_next_one(small_task: Task) -> None:
    """Later episodes play case seeds from 2**20 on, drawn from the generator that the first seed started."""
    env, other = RoutingEnv(task=small_task), RoutingEnv(task=small_task)
    env.reset(seed=9)
    generator, _ = seeding.np_random(9)
    for _ in range(3):
        drawn = int(generator.integers(2**20, 2**31))
        assert data_equivalence(env.reset(), other.reset(seed=drawn), exact=True)
        for _ in range(15):
            assert data_equivalence(env.step(np.int64(0)), other.step(np.int64(0)), exact=True)


def test_unseeded_environments_differ(small_task: Task) -> None:
    """Without any seed, two environments play different cases."""
    ends = [play(RoutingEnv(task=small_task), llq, seed=None)[2]["cost"] for _ in range(2)]
    assert ends[0] != ends[1]


@pytest.mark.parametrize("num_requests", [400, None])
def test_llq_agrees_with_simulate(num_requests: int | None) -> None:
    """Driven by its observations, llq decides as in `simulate`; rewards sum to minus the same cost, bit for bit."""
    case = make_episodes("routing", PAPER, 1.0, num_requests, None).case(2)
    result = simulate(case, load_policy("llq"))
    total, actions, info = play(RoutingEnv(num_requests=num_requests), llq, seed=2)
    assert info["decision_hash"] == f"{result.decision_hash:016x}"
    assert (info["status"], len(actions)) == (result.status, result.num_decisions)
    assert total == -cost(case, result, PAPER)
    assert info["cost"] == cost(case, result, PAPER)


@pytest.mark.parametrize("seed", range(8))
def test_random_episodes_agree_with_simulate(
    seed: int, small_task: Task, replayed: Callable[[Case, Sequence[int]], RunResult]
) -> None:
    """A random episode with holds, replayed as a policy, has the same decisions and the same cost to the last bit."""
    env = RoutingEnv(task=small_task)
    total, actions, info = play(env, random_actions(env, seed), seed=seed)
    case = small_task.case(1.0, seed)
    result = replayed(case, [HOLD if action == 3 else action for action in actions])
    assert info["status"] == result.status == "ok"
    assert info["decision_hash"] == f"{result.decision_hash:016x}"
    assert info["num_requests"] == len(case.trace)
    assert total == -cost(case, result, small_task) == -info["cost"]
    assert result.records.restarts.sum() > 0 or seed > 0


def test_overload_is_charged_in_full() -> None:
    """One replica takes all: the cost passes 2**63 picoseconds after the last decision, and still is exact."""
    case = PAPER.case(1.0, 1)
    result = simulate(case, load_policy("do_nothing"))
    expected = cost(case, result, PAPER)
    assert expected * len(case.trace) > 2**63 / 10**12
    total, _, info = play(RoutingEnv(), lambda _: 0, seed=1)
    assert total == -expected == -info["cost"]


def test_holding_for_ever_is_a_bad_decision(small_task: Task) -> None:
    """After 60 s of an idle cluster the episode ends; every request is charged from its arrival to the horizon."""
    env = RoutingEnv(task=small_task, render_mode="ansi")
    total, actions, info = play(env, lambda _: 3, seed=4)
    case = small_task.case(1.0, 4)
    assert info["status"] == "bad_decision"
    assert len(actions) == len(case.trace)
    waited_ps = [case.horizon_ps - arrival for arrival in case.trace.arrival_ps.tolist()]
    assert total == -sum(waited_ps) / (len(case.trace) * 10**12) == -info["cost"]
    assert f"t = {60 + case.trace.arrival_ps[0] / 1e12:.3f} s" in str(env.render())


def test_environment_shows_what_a_policy_sees(small_task: Task) -> None:
    """Every column of every observation is the field that `route` would be given at that decision."""
    env = RoutingEnv(task=small_task)
    act = random_actions(env, seed=1, hold=0.5)
    views: list[dict[str, Any]] = []
    actions: list[int] = []

    def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
        seen = {**request._asdict(), "waited_s": cluster.now_s - request.arrival_s}
        views.append(
            {
                "request": [seen[name] for name in RoutingEnv.request_fields],
                "replicas": np.stack([getattr(replicas, name) for name in RoutingEnv.replica_fields], axis=1),
                "cluster": [getattr(cluster, name) for name in RoutingEnv.cluster_fields],
            }
        )
        answer = actions[len(views) - 1]
        return HOLD if answer == cluster.num_replicas else answer

    observation, info = env.reset(seed=6)
    shown, terminated = [], False
    while not terminated:
        shown.append(observation)
        assert info["action_mask"].tolist() == [1, 1, 1, 1]
        actions.append(act(observation))
        observation, _, terminated, _, info = env.step(np.int64(actions[-1]))
    policy = Policy(
        name="recorder", track="routing", kind="user", source="", sha256="", path="", routing={"route": route}
    )
    simulate(small_task.case(1.0, 6), policy, tier="python")
    assert len(views) == len(shown) > 100
    assert max(view["cluster"][0] for view in views) > 3
    for view, seen in zip(views, shown, strict=True):
        assert np.array_equal(view["replicas"].astype(np.float32), seen["replicas"])
        assert np.array_equal(np.float32(view["cluster"]), seen["cluster"])
        # waited_s: the policy's clock has a random origin, up to 1e6 s away, so seconds lose digits below 1e-9
        assert np.allclose(view["request"], seen["request"], rtol=1e-6, atol=1e-9)


def test_what_is_handed_out_stays_as_it_was(small_task: Task) -> None:
    """Observations and masks kept by the caller do not change with later steps; the end is all zeros, hold only."""
    env = RoutingEnv(task=small_task)
    observation, info = env.reset(seed=2)
    kept = [(observation, info, {name: array.copy() for name, array in observation.items()})]
    terminated = False
    while not terminated:
        observation, _, terminated, _, info = env.step(np.int64(llq(observation)))
        kept.append((observation, info, {name: array.copy() for name, array in observation.items()}))
    assert all(data_equivalence(observation, copy, exact=True) for observation, _, copy in kept)
    assert all(observation in env.observation_space for observation, _, _ in kept)
    assert all(info["action_mask"].dtype == np.int8 for _, info, _ in kept)
    assert all(info["action_mask"].tolist() == [1, 1, 1, 1] for _, info, _ in kept[:-1])
    assert info["action_mask"].tolist() == [0, 0, 0, 1]
    assert not any(array.any() for array in observation.values())
    assert set(info) == {"action_mask", "status", "cost", "num_requests", "decision_hash"}


@pytest.mark.parametrize("action", [-1, 4, 2.0, "1", None, np.array([1])])
def test_actions_outside_the_space_are_refused(action: Any, small_task: Task) -> None:
    """What is no replica and not the hold action raises, names the rule, and leaves the episode where it was."""
    env = RoutingEnv(task=small_task)
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match=r"an action must be a replica 0\.\.2 or 3 to hold, as an integer \(got "):
        env.step(action)
    other = RoutingEnv(task=small_task)
    other.reset(seed=0)
    assert data_equivalence(env.step(np.int64(1)), other.step(np.int64(1)), exact=True)


def test_steps_outside_an_episode_are_refused(small_task: Task) -> None:
    """Before the first reset and after the end, a step asks for reset()."""
    env = RoutingEnv(task=small_task)
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        env.step(np.int64(0))
    play(env, llq, seed=1)
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        env.step(np.int64(0))


def test_num_requests_cuts_the_trace(small_task: Task) -> None:
    """An episode has the first requests of the case; more than there are means all of them."""
    whole = small_task.case(1.0, 5)
    for asked, expected in ((7, 7), (10_000, len(whole.trace))):
        _, actions, info = play(RoutingEnv(task=small_task, num_requests=asked), llq, seed=5)
        assert len(actions) == info["num_requests"] == expected


@pytest.mark.parametrize("num_requests", [0, -3, 2.5, "all"])
def test_bad_num_requests_is_refused(num_requests: Any) -> None:
    """An episode needs at least one request."""
    with pytest.raises(InvalidSpecError, match=r"num_requests must be an integer >= 1"):
        RoutingEnv(num_requests=num_requests)


def test_unknown_tasks_and_loads_are_refused_at_once(small_task: Task) -> None:
    """What could not be played is refused when the environment is made, with the way out."""
    with pytest.raises(UnknownTaskError, match="did you mean 'routing/paper-v0'"):
        RoutingEnv(task="routing/papers-v0")
    with pytest.raises(InvalidSpecError, match="load of routing/paper-v0 must be a number between"):
        RoutingEnv(load=0.0, num_requests=3)
    with pytest.raises(InvalidSpecError, match="routing track"):
        RoutingEnv(task=replace(small_task, track="scheduling"))
    with pytest.raises(InvalidSpecError, match=r"sharegpt_12\.0\.csv\): pass its path as lengths="):
        RoutingEnv(task="routing/paper-exact-v0")


def test_lengths_file_is_read(tmp_path: Path) -> None:
    """Tasks that need known lengths take a file, and then play what `simulate` plays with it."""
    path = tmp_path / "lengths.csv"
    path.write_text("prompt_tokens,output_tokens\n" + "".join(f"{n},{2 * n}\n" for n in range(1, 90)))
    task = get_task("routing/paper-exact-v0")
    case = task.case(1.0, 3, read_lengths(path))
    result = simulate(case, load_policy("llq"))
    _, _, info = play(RoutingEnv(task=task.id, lengths=str(path)), llq, seed=3)
    assert info["cost"] == cost(case, result, task)
    with pytest.raises(InvalidTraceError, match="absent"):
        RoutingEnv(task=task.id, lengths=str(tmp_path / "absent.csv"))


def test_picture(small_task: Task) -> None:
    """The text shows time, queue, request, one bar per replica and the last action; at the end, how it ended."""

    def trace(rate_urps: int, seed: int, lengths: Lengths | None, *_varied: object) -> Trace:
        column = np.array([10, 80, 15, 20], dtype=np.int64)
        arrival_ps = np.array([0, 0, 0, 3_000_000_000])
        return Trace(arrival_ps=arrival_ps, prompt_tokens=column, output_tokens=column, max_tokens=column)

    env = RoutingEnv(task=replace(small_task, trace=trace), render_mode="ansi")
    env.reset(seed=0)
    assert "last action" not in str(env.render())
    for action in (2, 1, 3):
        env.step(np.int64(action))
    # By 3 ms replica 2 has taken 3 blocks of 40 for 10 tokens and begun the decode of the 11th and 12th; replica 1
    # has taken 20 for 80. Of the two requests held, the one of 15 tokens came first, at 0.
    assert str(env.render()).splitlines() == [
        "t = 0.003 s, 2 held",
        "request of 15 prompt tokens, waited 0.003 s",
        "replica 0 [..............................]   0% KV    0 running    0 waiting",
        "replica 1 [###############...............]  50% KV    1 running    0 waiting",
        "replica 2 [##............................]   8% KV    1 running    0 waiting",
        "last action: hold",
    ]
    _, _, info = play(env, lambda _: 2, seed=1)
    assert str(env.render()).splitlines()[1:] == [
        f"ended: ok, cost {info['cost']:.3f}",
        "last action: replica 2",
    ]
    assert RoutingEnv(task=small_task).render() is None
