"""Hypothesis strategies for the simulators: latency tables, engines, clusters, traces, cases, and a set of policies.

Sizes are small on purpose: a handful of KV blocks makes preemption frequent, and times that are multiples of one
millisecond make arrivals fall on the ends of iterations.
"""

import functools
from typing import Any

import numpy as np
from hypothesis import strategies as st

from glia_bench.case import Case, Trace
from glia_bench.cluster import ClusterSpec, EngineSpec, LatencyTable, Trigger, affine_table, uniform_cluster
from glia_bench.loading import policy_from_source
from glia_bench.policy import Policy
from glia_bench.sim.modes import MODES

MS = 1_000_000_000
"""One millisecond in picoseconds."""

REPLICA_FIELDS_FOLDED = """
    for k in range(cluster.num_replicas):
        h = (h * 31 + replicas.ready[k]) % 1000003
        h = (h * 31 + replicas.pool[k]) % 1000003
        h = (h * 31 + replicas.waiting[k]) % 1000003
        h = (h * 31 + replicas.running[k]) % 1000003
        h = (h * 31 + replicas.waiting_tokens[k]) % 1000003
        h = (h * 31 + replicas.waiting_blocks[k]) % 1000003
        h = (h * 31 + replicas.allocated_blocks[k]) % 1000003
        h = (h * 31 + replicas.capacity_blocks[k]) % 1000003
        h = (h * 31 + replicas.max_running[k]) % 1000003
        h = (h * 31 + replicas.token_budget[k]) % 1000003
        h = (h * 31 + replicas.preemptions[k]) % 1000003
        h = (h * 31 + replicas.inflight[k]) % 1000003
        h = (h * 31 + replicas.inflight_prompt_tokens[k]) % 1000003
        h = (h * 31 + replicas.inflight_blocks[k]) % 1000003
        h = (h * 31 + replicas.inflight_tokens[k]) % 1000003
        h = (h * 31 + replicas.unprefilled_tokens[k]) % 1000003
        h = (h * 31 + replicas.prefix_hit_tokens[k]) % 1000003
        h = (h * 31 + int(replicas.speed[k] * 8.0)) % 1000003
        h = (h * 31 + int(replicas.metrics_age_s[k] * 8.0)) % 1000003
"""
REQUEST_FIELDS_FOLDED = """
    h = (h * 31 + request.id) % 1000003
    h = (h * 31 + request.slot) % 1000003
    h = (h * 31 + request.tenant) % 1000003
    h = (h * 31 + request.session + 1) % 1000003
    h = (h * 31 + request.turn) % 1000003
    h = (h * 31 + request.prompt_tokens) % 1000003
    h = (h * 31 + request.max_tokens) % 1000003
    h = (h * 31 + request.priority) % 1000003
    h = (h * 31 + request.slo_class) % 1000003
    h = (h * 31 + request.generated_tokens) % 1000003
    h = (h * 31 + request.restarts) % 1000003
    h = (h * 31 + int(request.predicted_tokens)) % 1000003
    h = (h * 31 + int(request.arrival_s * 1e6)) % 1000003
    h = (h * 31 + int(request.tag)) % 1000003
    h = (h * 31 + int(request.u[0] * 1e6) + int(request.u[3] * 1e6)) % 1000003
"""
EVENT_FIELDS_FOLDED = """
    h = (h * 31 + request.id) % 1000003
    h = (h * 31 + request.slot) % 1000003
    h = (h * 31 + request.max_tokens) % 1000003
    h = (h * 31 + request.generated_tokens) % 1000003
    h = (h * 31 + request.restarts) % 1000003
    h = (h * 31 + int(request.arrival_s * 1e6 + request.tag + request.u[0] * 1e6)) % 1000003
"""
CLUSTER_FIELDS_FOLDED = """
    h = (h * 31 + int(cluster.now_s * 1e6)) % 1000003
    h = (h * 31 + cluster.num_held) % 1000003
    h = (h * 31 + cluster.num_replicas) % 1000003
    h = (h * 31 + cluster.num_routers) % 1000003
    h = (h * 31 + cluster.block_size_tokens) % 1000003
    h = (h * 31 + int(cluster.metrics_interval_s)) % 1000003
    h = (h * 31 + int(cluster.perf.fixed_s * 1e9) + int(cluster.perf.token_s * 1e9)) % 1000003
    h = (h * 31 + int(cluster.perf.context_token_s * 1e12) + int(cluster.perf.prefill_pair_s * 1e12)) % 1000003
"""

SOURCES: dict[str, str] = {
    "round_robin": """
MEMORY = {"shared": 1}

def route(request, replicas, cluster, memory):
    k = int(memory.shared[0])
    memory.shared[0] = (k + 1) % cluster.num_replicas
    return k
""",
    "llq": """
def route(request, replicas, cluster, memory):
    best = 0
    for k in range(1, cluster.num_replicas):
        if replicas.waiting[k] + replicas.running[k] < replicas.waiting[best] + replicas.running[best]:
            best = k
    return best
""",
    "random": """
def route(request, replicas, cluster, memory):
    return int(request.u[0] * cluster.num_replicas)
""",
    "hold_by_blocks": """
HOLD = -1

def route(request, replicas, cluster, memory):
    need = -(-request.prompt_tokens // cluster.block_size_tokens)
    best = HOLD
    most = 0
    for k in range(cluster.num_replicas):
        left = replicas.capacity_blocks[k] - replicas.allocated_blocks[k] - replicas.waiting_blocks[k] - need
        if left > most or (left >= 0 and replicas.inflight[k] == 0 and best == HOLD):
            most = left
            best = k
    return best
""",
    "shortest_first": """
HOLD = -1

def rank(request, cluster, memory):
    return float(request.prompt_tokens)

def route(request, replicas, cluster, memory):
    best = 0
    for k in range(1, cluster.num_replicas):
        if replicas.inflight[k] < replicas.inflight[best]:
            best = k
    if replicas.inflight[best] >= 2:
        return HOLD
    return best
""",
    "longest_last_come": """
HOLD = -1

def rank(request, cluster, memory):
    return -request.prompt_tokens - 0.25 * cluster.num_held - request.u[1]

def route(request, replicas, cluster, memory):
    k = request.id % cluster.num_replicas
    if replicas.inflight_tokens[k] > 2 * request.max_tokens:
        return HOLD
    return k
""",
    "skip_blocked": """
SKIP_BLOCKED = True
HOLD = -1

def route(request, replicas, cluster, memory):
    k = request.prompt_tokens % cluster.num_replicas
    if replicas.inflight[k] > 1 + request.id % 2:
        return HOLD
    return k
""",
    "assign_spread": """
HOLD = -1
MEMORY = {"shared": 1}

def assign(queue, replicas, cluster, memory, out):
    given = 0
    for i in range(len(queue.id)):
        k = int(queue.prompt_tokens[i] + queue.u[i, 2] * 5.0) % cluster.num_replicas
        if replicas.inflight[k] + given < 3:
            out[i] = k
            given += 1
        elif queue.id[i] % 7 == 6 and cluster.num_held > 2:
            out[i] = -2
    memory.shared[0] += cluster.num_held
""",
    "assign_events": """
MEMORY = {"request": 1, "replica": 1}

def assign(queue, replicas, cluster, memory, out):
    for i in range(len(queue.id) - 1, -1, -1):
        k = int(memory.replica[queue.id[i] % cluster.num_replicas, 0]) % cluster.num_replicas
        if replicas.waiting[k] < 2:
            out[i] = k
        memory.request[queue.slot[i], 0] += 1.0

def on_dispatch(request, replica, memory):
    memory.replica[replica, 0] += 1.0 + memory.request[request.slot, 0]
    memory.tag[request.slot] = memory.replica[replica, 0]

def on_finish(request, replica, memory):
    memory.replica[replica, 0] += request.generated_tokens + request.tag
""",
    "reject_some": """
REJECT = -2
HOLD = -1

def route(request, replicas, cluster, memory):
    if request.u[1] < 0.2:
        return REJECT
    k = int(request.u[0] * cluster.num_replicas)
    if request.u[2] < 0.5 and replicas.waiting_tokens[k] > 0:
        return HOLD if request.u[3] < 0.8 else REJECT
    return k
""",
    "count_events": """
HOLD = -1
MEMORY = {"shared": 4, "replica": 2, "request": 2, "tenant": 1}

def rank(request, cluster, memory):
    memory.request[request.slot, 1] = request.id
    return memory.shared[2] - memory.shared[1] + request.slot

def route(request, replicas, cluster, memory):
    memory.request[request.slot, 0] += 1.0
    best = 0
    for k in range(1, cluster.num_replicas):
        if memory.replica[k, 0] < memory.replica[best, 0]:
            best = k
    if memory.replica[best, 0] > 3.0 and memory.request[request.slot, 0] < 4.0:
        return HOLD
    return best

def on_dispatch(request, replica, memory):
    memory.shared[0] += 1.0
    memory.replica[replica, 0] += 1.0
    memory.tenant[request.tenant, 0] += request.prompt_tokens
    memory.tag[request.slot] = 3.0 * replica + memory.request[request.slot, 1]

def on_first_token(request, replica, memory):
    memory.shared[1] += 1.0
    memory.replica[replica, 1] += request.tag + request.restarts
    memory.request[request.slot, 0] += 10.0

def on_finish(request, replica, memory):
    memory.shared[2] += memory.request[request.slot, 0] + request.generated_tokens
    memory.replica[replica, 0] -= 1.0
    memory.shared[3] = (memory.shared[3] * 31.0 + request.slot + request.tag + memory.replica[replica, 1]) % 1000003.0
""",
    "tick": """
TICK_S = 0.01
HOLD = -1

def route(request, replicas, cluster, memory):
    if cluster.now_s - request.arrival_s < 0.0245 and cluster.num_held < 4:
        return HOLD
    return request.id % cluster.num_replicas
""",
    "tick_skip": """
TICK_S = 0.0125
SKIP_BLOCKED = True
HOLD = -1
MEMORY = {"shared": 1}

def route(request, replicas, cluster, memory):
    memory.shared[0] = (memory.shared[0] + 1.0) % 5.0
    if memory.shared[0] == request.prompt_tokens % 5 or request.u[0] < 0.2:
        return HOLD if cluster.num_held < 6 else -2
    return request.id % cluster.num_replicas
""",
    "read_everything": f"""
MEMORY = {{"shared": 1, "request": 1}}

def rank(request, cluster, memory):
    h = int(memory.shared[0])
{EVENT_FIELDS_FOLDED}{CLUSTER_FIELDS_FOLDED}
    memory.shared[0] = h
    return h % 16

def route(request, replicas, cluster, memory):
    h = int(memory.shared[0])
{REQUEST_FIELDS_FOLDED}{CLUSTER_FIELDS_FOLDED}{REPLICA_FIELDS_FOLDED}
    memory.shared[0] = h
    memory.request[request.slot, 0] = h
    if h % 7 == 0 and cluster.num_held < 4:
        return -1
    return h % cluster.num_replicas

def on_first_token(request, replica, memory):
    h = int(memory.shared[0]) + replica
{EVENT_FIELDS_FOLDED}
    memory.shared[0] = h

def on_finish(request, replica, memory):
    h = int(memory.shared[0]) + replica
{EVENT_FIELDS_FOLDED}
    memory.shared[0] = h
""",
    "read_replicas": f"""
MEMORY = {{"shared": 1}}

def route(request, replicas, cluster, memory):
    h = int(memory.shared[0])
{REPLICA_FIELDS_FOLDED}
    memory.shared[0] = h
    return h % cluster.num_replicas
""",
    "bad_index": """
def route(request, replicas, cluster, memory):
    if replicas.preemptions[0] > 0 or request.id == 17:
        return cluster.num_replicas
    return request.id % cluster.num_replicas
""",
    "bad_rank": """
def rank(request, cluster, memory):
    if request.u[0] < 0.03:
        return float("nan")
    return request.u[1]

def route(request, replicas, cluster, memory):
    return request.id % cluster.num_replicas
""",
    "raise_in_route": """
def route(request, replicas, cluster, memory):
    if replicas.preemptions[0] > 0 or request.id == 9:
        raise ValueError("will not")
    return request.id % cluster.num_replicas
""",
    "raise_in_event": """
def route(request, replicas, cluster, memory):
    return request.id % cluster.num_replicas

def on_first_token(request, replica, memory):
    if request.restarts > 2 and request.id > 1:
        raise ValueError("too often")

def on_finish(request, replica, memory):
    if request.id % 10 == 9:
        raise ValueError("too late")
""",
    "hold_for_ever": """
def route(request, replicas, cluster, memory):
    return -1 if request.id > 3 else 0
""",
}
"""Name to source. All decisions rest on integer or exactly repeatable arithmetic, so every tier must agree."""

CLOCK_READERS = ("tick", "tick_skip", "read_everything")
"""Policies whose decisions depend on absolute times."""


@functools.cache
def policy(name: str) -> Policy:
    """Return a policy of `SOURCES`, the same object every time, so that it is compiled once."""
    return policy_from_source(SOURCES[name], name=name, path="<test>", track="routing")


def policies(*, without: tuple[str, ...] = ()) -> st.SearchStrategy[Policy]:
    """Draw one of the policies."""
    return st.sampled_from([name for name in SOURCES if name not in without]).map(policy)


@st.composite
def latency_tables(draw: st.DrawFn, *, token_budget: int) -> LatencyTable:
    """Draw iteration times: a straight line in whole milliseconds, or arbitrary steps in picoseconds."""
    if draw(st.booleans()):
        fixed, per_token = draw(st.tuples(st.integers(1, 5), st.integers(0, 2)))
        token_ps = MS * (fixed + per_token * np.arange(token_budget + 1, dtype=np.int64))
        context_ps = MS * draw(st.integers(0, 1))
        pair_ps = 0
    else:
        seed = draw(st.integers(0, 2**32 - 1))
        steps = np.random.default_rng(seed).integers(0, MS, token_budget + 1)
        token_ps = 1 + np.cumsum(steps, dtype=np.int64)
        context_ps = draw(st.integers(0, MS // 8))
        pair_ps = draw(st.integers(0, MS // 64))
    return affine_table(name="drawn", token_ps=token_ps, context_ps=context_ps, pair_ps=pair_ps)


@st.composite
def engines(draw: st.DrawFn) -> EngineSpec:
    """Draw an engine with few blocks and chunked prefill: a named mode, or any combination of the four rules."""
    block_size_tokens = draw(st.sampled_from([1, 2, 4, 16]))
    max_running = draw(st.sampled_from([1, 2, 4, 8, 8]))
    rules: dict[str, Any]
    if draw(st.booleans()):
        mode = draw(st.sampled_from([name for name in sorted(MODES) if MODES[name].get("chunked_prefill", True)]))
        rules = {**MODES[mode]}
    else:
        mode = "drawn"
        rules = {
            "order": draw(st.sampled_from(["admission", "arrival"])),
            "watermark": draw(st.sampled_from([0.0, 0.01, 0.1, 0.25])),
            "admit_after_preemption": draw(st.booleans()),
            "spare_block": draw(st.booleans()),
        }
    return EngineSpec(
        mode=mode,
        token_budget=max_running + draw(st.sampled_from([1, 2, 7, 40])),
        max_running=max_running,
        num_blocks=draw(st.integers(5, 16)) * (4 if block_size_tokens < 4 else 1),
        block_size_tokens=block_size_tokens,
        **rules,
    )


@st.composite
def clusters(draw: st.DrawFn) -> ClusterSpec:
    """Draw 1 to 5 equal replicas and the triggers of a scan."""
    engine = draw(engines())
    others: list[Trigger] = ["completion", "restart", "tick"]
    triggers: tuple[Trigger, ...] = ("arrival", *(x for x in others if draw(st.sampled_from([True, True, False]))))
    return uniform_cluster(
        num_replicas=draw(st.integers(1, 5)),
        engine=engine,
        latency=draw(latency_tables(token_budget=engine.token_budget)),
        triggers=triggers,
        idle_hold_limit_s=draw(st.sampled_from([0.5, 0.05, 0.005])),
    )


@st.composite
def traces(draw: st.DrawFn, *, engine: EngineSpec, max_requests: int) -> Trace:
    """Draw requests that fit the engine; many arrive at one instant, in bursts, or on a grid of milliseconds.

    Lengths and gaps come from a drawn seed: the shape is what hypothesis shrinks, not each number.
    """
    num = draw(st.just(max_requests) | st.integers(1, max_requests))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mean_gap_ms = draw(st.sampled_from([0, 1, 5, 20]))
    gaps = rng.integers(0, 2 * mean_gap_ms + 1, num) * MS
    if draw(st.booleans()):
        gaps *= rng.random(num) < 0.3
    if draw(st.booleans()):
        gaps += rng.integers(0, MS, num)
    limit = engine.max_request_tokens
    prompt_tokens = 1 + rng.integers(0, max(1, min(limit - 1, draw(st.sampled_from([4, limit // 4, limit])))), num)
    most_output = np.minimum(limit - prompt_tokens, draw(st.sampled_from([1, 6, limit, limit])))
    output_tokens = 1 + rng.integers(0, most_output)
    return Trace(
        arrival_ps=np.cumsum(gaps, dtype=np.int64),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        max_tokens=output_tokens + rng.integers(0, 9, num),
    )


@st.composite
def cases(draw: st.DrawFn, *, max_requests: int = 24) -> Case:
    """Draw a whole case: cluster, trace, horizon, clock offset and policy seed."""
    cluster = draw(clusters())
    return Case(
        cluster=cluster,
        trace=draw(traces(engine=cluster.pools[0].engine, max_requests=max_requests)),
        drain_s=draw(st.sampled_from([100.0, 100.0, 100.0, 0.3, 0.02])),
        clock_offset_ps=draw(st.sampled_from([0, 123_456_789_012_345_678])),
        policy_seed=draw(st.sampled_from([0, 1, 2**63 - 1])),
    )
