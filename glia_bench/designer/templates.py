"""The texts of the neutral search: linear scores of what a policy may see, fixed before any expert's was looked at.

One text for each part of a system; a cluster design has all three. A text with its own constants is a plain policy
(least requests, order of arrival, a fixed fleet); every weight may become 0. A weight of something that a task does not
grant, or that is the same for all on it, is not searched (`NEEDS`). Left out, though visible: counts since the start
(preemptions), which say nothing of now; tenants, sessions and turns, which are names, not amounts.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from glia_bench.tasks.task import Task

_ROUTER = '''
PICK_INFLIGHT = 1.0  # weights of what speaks against a replica, as shares of what it can take
PICK_TOKENS = 0.0
PICK_UNPREFILLED = 0.0
PICK_WAITING = 0.0
PICK_RUNNING = 0.0
PICK_WAITING_TOKENS = 0.0
PICK_ALLOCATED = 0.0
PICK_HIT = 0.0  # and what speaks for it: the share of the prompt in its cache, its speed
PICK_SPEED = 0.0
FULL_INFLIGHT = 0.0  # weights of how full it is
FULL_TOKENS = 1.0
FULL_ALLOCATED = 0.0
FULL_WAITING = 0.0
HOLD_ABOVE = 4.0
ORDER_ARRIVAL = 1.0  # weights of who comes first in the held queue, per second and per token
ORDER_PROMPT = 0.0
ORDER_PREDICTED = 0.0
ORDER_GENERATED = 0.0
ORDER_SLO = 0.0


def load(request, replicas, cluster, i):
    """Return what speaks against a replica."""
    kv_tokens = replicas.capacity_blocks[i] * cluster.block_size_tokens
    places = replicas.max_running[i]
    work = (
        PICK_INFLIGHT * replicas.inflight[i] / places
        + PICK_TOKENS * replicas.inflight_tokens[i] / kv_tokens
        + PICK_UNPREFILLED * replicas.unprefilled_tokens[i] / kv_tokens
        + PICK_WAITING * replicas.waiting[i] / places
        + PICK_RUNNING * replicas.running[i] / places
        + PICK_WAITING_TOKENS * replicas.waiting_tokens[i] / kv_tokens
        + PICK_ALLOCATED * replicas.allocated_blocks[i] / replicas.capacity_blocks[i]
    )
    hit = replicas.prefix_hit_tokens[i] / max(1, request.prompt_tokens)
    return work / replicas.speed[i] - PICK_HIT * hit - PICK_SPEED * replicas.speed[i]


def fullness(request, replicas, cluster, i):
    """Return how full a replica would be with a request."""
    kv_tokens = replicas.capacity_blocks[i] * cluster.block_size_tokens
    return (
        FULL_INFLIGHT * replicas.inflight[i] / replicas.max_running[i]
        + FULL_TOKENS * (replicas.inflight_tokens[i] + request.prompt_tokens) / kv_tokens
        + FULL_ALLOCATED * replicas.allocated_blocks[i] / replicas.capacity_blocks[i]
        + FULL_WAITING * replicas.waiting[i]
    )


def route(request, replicas, cluster, memory):
    """Pick the ready replica that least speaks against; hold while it is too full, never if it has nothing to do."""
    best, lowest = HOLD, 0.0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            against = load(request, replicas, cluster, i)
            if best == HOLD or against < lowest:
                best, lowest = i, against
    if best == HOLD or replicas.inflight[best] == 0:
        return best
    return HOLD if fullness(request, replicas, cluster, best) > HOLD_ABOVE else best


def rank(request, cluster, memory):
    """Order the held queue."""
    return (
        ORDER_ARRIVAL * request.arrival_s
        + ORDER_PROMPT * request.prompt_tokens
        + ORDER_PREDICTED * request.predicted_tokens
        + ORDER_GENERATED * request.generated_tokens
        + ORDER_SLO * min(60.0, request.ttft_slo_s)
    )
'''
_SCHEDULER = '''
RANK_ARRIVAL = 1.0  # weights of who is admitted first, per second and per token
RANK_PROMPT = 0.0
RANK_PREDICTED = 0.0
RANK_GENERATED = 0.0
RANK_CACHED = 0.0
RANK_SLO = 0.0
ROOM_USED = 1.0  # weights of how full the replica is, as shares of its KV blocks and places
ROOM_NEEDED = 0.0
ROOM_PREDICTED = 0.0
ROOM_RUNNING = 0.0
ADMIT_BELOW = 1.0
EVICT_ARRIVAL = 1.0  # weights of who is preempted first
EVICT_PROMPT = 0.0
EVICT_GENERATED = 0.0
CHUNK_TOKENS = 8192


def rank(request, replica, memory):
    """Order those that wait."""
    return (
        RANK_ARRIVAL * request.arrival_s
        + RANK_PROMPT * request.prompt_tokens
        + RANK_PREDICTED * request.predicted_tokens
        + RANK_GENERATED * request.generated_tokens
        + RANK_CACHED * request.cached_tokens
        + RANK_SLO * min(60.0, request.ttft_slo_s)
    )


def admit(request, replica, memory):
    """Admit while the replica is not too full, and always if it has nothing to do."""
    if replica.running == 0:
        return True
    kv_tokens = replica.capacity_blocks * replica.block_size_tokens
    full = (
        ROOM_USED * (1.0 - replica.free_blocks / replica.capacity_blocks)
        + ROOM_NEEDED * (request.prompt_tokens + request.generated_tokens) / kv_tokens
        + ROOM_PREDICTED * request.predicted_tokens / kv_tokens
        + ROOM_RUNNING * replica.running / replica.max_running
    )
    return full <= ADMIT_BELOW


def evict_rank(request, replica, memory):
    """Order those that run, for the day that a block is short."""
    return (
        EVICT_ARRIVAL * request.arrival_s
        + EVICT_PROMPT * request.prompt_tokens
        + EVICT_GENERATED * request.generated_tokens
    )


def tokens(request, replica, left, memory):
    """Cut a prefill into chunks."""
    return min(left, CHUNK_TOKENS)
'''
_AUTOSCALER = '''
MEMORY = {"shared": 1}  # when it last asked for no less than there is
INTERVAL_S = 15.0
SHORT_S = 15
LONG_S = 120
BASE = 0.5  # share of the largest fleet that is always there
KV_SHORT = 0.0  # replicas per replica full of KV blocks
KV_LONG = 0.0
ARRIVALS_SHORT = 0.0  # replicas per request/s
ARRIVALS_LONG = 0.0
PREFILL_SHORT = 0.0  # replicas per second of prefill that arrives in a second
RUNNING_SHORT = 0.0  # replicas per request
QUEUE_SHORT = 0.0
SHRINK_AFTER_S = 60.0


def mean(column, seconds):
    """Return the mean of the newest seconds of a column."""
    total = 0.0
    for k in range(seconds):
        total += column[len(column) - 1 - k]
    return total / seconds


def scale(window, cluster, memory):
    """Follow a linear forecast of the replicas needed: up at once, down when it has asked for less for a while."""
    ready = max(1.0, window.ready[-1, 0])
    queue = mean(window.held[:, 0], SHORT_S) + mean(window.waiting[:, 0], SHORT_S)
    need = (
        BASE * window.max_replicas[0]
        + KV_SHORT * ready * mean(window.kv_utilisation[:, 0], SHORT_S)
        + KV_LONG * ready * mean(window.kv_utilisation[:, 0], LONG_S)
        + ARRIVALS_SHORT * mean(window.arrivals[:, 0], SHORT_S)
        + ARRIVALS_LONG * mean(window.arrivals[:, 0], LONG_S)
        + PREFILL_SHORT * cluster.perf.token_s * mean(window.arrival_tokens[:, 0], SHORT_S)
        + RUNNING_SHORT * mean(window.running[:, 0], SHORT_S)
        + QUEUE_SHORT * queue
    )
    wanted = max(int(window.min_replicas[0]), min(int(window.max_replicas[0]), int(need + 0.5)))
    current = int(window.desired[0])
    if wanted >= current or memory.shared[0] == 0.0:
        memory.shared[0] = cluster.now_s
    if wanted < current and cluster.now_s - memory.shared[0] < SHRINK_AFTER_S:
        return current
    return wanted
'''

Range: TypeAlias = tuple[float, float] | tuple[float, float, str]

WEIGHT: Range = (0.0, 1.0)
PER_TOKEN: Range = (-0.02, 0.1)
"""In seconds of waiting: from a little in favour of the long to thousands of tokens being all that counts."""
EITHER: Range = (-1.0, 1.0)

RANGES: Mapping[str, Range] = MappingProxyType(
    {
        "PICK_INFLIGHT": WEIGHT,
        "PICK_TOKENS": WEIGHT,
        "PICK_UNPREFILLED": WEIGHT,
        "PICK_WAITING": WEIGHT,
        "PICK_RUNNING": WEIGHT,
        "PICK_WAITING_TOKENS": WEIGHT,
        "PICK_ALLOCATED": WEIGHT,
        "PICK_HIT": WEIGHT,
        "PICK_SPEED": EITHER,
        "FULL_INFLIGHT": WEIGHT,
        "FULL_TOKENS": WEIGHT,
        "FULL_ALLOCATED": WEIGHT,
        "FULL_WAITING": WEIGHT,
        "HOLD_ABOVE": (0.25, 4.0, "log"),
        "ORDER_ARRIVAL": WEIGHT,
        "ORDER_PROMPT": PER_TOKEN,
        "ORDER_PREDICTED": PER_TOKEN,
        "ORDER_GENERATED": PER_TOKEN,
        "ORDER_SLO": WEIGHT,
        "RANK_ARRIVAL": WEIGHT,
        "RANK_PROMPT": PER_TOKEN,
        "RANK_PREDICTED": PER_TOKEN,
        "RANK_GENERATED": PER_TOKEN,
        "RANK_CACHED": (-0.1, 0.02),
        "RANK_SLO": WEIGHT,
        "ROOM_USED": WEIGHT,
        "ROOM_NEEDED": WEIGHT,
        "ROOM_PREDICTED": WEIGHT,
        "ROOM_RUNNING": WEIGHT,
        "ADMIT_BELOW": (0.5, 2.0, "log"),
        "EVICT_ARRIVAL": EITHER,
        "EVICT_PROMPT": PER_TOKEN,
        "EVICT_GENERATED": (-0.1, 0.1),
        "CHUNK_TOKENS": (64, 8192, "log"),
        "INTERVAL_S": (5.0, 60.0, "log"),
        "SHORT_S": (1, 60, "log"),
        "LONG_S": (60, 600, "log"),
        "BASE": WEIGHT,
        "KV_SHORT": WEIGHT,
        "KV_LONG": WEIGHT,
        "ARRIVALS_SHORT": (0.0, 0.3),
        "ARRIVALS_LONG": (0.0, 0.3),
        "PREFILL_SHORT": (0.0, 2.0),
        "RUNNING_SHORT": (0.0, 0.03),
        "QUEUE_SHORT": (0.0, 0.2),
        "SHRINK_AFTER_S": (0.0, 600.0),
    }
)
"""Constant to the values that it may have."""

NEEDS: Mapping[str, Callable[[Task], bool]] = MappingProxyType(
    {
        "PICK_HIT": lambda task: task.cluster.has_prefix_cache,
        "PICK_SPEED": lambda task: len({pool.speed for pool in task.cluster.pools}) > 1,
        "ORDER_PREDICTED": lambda task: task.predictor.kind != "none",
        "ORDER_GENERATED": lambda task: "capacity" in task.cluster.triggers,
        "ORDER_SLO": lambda task: len(task.cluster.slo_classes) > 1,
        "RANK_PREDICTED": lambda task: task.predictor.kind != "none",
        "RANK_CACHED": lambda task: task.cluster.has_prefix_cache,
        "RANK_SLO": lambda task: len(task.cluster.slo_classes) > 1,
        "ROOM_PREDICTED": lambda task: task.predictor.kind != "none",
    }
)
"""Constant to whether it can matter on a task."""

NOT_IN_CLUSTER = frozenset(
    (
        *("PICK_WAITING", "PICK_RUNNING", "FULL_INFLIGHT", "FULL_WAITING", "ORDER_GENERATED", "RANK_GENERATED"),
        *("ROOM_RUNNING", "EVICT_PROMPT", "EVICT_GENERATED", "KV_LONG", "RUNNING_SHORT", "INTERVAL_S", "LONG_S"),
        *("ARRIVALS_LONG", "SHORT_S"),
    )
)
"""What a search over all three parts leaves at its default: a policy may declare no more than 32 constants."""


def neutral_text(task: Task) -> str:
    """Return the neutral policy for a task: a text that declares its constants, and whose own make a plain policy."""
    parts = {
        "routing": (_ROUTER,),
        "scheduling": (_SCHEDULER,),
        "autoscaling": (_AUTOSCALER,),
        "cluster": (_ROUTER, _SCHEDULER.replace("def rank(", "def schedule_rank("), _AUTOSCALER),
    }[task.track]
    body = "\n".join(parts)
    head = ['"""Linear scores of what can be seen; all weights are constants."""', ""]
    if _ROUTER in parts:
        head += ["from glia_bench import HOLD", ""]
        if task.cluster.has_prefix_cache and "own" in task.cluster.prefix_views:
            head += ['PREFIX_VIEW = "own"']
    ranges = {name: RANGES[name] for name in RANGES if f"\n{name} = " in body and _is_searched(name, task)}
    lines = [f"    {name!r}: {given!r}," for name, given in ranges.items()]
    declared = "\n".join(["TUNABLE = {", *lines, "}"]).replace("'", '"')
    return "\n".join(head).rstrip() + "\n" + body + "\n\n" + declared + "\n"


def _is_searched(name: str, task: Task) -> bool:
    is_granted = name not in NEEDS or NEEDS[name](task)
    return is_granted and not (task.track == "cluster" and name in NOT_IN_CLUSTER)
