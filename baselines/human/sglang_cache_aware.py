"""Cache first, balance when it tips: the longest match if long enough, else the fewest requests in flight.

While requests in flight differ by more than ABS_THRESHOLD and by more than a factor REL_THRESHOLD, the least loaded
replica gets everything. Otherwise a prompt of which more than CACHE_THRESHOLD matches what this router has sent before
follows its longest match; of several such replicas the one dispatched to last, where SGLang keeps that per prefix. All
other prompts go to the fewest requests in flight, ties at random.

Source: SGLang's model gateway, cache-aware policy, thresholds of its command line.
Loses: while a hot prefix overfills one replica before the gap of 64 opens, which on a small fleet with long prompts is
far too late; it looks at no memory, and a match just over the threshold counts like a whole one.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "sgl-project/sglang@14a1fa7d (gateway 0.3.2), sgl-model-gateway/src/policies/cache_aware.rs"
PREFIX_VIEW = "own"
MEMORY = {"shared": 1, "replica": 1}
TUNABLE = {"CACHE_THRESHOLD": (0.0, 1.0), "ABS_THRESHOLD": (0, 256), "REL_THRESHOLD": (1.0, 4.0)}
CACHE_THRESHOLD = 0.3
ABS_THRESHOLD = 64
REL_THRESHOLD = 1.5


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the replica of the longest match, or the least loaded one."""
    fewest, most, ties, matched, follow = 0, 0, 0, 0, HOLD
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            load, hit = replicas.inflight[i], replicas.prefix_hit_tokens[i]
            most = max(most, load)
            if ties == 0 or load < fewest:
                fewest, ties = load, 1
            elif load == fewest:
                ties += 1
            is_later = follow != HOLD and memory.replica[i, 0] > memory.replica[follow, 0]
            if follow == HOLD or hit > matched or (hit == matched and is_later):
                matched, follow = hit, i
    is_imbalanced = most - fewest > ABS_THRESHOLD and most > REL_THRESHOLD * fewest
    if not is_imbalanced and matched / max(request.prompt_tokens, 1) > CACHE_THRESHOLD:
        return follow
    skip = int(request.u[0] * ties)
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and replicas.inflight[i] == fewest:
            if skip == 0:
                return i
            skip -= 1
    return HOLD


def on_dispatch(request: Request, replica: int, memory: Memory) -> None:
    """Remember the order in which replicas were dispatched to."""
    memory.shared[0] += 1.0
    memory.replica[replica, 0] = memory.shared[0]
