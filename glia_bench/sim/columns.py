"""Names of the columns of the simulation's tables: the one place where their layout is written.

Everything is int64; times are picoseconds. A replica row is e * N + r, a slot row e * capacity + s, a record row
e * num_requests + row, a router row e * R + router.
"""

import numpy as np

from glia_bench.features import INT_REPLICA_FIELDS

INF = np.iinfo(np.int64).max
"""A time that never comes."""

# `slots`: one live request each. The plain engine needs the first two cache lines only.
S_ROW, S_PREFILL, S_TOTAL, S_START, S_KEY, S_NEXT, S_PREV, S_CHAIN = range(8)
S_PROMPT, S_RESTARTS, S_ARRIVED, S_DISPATCHED, S_SCHEDULED, S_FIRST, S_NUMBER, S_REPLICA = range(8, 16)
S_MEMORY, S_COMPUTED, S_GENERATED, S_BLOCKS, S_KEYED, S_TOKENS, S_ROUTER, S_ADMITTED = range(16, 24)
S_BEFORE, S_AFTER, S_CACHED, S_SENT = range(24, 28)
SLOT_WIDTH = 32
"""S_ROW record row (-1 = free slot); S_PREFILL tokens to prefill; S_TOTAL prompt + output; S_MEMORY its row of
memory.request; S_NUMBER number in order of arrival; S_ROUTER its router.
Plain engine: S_START iteration at whose end it began to decode (-1 while it does not); S_KEY place in the running list;
S_NEXT, S_PREV links of its queue; S_CHAIN next request whose prefill completes in this iteration.
Full engine: S_COMPUTED of S_PREFILL; S_GENERATED output tokens so far; S_BLOCKS blocks held, S_KEYED of them referenced
by id; S_TOKENS tokens in the iteration in progress; S_ADMITTED whether it was admitted in it; S_BEFORE, S_AFTER links
of its router's dispatched requests; S_CACHED tokens that its first admission found cached, -1 before;
S_SENT its last dispatch, S_DISPATCHED its first."""

# `rep`: one replica each.
R_ITER, R_SEG, R_START, R_DECODES, R_CSUM, R_FREE, R_RUN_HEAD, R_RUN_TAIL = range(8)
R_WAIT_HEAD, R_WAIT_TAIL, R_PARTIAL, R_PARTIAL_DONE, R_CHAIN, R_HEAP, R_BUSY, R_TOKEN_PS = range(8, 16)
R_CONTEXT, R_PREFILLING, R_KEYS, R_SLOPE = range(16, 20)
R_POOL, R_BUDGET, R_CAP, R_WATERMARK, R_BLOCKS, R_NEXT, R_GRID, R_FACTOR = range(20, 28)
R_PLAN_BUDGET, R_PLAN_CAP, R_QUIET, R_STALLED, R_LEFT, R_CHUNKS, R_SHORT, R_OPEN = range(28, 36)
R_LIFE_PS, R_LIFE, R_SLOW, R_PUBLISH, R_PUBLISHED, R_MADE, R_LOG, R_EVICTED = range(36, 44)
R_KNOWN, R_PREFILLED, R_RULES = range(44, 47)
REPLICA_WIDTH = 48
"""R_SEG iterations in this stretch; R_START when it began; R_DECODES requests decoding in it; R_FREE free blocks;
R_TOKEN_PS cost of an iteration of it apart from the context, R_SLOPE per token of context, R_CONTEXT context of its
first iteration; R_KEYS admissions (plain) or places in the waiting queue (full) so far. Plain engine: R_ITER number
of the (first) iteration in progress; R_CSUM sum of (known - iteration) over the decodes, so that their context is
R_DECODES * iteration + R_CSUM; R_PARTIAL the one partial prefill and R_PARTIAL_DONE its tokens so far; R_CHAIN first
request whose prefill completes; R_HEAP length of the finish heap; R_PREFILLING prefill lengths of the running
requests that do not decode. Full engine: R_POOL .. R_BLOCKS sizes; R_GRID offset of its grids (-1: it has a table),
R_FACTOR thousandths of times while it is slow; R_PLAN_* budgets in force; R_QUIET whether the next iteration may
continue; R_STALLED since when it stalls (-1: not); R_LEFT budget left and R_CHUNKS chunks while an iteration is
formed, R_SHORT whether it preempted for lack of blocks, R_OPEN what its step has brought so far; R_LIFE_PS next
change of state, R_LIFE its life's row; R_SLOW until when R_FACTOR holds; R_PUBLISH, R_PUBLISHED next and last
publication; R_MADE output tokens of finished iterations; R_LOG its open row of the log (-1: none); R_EVICTED
preemptions while an iteration is formed; R_KNOWN sum of known and R_PREFILLED number of running requests whose
prefill is complete; R_RULES bits of the engine's rules (RULE_*)."""
RULE_SPARE, RULE_ADMIT, RULE_BY_ARRIVAL, RULE_CHUNKED, RULE_PREFILL_FIRST, RULE_RESERVE, RULE_PADDED = (
    1 << k for k in range(7)
)

# `ctl`: one environment each.
(
    C_NOW,
    C_LAST,
    C_REQUESTS,
    C_NEXT,
    C_HORIZON,
    C_SCANNING,
    C_CURSOR,
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
    C_ROUTER,
    C_HELD,
    C_NUMBER,
    C_FAULT,
    C_SECOND,
    C_SCALE,
    C_RETURNING,
    C_RETURNED,
    C_DUE,
    C_LOG,
    C_LIVES,
    C_COLD,
    C_TURN,
    C_SCHEDULING,
    C_DETAIL,
    C_READY,
    C_ENDED,
) = range(47)
CONTROL_WIDTH = 48
"""C_SCANNING, C_CURSOR the scan in progress; C_ANSWERED, C_ANSWER an outside answer; C_EVENTS, C_DELIVERED event hooks
to run; C_ARRIVING slot that waits for its rank; C_SLOT, C_REPLICA what a yield is about; C_LIVE requests in the
system; C_SUM the latency of all that left minus the arrivals of those still in it, modulo 2^64; C_SEEN C_SUM +
C_LIVE * now when it was last read; C_COST_S, C_COST_PS the total latency then, exact; C_TOLD, C_ASKED progress
through the answers of `assign`; C_ROUTER router that scans or whose ledger the view shows; C_HELD requests held by
all routers; C_NUMBER arrivals so far; C_FAULT next fault; C_SECOND next second of the window; C_SCALE next decision
of the autoscaler; C_RETURNING, C_RETURNED requests that come back from a lost replica; C_DUE follow-up turns in the
heap; C_LOG rows of the log; C_LIVES rows of lives; C_COLD cold starts so far; C_TURN 1 while the arrival being
ranked leads to a scan; C_SCHEDULING replica whose admissions an agent decides (-1: none); C_STATUS, C_DETAIL what
failed inside a step, and the number that its message names; C_READY ready replicas; C_ENDED requests that have left."""

# `held_meta` and `wait_meta`: one sorted queue each.
Q_HEAD, Q_LENGTH, Q_PENDING, Q_FIRST, Q_LAST = range(5)
QUEUE_WIDTH = 8
"""Q_HEAD first entry, Q_LENGTH number of entries. Of a router: Q_PENDING whether a scan is due; Q_FIRST, Q_LAST its
dispatched and unfinished requests (-1: none)."""

# `params`: the scenario's constants.
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
    P_CHUNK_PS,
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
    P_META,
    P_ROUTERS,
    P_ON_CAPACITY,
    P_ON_PUBLICATION,
    P_INTERVAL,
    P_SCALE,
    P_ELASTIC,
    P_CACHE,
    P_VIEW,
    P_INFLIGHT,
    P_PATIENCE,
    P_LOG,
    P_WINDOW,
    P_S_RANK,
    P_S_ADMIT,
    P_S_EVICT,
    P_S_TOKENS,
    P_S_PLAN,
    P_S_STEP,
    P_PREEMPTIVE,
    P_DYNAMIC,
    P_READS_CACHED,
    P_AGENT,
    P_SCHEDULER,
    P_TENANTS,
    P_LAG,
    P_POOLS,
    P_FULL,
) = range(55)
PARAMS_WIDTH = 64

EVENT_FIRST, EVENT_FINISH = 0, 1

GONE, REQUESTED, LOADING, READY, DRAINING = range(5)
"""Values of `replicas.state`."""

V_STATE = INT_REPLICA_FIELDS.index("state")
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
V_HIT = INT_REPLICA_FIELDS.index("prefix_hit_tokens")

ENGINE_FIELDS = (V_WAITING, V_RUNNING, V_WAITING_TOKENS, V_WAITING_BLOCKS, V_ALLOCATED, V_PREEMPTIONS)
"""Rows of the replica view that replicas report: as of their last publication where metrics are stale."""
LEDGER_FIELDS = (V_INFLIGHT, V_INFLIGHT_PROMPT, V_INFLIGHT_BLOCKS, V_INFLIGHT_TOKENS, V_UNPREFILLED)
"""Rows that each router keeps for itself."""
COUNTED_FIELDS = [*ENGINE_FIELDS, *LEDGER_FIELDS, V_HIT]
"""Rows of the replica view that the run changes and that start at 0."""

LAZY_FIELDS = frozenset({"replicas.allocated_blocks", "replicas.inflight_tokens"})
"""Fields that change within a stretch of decodes; computed before a scan only if the policy may read them."""

META_COLUMNS = ("tenant", "session", "turn", "priority", "slo_class", "predicted_tokens")
M_TENANT, M_SESSION, M_TURN, M_PRIORITY, M_CLASS, M_PREDICTED = range(6)
"""Columns of `meta`: what a trace says of a request beside its lengths."""

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
EXTRA_COLUMNS = ("arrival_ps", "cached_tokens")
"""Columns of `extra`: what the full engine records beside these."""
LOG_COLUMNS = (
    "replica",
    "start_ps",
    "end_ps",
    "count",
    "prefill_tokens",
    "num_chunks",
    "num_decodes",
    "context_tokens",
    "allocated_blocks",
    "waiting",
    "running",
    "preempted",
)
LIFE_COLUMNS = ("replica", "requested_ps", "ready_ps", "draining_ps", "gone_ps")
WINDOW_SECONDS = 600
(
    W_ARRIVALS,
    W_ARRIVAL_TOKENS,
    W_FINISHED,
    W_GENERATED,
    W_HELD,
    W_WAITING,
    W_RUNNING,
    W_KV,
    W_TTFT,
    W_TPOT,
    W_READY,
    W_LOADING,
    W_DRAINING,
) = range(13)
"""Rows of `window`, in the order of features.Window."""
A_ARRIVALS, A_TOKENS, A_FINISHED, A_FIRSTS, A_TTFT, A_ENDS, A_TPOT, A_MADE = range(8)
"""Columns of `second`: what happened in the second in progress, per pool (arrivals in the first)."""

FIRST_CAPACITY = 1024
"""Live requests that a run has room for at first, whatever its length: policies can see the size of their memory."""
