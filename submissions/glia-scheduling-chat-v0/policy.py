"""Serve all alike until they have proved very long; pause or displace only those, the hopeless ones first."""
import math

PREEMPTIVE = True
DYNAMIC_RANK = True
# Output lengths have a gap: who has generated so many tokens has thousands to go, and bears waiting best.
PROVEN_TOKENS = 775.0
# A prediction counts as proof only far beyond its error.
WEIGHT = 0.3
# A proven one runs if its gain in slowdown for its time is above this part of the batch's.
GREED = 0.4
TYPICAL_TOKENS = 2000.0
CEILING_S = 0.042
# With the hopeless ones the batch need not be so full that the others lose their objective too.
LOST_CEILING_S = 0.034
# Too small a batch wastes the fixed time of an iteration.
MIN_BATCH = 16.0
# Displaced ones come back only if they can stay.
LONG_SLOTS = 200
RESERVE_BLOCKS = 4000
LAST = 1.0e9
SMALLEST = 16.0
# What a proven one will come to, apart from its prediction, and how fast it gets there.
PROVEN_MEAN = 2900.0
MOST_TOKENS = 4096.0
AHEAD_TOKENS = 300.0
RUN_S = 0.03
# A whole long prompt in one iteration would spoil the TPOT of the shortest outputs.
CHUNK = 256
# Nor several at once: their TTFT objectives are long, and the average need is far below this cap.
PREFILL_CAP = 768
LEAST_CHUNK = 32
# Short rests cost little and their owners have the shortest objectives.
SHORT_REST = 128
# Order among the proven, by prediction: first those whose objective can be met, then the others.
SMALLEST_BIN = 64.0
BINS_PER_OCTAVE = 6.0
HALF = 52
BINS = 105
# Row of a replica: time of this pass, cut (0: none), asked, given, long prefill tokens, then count, context and value of the bins.
BASE = 8
MEMORY = {"replica": 336}

# EVOLVE-BLOCK-START
def rank(request, replica, memory):
    size = max(float(request.generated_tokens), WEIGHT * float(request.predicted_tokens))
    if size > PROVEN_TOKENS:
        # Equal ranks, so that they never displace one another.
        return LAST
    if request.generated_tokens > 0:
        # What has begun and is not proven long keeps its place.
        return -1.0
    return float(request.predicted_tokens)


def admit(request, replica, memory):
    size = max(float(request.generated_tokens), WEIGHT * float(request.predicted_tokens))
    if size <= PROVEN_TOKENS or replica.running == 0:
        return True
    return replica.running < LONG_SLOTS and replica.free_blocks > RESERVE_BLOCKS


def evict_rank(request, replica, memory):
    # Among the proven, lose the least work.
    size = max(float(request.generated_tokens), WEIGHT * float(request.predicted_tokens))
    if size > PROVEN_TOKENS:
        return LAST - float(request.generated_tokens)
    return float(request.predicted_tokens)


def tokens(request, replica, left, memory):
    row = replica.id
    if memory.replica[row, 0] != replica.now_s:
        # The last pass saw everybody that runs, so choose the cut from it and begin to count anew.
        memory.replica[row, 0] = replica.now_s
        memory.replica[row, 2] = 0.0
        memory.replica[row, 3] = 0.0
        memory.replica[row, 4] = 0.0
        count = 0.0
        value = 0.0
        time_s = replica.perf.fixed_s
        cut = 0.0
        open_ = True
        for b in range(BINS):
            n = memory.replica[row, BASE + b]
            if n > 0.0 and open_:
                dt = n * replica.perf.token_s + memory.replica[row, BASE + BINS + b] * replica.perf.context_token_s
                dv = memory.replica[row, BASE + 2 * BINS + b]
                ceiling_s = CEILING_S
                if b > HALF:
                    ceiling_s = LOST_CEILING_S
                worth = dv * time_s > GREED * value * dt and time_s + dt <= ceiling_s
                if b == 0 or count < MIN_BATCH or worth:
                    count += n
                    value += dv
                    time_s += dt
                else:
                    cut = float(b)
                    open_ = False
            memory.replica[row, BASE + b] = 0.0
            memory.replica[row, BASE + BINS + b] = 0.0
            memory.replica[row, BASE + 2 * BINS + b] = 0.0
        memory.replica[row, 1] = cut

    memory.replica[row, 2] += 1.0
    if request.generated_tokens == 0:
        # The first token is what the TTFT objective waits for.
        memory.replica[row, 3] += 1.0
        rest = request.prompt_tokens - request.computed_tokens
        if rest <= SHORT_REST:
            return int(left)
        room = max(PREFILL_CAP - int(memory.replica[row, 4]), LEAST_CHUNK)
        chunk = int(min(min(CHUNK, room), min(rest, left)))
        memory.replica[row, 4] += float(chunk)
        return int(chunk)

    generated = float(request.generated_tokens)
    predicted = float(request.predicted_tokens)
    size = max(generated, WEIGHT * predicted)
    b = 0
    worth_tokens = max(max(generated, 0.5 * predicted), SMALLEST)
    if size > PROVEN_TOKENS:
        b = 1 + int(BINS_PER_OCTAVE * math.log(max(predicted, SMALLEST_BIN) / SMALLEST_BIN) / math.log(2.0))
        b = min(b, HALF)
        worth_tokens = TYPICAL_TOKENS
        final = min(max(math.sqrt(max(predicted, 1.0) * PROVEN_MEAN), generated + AHEAD_TOKENS), MOST_TOKENS)
        ahead = max(final - generated, 1.0)
        elapsed = replica.now_s - request.arrival_s
        if elapsed + ahead * RUN_S > request.tpot_slo_s * final:
            b += HALF
    memory.replica[row, BASE + b] += 1.0
    memory.replica[row, BASE + BINS + b] += float(request.prompt_tokens + request.generated_tokens)
    memory.replica[row, BASE + 2 * BINS + b] += 1.0 / worth_tokens

    cut = memory.replica[row, 1]
    paused = cut > 0.0 and float(b) >= cut
    # The cut is one pass old: never let it leave the replica without any work.
    if paused and memory.replica[row, 3] == 0.0 and memory.replica[row, 2] >= float(replica.running):
        paused = False
    if paused:
        return int(0)
    memory.replica[row, 3] += 1.0
    if request.restarts > 0:
        return int(left)
    return int(min(1, left))
# EVOLVE-BLOCK-END
