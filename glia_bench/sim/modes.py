"""Engine modes: named systems, each a row of rules; sizes (budget, cap, KV blocks) are a task's.

Sources: `sarathi` is Vidur's scheduler of that name (Agrawal et al., OSDI 2024; microsoft/vidur 7d475133) with the
victim rule of the Glia paper's experiment (arXiv 2510.27176); `vllm_v1` is vllm/v1/core/sched/scheduler.py of 0.33.0,
first come first served. In both, admission takes the blocks of the whole prompt, chunked prefill is on, and a
preempted request recomputes prompt and generated tokens from the head of the waiting queue. What differs is the row.
"""

from typing import TypedDict

from glia_bench.errors import InvalidSpecError, did_you_mean
from glia_bench.types import EngineSpec, Order


class ModeRules(TypedDict):
    """The rules in which modes differ; fields as in `EngineSpec`."""

    order: Order
    watermark: float
    admit_after_preemption: bool
    spare_block: bool


MODES: dict[str, ModeRules] = {
    "sarathi": {"order": "arrival", "watermark": 0.01, "admit_after_preemption": True, "spare_block": False},
    "sarathi_vidur": {"order": "arrival", "watermark": 0.01, "admit_after_preemption": True, "spare_block": True},
    "vllm_v1": {"order": "admission", "watermark": 0.0, "admit_after_preemption": False, "spare_block": False},
}


def engine(
    mode: str, *, token_budget: int, max_running: int, num_blocks: int, block_size_tokens: int = 16
) -> EngineSpec:
    """Return the engine of a named mode with the given sizes.

    Raises:
        InvalidSpecError: If no mode has this name or a size breaks a rule of `EngineSpec`.
    """
    if mode not in MODES:
        raise InvalidSpecError(f"no engine mode {mode!r} (known: {', '.join(MODES)}){did_you_mean(mode, MODES)}")
    return EngineSpec(
        mode=mode,
        token_budget=token_budget,
        max_running=max_running,
        num_blocks=num_blocks,
        block_size_tokens=block_size_tokens,
        **MODES[mode],
    )
