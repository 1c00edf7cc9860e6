"""Reservation of the longest output, and prompts only in batches: new ones wait until enough have come.

A prompt enters if its blocks and those of the longest output are left beside all others' (one token less: the last is
never stored). Prompts have their turn, all decodes standing still, when RATIO times as many wait as run, or after
MOST_STEPS decode steps, which are counted at scheduling points. The prefill budget is the engine's.

Source: Text Generation Inference, the queue of its v3 backend and its launcher's defaults.
Loses: wherever clients allow many more tokens than they get: most of the reserved memory is never used, and all others
wait for it.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "huggingface/text-generation-inference@db931fcf, backends/v3/src/queue.rs, launcher/src/main.rs"
ENGINE_MODE = "vllm_v1"
TUNABLE = {"RATIO": (0.0, 2.0), "MOST_STEPS": (0, 1000), "MAX_BATCH": (8, 256, "log")}
RATIO = 0.3
MOST_STEPS = 20
MAX_BATCH = 128
NEED, PREFILLS, PAUSED, RESERVED, STEPS, NEWEST = range(6)
MEMORY = {"shared": 6, "request": 1}  # of a request: the output tokens when it was last asked


def blocks(request: Request, replica: Replica) -> int:
    """Return the blocks that are set aside for a request."""
    most = request.prompt_tokens + request.max_tokens - 1
    return (most + replica.block_size_tokens - 1) // replica.block_size_tokens


def fits(need: float, replica: Replica, memory: Memory) -> bool:
    """Return whether so many blocks are left beside all reservations; an empty replica takes any prompt."""
    room = need <= replica.capacity_blocks - memory.shared[RESERVED]
    return replica.running == 0 or (room and replica.running < min(MAX_BATCH, replica.max_running))


def plan(replica: Replica, memory: Memory) -> tuple[int, int]:
    """Return the engine's budget and the batch."""
    return replica.token_budget, min(MAX_BATCH, replica.max_running)


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Order by arrival; whoever finds nobody waiting is the head."""
    if replica.waiting == 0:
        memory.shared[NEED] = blocks(request, replica)
    return request.arrival_s


def on_step(replica: Replica, memory: Memory) -> None:
    """Give prompts the turn if one is begun, nothing decodes, or the head fits and enough wait or long enough."""
    s = memory.shared
    s[STEPS] += s[NEWEST]
    due = replica.waiting >= RATIO * replica.running or s[STEPS] >= MOST_STEPS
    enters = due and s[NEED] > 0 and replica.waiting > 0 and fits(s[NEED], replica, memory)
    s[PREFILLS] = 1.0 if enters or replica.running > replica.decode_tokens or replica.decode_tokens == 0 else 0.0
    s[PAUSED] = replica.decode_tokens * s[PREFILLS]
    s[STEPS] = 0.0 if s[PREFILLS] == 1 else s[STEPS]
    s[RESERVED] = s[NEWEST] = 0.0


def tokens(request: Request, replica: Replica, left: int, memory: Memory) -> int:
    """Reserve for whoever runs or enters, count the decode steps, and pause decodes (asked first) for prompts."""
    s = memory.shared
    s[RESERVED] += blocks(request, replica)
    s[NEWEST] = max(s[NEWEST], request.generated_tokens - memory.request[request.slot, 0])
    memory.request[request.slot, 0] = request.generated_tokens
    if s[PAUSED] > 0:
        s[PAUSED] -= 1.0
        return 0
    return left


def admit(request: Request, replica: Replica, memory: Memory) -> bool:
    """Admit in the prompts' turn while there is room; else note what the head needs, for the next turn."""
    need = blocks(request, replica)
    enters = memory.shared[PREFILLS] == 1 and fits(need, replica, memory)
    memory.shared[NEED] = 0.0 if enters else float(need)
    return enters
