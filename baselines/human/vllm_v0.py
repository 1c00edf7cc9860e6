"""Prefills before decodes, never together: as soon as a waiting prompt fits, all decodes stand still for it.

An iteration is either prompts alone, first come, first served, up to the token budget while their blocks leave
WATERMARK of the capacity free; or, if none fits, one token for everybody. The latest arrival is preempted when a block
is short. vLLM 0 computed a prompt whole; here the engine's budget may cut it, and the decodes wait for the rest too.

Source: vLLM 0.6, its scheduler before the V1 engine.
Loses: the time per token: whoever decodes pays for every prompt that comes, so a burst of long ones stops all streams.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "vllm-project/vllm 0.6, vllm/core/scheduler.py"
ENGINE_MODE = "vllm_v1"
TUNABLE = {"WATERMARK": (0.0, 0.2)}
WATERMARK = 0.01
NEED, PREFILLS, PAUSED = 0, 1, 2
MEMORY = {
    "shared": 3
}  # blocks of the queue's head, 0 if not known; whether prompts have the turn; decodes to pause yet


def blocks(request: Request, replica: Replica) -> int:
    """Return the blocks that the request needs to enter."""
    tokens = request.prompt_tokens + request.generated_tokens
    return (tokens + replica.block_size_tokens - 1) // replica.block_size_tokens


def fits(need: float, replica: Replica) -> bool:
    """Return whether so many blocks may be taken now; an empty replica takes any prompt."""
    room = replica.free_blocks - need >= int(WATERMARK * replica.capacity_blocks)
    return replica.running == 0 or (room and replica.running < replica.max_running)


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Order by arrival; whoever finds nobody waiting is the head."""
    if replica.waiting == 0:
        memory.shared[NEED] = blocks(request, replica)
    return request.arrival_s


def on_step(replica: Replica, memory: Memory) -> None:
    """Give prompts the turn if one is begun, if the head fits, or if there is no decode."""
    begun = replica.running > replica.decode_tokens
    enters = memory.shared[NEED] > 0 and replica.waiting > 0 and fits(memory.shared[NEED], replica)
    memory.shared[PREFILLS] = 1.0 if begun or enters or replica.decode_tokens == 0 else 0.0
    memory.shared[PAUSED] = replica.decode_tokens * memory.shared[PREFILLS]


def tokens(request: Request, replica: Replica, left: int, memory: Memory) -> int:
    """Pause the decodes, which are asked first, in the prompts' turn."""
    if memory.shared[PAUSED] > 0:
        memory.shared[PAUSED] -= 1.0
        return 0
    return left


def admit(request: Request, replica: Replica, memory: Memory) -> bool:
    """Admit in the prompts' turn while there is room; else note what the head needs, for the next turn."""
    need = blocks(request, replica)
    enters = memory.shared[PREFILLS] == 1 and fits(need, replica)
    memory.shared[NEED] = 0.0 if enters else float(need)
    return enters


def evict_rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Preempt the latest arrival; it may become the head."""
    memory.shared[NEED] = 0.0
    return float(request.id)
