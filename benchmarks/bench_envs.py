"""Speed of the environments under pytest-benchmark, with random actions on routing/paper-v0: `make bench`.

Times are CPU time of this process, autoresets and their new traces included; `env_steps_per_s` in the extra info is the
number to compare. Actions are drawn beforehand.
"""

import time
from typing import Any

import gymnasium
import numpy as np
import pytest

import glia_bench.envs  # noqa: F401 # registers the ids

NUM_CALLS = 10_000
"""Steps of each copy in a round: about one whole episode."""


@pytest.mark.benchmark(group="env steps", timer=time.process_time)
@pytest.mark.parametrize(("num_envs", "num_requests"), [(1, None), (64, None), (64, 1000), (256, None)])
def bench_vector_env(benchmark: Any, num_envs: int, num_requests: int | None) -> None:
    """Vector environment: all copies advanced by one kernel call."""
    envs = gymnasium.make_vec("GliaBench/Routing-v0", num_envs=num_envs, num_requests=num_requests)
    envs.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 5, (NUM_CALLS, num_envs))

    def work() -> None:
        for row in actions:
            envs.step(row)

    benchmark.pedantic(work, rounds=3, warmup_rounds=0)
    benchmark.extra_info["env_steps_per_s"] = round(NUM_CALLS * num_envs / benchmark.stats.stats.median)


@pytest.mark.benchmark(group="env steps", timer=time.process_time)
def bench_single_env(benchmark: Any) -> None:
    """Single environment without wrappers."""
    env = gymnasium.make("GliaBench/Routing-v0").unwrapped
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 5, NUM_CALLS)

    def work() -> None:
        for action in actions:
            if env.step(action)[2]:
                env.reset()

    benchmark.pedantic(work, rounds=3, warmup_rounds=0)
    benchmark.extra_info["env_steps_per_s"] = round(NUM_CALLS / benchmark.stats.stats.median)
