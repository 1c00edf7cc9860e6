"""Join the shortest remaining work, with every output length known on arrival.

A replica's work is the prefill that the router's ledger says is still to be done, less this request's cached prefix,
and the output tokens that its requests are still to generate; a prefill token weighs PREFILL_WEIGHT. The least is
taken, ties to the lowest index.

Source: queueing theory's join-the-least-work rule (JSW), given true lengths in place of estimates.
Loses: it is greedy, holds nothing and forgets memory: a design that keeps long requests apart can beat it.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "textbook: join the least work left; output lengths from the trace"
PREFIX_VIEW = "truth"
PREFILL_WEIGHT = 1.0
TUNABLE = {"PREFILL_WEIGHT": (0.01, 10.0, "log")}
MEMORY = {"replica": 1}  # true output tokens of the requests that were sent there and have not finished


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the replica that would be done first."""
    best, least = HOLD, 0.0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            streamed = replicas.inflight_tokens[i] - replicas.inflight_prompt_tokens[i]
            to_prefill = replicas.unprefilled_tokens[i] + request.prompt_tokens - replicas.prefix_hit_tokens[i]
            work = (PREFILL_WEIGHT * to_prefill + memory.replica[i, 0] - streamed) / replicas.speed[i]
            if best == HOLD or work < least:
                best, least = i, work
    return best


def on_dispatch(request: Request, replica: int, memory: Memory) -> None:
    """Add what the request will generate."""
    memory.replica[replica, 0] += request.predicted_tokens


def on_finish(request: Request, replica: int, memory: Memory) -> None:
    """Take it away again."""
    memory.replica[replica, 0] -= request.predicted_tokens
