"""Cluster designs for tests: each uses some hooks of all tracks; together they read every field that hooks may see.

All decisions rest on integer or exactly repeatable arithmetic, so every simulator and every tier must agree.
"""

REQUEST_FOLDED = """
    h = (h * 31 + request.id) % 1000003
    h = (h * 31 + request.slot) % 1000003
    h = (h * 31 + request.tenant * 7 + request.session + 1) % 1000003
    h = (h * 31 + request.turn * 7 + request.priority) % 1000003
    h = (h * 31 + request.prompt_tokens + request.max_tokens * 64) % 1000003
    h = (h * 31 + request.slo_class + request.restarts * 4) % 1000003
    h = (h * 31 + request.generated_tokens) % 1000003
    h = (h * 31 + request.computed_tokens) % 1000003
    h = (h * 31 + request.cached_tokens) % 1000003
    h = (h * 31 + int(request.predicted_tokens) + int(request.tag)) % 1000003
    h = (h * 31 + int(request.arrival_s * 1e6) + int(request.ttft_slo_s * 1e6)) % 1000003
    h = (h * 31 + (1 if request.tpot_slo_s < 1.0 else 0) + int(request.u[0] * 1e6) + int(request.u[3] * 1e6)) % 1000003
"""
REPLICAS_FOLDED = """
    for k in range(cluster.num_replicas):
        h = (h * 31 + replicas.ready[k] + 2 * replicas.state[k] + 16 * replicas.pool[k]) % 1000003
        h = (h * 31 + replicas.waiting[k] + 64 * replicas.running[k]) % 1000003
        h = (h * 31 + replicas.waiting_tokens[k]) % 1000003
        h = (h * 31 + replicas.waiting_blocks[k]) % 1000003
        h = (h * 31 + replicas.allocated_blocks[k] + 256 * replicas.capacity_blocks[k]) % 1000003
        h = (h * 31 + replicas.max_running[k] + 256 * replicas.token_budget[k]) % 1000003
        h = (h * 31 + replicas.preemptions[k]) % 1000003
        h = (h * 31 + replicas.inflight[k] + 64 * replicas.inflight_prompt_tokens[k]) % 1000003
        h = (h * 31 + replicas.inflight_blocks[k]) % 1000003
        h = (h * 31 + replicas.inflight_tokens[k]) % 1000003
        h = (h * 31 + replicas.unprefilled_tokens[k]) % 1000003
        h = (h * 31 + replicas.prefix_hit_tokens[k]) % 1000003
        h = (h * 31 + int(replicas.speed[k] * 8.0) + int(replicas.metrics_age_s[k] * 1e6)) % 1000003
"""
CLUSTER_FOLDED = """
    h = (h * 31 + int(cluster.now_s * 1e6) + cluster.num_held) % 1000003
    h = (h * 31 + cluster.num_replicas + 64 * cluster.num_routers + 1024 * (cluster.router + 1)) % 1000003
    h = (h * 31 + cluster.block_size_tokens + int(cluster.metrics_interval_s * 1e6)) % 1000003
    for k in range(len(cluster.inflight.replica)):
        h = (h * 31 + cluster.inflight.replica[k] + cluster.inflight.prompt_tokens[k] * 8) % 1000003
        h = (h * 31 + cluster.inflight.streamed_tokens[k] + int(cluster.inflight.dispatch_s[k] * 1e6)) % 1000003
        first_s = cluster.inflight.first_token_s[k]
        h = (h * 31 + (int(first_s * 1e6) if first_s < 1e9 else 5)) % 1000003
"""
REPLICA_FOLDED = """
    h = (h * 31 + replica.id + 8 * replica.waiting + 512 * replica.running) % 1000003
    h = (h * 31 + int(replica.now_s * 1e6)) % 1000003
    h = (h * 31 + replica.free_blocks + 256 * replica.capacity_blocks) % 1000003
    h = (h * 31 + replica.decode_tokens + 256 * replica.context_tokens) % 1000003
    h = (h * 31 + replica.token_budget + 256 * replica.max_running + replica.block_size_tokens) % 1000003
    h = (h * 31 + int(replica.perf.fixed_s * 1e9)) % 1000003
"""

SPREAD = """
def route(request, replicas, cluster, memory):
    n = cluster.num_replicas
    for k in range(n):
        if replicas.ready[(request.id + k) % n] == 1:
            return (request.id + k) % n
    return -1
"""

SOURCES: dict[str, str] = {
    "default": """
def on_finish(request, replica, memory):
    pass
""",
    "spread": SPREAD,
    "read_routing": f"""
from glia_bench import HOLD, REJECT

MEMORY = {{"shared": 1, "replica": 1, "tenant": 1, "session": 1, "request": 1}}
PREFIX_VIEW = "own"
SKIP_BLOCKED = True
TICK_S = 0.0125

def rank(request, cluster, memory):
    h = int(memory.shared[0])
{REQUEST_FOLDED}{CLUSTER_FOLDED}
    memory.shared[0] = h
    return h % 16

def route(request, replicas, cluster, memory):
    h = int(memory.shared[0]) + int(memory.replica[0, 0]) + int(memory.tenant[request.tenant, 0])
    if request.session >= 0:
        memory.session[request.session, 0] = (memory.session[request.session, 0] * 7 + h) % 1009
        h += int(memory.session[request.session, 0])
{REQUEST_FOLDED}{REPLICAS_FOLDED}{CLUSTER_FOLDED}
    memory.shared[0] = h
    memory.request[request.slot, 0] = h % 97
    memory.tag[request.slot] = h % 5
    if h % 7 == 0 and cluster.num_held < 4:
        return HOLD
    if h % 61 == 0:
        return REJECT
    for k in range(cluster.num_replicas):
        j = (h + k) % cluster.num_replicas
        if replicas.ready[j] == 1:
            return j
    return HOLD

def on_dispatch(request, replica, memory):
    memory.replica[replica, 0] = (memory.replica[replica, 0] + request.prompt_tokens) % 10007
    memory.tenant[request.tenant, 0] += 1.0

def on_first_token(request, replica, memory):
    h = int(memory.shared[0]) + replica
{REQUEST_FOLDED}
    memory.shared[0] = h

def on_finish(request, replica, memory):
    h = int(memory.shared[0]) + replica + int(memory.request[request.slot, 0])
{REQUEST_FOLDED}
    memory.shared[0] = h
""",
    "read_scheduling": f"""
MEMORY = {{"shared": 1, "request": 1, "replica": 1}}
PREFIX_VIEW = "events"
PREEMPTIVE = True

def route(request, replicas, cluster, memory):
    best = -1
    for k in range(cluster.num_replicas):
        if replicas.ready[k] == 1 and (best < 0 or replicas.prefix_hit_tokens[k] > replicas.prefix_hit_tokens[best]):
            best = k
    memory.tag[request.slot] = request.id % 3
    return best

def schedule_rank(request, replica, memory):
    h = int(memory.shared[0])
{REQUEST_FOLDED}{REPLICA_FOLDED}
    memory.shared[0] = h
    return h % 5 + request.tag

def on_step(replica, memory):
    h = int(memory.replica[replica.id, 0])
{REPLICA_FOLDED}
    memory.replica[replica.id, 0] = h

def plan(replica, memory):
    h = int(memory.replica[replica.id, 0])
    return max(1, replica.token_budget - h % 4), max(1, replica.max_running - h % 3)

def admit(request, replica, memory):
    h = int(memory.shared[0])
{REQUEST_FOLDED}{REPLICA_FOLDED}
    memory.shared[0] = h
    return h % 9 != 0

def evict_rank(request, replica, memory):
    h = int(memory.shared[0])
{REQUEST_FOLDED}{REPLICA_FOLDED}
    memory.shared[0] = h
    return h % 4

def tokens(request, replica, left, memory):
    h = int(memory.shared[0]) + left
{REQUEST_FOLDED}{REPLICA_FOLDED}
    memory.shared[0] = h
    return 0 if h % 13 == 0 else 1 + h % 9
""",
    "shortest_preemptive": """
PREEMPTIVE = True
DYNAMIC_RANK = True
PREFIX_VIEW = "truth"

def route(request, replicas, cluster, memory):
    best = -1
    most = 0
    for k in range(cluster.num_replicas):
        gain = replicas.prefix_hit_tokens[k] - replicas.inflight[k]
        if replicas.ready[k] == 1 and (best < 0 or gain > most):
            best = k
            most = gain
    return best

def schedule_rank(request, replica, memory):
    return request.prompt_tokens - request.cached_tokens + 3 * request.priority - request.generated_tokens
""",
    "retract": """
def evict_rank(request, replica, memory):
    return request.prompt_tokens - 1000 * request.generated_tokens

def admit(request, replica, memory):
    return replica.running == 0 or replica.free_blocks * replica.block_size_tokens > 2 * request.prompt_tokens
""",
    "assign": """
MEMORY = {"shared": 1}
PREFIX_VIEW = "own"

def assign(queue, replicas, cluster, memory, out):
    for i in range(len(queue.id) - 1, -1, -1):
        memory.shared[0] += 1.0 + queue.turn[i] + queue.restarts[i] + queue.slo_class[i] + queue.tenant[i]
        k = int(memory.shared[0]) % cluster.num_replicas
        if replicas.ready[k] == 1 and replicas.waiting[k] + replicas.prefix_hit_tokens[k] < 2:
            out[i] = k
""",
    "orca_mode": """
ENGINE_MODE = "orca"

def schedule_rank(request, replica, memory):
    return request.max_tokens
""",
    "v1_mode": """
ENGINE_MODE = "vllm_v1"

def tokens(request, replica, left, memory):
    if request.generated_tokens > 0 and request.computed_tokens < request.prompt_tokens:
        return left
    return 3 if left > 3 else left
""",
    "never_admit": """
def admit(request, replica, memory):
    return request.id % 10 != 3 or replica.now_s - request.arrival_s > 0.05
""",
    "negative_tokens": """
def tokens(request, replica, left, memory):
    return -1 if request.generated_tokens > 6 else left
""",
    "bad_evict_rank": """
def evict_rank(request, replica, memory):
    return float("inf") if request.generated_tokens > 3 else 0.0
""",
    "bad_plan": """
def plan(replica, memory):
    return replica.token_budget, replica.max_running + (1 if replica.running > 1 else 0)
""",
    "raise_in_step": """
def on_step(replica, memory):
    if replica.running > 2:
        raise ValueError("too many")
""",
    "react": """
INTERVAL_S = 1.0
MEMORY = {"shared": 2, "replica": 1}

def scale(window, cluster, memory):
    memory.shared[0] += 1.0
    n = len(window.min_replicas)
    h = int(window.running[-1, 0] + window.waiting[-1, 0] + window.held[-1, 0] + memory.shared[0])
    for p in range(n):
        for row in range(597, 600):
            h += int(window.arrivals[row, p] * 3 + window.arrival_tokens[row, p] + window.finished[row, p] * 5)
            h += int(window.generated_tokens[row, p] * 7 + window.kv_utilisation[row, p] * 1000)
            h += int(window.ttft_s[row, p] * 1e6) + int(window.tpot_s[row, p] * 1e6)
            h += int(window.ready[row, p] + window.loading[row, p] * 11 + window.draining[row, p] * 13)
        h += window.desired[p] + window.gpus_per_replica[p] + int(window.cold_start_s[p] * 1e3)
    h += int(cluster.now_s * 1e3) + cluster.num_held + cluster.router
    a = window.min_replicas[0] + h % (window.max_replicas[0] - window.min_replicas[0] + 1)
    b = window.min_replicas[-1] + (h // 7) % (window.max_replicas[-1] - window.min_replicas[-1] + 1)
    if n == 1:
        return (a,)
    return (a, b)

def drain_rank(replica, memory):
    memory.replica[replica.id, 0] += 1.0
    return replica.waiting + replica.running - memory.replica[replica.id, 0]
"""
    + SPREAD,
    "oscillate": """
INTERVAL_S = 1.0
MEMORY = {"shared": 1}

def scale(window, cluster, memory):
    memory.shared[0] = 1.0 - memory.shared[0]
    if memory.shared[0] > 0.5:
        return window.max_replicas
    return window.min_replicas
""",
    "bad_scale": """
INTERVAL_S = 1.0

def scale(window, cluster, memory):
    return window.max_replicas + (1 if window.ready[-1, 0] > 0 else 0)
""",
}
"""Name to source."""
