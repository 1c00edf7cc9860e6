"""Miss tokens times batch: the prompt tokens still to compute there, multiplied by the requests in flight with it.

A product needs no weights: halving either factor is worth as much. Ties go to fewer requests in flight, then to fewer
miss tokens, then to the lowest index. The router knows caches by what it has dispatched itself. A prompt's last token
is always computed, so a full hit still counts the load.

Source: LMetric, "Simple is Better: Multiplication May Be All You Need" (arXiv 2603.15202), as in SGLang's gateway.
Loses: where requests in flight differ much in size, as a batch is a count; and where memory is short, which neither
factor sees. Prompts that wait for their prefill count as requests, not as tokens.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "sgl-project/sglang@acaa759a, sgl-model-gateway/src/policies/lmetric.rs"
PREFIX_VIEW = "own"


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the ready replica with the smallest product of miss tokens and requests in flight."""
    best, least, fewest, fewest_miss = HOLD, 0, 0, 0
    for i in range(cluster.num_replicas):
        load = replicas.inflight[i]
        miss = max(request.prompt_tokens - replicas.prefix_hit_tokens[i], 1)
        product = miss * (load + 1)
        wins_tie = product == least and (load < fewest or (load == fewest and miss < fewest_miss))
        if replicas.ready[i] == 1 and (best == HOLD or product < least or wins_tie):
            best, least, fewest, fewest_miss = i, product, load, miss
    return best
