"""The arrays of a simulation, allocated and put at a case's first instant; columns are named in columns.py.

Several independent runs ("environments", E of them) may share the arrays, so that one kernel call can advance them all;
a plain run has E = 1. What only the full engine needs is one element long where a run is plain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S, ClusterSpec
from glia_bench.features import FLOAT_REPLICA_FIELDS, INT_REPLICA_FIELDS, FloatArray, IntArray, Memory
from glia_bench.sim import columns as col
from glia_bench.sim.fleet_setup import cold_tables, fault_table, start_fleet
from glia_bench.sim.latency_tables import latency_arrays
from glia_bench.sim.prefix_cache import KvCache, SmallInts, make_cache
from glia_bench.sim.prefix_view import VIEW_NONE, PrefixView, make_view, reset_view
from glia_bench.types import NEVER_PS, UNFINISHED

_FIRST_LIVES = 256
"""Replica lives that a run of the full engine has room for at first."""


class State(NamedTuple):
    """All arrays of E runs; columns as in columns.py.

    `held_*` hold the routers' held queues, `wait_*` the replicas' waiting queues of the full engine: rank and slot,
    sorted, from Q_HEAD. `heap` holds each replica's decodes as finish iteration * 2^32 + slot. `ring[g, j mod
    block]` counts the decodes that take a block in iteration j. `run` holds running lists, `batch` the prefill
    chunks of the iteration in progress, in order. `hash` is the decision hash. `reals[e]` = (rank given from
    outside). `settings` = (metrics_interval_s). `ledger[e * R + router, field, replica]` keeps the ledgers that the
    view does not show. `published` are the engine fields of the last publication. `came` tells which rows have
    arrived. `ended` lists the rows that have left the system, in order. `due` is a heap of follow-up turns (time,
    row). `block_nodes` keeps where referenced blocks are. `back` lists requests that come back from a lost replica.
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
    held_rank: FloatArray
    held_slot: IntArray
    held_meta: IntArray
    events: IntArray
    view_int: IntArray
    view_float: FloatArray
    arrival_ps: IntArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    max_tokens: IntArray
    token_ps: IntArray
    decode_ps: IntArray
    context_ps: IntArray
    batch_ps: IntArray
    records: IntArray
    samples: IntArray
    hash: np.ndarray[tuple[int], np.dtype[np.uint64]]
    reals: FloatArray
    settings: FloatArray
    # of the full engine
    wait_rank: FloatArray
    wait_slot: IntArray
    wait_meta: IntArray
    slot_rank: FloatArray
    run: IntArray
    batch: IntArray
    meta: IntArray
    think_ps: IntArray
    next_row: IntArray
    block_start: IntArray
    block_ids: IntArray
    block_nodes: SmallInts
    extra: IntArray
    grids: IntArray
    ledger: IntArray
    published: IntArray
    came: IntArray
    ended: IntArray
    due: IntArray
    back: IntArray
    faults: IntArray
    lives: IntArray
    cold: IntArray
    log: IntArray
    window: FloatArray
    second: IntArray
    slo: FloatArray
    perf: FloatArray
    inflight: IntArray
    inflight_s: FloatArray
    cache: KvCache
    seen: PrefixView
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What of the full engine a run uses, beside what its cluster and trace say.

    Attributes:
        prefix_view: Code of the view that the design declares.
        has_inflight: Whether it reads in-flight rows.
        num_samples: Samples that are asked for.
        has_log: Whether iterations are logged.
    """

    prefix_view: int = VIEW_NONE
    has_inflight: bool = False
    num_samples: int = 0
    has_log: bool = False


def make_state(
    cluster: ClusterSpec,
    *,
    num_envs: int,
    num_requests: int,
    capacity: int,
    is_full: bool = False,
    needs: Needs | None = None,
) -> State:
    """Allocate the arrays of E runs.

    Args:
        cluster: The system.
        num_envs: E.
        num_requests: Requests that each run has room for.
        capacity: How many of them may be live at once.
        is_full: Whether the full engine runs.
        needs: What of it is used.
    """
    needs = needs or Needs()
    num = cluster.num_replicas
    rows, routers = num_envs * num, num_envs * cluster.num_routers
    engines = [pool.engine for pool in cluster.pools]
    largest_run = max(engine.max_running for engine in engines)
    largest_pool = max(engine.num_blocks for engine in engines)
    plain_rows, full_rows = (1, rows) if is_full else (rows, 1)
    wide = capacity if is_full else 1
    per_request = num_requests if is_full else 1
    has_cache = is_full and cluster.has_prefix_cache
    table = latency_arrays(cluster)

    def ints(*shape: int) -> IntArray:
        return np.zeros(shape, dtype=np.int64)

    state = State(
        ctl=ints(num_envs, col.CONTROL_WIDTH),
        params=ints(col.PARAMS_WIDTH),
        rep=ints(rows, col.REPLICA_WIDTH),
        next_ps=ints(rows),
        ring=ints(plain_rows, cluster.block_size_tokens),
        heap=ints(plain_rows, largest_run),
        slots=ints(num_envs * capacity, col.SLOT_WIDTH),
        free_slots=ints(num_envs, capacity),
        free_rows=ints(num_envs, capacity),
        held_rank=np.zeros((routers, capacity)),
        held_slot=ints(routers, capacity),
        held_meta=ints(routers, col.QUEUE_WIDTH),
        events=ints(num_envs, (2 * largest_run + 2) if not is_full else max(2 * largest_run + 2, capacity), 2),
        view_int=ints(len(INT_REPLICA_FIELDS), rows),
        view_float=np.zeros((len(FLOAT_REPLICA_FIELDS), rows)),
        arrival_ps=ints(num_envs, num_requests),
        prompt_tokens=ints(num_envs, num_requests),
        output_tokens=ints(num_envs, num_requests),
        max_tokens=ints(num_envs, num_requests),
        token_ps=table.token_ps,
        decode_ps=table.decode_ps,
        context_ps=table.context_ps,
        batch_ps=table.batch_ps,
        records=ints(num_envs * num_requests, len(col.RECORD_COLUMNS)),
        samples=ints(needs.num_samples, 1 + 3 * num),
        hash=np.zeros(num_envs, dtype=np.uint64),
        reals=np.zeros((num_envs, 1)),
        settings=np.array([cluster.metrics_interval_s]),
        wait_rank=np.zeros((full_rows, wide)),
        wait_slot=ints(full_rows, wide),
        wait_meta=ints(full_rows, col.QUEUE_WIDTH),
        slot_rank=np.zeros(num_envs * wide),
        run=ints(full_rows, largest_run),
        batch=ints(full_rows, largest_run),
        meta=ints(num_envs, per_request, len(col.META_COLUMNS)),
        think_ps=ints(num_envs, per_request),
        next_row=ints(num_envs, per_request),
        block_start=ints(num_envs, per_request + 1),
        block_ids=ints(num_envs, 1),
        block_nodes=np.zeros((num_envs, 1), dtype=np.int32),
        extra=ints(num_envs * per_request, len(col.EXTRA_COLUMNS)),
        grids=table.grids,
        ledger=ints(routers, len(col.LEDGER_FIELDS), num),
        published=ints(len(INT_REPLICA_FIELDS), full_rows),
        came=ints(num_envs, per_request),
        ended=ints(num_envs, per_request),
        due=ints(num_envs, per_request + 1, 2),
        back=ints(num_envs, wide),
        faults=ints(num_envs, 1, 5),
        lives=ints(num_envs, _FIRST_LIVES if is_full else 1, len(col.LIFE_COLUMNS)),
        cold=cold_tables(cluster),
        log=ints(4096 if needs.has_log else 1, len(col.LOG_COLUMNS)),
        window=np.zeros((num_envs, 13, col.WINDOW_SECONDS, len(cluster.pools))),
        second=ints(num_envs, len(cluster.pools), 8),
        slo=np.array([(c.ttft_s, c.tpot_s, c.ttft_per_prompt_token_s, c.patience_s) for c in cluster.slo_classes]),
        perf=table.perf,
        inflight=ints(3, wide if needs.has_inflight else 1),
        inflight_s=np.zeros((2, wide if needs.has_inflight else 1)),
        cache=make_cache(rows if has_cache else 1, largest_pool if has_cache else 1),
        seen=make_view(
            needs.prefix_view if has_cache else VIEW_NONE,
            num_envs,
            cluster.num_routers,
            num,
            largest_pool if has_cache else 1,
            round(cluster.prefix_delay_s * PS_PER_S),
        ),
        memory=make_memory({}, num_replicas=1, request_rows=1),
    )
    _write_constants(state, cluster, is_full)
    return state


def _write_constants(state: State, cluster: ClusterSpec, is_full: bool) -> None:
    """Write the constants of a cluster; what depends on the policy stays 0 and is set by the engine."""
    engine = cluster.pools[0].engine
    params = state.params
    params[col.P_FULL] = is_full
    params[col.P_REPLICAS] = cluster.num_replicas
    params[col.P_ROUTERS] = cluster.num_routers
    params[col.P_POOLS] = len(cluster.pools)
    params[col.P_TENANTS] = cluster.num_tenants
    params[col.P_BLOCK] = engine.block_size_tokens
    params[col.P_SHIFT] = engine.block_size_tokens.bit_length() - 1
    params[col.P_WATERMARK] = engine.watermark_blocks
    params[col.P_SPARE] = engine.spare_block
    params[col.P_ADMIT] = engine.admit_after_preemption
    params[col.P_BY_ARRIVAL] = engine.order == "arrival"
    params[col.P_BUDGET] = engine.token_budget
    params[col.P_MAX_RUNNING] = engine.max_running
    params[col.P_BLOCKS] = engine.num_blocks
    params[col.P_CHUNK_PS], params[col.P_PAIR_PS] = state.batch_ps[0]
    params[col.P_ON_COMPLETION] = "completion" in cluster.triggers
    params[col.P_ON_RESTART] = "restart" in cluster.triggers
    params[col.P_ON_CAPACITY] = "capacity" in cluster.triggers
    params[col.P_ON_PUBLICATION] = "publication" in cluster.triggers
    params[col.P_IDLE_LIMIT] = round(cluster.idle_hold_limit_s * PS_PER_S)
    params[col.P_INTERVAL] = round(cluster.metrics_interval_s * PS_PER_S)
    params[col.P_ELASTIC] = cluster.is_elastic
    params[col.P_CACHE] = is_full and cluster.has_prefix_cache
    params[col.P_PATIENCE] = any(c.patience_s < float("inf") for c in cluster.slo_classes)
    params[col.P_LAG] = cluster.window_lag_s
    view_int, view_float = state.view_int, state.view_float
    for g in range(view_int.shape[1]):
        pool = cluster.pool_of[g % cluster.num_replicas]
        spec = cluster.pools[pool]
        constants = {
            "pool": pool,
            "capacity_blocks": spec.engine.num_blocks,
            "max_running": spec.engine.max_running,
            "token_budget": spec.engine.token_budget,
        }
        for name, value in constants.items():
            view_int[INT_REPLICA_FIELDS.index(name), g] = value
        view_float[FLOAT_REPLICA_FIELDS.index("speed"), g] = spec.speed


def start_run(state: State, e: int, case: Case) -> State:
    """Put environment e at the first instant of a case whose trace is loaded; an earlier run there is forgotten.

    Returns:
        The state, whose fault table may be a longer one.
    """
    num = len(case.trace)
    replicas = int(state.params[col.P_REPLICAS])
    capacity = state.free_slots.shape[1]
    width = state.arrival_ps.shape[1]
    rows = slice(e * replicas, (e + 1) * replicas)
    rep = state.rep[rows]
    rep[:] = 0
    none = [col.R_RUN_HEAD, col.R_RUN_TAIL, col.R_WAIT_HEAD, col.R_WAIT_TAIL, col.R_PARTIAL, col.R_CHAIN]
    rep[:, [*none, col.R_GRID, col.R_STALLED, col.R_LOG]] = -1
    rep[:, col.R_FREE] = state.params[col.P_BLOCKS]
    rep[:, col.R_LIFE_PS] = col.INF
    rep[:, col.R_PUBLISH] = col.INF
    state.next_ps[rows] = col.INF
    state.view_int[col.COUNTED_FIELDS, rows] = 0
    state.view_int[col.V_STATE, rows] = col.READY
    state.view_int[col.V_READY, rows] = 1
    state.view_float[FLOAT_REPLICA_FIELDS.index("metrics_age_s"), rows] = 0.0
    state.free_slots[e] = np.arange((e + 1) * capacity - 1, e * capacity - 1, -1)
    state.slots[e * capacity : (e + 1) * capacity, col.S_ROW] = -1
    records = state.records[e * width : (e + 1) * width]
    records[:] = NEVER_PS
    records[:, 0] = UNFINISHED
    records[:, 2] = 0
    state.hash[e] = 0
    state.reals[e] = 0.0
    routers = int(state.params[col.P_ROUTERS])
    held = state.held_meta[e * routers : (e + 1) * routers]
    held[:] = 0
    held[:, [col.Q_FIRST, col.Q_LAST]] = -1
    ctl = state.ctl[e]
    ctl[:] = 0
    ctl[col.C_REQUESTS] = case.trace.num_clock
    ctl[col.C_HORIZON] = case.horizon_ps
    ctl[[col.C_IDLE_SINCE, col.C_ARRIVING, col.C_SCHEDULING]] = -1
    ctl[col.C_FREE_TOP] = capacity
    ctl[col.C_OFFSET] = case.clock_offset_ps
    ctl[col.C_READY] = replicas
    if not state.params[col.P_FULL]:
        state.ring[rows] = 0
        return state
    state.extra[e * width : e * width + num, 0] = case.trace.arrival_ps
    state.extra[e * width : e * width + num, 1] = 0
    state.ledger[e * routers : (e + 1) * routers] = 0
    state.published[:, rows] = 0
    state.wait_meta[rows] = 0
    state.window[e] = 0.0
    state.second[e] = 0
    state.came[e] = 0
    ctl[col.C_SECOND] = PS_PER_S
    if state.params[col.P_CACHE]:
        reset_view(state.seen, e)
    state = _with_faults(state, e, fault_table(case))
    start_fleet(state, e, case)
    return state


def _with_faults(state: State, e: int, table: IntArray) -> State:
    """Return the state with a case's faults in environment e; unused rows never come."""
    room = state.faults.shape[1]
    if len(table) > room:
        wider = np.zeros((len(state.faults), len(table), 5), dtype=np.int64)
        wider[:, :, 0] = col.INF
        wider[:, :room] = state.faults
        state = state._replace(faults=wider)
    state.faults[e, :, 0] = col.INF
    state.faults[e, : len(table)] = table
    return state


def make_memory(
    widths: Mapping[str, int],
    *,
    num_replicas: int,
    request_rows: int,
    num_tenants: int = 1,
    session_rows: int = 1,
    copies: int = 1,
) -> Memory:
    """Return zeroed tables of the declared widths.

    Args:
        widths: Width of each table; 0 where none is declared.
        num_replicas: Rows of the replica table.
        request_rows: Rows of the request table, at least 1.
        num_tenants: Rows of the tenant table.
        session_rows: Rows of the session table.
        copies: Sets of tables in one: routers, then the schedulers', then the autoscaler's. The request table is one.
    """
    return Memory(
        shared=np.zeros(copies * widths.get("shared", 0)),
        replica=np.zeros((copies * num_replicas, widths.get("replica", 0))),
        tenant=np.zeros((copies * num_tenants, widths.get("tenant", 0))),
        session=np.zeros((copies * session_rows, widths.get("session", 0))),
        request=np.zeros((request_rows, widths.get("request", 0))),
        tag=np.zeros(request_rows),
    )
