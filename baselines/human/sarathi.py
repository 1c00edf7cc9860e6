"""Stall-free batching: decodes first, and prompts only in chunks that fit what is left of a small token budget.

An iteration takes at most CHUNK_TOKENS tokens, so no prompt makes the decodes beside it wait longer than that. A prompt
enters if its blocks leave WATERMARK of the capacity free, or if nothing runs; the latest arrival is preempted when a
block is short. The running list stays in the engine's order, which differs from Sarathi's after a preemption only.

Source: Sarathi-Serve (OSDI 2024), as in Vidur's scheduler of that name.
Loses: where prefills are the work: small chunks read the weights more often for the same prompt, and first tokens wait.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "microsoft/vidur@7d475133, vidur/scheduler/replica_scheduler/sarathi_replica_scheduler.py"
TUNABLE = {"CHUNK_TOKENS": (256, 8192, "log"), "MAX_BATCH": (16, 256, "log"), "WATERMARK": (0.0, 0.2)}
CHUNK_TOKENS = 512
MAX_BATCH = 128
WATERMARK = 0.01


def plan(replica: Replica, memory: Memory) -> tuple[int, int]:
    """Return the chunk and the batch, within the engine's own."""
    return min(CHUNK_TOKENS, replica.token_budget), min(MAX_BATCH, replica.max_running)


def admit(request: Request, replica: Replica, memory: Memory) -> bool:
    """Admit where the blocks of what is to be computed leave the watermark free."""
    tokens = request.prompt_tokens + request.generated_tokens - request.cached_tokens
    need = (tokens + replica.block_size_tokens - 1) // replica.block_size_tokens
    return replica.running == 0 or replica.free_blocks - need >= int(WATERMARK * replica.capacity_blocks)


def evict_rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Preempt the latest arrival."""
    return float(request.id)
