"""Small tasks: one of routing, so crowded that it preempts, and drawn ones; a policy that repeats a list of answers."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from cluster_strategies import Switches, drawn_case, drawn_trace

from glia_bench.case import Case, Trace
from glia_bench.cluster import EngineSpec, affine_table, uniform_cluster
from glia_bench.loading import policy_from_source
from glia_bench.policy import Track
from glia_bench.sim.engine import simulate
from glia_bench.sim.modes import MODES
from glia_bench.tasks.task import Task
from glia_bench.types import RunResult
from glia_bench.workloads.lengths_file import Lengths
from glia_bench.workloads.predictor import LengthPredictor

MS = 1_000_000_000
"""One millisecond in picoseconds."""

REPLAY = """
ANSWERS = {answers}
MEMORY = {{"shared": 1}}

def route(request, replicas, cluster, memory):
    turn = int(memory.shared[0])
    memory.shared[0] += 1.0
    return ANSWERS[turn]
"""


def small_trace(rate_urps: int, seed: int, lengths: Lengths | None, *_varied: object) -> Trace:
    """Return a trace whose length depends on the seed: 20 to 160 requests, in bursts, on a grid of milliseconds."""
    rng = np.random.default_rng(seed)
    num = 20 if seed == 0 else int(rng.integers(20, 161))
    gaps = rng.integers(0, 8, num) * (rng.random(num) < 0.4) * MS
    prompt_tokens = rng.integers(1, 40, num)
    output_tokens = rng.integers(1, 50, num)
    return Trace(
        arrival_ps=np.cumsum(gaps, dtype=np.int64),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        max_tokens=output_tokens + 10,
    )


@pytest.fixture(params=["sarathi", "vllm_v1"])
def small_task(request: pytest.FixtureRequest) -> Task:
    """A task of three small replicas, with running requests in either order."""
    engine = EngineSpec(
        mode=request.param,
        token_budget=48,
        max_running=8,
        num_blocks=40,
        block_size_tokens=4,
        **MODES[request.param],
    )
    token_ps = MS + 50_000_000 * np.arange(49, dtype=np.int64)
    latency = affine_table(name="small", token_ps=token_ps, context_ps=1_000_000, pair_ps=10_000)
    return Task(
        id=f"routing/small-{request.param}-v0",
        track="routing",
        title="small",
        why_hard="it preempts",
        source="made up for tests",
        objective="mean_e2e_s",
        suites=(),
        cluster=uniform_cluster(num_replicas=3, engine=engine, latency=latency),
        reference_rate_rps=1.0,
        rate_basis="none: the trace ignores it",
        loads=(1.0,),
        default_loads=(1.0,),
        trace=small_trace,
        drain_s=100.0,
    )


@pytest.fixture
def replayed() -> Callable[[Case, Sequence[int]], RunResult]:
    """The simulator under a policy that gives these answers in turn."""

    def run(case: Case, answers: Sequence[int]) -> RunResult:
        source = REPLAY.format(answers=tuple(answers))
        policy = policy_from_source(source, name="replay", path="<test>", track="routing")
        return simulate(case, policy, tier="python")

    return run


@pytest.fixture
def make_task() -> Callable[..., Task]:
    """Makes small tasks of any track: two pools that may change, two routers, sessions, caches, faults, old metrics."""

    def make(track: Track, seed: int, *, objective: str = "slowdown_slo", **switches: bool) -> Task:
        on = Switches(**({**dict.fromkeys(Switches.__slots__, True), "patience": False} | switches))
        example = drawn_case(seed, on, num=30)

        def trace(rate_urps: int, seed: int, lengths: Lengths | None, *_varied: object) -> Trace:
            rng = np.random.default_rng(seed)
            num = int(rng.integers(10, 60))
            return drawn_trace(rng, on, num=num, block_size_tokens=example.cluster.block_size_tokens)

        return Task(
            id=f"{track}/drawn-v0",
            track=track,
            title="drawn",
            why_hard="everything happens",
            source="made up for tests",
            objective=objective,
            suites=(),
            cluster=replace(example.cluster, idle_hold_limit_s=60.0),
            reference_rate_rps=1.0,
            rate_basis="none: the trace ignores it",
            loads=(1.0,),
            default_loads=(1.0,),
            trace=trace,
            drain_s=20.0,
            faults=lambda load, seed: example.faults,
            predictor=LengthPredictor(kind="noisy", sigma_percent=70),
            gpu_seconds_per_request=0.5,
        )

    return make
