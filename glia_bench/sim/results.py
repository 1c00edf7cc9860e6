"""What leaves a run: records of all requests, samples, the log, lifetimes, and the words for its end."""

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S
from glia_bench.features import IntArray
from glia_bench.policy import Policy
from glia_bench.sim import asides, messages, replica, scans
from glia_bench.sim import columns as col
from glia_bench.sim.by_reference import reference_to
from glia_bench.sim.launching import STALL_LIMIT_PS
from glia_bench.sim.state import State
from glia_bench.types import NEVER_PS, UNFINISHED, Iterations, Lifetimes, Records, RunResult, Samples, Status


def failure(state: State, case: Case, policy: Policy, why: int) -> tuple[Status, str]:
    """Return status and message for a kernel's last word."""
    if why == scans.DONE:
        return "ok", ""
    ctl = state.ctl[0]
    value = float(state.reals[0, 0])
    number = 0 if why == replica.BAD_PLAN else int(state.slots[ctl[col.C_SLOT], col.S_NUMBER])
    subject = f"request {number}"
    where = int(ctl[col.C_REPLICA])
    pool = case.cluster.pools[case.cluster.pool_of[where]]
    limits = (pool.engine.token_budget, pool.engine.max_running)
    if why == scans.BAD_ANSWER:
        hook = "assign" if "assign" in policy.routing else "route"
        text = messages.bad_route(hook, number, int(ctl[col.C_ANSWER]), case.cluster.num_replicas)
    elif why == scans.BAD_RANK or why == replica.BAD_SCHEDULER_RANK:
        text = messages.bad_rank("rank", subject, value)
    elif why == replica.BAD_EVICT_RANK:
        text = messages.bad_rank("evict_rank", subject, value)
    elif why == replica.BAD_TOKENS:
        text = messages.bad_tokens(number, int(value))
    elif why == replica.BAD_PLAN:
        text = messages.bad_plan(where, (int(value), int(ctl[col.C_SLOT])), *limits)
    elif why == replica.STALLED:
        counts = (int(state.view_int[row, where]) for row in (col.V_WAITING, col.V_RUNNING))
        text = messages.stalled(where, STALL_LIMIT_PS / PS_PER_S, *counts)
    else:
        text = messages.held_too_long(case.cluster.idle_hold_limit_s, int(ctl[col.C_HELD]), _head_number(state))
    return "bad_decision", text


def _head_number(state: State) -> int:
    """Return the number of the request at the head of the first router's queue that holds any."""
    for router in range(len(state.held_meta)):
        if state.held_meta[router, col.Q_LENGTH]:
            slot = state.held_slot[router, state.held_meta[router, col.Q_HEAD]]
            return int(state.slots[slot, col.S_NUMBER])
    return -1


def records_of(state: State) -> Records:
    """Return every request's record, live ones as unfinished."""
    records = state.records
    slots = state.slots[state.slots[:, col.S_ROW] >= 0]
    rows = slots[:, col.S_ROW]
    live = records[rows, 0] == UNFINISHED
    slots, rows = slots[live], rows[live]
    columns = (col.S_REPLICA, col.S_RESTARTS, col.S_DISPATCHED, col.S_SCHEDULED, col.S_FIRST)
    for target, source in enumerate(columns, start=1):
        records[rows, target] = slots[:, source]
    if state.params[col.P_FULL]:
        state.extra[rows, 1] = np.maximum(slots[:, col.S_CACHED], 0)
    return record_columns(state)


def record_columns(state: State) -> Records:
    """Return the records as they stand: those of live requests are not written yet."""
    return Records(**{name: state.records[:, i] for i, name in enumerate(col.RECORD_COLUMNS)})


def _samples(state: State, num_replicas: int) -> Samples | None:
    """Return the samples taken, if any were asked for."""
    params = state.params
    if not params[col.P_SAMPLE]:
        return None
    n = num_replicas
    table: IntArray = state.samples[: int(state.ctl[0, col.C_SAMPLE] // params[col.P_SAMPLE])]
    return Samples(
        interval_s=int(params[col.P_SAMPLE]) / PS_PER_S,
        held=table[:, 0].copy(),
        waiting=table[:, 1 : 1 + n].copy(),
        running=table[:, 1 + n : 1 + 2 * n].copy(),
        allocated_blocks=table[:, 1 + 2 * n :].copy(),
    )


def _iterations(state: State, end_ps: int) -> Iterations | None:
    """Return the log, if it was asked for; iterations that outlast the run keep their own end."""
    if not state.params[col.P_LOG]:
        return None
    table = state.log[: state.ctl[0, col.C_LOG]].copy()
    reference = reference_to(state)
    for g in np.flatnonzero(state.rep[:, col.R_LOG] >= 0).tolist():
        asides.catch_up(reference, 0, g, end_ps)
        row = state.rep[g, col.R_LOG]
        is_last = state.rep[g, col.R_SEG] == 1
        table[row, 2] = (
            state.next_ps[g] if is_last else state.rep[g, col.R_START] + asides.first_iteration_ps(reference, g)
        )
        table[row, 3] = state.log[row, 3] + 1
    return Iterations(**{name: table[:, i] for i, name in enumerate(col.LOG_COLUMNS)})


def _arrivals(state: State, case: Case) -> IntArray:
    """Return when requests arrived; follow-up turns that never did count from the last turn of theirs that did."""
    trace = case.trace
    if not state.params[col.P_FULL]:
        return trace.arrival_ps
    arrived: IntArray = state.extra[:, 0].copy()
    if trace.num_clock < len(trace) and trace.turn is not None:
        following = trace.next_row
        for row in np.argsort(trace.turn, kind="stable"):
            after = following[row]
            if after >= 0 and not state.came[0, after]:
                arrived[after] = arrived[row]
    return arrived


def lifetimes_of(state: State, num_replicas: int) -> Lifetimes:
    """Return the lives of all replicas."""
    if state.params[col.P_FULL]:
        table = state.lives[0, : state.ctl[0, col.C_LIVES]].copy()
    else:
        table = np.array([(r, 0, 0, NEVER_PS, NEVER_PS) for r in range(num_replicas)], dtype=np.int64)
    return Lifetimes(**{name: table[:, i] for i, name in enumerate(col.LIFE_COLUMNS)})


def end_of(ctl: IntArray, status: Status) -> int:
    """Return the end of a run: the last event that counts, or where it broke off; ps."""
    return int(ctl[col.C_LAST]) if status == "ok" else int(max(ctl[col.C_LAST], ctl[col.C_NOW]))


def gpu_seconds(lifetimes: Lifetimes, case: Case, end_ps: int) -> float:
    """Return the GPU time of all lives; who is left is billed to `end_ps`, in an elastic cluster to the horizon."""
    last = case.horizon_ps if case.cluster.is_elastic else end_ps
    total = 0
    for r, requested, gone in zip(lifetimes.replica, lifetimes.requested_ps, lifetimes.gone_ps, strict=True):
        until = last if gone == NEVER_PS else int(gone)
        total += (until - int(requested)) * case.cluster.pools[case.cluster.pool_of[r]].gpus_per_replica
    return float(total) * 1e-12


def result(state: State, case: Case, status: Status, message: str, *, tier: str, notes: tuple[str, ...]) -> RunResult:
    """Return what a run gives back."""
    ctl = state.ctl[0]
    end_ps = end_of(ctl, status)
    lifetimes = lifetimes_of(state, case.cluster.num_replicas)
    num = len(case.trace)
    records = records_of(state)
    return RunResult(
        status=status,
        message=message,
        records=records,
        end_ps=end_ps,
        num_decisions=int(ctl[col.C_DECISIONS]),
        decision_hash=int(state.hash[0]),
        tier=tier,
        arrival_ps=_arrivals(state, case),
        cached_tokens=state.extra[:, 1].copy() if state.params[col.P_FULL] else np.zeros(num, dtype=np.int64),
        gpu_seconds=gpu_seconds(lifetimes, case, end_ps),
        lifetimes=lifetimes,
        samples=_samples(state, case.cluster.num_replicas),
        iterations=_iterations(state, end_ps),
        notes=notes,
    )
