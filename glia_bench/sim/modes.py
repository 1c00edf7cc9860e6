"""Engine modes: named systems, each a row of rules, and the sizes that they ship with.

The rules are fields of `EngineSpec`; what each does stands in docs/simulator.md. Sizes (budget, cap, KV blocks) are a
task's own; `default_sizes` says what the system would take. In all modes admission takes the blocks of the whole
prompt, and a preempted request recomputes prompt and generated tokens from the head of the waiting queue; swapping to
host memory is left out.

Sources:
    vllm_v1: vLLM 0.33.0, vllm/v1/core/sched/scheduler.py, first come first served; sizes: vllm/engine/arg_utils.py.
    vllm_v0: vLLM 0.6, vllm/core/scheduler.py, which prefills before it decodes and does not mix. Its block managers
        want one free block for every decode, also where none is taken (`can_append_slots`).
    vllm_v0_vidur, sarathi_vidur: Vidur's `vllm` and `sarathi` (microsoft/vidur 7d475133,
        vidur/scheduler/replica_scheduler/ and vidur/config/config.py). They keep running requests in order of arrival
        and want the free block too; the first counts a batch as its number times its longest prompt.
    sarathi: Agrawal et al., OSDI 2024, as in Vidur, with a block only where one is needed: the victim rule of the Glia
        paper's experiment (arXiv 2510.27176).
    orca: Yu et al., OSDI 2022, as in Vidur: memory for the longest output is reserved, so nothing is ever preempted.
        Here that is prompt plus max_tokens; Vidur reserves the model's whole length for everyone.
"""

from dataclasses import replace
from typing import TypedDict

from glia_bench.cluster import EngineSpec, Order
from glia_bench.errors import InvalidSpecError, did_you_mean


class ModeRules(TypedDict):
    """The rules in which modes differ; fields as in `EngineSpec`."""

    order: Order
    watermark: float
    admit_after_preemption: bool
    spare_block: bool
    chunked_prefill: bool
    prefill_first: bool
    reserve_output: bool
    padded_budget: bool


class Sizes(TypedDict):
    """The sizes that a system has a default for; fields as in `EngineSpec`."""

    token_budget: int
    max_running: int


_PLAIN: ModeRules = {
    "order": "admission",
    "watermark": 0.0,
    "admit_after_preemption": True,
    "spare_block": False,
    "chunked_prefill": True,
    "prefill_first": False,
    "reserve_output": False,
    "padded_budget": False,
}

MODES: dict[str, ModeRules] = {
    "sarathi": {**_PLAIN, "order": "arrival", "watermark": 0.01},
    "sarathi_vidur": {**_PLAIN, "order": "arrival", "watermark": 0.01, "spare_block": True},
    "vllm_v1": {**_PLAIN, "admit_after_preemption": False},
    "vllm_v0": {**_PLAIN, "watermark": 0.01, "spare_block": True, "chunked_prefill": False, "prefill_first": True},
    "vllm_v0_vidur": {
        **_PLAIN,
        "order": "arrival",
        "watermark": 0.01,
        "spare_block": True,
        "chunked_prefill": False,
        "prefill_first": True,
        "padded_budget": True,
    },
    "orca": {**_PLAIN, "chunked_prefill": False, "reserve_output": True},
}


def engine(
    mode: str,
    *,
    token_budget: int,
    max_running: int,
    num_blocks: int,
    block_size_tokens: int = 16,
    prefix_caching: bool = False,
) -> EngineSpec:
    """Return the engine of a named mode with the given sizes.

    Raises:
        InvalidSpecError: If no mode has this name or a size breaks a rule of `EngineSpec`.
    """
    return EngineSpec(
        mode=mode,
        token_budget=token_budget,
        max_running=max_running,
        num_blocks=num_blocks,
        block_size_tokens=block_size_tokens,
        prefix_caching=prefix_caching,
        **_rules(mode),
    )


def with_mode(engine: EngineSpec, mode: str) -> EngineSpec:
    """Return an engine of the same sizes under another mode's rules; one that has this mode already stays as it is.

    A mode without chunked prefill serves no request longer than its token budget: see `EngineSpec.max_request_tokens`.

    Raises:
        InvalidSpecError: If no mode has this name.
    """
    rules = _rules(mode)
    return engine if engine.mode == mode else replace(engine, mode=mode, **rules)


def default_sizes(mode: str, *, gpu_memory_gib: float, max_model_len: int, is_a100: bool = False) -> Sizes:
    """Return the budget and cap that a system takes by itself: `engine(mode, num_blocks=..., **default_sizes(...))`.

    Orca has no token budget; it gets room for one prompt of any length beside a full batch of decodes.

    Args:
        mode: A name in `MODES`.
        gpu_memory_gib: Memory of one GPU; `vllm_v1` goes by it.
        max_model_len: Longest prompt plus output, in tokens; modes without chunked prefill go by it.
        is_a100: Whether the GPU is an A100, which vLLM treats as a small one whatever its memory.

    Raises:
        InvalidSpecError: If no mode has this name.
    """
    _rules(mode)
    if mode == "vllm_v1":
        if gpu_memory_gib >= 160:
            return {"token_budget": 16_384, "max_running": 1024}
        if gpu_memory_gib >= 70 and not is_a100:
            return {"token_budget": 8192, "max_running": 1024}
        return {"token_budget": 2048, "max_running": 256}
    if mode == "vllm_v0":
        return {"token_budget": max(max_model_len, 2048), "max_running": 256}
    if mode == "vllm_v0_vidur":
        return {"token_budget": 4096, "max_running": 128}
    if mode == "orca":
        return {"token_budget": max_model_len + 128, "max_running": 128}
    return {"token_budget": 512, "max_running": 128}


def _rules(mode: str) -> ModeRules:
    if mode not in MODES:
        raise InvalidSpecError(f"no engine mode {mode!r} (known: {', '.join(MODES)}){did_you_mean(mode, MODES)}")
    return MODES[mode]
