"""Cases of the performance measurements: Poisson arrivals, lengths spread by +-50 %, `vllm_v1` engines of A10 speed.

The time table is a plain roofline (9 ms floor, 85 us per token) rather than a preset: these cases measure the
simulator, and its speed depends on batch sizes and loads, not on whose GPU it is.
"""

import numpy as np

from glia_bench.case import Case, Trace
from glia_bench.cluster import affine_table, uniform_cluster
from glia_bench.sim.modes import engine

FLOOR_PS, TOKEN_PS, CONTEXT_PS, PAIR_PS = 9_000_000_000, 85_000_000, 80_000, 1_000
BUDGET, MAX_RUNNING = 2048, 256


def request_cost_s(prompt_tokens: int, output_tokens: int) -> float:
    """Return the replica time that a request takes in a busy batch: its prefill, its tokens, their context."""
    decode = output_tokens * (TOKEN_PS + CONTEXT_PS * (prompt_tokens + output_tokens / 2))
    return float(prompt_tokens * TOKEN_PS + PAIR_PS * prompt_tokens**2 + decode) * 1e-12


def poisson_case(
    *,
    num_replicas: int,
    num_requests: int,
    prompt_tokens: int,
    output_tokens: int,
    load: float,
    num_blocks: int = 20_000,
    mode: str = "vllm_v1",
    seed: int = 0,
) -> Case:
    """Return a case at a fraction of the replicas' work capacity, with lengths uniform within 50 % of their mean."""
    rng = np.random.default_rng(seed)
    rate_rps = load * num_replicas / request_cost_s(prompt_tokens, output_tokens)
    arrival = np.cumsum(rng.exponential(1e12 / rate_rps, num_requests)).astype(np.int64)
    prompts = rng.integers(max(1, prompt_tokens // 2), prompt_tokens * 3 // 2, num_requests)
    outputs = rng.integers(max(1, output_tokens // 2), output_tokens * 3 // 2, num_requests)
    token_ps = np.maximum(FLOOR_PS, TOKEN_PS * np.arange(BUDGET + 1))
    token_ps[0] = 0
    latency = affine_table(name="roofline", token_ps=token_ps, context_ps=CONTEXT_PS, pair_ps=PAIR_PS)
    spec = engine(mode, token_budget=BUDGET, max_running=MAX_RUNNING, num_blocks=num_blocks)
    return Case(
        cluster=uniform_cluster(num_replicas=num_replicas, engine=spec, latency=latency),
        trace=Trace(
            arrival_ps=arrival - arrival[0],
            prompt_tokens=prompts,
            output_tokens=outputs,
            max_tokens=np.full(num_requests, 4096),
        ),
        drain_s=36_000.0,
    )
