"""The arrays of a simulation: the one place where layout and dtypes are written.

Several independent runs ("environments", E of them) may share the arrays, so that one kernel call can advance them all;
a plain run has E = 1. Replica rows are e * N + r, slot rows e * capacity + s, request rows e * num_requests + id.
Everything that the kernel counts is int64; times are picoseconds.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from glia_bench.features import FLOAT_REPLICA_FIELDS, INT_REPLICA_FIELDS, FloatArray, IntArray, Memory
from glia_bench.types import NEVER_PS, UNFINISHED, Case, ClusterSpec, Trace

INF = np.iinfo(np.int64).max
"""A time that never comes."""

# Columns of `slots`: one live request each, two cache lines.
S_ROW, S_PREFILL, S_TOTAL, S_START, S_KEY, S_NEXT, S_PREV, S_CHAIN = range(8)
S_PROMPT, S_RESTARTS, S_ARRIVED, S_DISPATCHED, S_SCHEDULED, S_FIRST, S_MEMORY, S_REPLICA = range(8, 16)
SLOT_WIDTH = 16
"""S_ROW request row (-1 = free slot); S_PREFILL tokens to prefill; S_TOTAL prompt + output; S_START iteration at whose
end it began to decode (-1 while it does not); S_KEY place in the running list; S_NEXT, S_PREV links of its queue;
S_CHAIN next request whose prefill completes in this iteration; S_MEMORY its row of memory.request."""

# Columns of `rep`: one replica each.
R_ITER, R_SEG, R_START, R_DECODES, R_CSUM, R_FREE, R_RUN_HEAD, R_RUN_TAIL = range(8)
R_WAIT_HEAD, R_WAIT_TAIL, R_PARTIAL, R_PARTIAL_DONE, R_CHAIN, R_HEAP, R_BUSY, R_TOKEN_PS = range(8, 16)
R_CONTEXT, R_PREFILLING, R_KEYS = range(16, 19)
REPLICA_WIDTH = 24
"""R_ITER number of the (first) iteration in progress; R_SEG iterations in this stretch; R_START when it began;
R_DECODES requests decoding in it; R_CSUM sum of (known - iteration) over them, so that their context is R_DECODES *
iteration + R_CSUM; R_FREE free blocks; R_PARTIAL the one partial prefill and R_PARTIAL_DONE its tokens so far;
R_CHAIN first request whose prefill completes; R_HEAP length of the finish heap; R_TOKEN_PS and R_CONTEXT cost term
and context of the first iteration; R_PREFILLING prefill lengths of the running requests that do not decode; R_KEYS
admissions so far."""

# Columns of `ctl`: one environment each.
(
    C_NOW,
    C_LAST,
    C_REQUESTS,
    C_NEXT,
    C_HORIZON,
    C_QHEAD,
    C_QLEN,
    C_SCANNING,
    C_CURSOR,
    C_PENDING,
    C_ANSWERED,
    C_ANSWER,
    C_EVENTS,
    C_DELIVERED,
    C_IDLE_SINCE,
    C_TICK,
    C_SAMPLE,
    C_DECISIONS,
    C_FREE_TOP,
    C_MEMORY_TOP,
    C_MEMORY_NEW,
    C_ARRIVING,
    C_SLOT,
    C_REPLICA,
    C_OFFSET,
    C_STATUS,
    C_LIVE,
    C_SUM,
    C_SEEN,
    C_COST_S,
    C_COST_PS,
    C_TOLD,
    C_ASKED,
) = range(33)
CONTROL_WIDTH = 40
"""C_SCANNING, C_CURSOR the scan in progress; C_PENDING a scan is due; C_ANSWERED, C_ANSWER an outside answer;
C_EVENTS, C_DELIVERED event hooks to run; C_ARRIVING slot of an arrival that waits for its rank; C_SLOT, C_REPLICA
what a yield is about; C_LIVE requests in the system; C_SUM the latency of all that left minus the arrivals of those
still in it, modulo 2^64; C_SEEN C_SUM + C_LIVE * now when it was last read; C_COST_S, C_COST_PS the total latency
then, exact; C_TOLD, C_ASKED progress through the answers of `assign`."""

# Entries of `params`: the scenario's constants.
(
    P_REPLICAS,
    P_BLOCK,
    P_SHIFT,
    P_WATERMARK,
    P_SPARE,
    P_ADMIT,
    P_BY_ARRIVAL,
    P_BUDGET,
    P_MAX_RUNNING,
    P_BLOCKS,
    P_CONTEXT_PS,
    P_PAIR_PS,
    P_ON_COMPLETION,
    P_ON_RESTART,
    P_TICK,
    P_IDLE_LIMIT,
    P_HAS_RANK,
    P_HAS_ASSIGN,
    P_HAS_DISPATCH,
    P_HAS_FIRST,
    P_HAS_FINISH,
    P_SKIP,
    P_LAZY_FIELDS,
    P_REQUEST_MEMORY,
    P_SAMPLE,
    P_OUTSIDE,
    P_READS_U,
) = range(27)

EVENT_FIRST, EVENT_FINISH = 0, 1

V_WAITING = INT_REPLICA_FIELDS.index("waiting")
V_RUNNING = INT_REPLICA_FIELDS.index("running")
V_WAITING_TOKENS = INT_REPLICA_FIELDS.index("waiting_tokens")
V_WAITING_BLOCKS = INT_REPLICA_FIELDS.index("waiting_blocks")
V_ALLOCATED = INT_REPLICA_FIELDS.index("allocated_blocks")
V_READY = INT_REPLICA_FIELDS.index("ready")
V_PREEMPTIONS = INT_REPLICA_FIELDS.index("preemptions")
V_INFLIGHT = INT_REPLICA_FIELDS.index("inflight")
V_INFLIGHT_PROMPT = INT_REPLICA_FIELDS.index("inflight_prompt_tokens")
V_INFLIGHT_BLOCKS = INT_REPLICA_FIELDS.index("inflight_blocks")
V_INFLIGHT_TOKENS = INT_REPLICA_FIELDS.index("inflight_tokens")
V_UNPREFILLED = INT_REPLICA_FIELDS.index("unprefilled_tokens")

COUNTED_FIELDS = [
    *(V_WAITING, V_RUNNING, V_WAITING_TOKENS, V_WAITING_BLOCKS, V_ALLOCATED, V_PREEMPTIONS),
    *(V_INFLIGHT, V_INFLIGHT_PROMPT, V_INFLIGHT_BLOCKS, V_INFLIGHT_TOKENS, V_UNPREFILLED),
]
"""Rows of the replica view that the run changes; all start at 0."""

LAZY_FIELDS = frozenset({"replicas.allocated_blocks", "replicas.inflight_tokens"})
"""Fields that change within a stretch of decodes; computed before a scan only if the policy may read them."""

TRACE_COLUMNS = ("arrival_ps", "prompt_tokens", "output_tokens", "max_tokens")
RECORD_COLUMNS = (
    "outcome",
    "replica",
    "restarts",
    "dispatched_ps",
    "scheduled_ps",
    "first_token_ps",
    "finished_ps",
)


FIRST_CAPACITY = 1024
"""Live requests that a run has room for at first, whatever its length: policies can see the size of their memory."""


class State(NamedTuple):
    """All arrays of E runs; names as in the column tables above.

    `queue_rank` and `queue_slot` hold the held queue, sorted, from C_QHEAD. `heap` holds each replica's decodes as
    finish iteration * 2^32 + slot. `ring[g, j mod block]` counts the decodes that take a block in iteration j. `hash`
    is the decision hash. `reals[e]` = (rank given from outside, sum of rewards so far).
    """

    ctl: IntArray
    params: IntArray
    rep: IntArray
    next_ps: IntArray
    ring: IntArray
    heap: IntArray
    slots: IntArray
    free_slots: IntArray
    free_rows: IntArray
    queue_rank: FloatArray
    queue_slot: IntArray
    events: IntArray
    view_int: IntArray
    view_float: FloatArray
    arrival_ps: IntArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    max_tokens: IntArray
    token_ps: IntArray
    records: IntArray
    samples: IntArray
    hash: np.ndarray[tuple[int], np.dtype[np.uint64]]
    reals: FloatArray


def make_params(cluster: ClusterSpec) -> IntArray:
    """Return the constants of a cluster; what depends on the policy is 0 and set by the engine."""
    engine = cluster.engine
    params = np.zeros(32, dtype=np.int64)
    params[P_REPLICAS] = cluster.num_replicas
    params[P_BLOCK] = engine.block_size_tokens
    params[P_SHIFT] = engine.block_size_tokens.bit_length() - 1
    params[P_WATERMARK] = engine.watermark_blocks
    params[P_SPARE] = engine.spare_block
    params[P_ADMIT] = engine.admit_after_preemption
    params[P_BY_ARRIVAL] = engine.order == "arrival"
    params[P_BUDGET] = engine.token_budget
    params[P_MAX_RUNNING] = engine.max_running
    params[P_BLOCKS] = engine.num_blocks
    params[P_CONTEXT_PS] = cluster.latency.context_ps
    params[P_PAIR_PS] = cluster.latency.pair_ps
    params[P_ON_COMPLETION] = "completion" in cluster.triggers
    params[P_ON_RESTART] = "restart" in cluster.triggers
    params[P_IDLE_LIMIT] = round(cluster.idle_hold_limit_s * 1e12)
    return params


def make_state(cluster: ClusterSpec, *, num_envs: int, num_requests: int, capacity: int, num_samples: int = 0) -> State:
    """Allocate the arrays of `num_envs` runs of at most `num_requests` requests, `capacity` of them live at once."""
    engine = cluster.engine
    rows = num_envs * cluster.num_replicas
    view_int = np.zeros((len(INT_REPLICA_FIELDS), rows), dtype=np.int64)
    view_float = np.zeros((len(FLOAT_REPLICA_FIELDS), rows))
    state = State(
        ctl=np.zeros((num_envs, CONTROL_WIDTH), dtype=np.int64),
        params=make_params(cluster),
        rep=np.zeros((rows, REPLICA_WIDTH), dtype=np.int64),
        next_ps=np.zeros(rows, dtype=np.int64),
        ring=np.zeros((rows, engine.block_size_tokens), dtype=np.int64),
        heap=np.zeros((rows, engine.max_running), dtype=np.int64),
        slots=np.zeros((num_envs * capacity, SLOT_WIDTH), dtype=np.int64),
        free_slots=np.zeros((num_envs, capacity), dtype=np.int64),
        free_rows=np.zeros((num_envs, capacity), dtype=np.int64),
        queue_rank=np.zeros((num_envs, capacity)),
        queue_slot=np.zeros((num_envs, capacity), dtype=np.int64),
        events=np.zeros((num_envs, 2 * engine.max_running + 2, 2), dtype=np.int64),
        view_int=view_int,
        view_float=view_float,
        arrival_ps=np.zeros((num_envs, num_requests), dtype=np.int64),
        prompt_tokens=np.zeros((num_envs, num_requests), dtype=np.int64),
        output_tokens=np.zeros((num_envs, num_requests), dtype=np.int64),
        max_tokens=np.zeros((num_envs, num_requests), dtype=np.int64),
        token_ps=np.array(cluster.latency.token_ps, dtype=np.int64),
        records=np.zeros((num_envs * num_requests, len(RECORD_COLUMNS)), dtype=np.int64),
        samples=np.zeros((num_samples, 1 + 3 * cluster.num_replicas), dtype=np.int64),
        hash=np.zeros(num_envs, dtype=np.uint64),
        reals=np.zeros((num_envs, 2)),
    )
    constants = {
        "ready": 1,
        "capacity_blocks": engine.num_blocks,
        "max_running": engine.max_running,
        "token_budget": engine.token_budget,
    }
    for name, value in constants.items():
        view_int[INT_REPLICA_FIELDS.index(name)] = value
    view_float[FLOAT_REPLICA_FIELDS.index("speed")] = 1.0
    return state


def load_trace(state: State, e: int, trace: Trace) -> None:
    """Copy a trace into the columns of environment e."""
    for column in TRACE_COLUMNS:
        getattr(state, column)[e, : len(trace)] = getattr(trace, column)


def start_run(state: State, e: int, case: Case) -> None:
    """Put environment e at the first instant of a case whose trace is loaded; an earlier run there is forgotten."""
    num = len(case.trace)
    replicas = int(state.params[P_REPLICAS])
    capacity = state.free_slots.shape[1]
    width = state.arrival_ps.shape[1]
    rows = slice(e * replicas, (e + 1) * replicas)
    rep = state.rep[rows]
    rep[:] = 0
    rep[:, [R_RUN_HEAD, R_RUN_TAIL, R_WAIT_HEAD, R_WAIT_TAIL, R_PARTIAL, R_CHAIN]] = -1
    rep[:, R_FREE] = state.params[P_BLOCKS]
    state.next_ps[rows] = INF
    state.ring[rows] = 0
    state.view_int[COUNTED_FIELDS, rows] = 0
    state.free_slots[e] = np.arange((e + 1) * capacity - 1, e * capacity - 1, -1)
    records = state.records[e * width : (e + 1) * width]
    records[:] = NEVER_PS
    records[:, 0] = UNFINISHED
    records[:, 2] = 0
    state.hash[e] = 0
    state.reals[e] = 0.0
    ctl = state.ctl[e]
    ctl[:] = 0
    ctl[C_REQUESTS] = num
    ctl[C_HORIZON] = case.horizon_ps
    ctl[C_IDLE_SINCE] = -1
    ctl[C_ARRIVING] = -1
    ctl[C_FREE_TOP] = capacity
    ctl[C_OFFSET] = case.clock_offset_ps


def grow(state: State, memory: Memory) -> tuple[State, Memory]:
    """Double the live slots of a single run and return the arrays that replace the old ones."""
    old = state.free_slots.shape[1]
    new = 2 * old
    slots = np.zeros((new, SLOT_WIDTH), dtype=np.int64)
    slots[:old] = state.slots
    slots[old:, S_ROW] = -1
    wider = {}
    for name in ("free_slots", "free_rows", "queue_rank", "queue_slot"):
        array = getattr(state, name)
        wider[name] = np.zeros((1, new), dtype=array.dtype)
        wider[name][:, :old] = array
    wider["free_slots"][0, :old] = np.arange(new - 1, old - 1, -1)  # all the old ones are in use
    state.ctl[0, C_FREE_TOP] = old
    rows = new if state.params[P_REQUEST_MEMORY] else 1
    request = np.zeros((rows, memory.request.shape[1]))
    request[: len(memory.request)] = memory.request
    tag = np.zeros(rows)
    tag[: len(memory.tag)] = memory.tag
    return state._replace(slots=slots, **wider), memory._replace(request=request, tag=tag)


def make_memory(widths: Mapping[str, int], *, num_replicas: int, request_rows: int) -> Memory:
    """Return zeroed tables of the declared widths, with the given number of rows for requests (at least 1)."""
    return Memory(
        shared=np.zeros(widths.get("shared", 0)),
        replica=np.zeros((num_replicas, widths.get("replica", 0))),
        tenant=np.zeros((1, widths.get("tenant", 0))),
        session=np.zeros((1, widths.get("session", 0))),
        request=np.zeros((request_rows, widths.get("request", 0))),
        tag=np.zeros(request_rows),
    )


def single_run(case: Case, *, num_samples: int = 0) -> State:
    """Return the arrays of one run of a case, ready to start; the trace's own columns are used, not copied."""
    num = len(case.trace)
    state = make_state(case.cluster, num_envs=1, num_requests=0, capacity=FIRST_CAPACITY, num_samples=num_samples)
    columns = {name: np.require(getattr(case.trace, name), requirements=["C", "W"])[None] for name in TRACE_COLUMNS}
    state = state._replace(records=np.empty((num, len(RECORD_COLUMNS)), dtype=np.int64), **columns)
    state.slots[:, S_ROW] = -1
    start_run(state, 0, case)
    return state
