"""Making room in a single run in progress: more live requests, more rows of sessions, of the log, of lives."""

from typing import Any

import numpy as np

from glia_bench.case import Case
from glia_bench.features import IntArray
from glia_bench.sim import columns as col
from glia_bench.sim import prefix_view
from glia_bench.sim.case_columns import has_meta, meta_columns
from glia_bench.sim.state import Needs, State, make_state, start_run


def single_run(case: Case, *, is_full: bool = False, needs: Needs | None = None) -> State:
    """Return the arrays of one run of a case, ready to start; the trace's own columns are used, not copied."""
    trace, num = case.trace, len(case.trace)
    state = make_state(
        case.cluster, num_envs=1, num_requests=0, capacity=col.FIRST_CAPACITY, is_full=is_full, needs=needs
    )
    columns: dict[str, Any] = {name: _writable(getattr(trace, name))[None] for name in col.TRACE_COLUMNS}
    state = state._replace(records=np.empty((num, len(col.RECORD_COLUMNS)), dtype=np.int64), **columns)
    state.params[col.P_META] = has_meta(case)
    if state.params[col.P_META]:  # what the plain engine shows of it too: tenants, classes, predictions
        state = state._replace(meta=meta_columns(case)[None])
    if is_full:
        zeros = np.zeros((1, num), dtype=np.int64)
        state = state._replace(
            extra=np.zeros((num, len(col.EXTRA_COLUMNS)), dtype=np.int64),
            meta=meta_columns(case)[None],
            think_ps=zeros if trace.think_ps is None else _writable(trace.think_ps)[None],
            next_row=trace.next_row[None],
            came=np.zeros((1, num), dtype=np.int64),
            ended=np.zeros((1, num), dtype=np.int64),
            due=np.zeros((1, len(trace) - trace.num_clock + 1, 2), dtype=np.int64),
            block_start=np.zeros((1, num + 1), dtype=np.int64),
        )
        if trace.block_start is not None and trace.block_ids is not None:
            ids = trace.block_ids if len(trace.block_ids) else np.zeros(1, dtype=np.int64)
            state = state._replace(
                block_start=_writable(trace.block_start)[None],
                block_ids=_writable(ids)[None],
                block_nodes=np.zeros((1, len(ids)), dtype=np.int32),
            )
    return start_run(state, 0, case)


def _writable(column: IntArray) -> IntArray:
    return np.require(column, requirements=["C", "W"])


def grow(state: State) -> State:
    """Return the arrays of a single run with twice the live slots."""
    old = state.free_slots.shape[1]
    new = 2 * old
    slots = np.zeros((new, col.SLOT_WIDTH), dtype=np.int64)
    slots[:old] = state.slots
    slots[old:, col.S_ROW] = -1
    names = ["free_slots", "free_rows", "held_rank", "held_slot"]
    if state.params[col.P_FULL]:
        names += ["wait_rank", "wait_slot", "back", "slot_rank", "events"]
    if state.params[col.P_INFLIGHT]:
        names += ["inflight", "inflight_s"]
    wider: dict[str, Any] = {}
    for name in names:
        array = getattr(state, name)
        axis = 0 if name == "slot_rank" else 1
        wider[name] = np.concatenate([array, np.zeros_like(array)], axis=axis)
    wider["free_slots"][0, :old] = np.arange(new - 1, old - 1, -1)  # all the old ones are in use
    state.ctl[0, col.C_FREE_TOP] = old
    memory = state.memory
    rows = new if state.params[col.P_REQUEST_MEMORY] else 1
    request = np.zeros((rows, memory.request.shape[1]))
    request[: len(memory.request)] = memory.request
    tag = np.zeros(rows)
    tag[: len(memory.tag)] = memory.tag
    return state._replace(slots=slots, memory=memory._replace(request=request, tag=tag), **wider)


def with_room(state: State) -> State:
    """Return the arrays of a single run with more of what its kernel has run out of."""
    params, ctl = state.params, state.ctl[0]
    margin = 2 * state.cache.keys.shape[1]
    if ctl[col.C_FREE_TOP] == 0:
        return grow(state)
    if params[col.P_LOG] and ctl[col.C_LOG] == len(state.log):
        return grow_log(state)
    if state.seen.params[prefix_view.P_MODE] and prefix_view.needs_room(state.seen, 0, margin):
        return state._replace(seen=prefix_view.grown(state.seen, 2 * margin))
    return grow_sessions(state)


def grow_sessions(state: State) -> State:
    """Double the rows of every copy of the session table."""
    memory, copies = state.memory, int(state.params[col.P_ROUTERS]) + 2
    old = memory.session.reshape(copies, -1, memory.session.shape[1])
    table = np.concatenate([old, np.zeros_like(old)], axis=1)
    return state._replace(memory=memory._replace(session=table.reshape(-1, memory.session.shape[1])))


def grow_log(state: State) -> State:
    """Double the log."""
    return state._replace(log=np.concatenate([state.log, np.zeros_like(state.log)]))


def grow_lives(state: State) -> State:
    """Double the room for replica lives."""
    return state._replace(lives=np.concatenate([state.lives, np.full_like(state.lives, -1)], axis=1))
