"""Cache first, balance when it tips: the longest match if long enough, else the fewest requests in flight.

While requests in flight differ by more than ABS_THRESHOLD and by more than a factor REL_THRESHOLD, the least loaded
replica gets everything. Otherwise a prompt of which more than CACHE_THRESHOLD matches what this router has sent before
follows its longest match, of several replicas the one that got this prefix last. All other prompts go to the fewest
requests in flight, ties at random. Prefixes are told apart by their lengths, where SGLang keeps a tree.

Source: SGLang's model gateway, cache-aware policy, thresholds of its command line.
Loses: while a hot prefix overfills one replica before the gap of 64 opens, which on a small fleet with long prompts is
far too late; it looks at no memory, and a match just over the threshold counts like a whole one.
"""

from glia_bench import HOLD
from glia_bench.features import Cluster, Memory, Replicas, Request

SOURCE = "sgl-project/sglang@14a1fa7d (gateway 0.3.2), sgl-model-gateway/src/policies/cache_aware.rs"
PREFIX_VIEW = "own"
NUM_PREFIXES = 1024
MEMORY = {"shared": NUM_PREFIXES}
TUNABLE = {"CACHE_THRESHOLD": (0.0, 1.0), "ABS_THRESHOLD": (0, 256), "REL_THRESHOLD": (1.0, 4.0)}
CACHE_THRESHOLD = 0.3
ABS_THRESHOLD = 64
REL_THRESHOLD = 1.5


def least_loaded(u: float, replicas: Replicas, cluster: Cluster, fewest: int, ties: int) -> int:
    """Return one of the ready replicas with the fewest requests in flight, uniformly."""
    skip = int(u * ties)
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1 and replicas.inflight[i] == fewest:
            if skip == 0:
                return i
            skip -= 1
    return HOLD


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    """Pick the replica of the longest match, or the least loaded one."""
    fewest, most, ties, matched, longest = 0, 0, 0, 0, HOLD
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            load, hit = replicas.inflight[i], replicas.prefix_hit_tokens[i]
            most = max(most, load)
            if ties == 0 or load < fewest:
                fewest, ties = load, 1
            elif load == fewest:
                ties += 1
            if longest == HOLD or hit > matched:
                matched, longest = hit, i
    if longest == HOLD:
        return HOLD
    prefix = (matched // cluster.block_size_tokens) % NUM_PREFIXES
    last = int(memory.shared[prefix]) - 1
    if 0 <= last < cluster.num_replicas and replicas.ready[last] == 1 and replicas.prefix_hit_tokens[last] == matched:
        longest = last
    is_imbalanced = most - fewest > ABS_THRESHOLD and most > REL_THRESHOLD * fewest
    if is_imbalanced or matched / max(request.prompt_tokens, 1) <= CACHE_THRESHOLD:
        longest = least_loaded(request.u[0], replicas, cluster, fewest, ties)
    memory.shared[prefix] = longest + 1.0
    return longest
