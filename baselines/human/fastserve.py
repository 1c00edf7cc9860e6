"""Skip-join multi-level feedback queue: who has run longest yields to who has run least; no prediction is needed.

Level k grants QUANTUM_S * 2**k seconds of running. A request joins at the first level that its prefill fits, falls one
level when its time is used up, and keeps its place within its level, first in, first out. Every PERIOD scheduling
points those that have not run for STARVED_S join anew. A request of a higher level takes the place of one of the lowest
when memory or places are short. FastServe counts iterations, swaps to host memory and promotes to level 0; here a
victim is computed again, and for that level 0 is too short.

Source: FastServe (arXiv 2305.05920).
Loses: where memory is short: long requests are preempted again and again, and each time computed from the start.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "LLMServe/FastServe@187a2742, fastserve/scheduler.py"
PREEMPTIVE = True
DYNAMIC_RANK = True
TUNABLE = {"QUANTUM_S": (0.001, 1.0, "log"), "STARVED_S": (0.5, 300.0, "log"), "PERIOD": (1, 10000, "log")}
QUANTUM_S = 0.01
STARVED_S = 3.0
PERIOD = 1000
LEVELS = 24
SPAN_S = 1e8  # longer than any clock runs
JOINED, LEVEL, USED_S, ENTERED_S, ASKED_S, RAN_S = 0, 1, 2, 3, 4, 5
MEMORY = {"shared": 1, "request": 6}  # shared: scheduling points so far


def on_step(replica: Replica, memory: Memory) -> None:
    """Count the scheduling points."""
    memory.shared[0] = (memory.shared[0] + 1.0) % PERIOD


def quantum_s(level: float) -> float:
    """Return the seconds that a level grants."""
    seconds = QUANTUM_S
    for _ in range(int(level)):
        seconds *= 2.0
    return seconds


def join(request: Request, replica: Replica, memory: Memory) -> None:
    """Put a request on the first level whose quantum is enough for its prefill."""
    perf = replica.perf
    tokens = request.prompt_tokens + request.generated_tokens
    prefill_s = perf.fixed_s + perf.token_s * tokens + perf.prefill_pair_s * tokens * tokens
    row = memory.request[request.slot]
    row[LEVEL] = 0.0
    while row[LEVEL] < LEVELS and quantum_s(row[LEVEL]) < prefill_s:
        row[LEVEL] += 1.0
    row[JOINED] = 1.0
    row[USED_S] = 0.0
    row[ENTERED_S] = row[ASKED_S] = row[RAN_S] = replica.now_s


def move(request: Request, level: float, replica: Replica, memory: Memory) -> None:
    """Put a request at the end of a level with its time unused."""
    row = memory.request[request.slot]
    row[LEVEL], row[USED_S], row[ENTERED_S] = level, 0.0, replica.now_s


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Account for the time since the last scheduling point; order by level, then by when the level was entered."""
    row = memory.request[request.slot]
    if row[JOINED] == 0:
        join(request, replica, memory)
    elif request.computed_tokens > 0:  # it runs
        row[USED_S] += replica.now_s - row[ASKED_S]
        row[RAN_S] = replica.now_s
        if row[USED_S] > quantum_s(row[LEVEL]) and row[LEVEL] < LEVELS:
            move(request, row[LEVEL] + 1.0, replica, memory)
    elif memory.shared[0] == 0 and replica.now_s - row[RAN_S] >= STARVED_S:
        join(request, replica, memory)
    row[ASKED_S] = replica.now_s
    return float(row[LEVEL] * SPAN_S + row[ENTERED_S])
