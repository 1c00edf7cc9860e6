"""One held queue in order of block-seconds; late binding where a request adds least to all latencies."""

# EVOLVE-BLOCK-START
from glia_bench import HOLD

GROWTH_MARGIN = 0.06
MEAN_OUTPUT = 360.0
LONG_STREAMED = 800
YOUNG_OVERLAP = 0.5
OTHERS_WEIGHT = 1.0


def rank(request, cluster, memory):
    """Expected KV tokens times the tokens for which they are held."""
    out = MEAN_OUTPUT
    if request.predicted_tokens > 0.0:
        out = float(request.predicted_tokens)
    return (float(request.prompt_tokens) + 0.5 * out) * out


def route(request, replicas, cluster, memory):
    """Bind only when a replica has room; there, where it slows everybody least."""
    size = cluster.block_size_tokens
    need = (request.prompt_tokens + size) // size
    prompt = float(request.prompt_tokens)
    out = MEAN_OUTPUT
    if request.predicted_tokens > 0.0:
        out = float(request.predicted_tokens)
    perf = cluster.perf
    streamed = cluster.inflight.streamed_tokens
    where = cluster.inflight.replica
    prefill = perf.token_s * prompt + perf.prefill_pair_s * prompt * prompt
    step = perf.token_s + perf.context_token_s * (prompt + 0.5 * out)
    best = -1
    best_cost = 1.0e18
    for i in range(cluster.num_replicas):
        if replicas.ready[i] != 1:
            continue
        # Count what waits at the engine as if it were in already.
        used = replicas.allocated_blocks[i] + replicas.waiting_blocks[i]
        free = float(replicas.capacity_blocks[i] - used - need)
        # Running requests grow past their prompts: leave room, or the engine
        # admits what it must soon evict and compute again.
        margin = GROWTH_MARGIN * replicas.capacity_blocks[i]
        slots = replicas.max_running[i] - replicas.running[i] - replicas.waiting[i]
        # An empty replica always accepts, so that no request is held forever.
        if replicas.inflight[i] > 0 and (free < margin or slots <= 0):
            continue
        # A request far beyond the usual length outlives this one, so it pays
        # for every step that this one adds; the others leave on the way.
        num_long = 0
        for j in range(len(where)):
            if where[j] == i and streamed[j] >= LONG_STREAMED:
                num_long += 1
        batch = float(replicas.inflight[i])
        sharing = YOUNG_OVERLAP * (batch - num_long) + num_long
        own = out * (perf.fixed_s + perf.token_s * batch
                     + perf.context_token_s * float(replicas.inflight_tokens[i]))
        # A prefill is computed in the same iterations as everybody's decodes.
        others = batch * prefill + out * sharing * step
        cost = own + OTHERS_WEIGHT * others
        if cost < best_cost:
            best_cost = cost
            best = i
    if best < 0:
        return HOLD
    return int(best)
# EVOLVE-BLOCK-END
