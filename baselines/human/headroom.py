"""Head-room admission: the head of the queue enters only where the running requests keep room to grow.

A request may be admitted if, after its own blocks, SIGMA of the capacity and GROWTH_BLOCKS for every running request
stay free; or if nothing runs. The first that may not ends admission, so the order stays first come, first served.

Source: vLLM's V0 watermark made tunable and widened by the growth of running requests; no single publication.
Loses: where memory is plentiful: it delays first tokens to prevent preemptions that would not have happened. One block
for each is too little for long outputs and too much for requests that are about to end.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "vllm-project/vllm 0.6, vllm/core/block_manager.py (watermark), widened here; no single publication"
TUNABLE = {"SIGMA": (0.0, 0.5), "GROWTH_BLOCKS": (0, 16)}
SIGMA = 0.05
GROWTH_BLOCKS = 1


def admit(request: Request, replica: Replica, memory: Memory) -> bool:
    """Admit where the blocks of what is to be computed leave the head-room free."""
    if replica.running == 0:
        return True
    tokens = request.prompt_tokens + request.generated_tokens - request.cached_tokens
    need = (tokens + replica.block_size_tokens - 1) // replica.block_size_tokens
    head_room = int(SIGMA * replica.capacity_blocks) + GROWTH_BLOCKS * replica.running
    return replica.free_blocks - need >= head_room
