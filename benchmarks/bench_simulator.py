"""Simulator speed under pytest-benchmark: `make bench`. For ratios in one run, see ratios.py."""

from typing import Any

import cases
import plain_engine
import pytest

from glia_bench.loading import load_policy, policy_from_source
from glia_bench.sim import engine
from glia_bench.sim.hooks import compile_hooks

NUM_REQUESTS = 50_000
LOADS = {
    "75 % load": {"prompt_tokens": 1000, "output_tokens": 250, "load": 0.75},
    "long outputs, low load": {"prompt_tokens": 100, "output_tokens": 1000, "load": 0.10},
}


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("core", ["fast", "plain"])
def bench_core(benchmark: Any, load: str, core: str) -> None:
    """One run of 50,000 requests on 16 replicas under llq."""
    case = cases.poisson_case(num_replicas=16, num_requests=NUM_REQUESTS, **LOADS[load])
    llq = load_policy("llq")
    benchmark.group = f"50,000 requests, 16 replicas, {load}"
    work = (lambda: engine.simulate(case, llq)) if core == "fast" else (lambda: plain_engine.simulate(case))
    work()
    benchmark(work)


def bench_plain_python_policy(benchmark: Any) -> None:
    """One run of 2,000 requests with hooks as plain Python."""
    case = cases.poisson_case(num_replicas=16, num_requests=2_000, **LOADS["75 % load"])
    llq = load_policy("llq")
    engine.simulate(case, llq, tier="python")
    benchmark(lambda: engine.simulate(case, llq, tier="python"))


def bench_compile_policy(benchmark: Any) -> None:
    """Compiling a user's router, with its bounds checks; the core is not compiled again."""
    source = load_policy("llq").source

    def fresh() -> tuple[tuple[Any], dict[str, Any]]:
        return (policy_from_source(source, name="mine", path="<bench>", track="routing"),), {"is_full": False}

    compile_hooks(*fresh()[0], is_full=False)
    benchmark.pedantic(compile_hooks, setup=fresh, rounds=5)
