"""The one template of each track that `search_neutral` fills in: linear scores of the schema's fields.

They were fixed before any expert was looked at for them, and hold no expert's rule. A weight of 0 leaves a field out.
What the defaults amount to is the least that a designer would try: the fewest requests, order of arrival, everybody
admitted, the fleet in proportion to the requests in the system.
"""

from glia_bench.policy import Track

_ROUTER_CONSTANTS = """\
W_INFLIGHT = 1.0
W_RUNNING = 0.0
W_WAITING = 0.0
W_WAITING_TOKENS = 0.0
W_BLOCKS = 0.0
W_WAITING_BLOCKS = 0.0
W_UNPREFILLED = 0.0
W_PROMPTS = 0.0
W_HIT = 0.0
KEY_PROMPT_S = 0.0
KEY_SLO = 0.0
HOLD_REQUESTS = 0.0
HOLD_BLOCKS = 1.0
HOLD_PROMPT = 0.0
HOLD_AT = 4.0
"""
_ROUTER_RANGES = {
    **dict.fromkeys(("W_INFLIGHT", "W_RUNNING", "W_WAITING", "W_WAITING_TOKENS", "W_BLOCKS"), (0.0, 1.0)),
    **dict.fromkeys(("W_WAITING_BLOCKS", "W_UNPREFILLED", "W_PROMPTS", "W_HIT"), (0.0, 1.0)),
    "KEY_PROMPT_S": (0.0, 1.0),
    "KEY_SLO": (0.0, 4.0),
    "HOLD_REQUESTS": (0.0, 2.0),
    "HOLD_BLOCKS": (0.0, 2.0),
    "HOLD_PROMPT": (0.0, 2.0),
    "HOLD_AT": (0.5, 4.0),
}
_ROUTER = """\
def rank(request, cluster, memory):
    \"\"\"Order of arrival, shifted by what is known of the request.\"\"\"
    slo = request.ttft_slo_s if request.ttft_slo_s < 1e6 else 0.0
    return request.arrival_s + KEY_PROMPT_S * request.prompt_tokens + KEY_SLO * slo


def route(request, replicas, cluster, memory):
    \"\"\"Pick the lowest linear score; hold while the picked one is too full, but never for an empty one.\"\"\"
    best, lowest = HOLD, 0.0
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            slots, budget, blocks = replicas.max_running[i], replicas.token_budget[i], replicas.capacity_blocks[i]
            score = W_INFLIGHT * replicas.inflight[i] / slots + W_RUNNING * replicas.running[i] / slots
            score += W_WAITING * replicas.waiting[i] / slots + W_WAITING_TOKENS * replicas.waiting_tokens[i] / budget
            score += W_BLOCKS * replicas.allocated_blocks[i] / blocks
            score += W_WAITING_BLOCKS * replicas.waiting_blocks[i] / blocks
            score += W_UNPREFILLED * replicas.unprefilled_tokens[i] / budget
            score += W_PROMPTS * replicas.inflight_blocks[i] / blocks
            score = score / replicas.speed[i] - W_HIT * replicas.prefix_hit_tokens[i] / budget
            if best == HOLD or score < lowest:
                best, lowest = i, score
    if best != HOLD and replicas.inflight[best] > 0:
        full = HOLD_REQUESTS * replicas.inflight[best] / replicas.max_running[best]
        used = replicas.allocated_blocks[best] + replicas.waiting_blocks[best]
        full += HOLD_BLOCKS * used / replicas.capacity_blocks[best]
        full += HOLD_PROMPT * request.prompt_tokens / (replicas.capacity_blocks[best] * cluster.block_size_tokens)
        if full > HOLD_AT:
            return HOLD
    return best
"""
_SCHEDULER_CONSTANTS = """\
RANK_PROMPT_S = 0.0
RANK_PREDICTED_S = 0.0
RANK_COMPUTED_S = 0.0
RANK_SLO = 0.0
ADMIT_BLOCKS = 1.0
ADMIT_RUNNING = 0.0
ADMIT_PREDICTED = 0.0
ADMIT_AT = 4.0
EVICT_COMPUTED_S = 0.0
"""
_SCHEDULER_RANGES = {
    **dict.fromkeys(("RANK_PROMPT_S", "RANK_PREDICTED_S"), (0.0, 0.5)),
    "RANK_COMPUTED_S": (-0.5, 0.5),
    "RANK_SLO": (0.0, 4.0),
    **dict.fromkeys(("ADMIT_BLOCKS", "ADMIT_RUNNING", "ADMIT_PREDICTED"), (0.0, 2.0)),
    "ADMIT_AT": (0.5, 4.0),
    "EVICT_COMPUTED_S": (-0.5, 0.5),
}
_SCHEDULER = """\
def {rank}(request, replica, memory):
    \"\"\"Order of arrival, shifted by what is known of the request.\"\"\"
    slo = request.ttft_slo_s if request.ttft_slo_s < 1e6 else 0.0
    key = request.arrival_s + RANK_PROMPT_S * request.prompt_tokens + RANK_PREDICTED_S * request.predicted_tokens
    return key + RANK_COMPUTED_S * request.computed_tokens + RANK_SLO * slo


def admit(request, replica, memory):
    \"\"\"Let nobody in while the replica is too full, but to an empty one.\"\"\"
    used = 1.0 - replica.free_blocks / replica.capacity_blocks
    need = request.predicted_tokens / (replica.capacity_blocks * replica.block_size_tokens)
    full = ADMIT_BLOCKS * used + ADMIT_RUNNING * replica.running / replica.max_running + ADMIT_PREDICTED * need
    return replica.running == 0 or full <= ADMIT_AT


def evict_rank(request, replica, memory):
    \"\"\"The latest arrival first, shifted by what its prefill has cost.\"\"\"
    return request.arrival_s + EVICT_COMPUTED_S * request.computed_tokens
"""
_AUTOSCALER_CONSTANTS = """\
INTERVAL_S = 15.0
REQUESTS = 40.0
NEAR_S = 15
FAR_S = 120
W_NEAR = 1.0
W_FAR = 0.0
W_FLEET_BLOCKS = 0.0
W_ARRIVALS_S = 0.0
MORE = 0.5
KEEP_S = 30.0
"""
_AUTOSCALER_RANGES = {
    "INTERVAL_S": (2.0, 60.0),
    "REQUESTS": (5.0, 200.0, "log"),
    "NEAR_S": (1, 60),
    "FAR_S": (60, 600),
    **dict.fromkeys(("W_NEAR", "W_FAR"), (0.0, 1.0)),
    "W_FLEET_BLOCKS": (0.0, 2.0),
    "W_ARRIVALS_S": (0.0, 20.0),
    "MORE": (0.0, 3.0),
    "KEEP_S": (0.0, 300.0),
}
_AUTOSCALER = """\
def in_system(window, pool, seconds):
    \"\"\"Mean number of requests in the system over the last seconds.\"\"\"
    total = 0.0
    for k in range(1, seconds + 1):
        total += window.held[-k, pool] + window.waiting[-k, pool] + window.running[-k, pool]
    return total / seconds


def scale(window, cluster, memory):
    \"\"\"As many replicas as a linear score of the window asks for; shrink only after a while.\"\"\"
    arrivals = 0.0
    for k in range(1, NEAR_S + 1):
        arrivals += window.arrivals[-k, 0] / NEAR_S
    requests = W_NEAR * in_system(window, 0, NEAR_S) + W_FAR * in_system(window, 0, FAR_S) + W_ARRIVALS_S * arrivals
    wanted = MORE + requests / REQUESTS + W_FLEET_BLOCKS * window.kv_utilisation[-1, 0] * window.ready[-1, 0]
    if wanted >= memory.shared[0] or cluster.now_s - memory.shared[1] > KEEP_S:
        memory.shared[0] = wanted
        memory.shared[1] = cluster.now_s
    size = int(memory.shared[0] + 0.999)
    return int(min(max(size, window.min_replicas[0]), window.max_replicas[0]))
"""


def neutral_template(track: Track, *, has_prefix_view: bool = False) -> str:
    """Return the template of a track: a policy that runs as it is and declares all its constants as tunable.

    Args:
        track: Whose.
        has_prefix_view: Whether the task grants the router's own view of prefix caches.
    """
    constants: list[str] = []
    bodies: list[str] = []
    ranges: dict[str, tuple[object, ...]] = {}
    if track in ("routing", "cluster"):
        constants.append(_ROUTER_CONSTANTS)
        bodies.append(_ROUTER)
        ranges |= _ROUTER_RANGES
    if track in ("scheduling", "cluster"):
        constants.append(_SCHEDULER_CONSTANTS)
        bodies.append(_SCHEDULER.format(rank="schedule_rank" if track == "cluster" else "rank"))
        ranges |= _SCHEDULER_RANGES
    if track in ("autoscaling", "cluster"):
        constants.append(_AUTOSCALER_CONSTANTS)
        bodies.append(_AUTOSCALER)
        ranges |= _AUTOSCALER_RANGES
    declared = "TUNABLE = {\n" + "".join(f'    "{name}": {_written(r)},\n' for name, r in ranges.items()) + "}\n"
    head = '"""Linear scores of what can be seen, with constants that a search has found."""\n'
    imports = "\nfrom glia_bench import HOLD\n" if track in ("routing", "cluster") else ""
    memory = 'MEMORY = {"shared": 2}\n' if track in ("autoscaling", "cluster") else ""
    view = 'PREFIX_VIEW = "own"\n' if has_prefix_view and track in ("routing", "cluster") else ""
    return "\n".join([head + imports, view + memory + "".join(constants) + declared, "\n" + "\n\n".join(bodies)])


def _written(entry: tuple[object, ...]) -> str:
    return "(" + ", ".join(f'"{part}"' if isinstance(part, str) else repr(part) for part in entry) + ")"
