"""Least tokens in flight: prompts, what they have generated so far, and this request's uncached prompt.

Tokens count to a cap, beyond which replicas are equal. The fewest are taken, ties at random.

Source: llm-d router, token-load-scorer, with its picker's random ties.
Loses: where outputs differ, since it does not know what is still to come; a finished prefill weighs like one to do.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "llm-d/llm-d-router@ebab6879, pkg/epp/framework/plugins/scheduling/scorer (token-load-scorer)"
PREFIX_VIEW = "own"
CAP_TOKENS = 4_194_304
TUNABLE = {"CAP_TOKENS": (1_000, 16_777_216, "log")}


def load(request: Request, replicas: Replicas, i: int) -> int:
    """Return the tokens that a replica would have in flight."""
    uncached = request.prompt_tokens - replicas.prefix_hit_tokens[i]
    return min(int(replicas.inflight_tokens[i] + uncached), CAP_TOKENS)


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick one of the replicas with the fewest tokens, uniformly."""
    fewest, ties = 0, 0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            tokens = load(request, replicas, i)
            if ties == 0 or tokens < fewest:
                fewest, ties = tokens, 1
            elif tokens == fewest:
                ties += 1
    skip = int(request.u[0] * ties)
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and load(request, replicas, i) == fewest:
            if skip == 0:
                return i
            skip -= 1
    return HOLD
