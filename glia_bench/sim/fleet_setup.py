"""What a run of the full engine starts from: replicas that are there, phases of publication, faults, cold starts."""

from typing import TYPE_CHECKING

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S, ClusterSpec
from glia_bench.features import IntArray
from glia_bench.sim import columns as col
from glia_bench.sim.cold_start import cold_start_factors
from glia_bench.sim.hashes import scenario_draw
from glia_bench.sim.latency_tables import grid_offsets
from glia_bench.sim.prefix_cache import reset
from glia_bench.types import NEVER_PS

if TYPE_CHECKING:
    from glia_bench.sim.state import State

FAULT_FAIL, FAULT_SLOW = range(2)
"""Kinds of rows of `State.faults`: (time, kind, replica, repair time or factor in thousandths, end of the span)."""
US_PER_S = 1_000_000


def cold_tables(cluster: ClusterSpec) -> IntArray:
    """Return per pool: microseconds of provision and load, then 256 factors in millionths; int64, (num_pools, 258)."""
    rows = []
    for pool in cluster.pools:
        start = pool.cold_start
        times = [round(start.provision_s * US_PER_S), round(start.load_s * US_PER_S)]
        rows.append(np.concatenate([np.array(times, dtype=np.int64), cold_start_factors(start.sigma_percent)]))
    return np.array(rows, dtype=np.int64)


def fault_table(case: Case) -> IntArray:
    """Return a case's faults as rows in time order, those of one instant in the order given; int64, (rows, 5)."""
    rows = []
    for fault in case.faults:
        at, duration = round(fault.time_s * PS_PER_S), round(fault.duration_s * PS_PER_S)
        if fault.kind == "fail":
            rows.append((at, FAULT_FAIL, fault.replica, duration, 0))
        else:
            rows.append((at, FAULT_SLOW, fault.replica, round(fault.factor * 1000), at + duration))
    rows.sort(key=lambda row: row[0])
    return np.array(rows, dtype=np.int64).reshape(len(rows), 5)


def start_fleet(state: "State", e: int, case: Case) -> None:
    """Write the sizes of environment e's replicas, make those of the start ready and draw the phases."""
    cluster = case.cluster
    num, offsets = cluster.num_replicas, grid_offsets(cluster)
    ctl = state.ctl[e]
    ctl[col.C_READY] = 0
    state.lives[e] = NEVER_PS
    first = 0
    for k, pool in enumerate(cluster.pools):
        engine = pool.engine
        rules = (
            engine.spare_block * col.RULE_SPARE
            | engine.admit_after_preemption * col.RULE_ADMIT
            | (engine.order == "arrival") * col.RULE_BY_ARRIVAL
            | engine.chunked_prefill * col.RULE_CHUNKED
            | engine.prefill_first * col.RULE_PREFILL_FIRST
            | engine.reserve_output * col.RULE_RESERVE
            | engine.padded_budget * col.RULE_PADDED
        )
        sizes = {
            col.R_POOL: k,
            col.R_BUDGET: engine.token_budget,
            col.R_CAP: engine.max_running,
            col.R_WATERMARK: engine.watermark_blocks,
            col.R_BLOCKS: engine.num_blocks,
            col.R_GRID: offsets[k],
            col.R_FACTOR: 1000,
            col.R_FREE: engine.num_blocks,
            col.R_RULES: rules,
            col.R_PLAN_BUDGET: engine.token_budget,
            col.R_PLAN_CAP: engine.max_running,
        }
        for r in range(first, first + pool.largest):
            g = e * num + r
            for column, value in sizes.items():
                state.rep[g, column] = value
            is_there = r < first + pool.num_replicas
            state.view_int[col.V_STATE, g] = col.READY if is_there else col.GONE
            state.view_int[col.V_READY, g] = is_there
            if is_there:
                state.rep[g, col.R_LIFE] = ctl[col.C_LIVES]
                state.lives[e, ctl[col.C_LIVES]] = (r, 0, 0, NEVER_PS, NEVER_PS)
                ctl[col.C_LIVES] += 1
                ctl[col.C_READY] += 1
            if state.params[col.P_CACHE]:
                reset(state.cache, g, engine.num_blocks)
        first += pool.largest
    interval = int(state.params[col.P_INTERVAL])
    if interval:
        for r in range(num):
            state.rep[e * num + r, col.R_PUBLISH] = scenario_draw(case.scenario_seed, 1, r) % interval
