"""SGLang's estimate and retract: admit by a guess of what the outputs will take, take requests back if it was too low.

A prompt enters if it and its longest output fit beside a ratio of what those that run may still generate. The ratio
falls with every decode step, and is set anew from the outputs so far when memory runs out; then the request with the
fewest output tokens is taken back, ties by the longest prompt. Prompts go before decodes, not together. One that was
taken back waits at its place by arrival here, chunks are the engine's token budget, and a cached prefix counts as new.

Source: SGLang 0.5.9, its scheduler with the policy fcfs and its defaults.
Loses: where prompts are many: decodes stand still for them. The guess is one number for all, and every output it
misses is computed twice.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "sgl-project/sglang 0.5.9, python/sglang/srt/managers/{schedule_policy,schedule_batch,scheduler}.py"
ENGINE_MODE = "vllm_v1"
DYNAMIC_RANK = True
TUNABLE = {"FIRST_RATIO": (0.05, 1.0), "LAST_SHARE": (0.0, 1.0), "DECAY_STEPS": (10, 10000, "log")}
FIRST_RATIO = 0.7
LAST_SHARE = 0.14  # of the first ratio: it falls no lower
DECAY_STEPS = 600
LONGEST = 4096  # output tokens, however many the client allows
AHEAD = 20  # steps that each request is granted in a new ratio
NEED, PREFILLS, PAUSED, FALLEN, STEPS, RESERVED, ASKED, OUTPUT, ALLOWED = range(9)
MEMORY = {"shared": 9, "request": 1}  # of a request: the output tokens when it was last asked


def rest(request: Request) -> int:
    """Return the tokens that a request may still generate."""
    return min(request.max_tokens - request.generated_tokens, LONGEST)


def fits(need: float, replica: Replica, memory: Memory) -> bool:
    """Return whether prompt and longest output fit beside what is reserved; an empty replica takes any."""
    room = need < replica.free_blocks * replica.block_size_tokens - memory.shared[RESERVED]
    return replica.running == 0 or (room and replica.running < replica.max_running)


def count(request: Request, memory: Memory) -> None:
    """Reserve a ratio of the rest for a request that runs; see from its tokens how many decode steps there were."""
    s = memory.shared
    s[RESERVED] += rest(request) * (FIRST_RATIO - s[FALLEN])
    s[STEPS] = max(s[STEPS], request.generated_tokens - memory.request[request.slot, 0])
    memory.request[request.slot, 0] = request.generated_tokens


def on_step(replica: Replica, memory: Memory) -> None:
    """Let the ratio fall; give prompts the turn if one is begun or nothing decodes; count anew."""
    s = memory.shared
    s[FALLEN] = min(s[FALLEN] + s[STEPS] * FIRST_RATIO * (1 - LAST_SHARE) / DECAY_STEPS, FIRST_RATIO * (1 - LAST_SHARE))
    s[PREFILLS] = 1.0 if replica.running > replica.decode_tokens or replica.decode_tokens == 0 else 0.0
    s[PAUSED] = replica.decode_tokens * s[PREFILLS]
    s[NEED] = s[STEPS] = s[RESERVED] = s[ASKED] = s[OUTPUT] = s[ALLOWED] = 0.0


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Order by arrival; note what the head needs, which is asked first, and then what those that run may take."""
    if request.computed_tokens > 0:
        count(request, memory)
    elif memory.shared[NEED] == 0:
        memory.shared[NEED] = request.prompt_tokens + request.generated_tokens + rest(request)
    return request.arrival_s


def tokens(request: Request, replica: Replica, left: int, memory: Memory) -> int:
    """Give prompts the turn if the head fits; pause decodes (asked first) in it; reserve in full for who enters."""
    s = memory.shared
    if s[NEED] > 0 and s[PREFILLS] == 0 and fits(s[NEED], replica, memory):
        s[PREFILLS] = 1.0
        s[PAUSED] = replica.decode_tokens
    s[NEED] = 0.0
    if s[PAUSED] > 0:
        s[PAUSED] -= 1.0
        return 0
    if request.computed_tokens == 0:
        s[RESERVED] += rest(request)
    return left


def admit(request: Request, replica: Replica, memory: Memory) -> bool:
    """Admit in the prompts' turn while there is room."""
    need = request.prompt_tokens + request.generated_tokens + rest(request)
    return memory.shared[PREFILLS] == 1 and fits(need, replica, memory)


def evict_rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Take back the fewest output tokens, then the longest prompt; the last one asked sets the ratio anew."""
    s = memory.shared
    s[ASKED] += 1
    s[OUTPUT] += request.generated_tokens
    s[ALLOWED] += request.max_tokens
    if s[ASKED] == replica.running:
        s[FALLEN] = FIRST_RATIO - min(1.0, (s[OUTPUT] + AHEAD * s[ASKED]) / (s[ALLOWED] + 1))
        s[ASKED] = s[OUTPUT] = s[ALLOWED] = 0.0
    return request.prompt_tokens - 1e8 * request.generated_tokens
