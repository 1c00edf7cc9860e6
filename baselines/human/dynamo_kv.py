"""Predicted cost in KV blocks: prompts still to prefill there, less the cached prefix, plus the blocks decoding there.

No scraped load: the router adds a request's uncached prompt tokens to its replica at dispatch and takes them off at the
first token. The overlap comes from the engines' cache events, exact ties are split at random, and while every replica
has more than QUEUE_THRESHOLD token budgets of prefill before it, requests wait at the router in arrival order. Blocks
in use are the ledger's, where a prefix that two running requests share counts twice and in Dynamo once.

Source: NVIDIA Dynamo's KV router, default selector at temperature 0.
Loses: on long outputs, as blocks that grow while decoding are not tracked; with several routers, which do not see each
other's dispatches. A block to prefill weighs as much as one to decode, though it costs far more time.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "ai-dynamo/dynamo@0243c51b, lib/kv-router/src/scheduling/{config,selector/default}.rs"
PREFIX_VIEW = "events"
MEMORY = {"replica": 1, "request": 2}
TUNABLE = {
    "OVERLAP_CREDIT": (0.0, 1.0),
    "PREFILL_LOAD_SCALE": (0.0, 16.0),
    "ACTIVE_REQUEST_WEIGHT": (0.0, 64.0),
    "QUEUE_THRESHOLD": (0.25, 64.0, "log"),
}
OVERLAP_CREDIT = 1.0
PREFILL_LOAD_SCALE = 1.0
ACTIVE_REQUEST_WEIGHT = 0.0
QUEUE_THRESHOLD = 16.0


def prefill_before(i: int, replicas: Replicas, memory: Memory) -> float:
    """Return the predicted prompt tokens that a replica has still to compute; none where nothing is in flight."""
    return memory.replica[i, 0] if replicas.inflight[i] > 0 else 0.0


def cost(i: int, request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> float:
    """Return the cost of one replica in blocks."""
    block = cluster.block_size_tokens
    prefill = (prefill_before(i, replicas, memory) + request.prompt_tokens) / block
    prefill = max(prefill - OVERLAP_CREDIT * (replicas.prefix_hit_tokens[i] / block), 0.0)
    decode = replicas.inflight_blocks[i] + (request.prompt_tokens + block - 1) // block
    return PREFILL_LOAD_SCALE * prefill + decode + ACTIVE_REQUEST_WEIGHT * replicas.inflight[i]


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick one of the ready replicas of least cost, uniformly; hold while all have too much to prefill."""
    release(request, memory)  # a request that comes back from a lost replica
    least, ties, has_room = 0.0, 0, False
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            here = cost(i, request, replicas, cluster, memory)
            if ties == 0 or here < least:
                least, ties = here, 1
            elif here == least:
                ties += 1
            has_room |= prefill_before(i, replicas, memory) <= QUEUE_THRESHOLD * replicas.token_budget[i]
    skip = int(request.u[0] * ties)
    for i in range(cluster.num_replicas):
        if has_room and replicas.ready[i] == 1 and cost(i, request, replicas, cluster, memory) == least:
            if skip == 0:
                memory.request[request.slot, 0] = max(request.prompt_tokens - replicas.prefix_hit_tokens[i], 0)
                return i
            skip -= 1
    return HOLD


def release(request: Request, memory: Memory) -> None:
    """Take what a request has still to prefill off the replica that it counts at, if it does."""
    if memory.request[request.slot, 1] > 0.0:
        memory.replica[int(memory.request[request.slot, 1]) - 1, 0] -= memory.request[request.slot, 0]
        memory.request[request.slot, 1] = 0.0


def on_dispatch(request: Request, replica: int, memory: Memory) -> None:
    """Count its uncached prompt tokens at its replica."""
    memory.replica[replica, 0] += memory.request[request.slot, 0]
    memory.request[request.slot, 1] = replica + 1.0


def on_first_token(request: Request, replica: int, memory: Memory) -> None:
    """Its prefill is done."""
    release(request, memory)


def on_finish(request: Request, replica: int, memory: Memory) -> None:
    """It has gone, with or without a first token."""
    release(request, memory)
