"""What holds for the environment of every track: the checker, seeds, exact rewards, agreement with `simulate`."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence

from glia_bench.case import Trace
from glia_bench.envs import AutoscalingEnv, ClusterEnv, RoutingEnv, SchedulingEnv
from glia_bench.envs.single import SingleEnv
from glia_bench.errors import InvalidSpecError
from glia_bench.features import HOLD
from glia_bench.policy import Policy
from glia_bench.scoring.metrics import cost
from glia_bench.sim.engine import simulate
from glia_bench.tasks.task import Task
from glia_bench.types import RunResult

IDS = [f"GliaBench/{name}-v0" for name in ("Routing", "Scheduling", "Autoscaling", "Cluster")]
ENVS: dict[str, type[SingleEnv]] = {
    "routing": RoutingEnv,
    "scheduling": SchedulingEnv,
    "autoscaling": AutoscalingEnv,
    "cluster": ClusterEnv,
}
OBJECTIVES = ["mean_e2e_s", "slowdown_slo", "gpu_seconds_slo"]

Act = Callable[[dict[str, Any], Any], Any]
Make = Callable[..., Task]


def drawn(masks: Any, rng: np.random.Generator) -> Any:
    """Return an allowed action, each component uniformly."""
    if isinstance(masks, dict):
        return {name: drawn(mask, rng) for name, mask in masks.items()}
    return (rng.random(masks.shape) * masks).argmax(axis=-1)


def play(env: gymnasium.Env[Any, Any], act: Act, *, seed: int) -> tuple[float, list[tuple[int, Any]], dict[str, Any]]:
    """Play an episode; return the sum of its rewards, its (asked part, action) pairs and its last info."""
    observation, info = env.reset(seed=seed)
    total, actions, terminated = 0.0, [], False
    while not terminated:
        action = act(observation, info["action_mask"])
        actions.append((int(observation.get("asked", 0)), action))
        observation, reward, terminated, truncated, info = env.step(action)
        total += float(reward)
        assert not truncated
        assert observation in env.observation_space
    return total, actions, info


def simulated(env: SingleEnv, task: Task, seed: int, hooks: dict[str, dict[str, Any]]) -> RunResult:
    """Return the run of a policy of these hooks on the case that an environment plays."""
    policy = Policy(
        name="recorder", track=task.track, kind="user", source="", sha256="", path="", interval_s=1.0, **hooks
    )
    return simulate(env.game.episodes.case(seed), policy, tier="python")


def make_env(track: str, task: Task) -> SingleEnv:
    """Return the environment of a track, asked for sizes every second."""
    return ENVS[track](task=task, **({"interval_s": 1.0} if track in ("autoscaling", "cluster") else {}))


def in_order(observation: dict[str, Any], masks: Any) -> int:
    """Admit the head of the waiting queue if it fits, else stop: what the engine does."""
    return 0 if masks[0] else 32


def test_every_id_is_registered_and_runs() -> None:
    """Exactly the documented ids exist, and each can be made, reset and stepped; its spec survives as text."""
    assert [name for name in gymnasium.registry if name.startswith("GliaBench/")] == IDS
    for name in IDS:
        env = gymnasium.make(name, num_requests=5)
        observation, _ = env.reset(seed=1)
        assert observation in env.observation_space
        assert env.step(env.action_space.sample())[0] in env.observation_space
        assert env.spec is not None
        assert set(json.loads(env.spec.to_json())["kwargs"]) == {"task", "load", "num_requests"}
        env.close()


# Token counts and waiting times have no upper bound, and any invented one would be a false promise.
@pytest.mark.filterwarnings("ignore:.*A Box observation space maximum value is infinity")
@pytest.mark.filterwarnings("ignore:.*was not within the action space")
@pytest.mark.parametrize("name", IDS)
def test_gymnasium_checker_is_content(name: str) -> None:
    """Gymnasium's own checker finds nothing, warnings included, in every render mode."""
    check_env(gymnasium.make(name, num_requests=20).unwrapped)


@pytest.mark.parametrize("name", IDS)
def test_masked_random_agents_do_no_wrong(name: str) -> None:
    """On its own task an agent that draws among allowed actions ends well, and is charged what it costs."""
    env = gymnasium.make(name, num_requests=150)
    rng = np.random.default_rng(0)
    for seed in (0, 1):
        total, actions, info = play(env, lambda _, masks: drawn(masks, rng), seed=seed)
        assert info["status"] == "ok"
        assert total == -info["cost"] < 0
        assert len(actions) > 10


@pytest.mark.parametrize("track", ENVS)
@pytest.mark.parametrize("seed", range(4))
def test_rollouts_repeat_and_rewards_sum_to_the_cost(track: str, seed: int, make_task: Make) -> None:
    """Equal seeds and actions give equal rollouts; rewards sum to minus the cost under every objective."""
    for objective in OBJECTIVES:
        rollouts = []
        for _ in range(2):
            env = make_env(track, make_task(track, seed, objective=objective))
            rng = np.random.default_rng(seed)
            rollouts.append(play(env, lambda _, masks, rng=rng: drawn(masks, rng), seed=seed + 7))
        assert data_equivalence(*rollouts, exact=True)
        total, _, info = rollouts[0]
        assert total == -info["cost"]


@pytest.mark.parametrize("seed", range(12))
def test_routing_agrees_with_simulate(seed: int, make_task: Make) -> None:
    """A random routing episode in the full engine, replayed as a policy, has the same decisions and cost."""
    task = make_task("routing", seed, objective=OBJECTIVES[seed % 3], elastic=False, patience=seed % 2 == 1)
    env = make_env("routing", task)
    assert env.game.stepper.is_full
    rng = np.random.default_rng(seed)
    total, actions, info = play(env, lambda _, masks: drawn(masks, rng), seed=seed)
    holding = task.cluster.num_replicas
    answers = iter([HOLD if action == holding else int(action) for _, action in actions])
    result = simulated(env, task, seed, {"routing": {"route": lambda *_: next(answers)}})
    assert (info["status"], info["decision_hash"]) == (result.status, f"{result.decision_hash:016x}")
    assert total == -cost(env.game.episodes.case(seed), result, task) == -info["cost"]


@pytest.mark.parametrize("seed", range(4))
def test_routing_shows_what_a_policy_sees(seed: int, make_task: Make) -> None:
    """Old metrics, each router's ledger and the best granted view of the caches are as in the hook's arguments."""
    task = make_task("routing", seed, elastic=False)
    env = make_env("routing", task)
    rng = np.random.default_rng(seed)
    shown: list[dict[str, Any]] = []
    views: list[Any] = []

    def act(observation: dict[str, Any], masks: Any) -> Any:
        shown.append(observation)
        return drawn(masks, rng)

    _, actions, _ = play(env, act, seed=seed)

    def route(request: Any, replicas: Any, cluster: Any, memory: Any) -> int:
        view = np.stack([getattr(replicas, name) for name in RoutingEnv.replica_fields], axis=1)
        views.append((view, request.prompt_tokens, request.predicted_tokens, cluster.num_held))
        action = int(actions[len(views) - 1][1])
        return HOLD if action == cluster.num_replicas else action

    policy = {"name": "recorder", "track": "routing", "kind": "user", "source": "", "sha256": "", "path": ""}
    case = env.game.episodes.case(seed)
    simulate(case, Policy(**policy, routing={"route": route}, prefix_view="truth"), tier="python")  # type: ignore[arg-type]
    assert len(views) == len(shown) > 10
    for (view, prompt, predicted, held), seen in zip(views, shown, strict=True):
        assert np.array_equal(view.astype(np.float32), seen["replicas"])
        assert (prompt, predicted, held) == (*seen["request"][[0, 2]], seen["cluster"][0])
    hits = [view[:, RoutingEnv.replica_fields.index("prefix_hit_tokens")].max() for view, *_ in views]
    assert max(hits) > 0


@pytest.mark.parametrize("seed", range(12))
def test_admitting_in_order_is_what_the_engine_does(seed: int, make_task: Make) -> None:
    """An agent that admits the head of the queue while it fits has the records of an engine that nobody schedules."""
    task = make_task("scheduling", seed, objective=OBJECTIVES[seed % 3], elastic=False, patience=seed % 2 == 1)
    env = make_env("scheduling", task)
    total, _, info = play(env, in_order, seed=seed)
    plain = simulated(env, task, seed, {})
    case = env.game.episodes.case(seed)
    records = env.game.stepper.result(0).records
    for name in records.__slots__:
        assert np.array_equal(getattr(records, name), getattr(plain.records, name)), name
    hashed = simulated(env, task, seed, {"scheduling": {"admit": lambda *_: True}})
    assert (info["status"], info["decision_hash"]) == (plain.status, f"{hashed.decision_hash:016x}")
    assert total == -cost(case, plain, task) == -info["cost"]


@pytest.mark.parametrize("seed", range(12))
def test_autoscaling_agrees_with_simulate(seed: int, make_task: Make) -> None:
    """A random autoscaling episode, replayed as a policy of the same sizes, has the same decisions and cost."""
    task = make_task("autoscaling", seed, objective=OBJECTIVES[seed % 3], patience=seed % 2 == 1)
    env = make_env("autoscaling", task)
    rng = np.random.default_rng(seed)
    sizes: list[list[int]] = []

    def act(observation: dict[str, Any], masks: Any) -> Any:
        action = drawn(masks, rng)
        sizes.append((observation["pools"][:, 0].astype(int) + action - 2).tolist())
        return action

    total, _, info = play(env, act, seed=seed)
    answers = iter(sizes)
    result = simulated(env, task, seed, {"autoscaling": {"scale": lambda *_: next(answers)}})
    assert (info["status"], info["decision_hash"]) == (result.status, f"{result.decision_hash:016x}")
    assert total == -cost(env.game.episodes.case(seed), result, task) == -info["cost"]
    assert next(answers, None) is None


@pytest.mark.parametrize("seed", range(12))
def test_cluster_agrees_with_simulate(seed: int, make_task: Make) -> None:
    """An agent that routes and scales at random and admits in order equals a policy that does the same."""
    task = make_task("cluster", seed, objective=OBJECTIVES[seed % 3], patience=seed % 2 == 1)
    env = make_env("cluster", task)
    rng = np.random.default_rng(seed)
    routes: list[int] = []
    sizes: list[list[int]] = []

    def act(observation: dict[str, Any], masks: Any) -> Any:
        action = {**drawn(masks, rng), "admit": in_order(observation, masks["admit"])}
        if observation["asked"] == 0:
            routes.append(HOLD if action["route"] == task.cluster.num_replicas else int(action["route"]))
        if observation["asked"] == 2:
            sizes.append((observation["pools"][:, 0].astype(int) + action["scale"] - 2).tolist())
        return action

    total, actions, info = play(env, act, seed=seed)
    ways, resizes = iter(routes), iter(sizes)
    hooks = {
        "routing": {"route": lambda *_: next(ways)},
        "scheduling": {"admit": lambda *_: True},
        "autoscaling": {"scale": lambda *_: next(resizes)},
    }
    result = simulated(env, task, seed, hooks)
    assert (info["status"], info["decision_hash"]) == (result.status, f"{result.decision_hash:016x}")
    assert total == -cost(env.game.episodes.case(seed), result, task) == -info["cost"]
    assert {asked for asked, _ in actions} == {0, 1, 2}


def test_what_fits_can_be_admitted_and_nothing_else(make_task: Make) -> None:
    """At every question, a place that `fits` is admitted, and one that does not ends the episode as a bad decision."""
    task = make_task("scheduling", 3, elastic=False)
    rng = np.random.default_rng(0)
    refused = 0
    for seed in range(20):
        env = make_env("scheduling", task)
        _, info = env.reset(seed=seed)
        terminated = False
        while not terminated:
            wrong = np.flatnonzero(info["action_mask"] == 0)
            is_wrong = len(wrong) > 0 and rng.random() < 0.05
            action = rng.choice(wrong) if is_wrong else drawn(info["action_mask"], rng)
            _, _, terminated, _, info = env.step(np.int64(action))
            assert (info.get("status") == "bad_decision") is is_wrong
            refused += is_wrong
    assert refused > 10


def test_stopping_for_ever_is_a_bad_decision(make_task: Make) -> None:
    """A replica that admits nobody for 60 s, asked every 10 ms, ends the episode; all is charged to the horizon."""
    task = make_task("scheduling", 3, objective="mean_e2e_s", elastic=False, faults=False, sessions=False)
    env = SchedulingEnv(task=replace(task, drain_s=100.0), num_requests=1)
    total, actions, info = play(env, lambda *_: 32, seed=0)
    case = env.game.episodes.case(0)
    assert (info["status"], len(actions)) == ("bad_decision", 6001)
    assert total == -(case.horizon_ps - int(case.trace.arrival_ps[0])) / 10**12 == -info["cost"]


def test_sizes_stay_within_the_quota(make_task: Make) -> None:
    """A change beyond the quota goes to its end, and the mask tells which do not."""
    env = make_env("autoscaling", make_task("autoscaling", 5))
    pools = env.game.episodes.task.cluster.pools
    observation, info = env.reset(seed=0)
    for _ in range(3):
        for k, pool in enumerate(pools):
            sizes = observation["pools"][k, 0] + np.arange(-2, 3)
            expected = (sizes >= pool.smallest) & (sizes <= pool.largest)
            assert info["action_mask"][k].tolist() == expected.tolist()
        observation, _, _, _, info = env.step(np.full(len(pools), 4))
    assert observation["pools"][:, 0].tolist() == [pool.largest for pool in pools]


def test_the_window_is_what_an_autoscaler_sees(make_task: Make) -> None:
    """Means over the last 5, 15 and 60 rows of the window that `scale` is given; TTFT and TPOT over rows with any."""
    task = make_task("autoscaling", 2, faults=False)
    env = make_env("autoscaling", task)
    windows: list[Any] = []

    def scale(window: Any, cluster: Any, memory: Any) -> Any:
        windows.append(window)
        return window.desired

    simulated(env, task, 4, {"autoscaling": {"scale": scale}})
    observation, _ = env.reset(seed=4)
    stay = np.full(len(task.cluster.pools), 2)
    for window in windows:
        for k, span_s in enumerate(AutoscalingEnv.window_spans_s):
            for f, name in enumerate(AutoscalingEnv.window_fields):
                rows = getattr(window, name)[-span_s:]
                counts = np.maximum((rows > 0).sum(axis=0), 1) if name in ("ttft_s", "tpot_s") else span_s
                assert np.allclose(observation["window"][k, :, f], rows.sum(axis=0) / counts, rtol=1e-6), name
        for f, name in enumerate(AutoscalingEnv.pool_fields):
            assert np.allclose(observation["pools"][:, f], getattr(window, name))
        observation, _, terminated, _, _ = env.step(stay)
    assert terminated
    assert len(windows) > 15


@pytest.mark.parametrize("track", ["routing", "scheduling"])
def test_many_live_requests_find_room(track: str, small_task: Task) -> None:
    """More requests at once than a run has room for at first make it grow in the middle of the episode."""

    def trace(rate_urps: int, seed: int, lengths: Any, *_varied: object) -> Trace:
        column = np.full(2500, 3)
        return Trace(arrival_ps=column * 0, prompt_tokens=column, output_tokens=column, max_tokens=column)

    env = make_env(track, replace(small_task, track=track, trace=trace))
    total, _, info = play(env, (lambda *_: 0) if track == "routing" else in_order, seed=0)
    assert (info["status"], info["num_requests"], total) == ("ok", 2500, -info["cost"])


@pytest.mark.parametrize(
    ("track", "action", "message"),
    [
        ("scheduling", 33, r"a place 0\.\.31 in the waiting queue or 32 to stop, as an integer \(got 33\)"),
        ("scheduling", 1.0, r"as an integer \(got 1\.0\)"),
        ("autoscaling", np.array([5, 0]), r"2 integers 0\.\.4, one per pool: 2 more than the change of its size"),
        ("autoscaling", np.array([0]), "one per pool"),
        ("cluster", 0, "must be a dict of all parts, route: a replica"),
        ("cluster", {"route": 0, "admit": 0}, "must be a dict of all parts"),
    ],
)
def test_actions_outside_the_space_are_refused(track: str, action: Any, message: str, make_task: Make) -> None:
    """What is no action raises, names the rule, and leaves the episode where it was."""
    env, other = (make_env(track, make_task(track, 1)) for _ in range(2))
    with pytest.raises(ResetNeeded):
        env.step(action)
    _, info = env.reset(seed=0)
    with pytest.raises(InvalidAction, match=message):
        env.step(action)
    other.reset(seed=0)
    good = drawn(info["action_mask"], np.random.default_rng(0))
    assert data_equivalence(env.step(good), other.step(good), exact=True)


def test_arguments_without_sense_are_refused(make_task: Make) -> None:
    """Intervals belong to environments that set sizes, and must fit the task; a fixed cluster has nothing to scale."""
    with pytest.raises(InvalidSpecError, match="interval_s has no meaning here"):
        SchedulingEnv(task=make_task("scheduling", 0), interval_s=5.0)
    for interval_s in (0.5, 20.5):
        with pytest.raises(InvalidSpecError, match="interval_s must be between 1 and the task's drain time"):
            AutoscalingEnv(task=make_task("autoscaling", 0), interval_s=interval_s)
    with pytest.raises(InvalidSpecError, match="the size of autoscaling/drawn-v0's cluster is fixed"):
        AutoscalingEnv(task=make_task("autoscaling", 0, elastic=False))
    with pytest.raises(InvalidSpecError, match="must be of the cluster track"):
        ClusterEnv(task="routing/paper-v0")


@pytest.mark.parametrize("track", ENVS)
def test_pictures_name_the_question(track: str, make_task: Make) -> None:
    """The text shows the time, the question and the last action, and at the end how it ended."""
    task = make_task(track, 4)
    kwargs = {"interval_s": 1.0} if track in ("autoscaling", "cluster") else {}
    env = ENVS[track](task=task, render_mode="ansi", **kwargs)
    rng = np.random.default_rng(0)
    shown: list[str] = []

    def act(_: Any, masks: Any) -> Any:
        shown.append(str(env.render()))
        return drawn(masks, rng)

    play(env, act, seed=0)
    words = {"routing": "held", "scheduling": "place 0: ", "autoscaling": "pool 0: ", "cluster": "asked for sizes"}
    assert any(words[track] in text for text in shown)
    assert all(text.startswith("t = ") for text in shown)
    assert ["last action" in text for text in shown] == [k > 0 for k in range(len(shown))]
    assert "ended: ok, cost " in str(env.render())
