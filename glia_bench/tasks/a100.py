"""Replicas that several tasks share: Llama-3-8B in bf16 on one A100 with 80 GB, vLLM's V1 engine and sizes.

KV blocks: (80 GiB x 0.9 - 16.06e9 B of weights - 2 GiB of activations) / (131,072 B per token x 16) = 28,157, as vLLM
counts them with its default share of the memory; rounded down to 28,000.
"""

from glia_bench.cluster import EngineSpec, SloClass
from glia_bench.sim.latency import latency_table
from glia_bench.sim.modes import engine

TOKEN_BUDGET = 2048
LATENCY = latency_table("a100-llama3-8b", token_budget=TOKEN_BUDGET)

INTERACTIVE = SloClass(name="interactive", ttft_s=0.5, ttft_per_prompt_token_s=0.0002, tpot_s=0.05)
"""First token within 0.5 s and 50 ms a token, as NVIDIA Dynamo's planner sets it for such models (ai-dynamo 1.6.1); the
first token may take 0.2 ms longer for each prompt token, about twice what prefilling it alone takes."""


def a100_engine(*, prefix_caching: bool = False) -> EngineSpec:
    """Return the engine; 256 running requests and 2048 tokens an iteration are vLLM's defaults for a server."""
    return engine(
        "vllm_v1",
        token_budget=TOKEN_BUDGET,
        max_running=256,
        num_blocks=28_000,
        block_size_tokens=16,
        prefix_caching=prefix_caching,
    )
