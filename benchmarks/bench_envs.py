"""Speed of the environments under pytest-benchmark, with random allowed actions on their own tasks: `make bench`.

Times are CPU time of this process, autoresets and their new traces included; `env_steps_per_s` in the extra info is the
number to compare.
"""

import time
from typing import Any

import gymnasium
import numpy as np
import pytest

import glia_bench.envs  # noqa: F401 # registers the ids

NUM_STEPS = 400_000
"""Steps of all copies together in a round."""


def drawn(masks: Any, rng: np.random.Generator) -> Any:
    """Return an allowed action of each copy, each component uniformly."""
    if isinstance(masks, dict):
        return {name: drawn(mask, rng) for name, mask in masks.items() if not name.startswith("_")}
    return (rng.random(masks.shape) * masks).argmax(axis=-1)


@pytest.mark.benchmark(group="env steps", timer=time.process_time)
@pytest.mark.parametrize(
    ("name", "num_envs", "num_requests", "num_steps"),
    [
        ("Routing", 1, None, 10_000),
        ("Routing", 64, None, NUM_STEPS),
        ("Routing", 64, 1000, NUM_STEPS),
        ("Routing", 256, None, NUM_STEPS),
        ("Scheduling", 1, None, 10_000),
        ("Scheduling", 64, None, NUM_STEPS),
        ("Autoscaling", 64, None, 12_800),
        ("Cluster", 64, None, NUM_STEPS // 4),
    ],
)
def bench_vector_env(benchmark: Any, name: str, num_envs: int, num_requests: int | None, num_steps: int) -> None:
    """Vector environment: all copies advanced by one kernel call."""
    envs = gymnasium.make_vec(f"GliaBench/{name}-v0", num_envs=num_envs, num_requests=num_requests)
    rng = np.random.default_rng(0)
    masks = [envs.reset(seed=2**20)[1]["action_mask"]]

    def work() -> None:
        for _ in range(num_steps // num_envs):
            masks[0] = envs.step(drawn(masks[0], rng))[-1]["action_mask"]

    benchmark.pedantic(work, rounds=3, warmup_rounds=0)
    benchmark.extra_info["env_steps_per_s"] = round(num_steps / benchmark.stats.stats.median)


@pytest.mark.benchmark(group="env steps", timer=time.process_time)
@pytest.mark.parametrize("name", ["Routing", "Scheduling"])
def bench_single_env(benchmark: Any, name: str) -> None:
    """Single environment without wrappers."""
    env = gymnasium.make(f"GliaBench/{name}-v0").unwrapped
    rng = np.random.default_rng(0)
    masks = [env.reset(seed=0)[1]["action_mask"]]

    def work() -> None:
        for _ in range(10_000):
            _, _, has_ended, _, info = env.step(drawn(masks[0], rng))
            masks[0] = env.reset()[1]["action_mask"] if has_ended else info["action_mask"]

    benchmark.pedantic(work, rounds=3, warmup_rounds=0)
    benchmark.extra_info["env_steps_per_s"] = round(10_000 / benchmark.stats.stats.median)
