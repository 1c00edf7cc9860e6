"""SLO-paced iterations on a full fleet; what is lost waits at the router for spare capacity."""

# EVOLVE-BLOCK-START
from glia_bench import HOLD

INTERVAL_S = 5.0
DYNAMIC_RANK = True
SKIP_BLOCKED = True
MEMORY = {"shared": 3, "replica": 5, "tenant": 2, "request": 2}
TIGHT_TPOT_S = 0.05
TIGHT_ITERATION_S = 0.027
LOOSE_ITERATION_S = 0.078
MIN_CHUNK = 48
LONG_PROMPT = 6000
TIGHT_TOKEN_S = 0.00018
LOOSE_TOKEN_S = 0.00012
START_S = 0.03
INFLIGHT_S = 0.01
INTERACTIVE_MISMATCH_S = 1.5
SPILL_INFLIGHT = 40
STANDARD_MISMATCH_S = 0.7
BATCH_TTFT_S = 60.0
BATCH_DEADLINE_S = 10.0
LATE_S = 30.0
MAX_PARK_S = 80.0
SPARE_TOKENS = 2000
SPARE_FAST_PROMPT = 2500
NUM_BULK = 1
CHEAP_PROMPT = 1300
PRICE_DOWN = 0.85
PRICE_UP = 1.02
TINY_PROMPT = 128
LONG_OUTPUT = 600.0
LONG_OUTPUT_COUNT = 3.0
QUIET_ROWS = 6
UP_ROWS = 15
DOWN_ROWS = 180
REPLICA_TOKENS_S = 4200.0
MIN_ACTIVE = 2
HELD_MAX = 5.0
HELD_ROWS = 5


def is_tight(request):
    # a long prompt would block the short iterations for seconds: it goes with the bulk
    return request.tpot_slo_s < TIGHT_TPOT_S and request.prompt_tokens <= LONG_PROMPT


def is_fast_side(index):
    # interactive has half of the prompt tokens and the dearest iterations: all but the first are for it
    return index >= NUM_BULK


def rank(request, cluster, memory):
    memory.request[request.slot, 1] = 0.0
    if memory.shared[2] < 1.0:
        memory.shared[2] = float(LONG_PROMPT)
    return float(request.arrival_s)


def route(request, replicas, cluster, memory):
    """At once to where its deadline can be met; else only where nobody is delayed by it."""
    tight = is_tight(request)
    batch = request.ttft_slo_s > BATCH_TTFT_S
    age = cluster.now_s - request.arrival_s
    remaining = request.ttft_slo_s - age
    n = memory.tenant[request.tenant, 0]
    # the longest outputs share one replica, so that the others can leave after the last arrival
    anchored = (
        n >= LONG_OUTPUT_COUNT and memory.tenant[request.tenant, 1] > LONG_OUTPUT * n and replicas.ready[0] == 1
    )
    best = -1
    best_score = 1e18
    if not batch and not (tight and request.prompt_tokens > memory.shared[2]):
        for i in range(cluster.num_replicas):
            if replicas.ready[i] != 1 or (anchored and i != 0):
                continue
            fast = is_fast_side(i)
            token_s = LOOSE_TOKEN_S
            if fast:
                token_s = TIGHT_TOKEN_S
            # lost and batch requests come last in the engine: they are not ahead of it
            # a large prompt counts in full until its first token, but its remaining time goes down
            wait = min(memory.replica[i, 2] * token_s, max(0.0, memory.replica[i, 4] - cluster.now_s))
            if not tight:
                wait += memory.replica[i, 3] * token_s
            score = START_S + wait + request.prompt_tokens * token_s
            if score > remaining:
                continue
            if tight and not fast:
                if replicas.inflight[i] > SPILL_INFLIGHT:
                    # in time for the first token, yet too slow for the others
                    continue
                score += INTERACTIVE_MISMATCH_S
            if fast and not tight:
                score += STANDARD_MISMATCH_S
                if request.prompt_tokens > LONG_PROMPT:
                    continue
            score += replicas.inflight[i] * INFLIGHT_S
            if score < best_score:
                best_score = score
                best = i
        if tight and request.prompt_tokens <= CHEAP_PROMPT and memory.request[request.slot, 1] < 0.5:
            # a miss costs the same for all: when cheap ones do not fit, the dearest are shut out
            if best >= 0:
                memory.shared[2] = min(float(LONG_PROMPT), memory.shared[2] * PRICE_UP)
            else:
                memory.shared[2] = max(float(CHEAP_PROMPT), memory.shared[2] * PRICE_DOWN)
        memory.request[request.slot, 1] = 1.0
        if best >= 0:
            if tight:
                memory.request[request.slot, 0] = 0.0
                token_s = LOOSE_TOKEN_S
                if is_fast_side(best):
                    token_s = TIGHT_TOKEN_S
                start = max(cluster.now_s, memory.replica[best, 4])
                memory.replica[best, 4] = start + request.prompt_tokens * token_s
            else:
                memory.request[request.slot, 0] = 1.0
            return int(best)
    if tight and START_S + request.prompt_tokens * TIGHT_TOKEN_S <= remaining:
        # not lost yet: the next scan comes in some 40 ms
        return int(HOLD)
    # its miss is paid for (or it has minutes): it must not make others miss, and may go to a newer replica later
    limit = MAX_PARK_S
    if batch:
        limit = BATCH_DEADLINE_S
    spare_prompt = SPARE_FAST_PROMPT * memory.shared[2] / LONG_PROMPT
    overdue = age > limit or request.prompt_tokens <= TINY_PROMPT
    for i in range(cluster.num_replicas):
        if replicas.ready[i] != 1 or (anchored and i != 0):
            continue
        unprefilled = replicas.unprefilled_tokens[i]
        score = unprefilled * LOOSE_TOKEN_S + replicas.inflight[i] * INFLIGHT_S
        if is_fast_side(i):
            score += STANDARD_MISMATCH_S
            if not overdue and (unprefilled > 0 or request.prompt_tokens > spare_prompt):
                continue
        elif not overdue and unprefilled > SPARE_TOKENS:
            continue
        if score < best_score:
            best_score = score
            best = i
    if best >= 0:
        memory.request[request.slot, 0] = 2.0
        return int(best)
    return int(HOLD)


def on_dispatch(request, replica, memory):
    kind = memory.request[request.slot, 0]
    memory.replica[replica, 1] += 1.0
    if kind < 0.5:
        memory.replica[replica, 0] += 1.0
        memory.replica[replica, 2] += request.prompt_tokens
    elif kind < 1.5:
        memory.replica[replica, 3] += request.prompt_tokens


def on_first_token(request, replica, memory):
    kind = memory.request[request.slot, 0]
    if kind < 0.5:
        memory.replica[replica, 2] = max(0.0, memory.replica[replica, 2] - request.prompt_tokens)
    elif kind < 1.5:
        memory.replica[replica, 3] = max(0.0, memory.replica[replica, 3] - request.prompt_tokens)


def on_finish(request, replica, memory):
    if memory.request[request.slot, 0] < 0.5:
        memory.replica[replica, 0] -= 1.0
    memory.tenant[request.tenant, 0] += 1.0
    memory.tenant[request.tenant, 1] += request.generated_tokens


def schedule_rank(request, replica, memory):
    """Earliest deadline first; the lost yield, but not for ever."""
    if request.generated_tokens > 0:
        return float(request.arrival_s)
    if request.ttft_slo_s > BATCH_TTFT_S:
        return float(request.arrival_s + BATCH_DEADLINE_S)
    deadline = request.arrival_s + request.ttft_slo_s
    if replica.now_s + replica.perf.token_s * request.prompt_tokens > deadline:
        return float(deadline + LATE_S)
    return float(deadline)


def plan(replica, memory):
    """Every decode waits for the whole iteration: keep it below the tightest TPOT in it."""
    target = LOOSE_ITERATION_S
    tight = memory.replica[replica.id, 0] > 0.5
    if memory.replica[replica.id, 1] < 0.5 and is_fast_side(replica.id):
        tight = True
    if tight and replica.decode_tokens > 0:
        target = TIGHT_ITERATION_S
    spare = target - replica.perf.fixed_s - replica.perf.context_token_s * replica.context_tokens
    budget = int(spare / replica.perf.token_s)
    least = int(replica.decode_tokens + MIN_CHUNK)
    if budget < least:
        budget = least
    if budget > replica.token_budget:
        budget = int(replica.token_budget)
    if budget < 1:
        budget = 1
    return (int(budget), int(replica.max_running))


def scale(window, cluster, memory):
    """As many as the prompt tokens of the last minute need at SLO pace; growing is quick, shrinking slow."""
    memory.shared[1] += 1.0
    recent = 0.0
    rows = window.arrivals.shape[0]
    for k in range(rows - QUIET_ROWS, rows):
        recent += window.arrivals[k, 0]
    if recent > 0.0:
        memory.shared[0] = 1.0
    if memory.shared[0] > 0.5 and recent <= 0.0:
        return int(window.min_replicas[0])
    most = int(window.max_replicas[0])
    elapsed = int(memory.shared[1] * INTERVAL_S) - 2 * UP_ROWS // 3
    if elapsed < UP_ROWS:
        # nothing is known yet, and a start takes longer than a burst
        return most
    held = 0.0
    for k in range(rows - HELD_ROWS, rows):
        held += window.held[k, 0]
    if held > HELD_MAX * HELD_ROWS:
        return most
    num_slow = min(DOWN_ROWS, elapsed)
    slow = 0.0
    quick = 0.0
    for k in range(rows - num_slow, rows):
        slow += window.arrival_tokens[k, 0]
        if k >= rows - UP_ROWS:
            quick += window.arrival_tokens[k, 0]
    demand = max(slow / num_slow, quick / UP_ROWS)
    wanted = int(demand / REPLICA_TOKENS_S) + 1
    if wanted < MIN_ACTIVE:
        wanted = MIN_ACTIVE
    if wanted < window.min_replicas[0]:
        wanted = int(window.min_replicas[0])
    if wanted > most:
        wanted = most
    return int(wanted)


def drain_rank(replica, memory):
    # the anchor of the long outputs leaves last, the last fast one before it
    return -float(replica.id)
# EVOLVE-BLOCK-END
