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
DYNAMIC_RANK = True
TUNABLE = {"WATERMARK": (0.0, 0.2)}
WATERMARK = 0.01
IS_OPEN, PREFILLS, PAUSED = 0, 1, 2
MEMORY = {"shared": 3}  # whether the head is still to be asked; whether prompts have the turn; decodes to pause yet


def blocks(request: Request, replica: Replica) -> int:
    """Return the blocks that the request needs to enter."""
    tokens = request.prompt_tokens + request.generated_tokens
    return (tokens + replica.block_size_tokens - 1) // replica.block_size_tokens


def fits(request: Request, replica: Replica) -> bool:
    """Return whether the request's blocks may be taken now; an empty replica takes any prompt."""
    room = replica.free_blocks - blocks(request, replica) >= int(WATERMARK * replica.capacity_blocks)
    return replica.running == 0 or (room and replica.running < replica.max_running)


def on_step(replica: Replica, memory: Memory) -> None:
    """Give prompts the turn, and pause all decodes, if a prompt is begun or nothing decodes."""
    is_theirs = replica.running > replica.decode_tokens or replica.decode_tokens == 0
    memory.shared[IS_OPEN] = 1.0
    memory.shared[PREFILLS] = 1.0 if is_theirs else 0.0
    memory.shared[PAUSED] = replica.decode_tokens if is_theirs else 0.0


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Order by arrival; give prompts the turn if the head, which is asked first, fits."""
    if memory.shared[IS_OPEN] == 1 and request.computed_tokens == 0 and fits(request, replica):
        memory.shared[PREFILLS] = 1.0
        memory.shared[PAUSED] = replica.decode_tokens
    memory.shared[IS_OPEN] = 0.0
    return request.arrival_s


def tokens(request: Request, replica: Replica, left: int, memory: Memory) -> int:
    """Pause the decodes, which are asked first, in the prompts' turn."""
    if memory.shared[PAUSED] > 0:
        memory.shared[PAUSED] -= 1.0
        return 0
    return left


def admit(request: Request, replica: Replica, memory: Memory) -> bool:
    """Admit in the prompts' turn while there is room."""
    return memory.shared[PREFILLS] == 1 and fits(request, replica)


def evict_rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Preempt the latest arrival."""
    return float(request.id)
