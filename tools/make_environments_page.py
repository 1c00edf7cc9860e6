"""Write docs/environments.md: prose, the spaces from the schema, and tables measured on development seeds.

Measured are returns and episode lengths of a few agents and the moments of every observation column. Times are integers
inside, so the numbers are the same on every machine. After a change to features.py, the environments or their tasks run
`python tools/make_environments_page.py` (ten seconds); a test compares.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from environments_prose import (
    ARGUMENTS,
    CLUSTER_REQUESTS,
    CONSTANTS,
    EXAMPLE,
    INTRODUCTION,
    OTHER_RETURNS,
    RETURNS,
    ROUTING_TASK,
    SEEDS,
    SEMANTICS,
)

from glia_bench.envs import AutoscalingVectorEnv, ClusterVectorEnv, RoutingVectorEnv, SchedulingVectorEnv
from glia_bench.envs.episodes import make_episodes
from glia_bench.envs.game import Observation
from glia_bench.envs.vector import ManyEnv
from glia_bench.features import schema
from glia_bench.loading import load_policy
from glia_bench.policy import Policy
from glia_bench.scoring.metrics import cost
from glia_bench.sim.engine import simulate

PAGE = Path(__file__).parents[1] / "docs" / "environments.md"
LENGTHS = (1000, None)
"""Values of `num_requests` that the table of routing returns shows."""
OTHERS: dict[str, type[ManyEnv]] = {
    "Scheduling": SchedulingVectorEnv,
    "Autoscaling": AutoscalingVectorEnv,
    "Cluster": ClusterVectorEnv,
}

NUM_PLACES = 32
"""Waiting requests that a scheduler chooses from."""

Act: TypeAlias = Callable[[Observation, Any], Any]
Seen: TypeAlias = list[Observation]

OWN_COLUMNS: dict[str, tuple[str, str, str]] = {
    "waited_s": ("s", "exact", "time since it arrived: cluster.now_s - request.arrival_s"),
    "fits": ("0/1", "exact", "1 if it can be admitted now"),
    "prefill_tokens": (
        "tokens",
        "exact",
        "what must be computed before it generates: after a preemption more than the prompt",
    ),
    "replica": ("-", "exact", "replica that asks"),
    "budget_left": ("tokens", "exact", "tokens that this iteration has left"),
}
"""Unit, freshness and meaning of columns that are no fields of the schema."""

ARRAYS: dict[str, tuple[str, tuple[str, ...], str, str]] = {
    "request": ("Routing", RoutingVectorEnv.request_fields, "request", "the considered request"),
    "replicas": ("Routing", RoutingVectorEnv.replica_fields, "replicas", "one row per replica"),
    "cluster": ("Routing", RoutingVectorEnv.cluster_fields, "cluster", ""),
    "waiting": (
        "Scheduling",
        SchedulingVectorEnv.waiting_fields,
        "request",
        "the first 32 of the waiting queue; rows of zeros where there are fewer",
    ),
    "engine": ("Scheduling", SchedulingVectorEnv.engine_fields, "replica", "the replica that asks"),
    "window": (
        "Autoscaling",
        AutoscalingVectorEnv.window_fields,
        "window",
        "means over the newest 5, 15 and 60 seconds that the task shows, per pool; of `ttft_s` and `tpot_s` over the "
        "seconds that have any",
    ),
    "pools": ("Autoscaling", AutoscalingVectorEnv.pool_fields, "window", "one row per pool"),
}
"""Array to (environment, columns, group of the schema, what it is)."""


def column_table(name: str) -> list[tuple[str, str, str, str]]:
    """Return (name, unit, freshness, meaning) of each column of an observation array."""
    _, fields, group, _ = ARRAYS[name]
    specs = {spec.name: (spec.unit, spec.freshness, spec.meaning) for spec in schema(group)}
    specs = {**OWN_COLUMNS, **specs}
    return [(field, *specs[field]) for field in fields]


def arguments_table() -> str:
    """Return the row of the argument `task`."""
    names = {"Routing": RoutingVectorEnv, **OTHERS}
    tasks = ", ".join(f'`"{env.role.task}"`' for env in names.values())
    return (
        f"| `task` | {tasks} | id of a task of the track (`glia-bench list`); the classes also take a `Task` object |\n"
    )


def spaces_section() -> str:
    """Return the tables of all observation arrays."""
    shapes = {}
    for env in (RoutingVectorEnv(1, num_requests=1), *(many(1, num_requests=1) for many in OTHERS.values())):
        for name, space in env.single_observation_space.spaces.items():  # type: ignore[attr-defined]
            shapes.setdefault(name, space.shape)
    lines: list[str] = []
    for name, (env_name, _, _, meaning) in ARRAYS.items():
        title = f"`{name}`, shape {shapes[name]} in {env_name}'s task" + (f": {meaning}" if meaning else "")
        lines += ["", title, "", "| column | name | unit | freshness | meaning |", "|---|---|---|---|---|"]
        lines += [f"| {k} | `{row[0]}` | {' | '.join(row[1:])} |" for k, row in enumerate(column_table(name))]
    return "\n".join(lines[1:]) + "\n"


def play(env: ManyEnv, act: Act, seen: Seen | None = None) -> tuple[list[float], list[int]]:
    """Play the development seeds side by side; return returns and episode lengths, and collect what was seen."""
    observations, infos = env.reset(seed=list(SEEDS))
    returns, steps = np.zeros(len(SEEDS)), np.zeros(len(SEEDS), dtype=np.int64)
    running = np.ones(len(SEEDS), dtype=np.bool_)
    while running.any():
        if seen is not None:
            seen.append({name: array[running] for name, array in observations.items()})
        observations, rewards, terminations, _, infos = env.step(act(observations, infos["action_mask"]))
        returns += rewards * running
        steps += running
        running &= ~terminations
    return returns.tolist(), steps.tolist()


def simulated(num_requests: int | None, policy: Policy) -> tuple[list[float], list[int]]:
    """Return minus the costs and the numbers of decisions of a routing policy on the same cases."""
    episodes = make_episodes("routing", ROUTING_TASK, None, num_requests, None)
    cases = [episodes.case(seed) for seed in SEEDS]
    results = [simulate(case, policy) for case in cases]
    costs = [cost(case, result, episodes.task) for case, result in zip(cases, results, strict=True)]
    return [-value for value in costs], [result.num_decisions for result in results]


def llq(observations: Observation, masks: Any) -> Any:
    """Fewest waiting and running requests, the lowest index on ties."""
    waiting, running = (RoutingVectorEnv.replica_fields.index(name) for name in ("waiting", "running"))
    replicas = observations["replicas"]
    return (replicas[:, :, waiting] + replicas[:, :, running]).argmin(axis=1)


def random_act() -> Act:
    """Return an agent that picks uniformly among what is allowed, from raw bits, which no NumPy version changes."""
    bits = np.random.PCG64(0)

    def act(observations: Observation, masks: Any) -> Any:
        if isinstance(masks, dict):
            return {name: act(observations, mask) for name, mask in masks.items() if not name.startswith("_")}
        draws = (bits.random_raw(masks.size) >> np.uint64(1)).astype(np.int64).reshape(masks.shape)
        return np.where(masks == 1, draws, -1).argmax(axis=-1)

    return act


def default(observations: Observation, masks: Any) -> Any:
    """Do what the simulator does where nobody is asked."""
    if isinstance(masks, dict):
        return {name: default(observations, mask) for name, mask in masks.items() if not name.startswith("_")}
    if masks.ndim == 3:
        return np.full(masks.shape[:2], 2)
    if masks.shape[1] == NUM_PLACES + 1:
        return np.where(masks[:, 0] == 1, 0, NUM_PLACES)
    inflight = observations["replicas"][:, :, RoutingVectorEnv.replica_fields.index("inflight")]
    return np.where(masks[:, :-1] == 1, inflight, np.inf).argmin(axis=1)


def row(head: str, returns: list[float], steps: list[int]) -> str:
    """Return a row of a table of returns."""
    cells = " | ".join(f"{value:.2f}" for value in (*returns, sum(returns) / len(returns)))
    return f"| {head} | {cells} | {', '.join(f'{count:,}' for count in steps)} |"


def header(what: str) -> list[str]:
    """Return the head of a table of returns."""
    seeds = " | ".join(f"seed {seed}" for seed in SEEDS)
    return [
        f"| {what} | {seeds} | mean return | steps of an episode |",
        "|---|---|" + "---:|" * (len(SEEDS) + 1) + "---|",
    ]


def routing_returns(seen: Seen) -> str:
    """Return the table of routing returns and lengths; `seen` collects what llq saw on whole episodes."""
    expert = load_policy("expert")
    in_order = replace(expert, routing={"route": expert.routing["route"]}, path="expert in arrival order")
    lines = header("`num_requests` | policy")
    for num_requests in LENGTHS:
        env = RoutingVectorEnv(len(SEEDS), task=ROUTING_TASK, num_requests=num_requests)
        rows = {
            "random": play(env, random_act()),
            "llq": play(env, llq, seen if num_requests is None else None),
            "expert": simulated(num_requests, expert),
            "expert, arrival order": simulated(num_requests, in_order),
        }
        count = "all" if num_requests is None else num_requests
        lines += [row(f"{count} | {name}", *measured) for name, measured in rows.items()]
    return "\n".join(lines) + "\n"


def other_returns(seen: dict[str, Seen]) -> str:
    """Return the table of returns in the other environments; `seen` collects what the default agents saw."""
    lines = header("environment | agent")
    for name, many in OTHERS.items():
        env = many(len(SEEDS), num_requests=CLUSTER_REQUESTS if name == "Cluster" else None)
        lines.append(row(f"{name} | random", *play(env, random_act())))
        lines.append(row(f"{name} | default", *play(env, default, seen.get(name))))
    return "\n".join(lines) + "\n"


def constants_table(seen: dict[str, Seen]) -> str:
    """Return mean, deviation and maximum of every column of what was seen."""
    lines = ["", "| array | column | mean | standard deviation | max |", "|---|---|---:|---:|---:|"]
    for array, (env_name, *_) in ARRAYS.items():
        parts = [part[array].reshape(-1, part[array].shape[-1]) for part in seen[env_name]]
        rows = np.concatenate([part[part.any(axis=1)] for part in parts]).astype(np.float64)
        for (name, *_), mean, deviation, largest in zip(
            column_table(array), rows.mean(axis=0), rows.std(axis=0), rows.max(axis=0), strict=True
        ):
            lines.append(f"| `{array}` | `{name}` | {mean:.4g} | {deviation:.4g} | {largest:.6g} |")
    return "\n".join(lines) + "\n"


def render() -> str:
    """Return the whole page."""
    seen: dict[str, Seen] = {"Routing": [], "Scheduling": [], "Autoscaling": []}
    parts = [INTRODUCTION, arguments_table(), ARGUMENTS, spaces_section(), SEMANTICS, EXAMPLE]
    parts += [RETURNS, routing_returns(seen["Routing"]), OTHER_RETURNS, other_returns(seen)]
    return "".join([*parts, CONSTANTS, constants_table(seen)])


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(PAGE.parents[1])}")
