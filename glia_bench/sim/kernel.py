"""The event loop: arrivals, the held queues, hooks and engine steps, in the order of docs/simulator.md.

`advance` runs one environment until it ends or needs something from outside: room, a pause, or (with P_OUTSIDE) the
answer of a hook that is not compiled. A plain-Python policy, a Gymnasium step and a compiled policy so share one loop.
It is made twice. The plain one has one router, fresh metrics and the engine of batching.py; while nothing is held and
no event hook listens, its replicas do not see each other between arrivals, and each is stepped through to the next
arrival on its own. The full one has all the rest (steps.py, fleet.py) and takes everything in time order.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from glia_bench.features import Inflight, Memory, Replicas
from glia_bench.sim import columns as col
from glia_bench.sim import fleet, queues, steps
from glia_bench.sim.columns import INF
from glia_bench.sim.full_events import after_step, full_events
from glia_bench.sim.jit import inlined
from glia_bench.sim.lists import release
from glia_bench.sim.plain_events import plain_events
from glia_bench.sim.queue_columns import AssignBuffers, fill_columns, queue_view
from glia_bench.sim.replica import memory_of, show_ledger
from glia_bench.sim.requests import apply_answer, open_slot, sort_events
from glia_bench.sim.scans import (
    ARRIVAL,
    ASK_ADMIT,
    ASK_ASSIGN,
    ASK_RANK,
    ASK_ROUTE,
    BAD_ADMISSION,
    BAD_ANSWER,
    BAD_RANK,
    GO_ON,
    PAUSE,
    ROOM,
    TELL_DISPATCH,
    TELL_EVENTS,
    start_full_scan,
    start_plain_scan,
)
from glia_bench.sim.state import State
from glia_bench.sim.views import cluster_view, plain_cluster_view, request_view


@inlined
def whole_memory(s: State) -> Memory:
    """Return a design's tables where there is one copy of them."""
    m = s.memory
    return Memory(m.shared, m.replica, m.tenant, m.session, m.request, m.tag)


@inlined
def inflight_of(s: State, e: int) -> Inflight:
    """Return the in-flight rows that the last scan has filled."""
    k = s.ctl[e, col.C_DETAIL]
    rows = s.inflight
    times = s.inflight_s
    return Inflight(rows[0, :k], rows[1, :k], rows[2, :k], times[0, :k], times[1, :k])


def make_advance(is_full: bool) -> Callable[..., int]:
    """Return `advance` for the plain or the full engine."""
    start_scan = start_full_scan if is_full else start_plain_scan
    view_of = cluster_view if is_full else plain_cluster_view

    @inlined
    def advance(
        s: State,
        e: int,
        stop_arrivals: int,
        route: Any,
        rank: Any,
        assign: Any,
        on_dispatch: Any,
        on_first_token: Any,
        on_finish: Any,
        sched: Any,
        replicas: Replicas,
        buffers: AssignBuffers,
        nobody: Inflight,
        key: np.uint64,
        scenario_key: np.uint64,
    ) -> int:
        """Run environment e until it is done or needs something; returns why (the constants above)."""
        first = e * s.params[col.P_REPLICAS]
        routers = s.params[col.P_ROUTERS]
        outside = s.params[col.P_OUTSIDE] != 0
        has_assign = s.params[col.P_HAS_ASSIGN] != 0
        tag = s.memory.tag
        memory = whole_memory(s)
        inflight = nobody

        while True:
            if is_full and s.ctl[e, col.C_STATUS] != 0:
                return s.ctl[e, col.C_STATUS]

            # Event hooks of the last step.
            if s.ctl[e, col.C_EVENTS] > 0:
                if s.ctl[e, col.C_DELIVERED] == 0:
                    sort_events(s, e)
                    if outside:
                        s.ctl[e, col.C_DELIVERED] = 1
                        return TELL_EVENTS
                    for k in range(s.ctl[e, col.C_EVENTS]):
                        slot = s.events[e, k, 1]
                        where = s.slots[slot, col.S_REPLICA] - first
                        if is_full:
                            memory = memory_of(s, s.slots[slot, col.S_ROUTER])
                        if s.events[e, k, 0] == col.EVENT_FIRST:
                            on_first_token(request_view(s, tag, key, e, slot, 1), where, memory)
                        else:
                            generated = s.slots[slot, col.S_TOTAL] - s.slots[slot, col.S_PROMPT]
                            if is_full:
                                generated = s.slots[slot, col.S_GENERATED]
                            on_finish(request_view(s, tag, key, e, slot, generated), where, memory)
                for k in range(s.ctl[e, col.C_EVENTS]):
                    if s.events[e, k, 0] == col.EVENT_FINISH:
                        release(s, e, s.events[e, k, 1])
                s.ctl[e, col.C_EVENTS] = 0
                s.ctl[e, col.C_DELIVERED] = 0

            # An agent's answer about an admission.
            if is_full and s.ctl[e, col.C_SCHEDULING] >= 0:
                if s.ctl[e, col.C_ANSWERED] == 0:
                    return ASK_ADMIT
                s.ctl[e, col.C_ANSWERED] = 0
                g = s.ctl[e, col.C_SCHEDULING]
                begun = steps.agent_answered(s, e, g, s.ctl[e, col.C_ANSWER], s.ctl[e, col.C_NOW], sched)
                if begun < 0:
                    return BAD_ADMISSION
                if begun != steps.ASKING:
                    after_step(s, e, g, s.rep[g, col.R_OPEN] | begun)
                continue

            # A request comes back from a lost replica.
            if is_full and s.ctl[e, col.C_RETURNING] > 0 and s.ctl[e, col.C_ARRIVING] < 0:
                k = s.ctl[e, col.C_RETURNED]
                if k == s.ctl[e, col.C_RETURNING]:
                    s.ctl[e, col.C_RETURNING] = 0
                    s.ctl[e, col.C_RETURNED] = 0
                    continue
                s.ctl[e, col.C_RETURNED] = k + 1
                s.ctl[e, col.C_ARRIVING] = s.back[e, k]
                s.ctl[e, col.C_SLOT] = s.back[e, k]
                s.ctl[e, col.C_TURN] = 0
                s.reals[e, 0] = 0.0
                show_ledger(s, e, s.slots[s.back[e, k], col.S_ROUTER])
                if s.params[col.P_HAS_RANK]:
                    if s.params[col.P_INFLIGHT]:
                        fleet.fill_inflight(s, e, s.ctl[e, col.C_ROUTER])
                        inflight = inflight_of(s, e)
                    if outside:
                        return ASK_RANK
                    slot = s.back[e, k]
                    memory = memory_of(s, s.ctl[e, col.C_ROUTER])
                    request = request_view(s, tag, key, e, slot, s.slots[slot, col.S_GENERATED])
                    s.reals[e, 0] = rank(request, view_of(s, inflight, e), memory)

            # An arrival, now that its rank is known.
            if s.ctl[e, col.C_ARRIVING] >= 0:
                if not np.isfinite(s.reals[e, 0]):
                    return BAD_RANK
                slot = s.ctl[e, col.C_ARRIVING]
                q = e * routers + s.ctl[e, col.C_ROUTER]
                if s.ctl[e, col.C_HELD] == 0 and s.params[col.P_TICK] > 0:
                    tick_ps = s.params[col.P_TICK]
                    offset = s.ctl[e, col.C_OFFSET]
                    s.ctl[e, col.C_TICK] = ((s.ctl[e, col.C_NOW] + offset) // tick_ps + 1) * tick_ps - offset
                queues.insert(s.held_rank, s.held_slot, s.held_meta, s.slots, q, slot, s.reals[e, 0])
                s.ctl[e, col.C_HELD] += 1
                s.ctl[e, col.C_ARRIVING] = -1
                if is_full and (s.ctl[e, col.C_TURN] == 0 or s.ctl[e, col.C_READY] == 0):
                    s.held_meta[q, col.Q_PENDING] = 1
                    continue
                start_scan(s, e, s.ctl[e, col.C_ROUTER])

            # The scan in progress: one answer, or its end.
            if s.ctl[e, col.C_SCANNING]:
                answered = s.ctl[e, col.C_ANSWERED] != 0
                router = s.ctl[e, col.C_ROUTER]
                q = e * routers + router
                length = s.held_meta[q, col.Q_LENGTH]
                if is_full:
                    memory = memory_of(s, router)
                    if s.params[col.P_INFLIGHT]:
                        inflight = inflight_of(s, e)
                if has_assign and not answered and length > 0:
                    fill_columns(s, tag, buffers, e, key)
                    s.ctl[e, col.C_TOLD] = 0
                    s.ctl[e, col.C_ASKED] = length
                    s.ctl[e, col.C_ANSWERED] = 1
                    if outside:
                        return ASK_ASSIGN
                    cluster = view_of(s, inflight, e)
                    assign(queue_view(buffers, length), replicas, cluster, memory, buffers.out[:length])
                cursor = s.ctl[e, col.C_CURSOR]
                if (has_assign and s.ctl[e, col.C_TOLD] == s.ctl[e, col.C_ASKED]) or cursor >= length:
                    s.ctl[e, col.C_SCANNING] = 0
                    s.ctl[e, col.C_ANSWERED] = 0
                    continue
                slot = s.held_slot[q, s.held_meta[q, col.Q_HEAD] + cursor]
                if has_assign:
                    answer = buffers.out[s.ctl[e, col.C_TOLD]]
                    s.ctl[e, col.C_TOLD] += 1
                elif outside:
                    if not answered:
                        s.ctl[e, col.C_SLOT] = slot
                        if is_full and s.params[col.P_VIEW]:
                            fleet.prefix_hits(s, e, slot)
                        return ASK_ROUTE
                    s.ctl[e, col.C_ANSWERED] = 0
                    answer = s.ctl[e, col.C_ANSWER]
                else:
                    generated = 0
                    if is_full:
                        generated = s.slots[slot, col.S_GENERATED]
                        if s.params[col.P_VIEW]:
                            fleet.prefix_hits(s, e, slot)
                    request = request_view(s, tag, key, e, slot, generated)
                    answer = route(request, replicas, view_of(s, inflight, e), memory)
                left = apply_answer(s, e, cursor, answer)
                if left < 0:
                    return BAD_ANSWER
                if left == 0:
                    s.ctl[e, col.C_CURSOR] = cursor + 1
                    if s.params[col.P_SKIP] == 0 and not has_assign:
                        s.ctl[e, col.C_SCANNING] = 0
                elif answer >= 0:
                    if is_full:
                        steps.dispatch(s, e, first + answer, slot, s.ctl[e, col.C_NOW], sched)
                        if s.params[col.P_INFLIGHT]:
                            fleet.fill_inflight(s, e, router)
                    if s.params[col.P_HAS_DISPATCH]:
                        if outside:
                            s.ctl[e, col.C_REPLICA] = answer
                            return TELL_DISPATCH
                        generated = s.slots[slot, col.S_GENERATED] if is_full else 0
                        on_dispatch(request_view(s, tag, key, e, slot, generated), answer, memory)
                continue

            # Everything else, up to the next arrival.
            arrival = INF
            if s.ctl[e, col.C_NEXT] < s.ctl[e, col.C_REQUESTS]:
                arrival = s.arrival_ps[e, s.ctl[e, col.C_NEXT]]
            tick = s.ctl[e, col.C_TICK] if s.ctl[e, col.C_HELD] > 0 and s.params[col.P_TICK] > 0 else INF
            sample = s.ctl[e, col.C_SAMPLE] if s.params[col.P_SAMPLE] > 0 else INF
            if is_full:
                why = full_events(s, e, arrival, tick, sample, sched, scenario_key)
            else:
                why = plain_events(s, e, arrival, tick, sample)
            if why == GO_ON:
                continue
            if why != ARRIVAL:
                return why
            if s.ctl[e, col.C_NUMBER] >= stop_arrivals:
                return PAUSE
            row = s.ctl[e, col.C_NEXT]
            is_follow_up = False
            if is_full and s.ctl[e, col.C_DUE] > 0 and s.due[e, 0, 0] < arrival:
                is_follow_up = True
                arrival = s.due[e, 0, 0]
                row = s.due[e, 0, 1]
            before = s.ctl[e, col.C_NOW]
            s.ctl[e, col.C_NOW] = arrival
            if is_full and s.params[col.P_META] and needs_sessions(s, e, row):
                s.ctl[e, col.C_NOW] = before
                return ROOM
            slot = open_slot(s, e, row, scenario_key)
            if slot < 0:
                s.ctl[e, col.C_NOW] = before
                return ROOM
            s.ctl[e, col.C_LAST] = max(s.ctl[e, col.C_LAST], arrival)
            if is_follow_up:
                fleet.pop_due(s, e)
            else:
                s.ctl[e, col.C_NEXT] = row + 1
            s.ctl[e, col.C_ARRIVING] = slot
            s.ctl[e, col.C_SLOT] = slot
            s.ctl[e, col.C_TURN] = 1
            s.reals[e, 0] = 0.0
            if is_full:
                show_ledger(s, e, s.slots[slot, col.S_ROUTER])
            if s.params[col.P_HAS_RANK]:
                if is_full:
                    memory = memory_of(s, s.ctl[e, col.C_ROUTER])
                    if s.params[col.P_INFLIGHT]:
                        fleet.fill_inflight(s, e, s.ctl[e, col.C_ROUTER])
                        inflight = inflight_of(s, e)
                if outside:
                    return ASK_RANK
                request = request_view(s, tag, key, e, slot, 0)
                s.reals[e, 0] = rank(request, view_of(s, inflight, e), memory)

    return advance


@inlined
def needs_sessions(s: State, e: int, row: int) -> bool:
    """Return whether a row's session has no row of memory yet."""
    memory = s.memory
    rows = memory.session.shape[0] // (s.params[col.P_ROUTERS] + 2)
    return memory.session.shape[1] > 0 and s.meta[e, row, col.M_SESSION] >= rows


advance_plain = make_advance(False)
advance_full = make_advance(True)
