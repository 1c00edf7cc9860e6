"""The largest token budget whose iteration is predicted to stay within the pace that the strictest request was promised.

Before each iteration the granted model of iteration times says what the decodes alone take; what is left of MARGIN times
the smallest TPOT objective among those that ran last time is filled with prompt tokens, at least LEAST of them. The
source learns its model online and takes each request's slack; here the model is the task's, the slack the objective.

Source: NexusSched, LENS (arXiv 2509.23384).
Loses: for first tokens, when decodes alone take the whole pace: prompts then come in the smallest chunks.
"""

from glia_bench.features import Memory, Replica, Request

NAME = "lens-style"
SOURCE = "arXiv 2509.23384 (NexusSched), LENS"
TUNABLE = {"MARGIN": (0.3, 3.0, "log"), "LEAST": (16, 2048, "log")}
MARGIN = 1.0
LEAST = 128
PACE_S, NEXT_PACE_S = 0, 1
NONE_S = 1e9
MEMORY = {"shared": 2}


def on_step(replica: Replica, memory: Memory) -> None:
    """Take the strictest pace that was seen while the last batch was formed; look for it anew."""
    memory.shared[PACE_S] = memory.shared[NEXT_PACE_S]
    memory.shared[NEXT_PACE_S] = 0.0


def plan(replica: Replica, memory: Memory) -> tuple[int, int]:
    """Return the tokens that fit the pace, with the decodes and LEAST among them in any case."""
    pace_s = memory.shared[PACE_S]
    if replica.decode_tokens == 0 or pace_s == 0:
        return replica.token_budget, replica.max_running
    perf = replica.perf
    decodes = replica.decode_tokens
    left_s = MARGIN * pace_s - perf.fixed_s - perf.token_s * decodes - perf.context_token_s * replica.context_tokens
    chunk = int(min(max(left_s / perf.token_s, LEAST), replica.token_budget))
    while chunk > LEAST and perf.token_s * chunk + perf.prefill_pair_s * chunk * chunk > left_s:
        chunk = max(LEAST, chunk - 16)
    return min(decodes + chunk, replica.token_budget), replica.max_running


def tokens(request: Request, replica: Replica, left: int, memory: Memory) -> int:
    """Note the pace of everybody in the batch; give all tokens that are left."""
    pace_s = min(request.tpot_slo_s, NONE_S)
    if memory.shared[NEXT_PACE_S] == 0 or pace_s < memory.shared[NEXT_PACE_S]:
        memory.shared[NEXT_PACE_S] = pace_s
    return left
