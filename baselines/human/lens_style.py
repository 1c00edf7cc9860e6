"""The largest token budget whose iteration is predicted to keep the pace that the requests were promised.

Before each iteration the granted model of iteration times says what the decodes alone take. What is left of the
smallest slack of those that ran last time is filled with prompt tokens, at least LEAST of them. A request's slack is
the time until its next token is due at MARGIN times its TPOT objective, counted from its first token, but never less
than one such interval: who is late anyway does not stop the prompts. The source learns its model online.

Source: NexusSched, LENS (arXiv 2509.23384); its floor is chosen here.
Loses: for first tokens under load: short iterations compute fewer prompts a second, and the queue grows. When decodes
alone take the whole pace, prompts come in the smallest chunks.
"""

from glia_bench.features import Memory, Replica, Request

NAME = "lens-style"
SOURCE = "arXiv 2509.23384 (NexusSched), LENS"
TUNABLE = {"MARGIN": (0.3, 3.0, "log"), "LEAST": (16, 2048, "log")}
MARGIN = 1.0
LEAST = 512
SLACK_S, NEXT_SLACK_S = 0, 1
NONE_S = 1e9
MEMORY = {"shared": 2, "request": 1}  # of a request: when its first token came


def on_step(replica: Replica, memory: Memory) -> None:
    """Take the smallest slack that was seen while the last batch was formed; look for it anew."""
    memory.shared[SLACK_S] = memory.shared[NEXT_SLACK_S]
    memory.shared[NEXT_SLACK_S] = 0.0


def plan(replica: Replica, memory: Memory) -> tuple[int, int]:
    """Return the tokens that fit the slack, with the decodes and LEAST among them in any case."""
    if replica.decode_tokens == 0 or memory.shared[SLACK_S] == 0:
        return replica.token_budget, replica.max_running
    perf = replica.perf
    decodes = replica.decode_tokens
    decodes_s = perf.fixed_s + perf.token_s * decodes + perf.context_token_s * replica.context_tokens
    left_s = memory.shared[SLACK_S] - decodes_s
    chunk = int(min(max(left_s / perf.token_s, LEAST), replica.token_budget))
    while chunk > LEAST and perf.token_s * chunk + perf.prefill_pair_s * chunk * chunk > left_s:
        chunk = max(LEAST, chunk - 16)
    return min(decodes + chunk, replica.token_budget), replica.max_running


def tokens(request: Request, replica: Replica, left: int, memory: Memory) -> int:
    """Note the slack that everybody will have after this iteration's token; give all tokens that are left."""
    tpot_s = MARGIN * min(request.tpot_slo_s, NONE_S)
    slack_s = tpot_s
    if request.generated_tokens > 0:
        if memory.request[request.slot, 0] == 0:
            memory.request[request.slot, 0] = replica.now_s
        due_s = memory.request[request.slot, 0] + tpot_s * request.generated_tokens
        slack_s = max(tpot_s, due_s - replica.now_s)
    if memory.shared[NEXT_SLACK_S] == 0 or slack_s < memory.shared[NEXT_SLACK_S]:
        memory.shared[NEXT_SLACK_S] = slack_s
    return left
