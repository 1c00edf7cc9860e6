"""Replicas that tasks are built of: a GPU, a model, a tensor-parallel degree, vLLM's V1 engine with its default sizes.

Iteration times are latency presets (docs/latency.md), token budget and most running requests vLLM's defaults for a
server on that GPU, KV blocks what nine tenths of the memory leave beside weights and activations. Left out: quantised
weights, other engines (a task may change `engine` of what it gets).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from glia_bench.cluster import NO_COLD_START, ColdStart, PoolSpec
from glia_bench.sim.kv_capacity import kv_capacity_blocks
from glia_bench.sim.latency import latency_table
from glia_bench.sim.latency_parts import GPUS, MODELS
from glia_bench.sim.modes import default_sizes, engine

MAX_MODEL_LEN = 131_072
"""Context of the models, in tokens; no size below depends on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """What a latency preset was made for.

    Attributes:
        gpu, model: Keys of `GPUS` and `MODELS`.
        tp: GPUs of a replica.
    """

    gpu: str
    model: str
    tp: int = 1


SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        "a10-llama3-8b": System(gpu="a10", model="llama3-8b"),
        "a40-llama3-8b": System(gpu="a40", model="llama3-8b"),
        "a40-llama2-70b-tp4": System(gpu="a40", model="llama2-70b", tp=4),
        "a100-llama3-8b": System(gpu="a100", model="llama3-8b"),
        "a100-llama3-70b-tp4": System(gpu="a100", model="llama3-70b", tp=4),
        "h100-llama3-8b": System(gpu="h100", model="llama3-8b"),
        "h100-llama2-70b-tp4": System(gpu="h100", model="llama2-70b", tp=4),
    }
)
"""Latency preset to its system."""


def replica_pool(
    preset: str,
    *,
    num_replicas: int,
    min_replicas: int | None = None,
    max_replicas: int | None = None,
    prefix_caching: bool = False,
    block_size_tokens: int = 16,
    speed: float = 1.0,
    cold_start: ColdStart = NO_COLD_START,
) -> PoolSpec:
    """Return a pool of replicas of a preset in `SYSTEMS`, under its name; the rest as in `PoolSpec`."""
    system = SYSTEMS[preset]
    gpu = GPUS[system.gpu]
    sizes = default_sizes(
        "vllm_v1",
        gpu_memory_gib=gpu.memory_bytes / 2**30,
        max_model_len=MAX_MODEL_LEN,
        is_a100=system.gpu == "a100",
    )
    blocks = kv_capacity_blocks(gpu, MODELS[system.model], tp=system.tp, block_size_tokens=block_size_tokens, **sizes)
    return PoolSpec(
        name=preset,
        num_replicas=num_replicas,
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        gpus_per_replica=system.tp,
        speed=speed,
        cold_start=cold_start,
        engine=engine(
            "vllm_v1",
            num_blocks=blocks,
            block_size_tokens=block_size_tokens,
            prefix_caching=prefix_caching,
            **sizes,
        ),
        latency=latency_table(preset, token_budget=sizes["token_budget"]),
    )
