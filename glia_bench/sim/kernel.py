"""The event loop: arrivals, the held queue, hooks and engine steps, in the order of docs/simulator.md.

`advance` runs one environment until it ends or needs something from outside: room, a pause, or (with P_OUTSIDE) the
answer of a hook that is not compiled. A plain-Python policy, a Gymnasium step and a compiled policy so share one loop.
While nothing is held and no event hook listens, replicas do not see each other between arrivals, and each is stepped
through to the next arrival on its own; otherwise steps are taken in time order.
"""

from typing import Any

import numpy as np

from glia_bench.features import Memory, Perf, Replicas
from glia_bench.sim import held_queue
from glia_bench.sim import state as st
from glia_bench.sim.batching import FINISHED_ONE, PREEMPTED_ONE, begin_iteration, end_iteration
from glia_bench.sim.jit import inlined
from glia_bench.sim.lists import release
from glia_bench.sim.queue_columns import AssignBuffers, fill_columns, queue_view
from glia_bench.sim.requests import apply_answer, open_slot, sort_events
from glia_bench.sim.state import INF, State
from glia_bench.sim.stretch import refresh_lazy_fields
from glia_bench.sim.views import cluster_view, request_view

# Why `advance` returned.
DONE, PAUSE, ROOM = 0, 1, 2
ASK_ROUTE, ASK_RANK, ASK_ASSIGN, TELL_DISPATCH, TELL_EVENTS = 10, 11, 12, 13, 14
BAD_ANSWER, BAD_RANK, HELD_TOO_LONG = 20, 21, 22


@inlined
def start_scan(s: State, e: int) -> None:
    """Begin a scan of the held queue now."""
    s.ctl[e, st.C_PENDING] = 0
    s.ctl[e, st.C_SCANNING] = 1
    s.ctl[e, st.C_CURSOR] = 0
    if s.params[st.P_LAZY_FIELDS]:
        replicas = s.params[st.P_REPLICAS]
        for g in range(e * replicas, (e + 1) * replicas):
            refresh_lazy_fields(s, g, s.ctl[e, st.C_NOW])


@inlined
def take_sample(s: State, e: int) -> None:
    """Write the sample that is due now."""
    replicas = s.params[st.P_REPLICAS]
    k = s.ctl[e, st.C_SAMPLE] // s.params[st.P_SAMPLE]
    s.samples[k, 0] = s.ctl[e, st.C_QLEN]
    for r in range(replicas):
        g = e * replicas + r
        refresh_lazy_fields(s, g, s.ctl[e, st.C_NOW])
        s.samples[k, 1 + r] = s.view_int[st.V_WAITING, g]
        s.samples[k, 1 + replicas + r] = s.view_int[st.V_RUNNING, g]
        s.samples[k, 1 + 2 * replicas + r] = s.view_int[st.V_ALLOCATED, g]
    s.ctl[e, st.C_SAMPLE] += s.params[st.P_SAMPLE]


@inlined
def run_steps(s: State, e: int, limit: int, held: bool, has_events: bool) -> bool:
    """Take the engine steps that are due by `limit`.

    In time order while requests are held or hooks listen, stopping after one step if hooks listen or when a scan is
    due; otherwise replica by replica. Returns whether it stopped for the hooks.
    """
    first = e * s.params[st.P_REPLICAS]
    end = first + s.params[st.P_REPLICAS]
    in_order = held or has_events
    g = first
    while True:
        if in_order:
            g = first
            for other in range(first + 1, end):
                if s.next_ps[other] < s.next_ps[g]:
                    g = other
            if s.ctl[e, st.C_PENDING] and s.next_ps[g] > s.ctl[e, st.C_NOW]:
                return False
        else:
            while (
                g + 4 <= end
                and min(min(s.next_ps[g], s.next_ps[g + 1]), min(s.next_ps[g + 2], s.next_ps[g + 3])) > limit
            ):
                g += 4
            while g < end and s.next_ps[g] > limit:
                g += 1
            if g == end:
                return False
        now = s.next_ps[g]
        if now > limit:
            return False
        happened = 0
        if s.rep[g, st.R_BUSY]:
            happened = end_iteration(s, e, g, now)
        happened |= begin_iteration(s, g, now)
        s.ctl[e, st.C_LAST] = max(s.ctl[e, st.C_LAST], now)
        if in_order:
            s.ctl[e, st.C_NOW] = now
            wanted = ((happened & FINISHED_ONE) != 0 and s.params[st.P_ON_COMPLETION] != 0) or (
                (happened & PREEMPTED_ONE) != 0 and s.params[st.P_ON_RESTART] != 0
            )
            if wanted and held:
                s.ctl[e, st.C_PENDING] = 1
            if has_events:
                return True


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
    replicas: Replicas,
    perf: Perf,
    memory: Memory,
    buffers: AssignBuffers,
    key: np.uint64,
) -> int:
    """Run environment e until it is done or needs something; returns why (the constants above)."""
    tag = memory.tag
    first = e * s.params[st.P_REPLICAS]
    end = first + s.params[st.P_REPLICAS]
    outside = s.params[st.P_OUTSIDE] != 0
    has_assign = s.params[st.P_HAS_ASSIGN] != 0
    has_events = s.params[st.P_HAS_FIRST] != 0 or s.params[st.P_HAS_FINISH] != 0
    horizon = s.ctl[e, st.C_HORIZON]

    while True:
        # Event hooks of the last step.
        if s.ctl[e, st.C_EVENTS] > 0:
            if s.ctl[e, st.C_DELIVERED] == 0:
                sort_events(s, e)
                if outside:
                    s.ctl[e, st.C_DELIVERED] = 1
                    return TELL_EVENTS
                for k in range(s.ctl[e, st.C_EVENTS]):
                    slot = s.events[e, k, 1]
                    where = s.slots[slot, st.S_REPLICA] - first
                    if s.events[e, k, 0] == st.EVENT_FIRST:
                        on_first_token(request_view(s, tag, key, e, slot, 1), where, memory)
                    else:
                        generated = s.slots[slot, st.S_TOTAL] - s.slots[slot, st.S_PROMPT]
                        on_finish(request_view(s, tag, key, e, slot, generated), where, memory)
            for k in range(s.ctl[e, st.C_EVENTS]):
                if s.events[e, k, 0] == st.EVENT_FINISH:
                    release(s, e, s.events[e, k, 1])
            s.ctl[e, st.C_EVENTS] = 0
            s.ctl[e, st.C_DELIVERED] = 0

        # An arrival, now that its rank is known.
        if s.ctl[e, st.C_ARRIVING] >= 0:
            if not np.isfinite(s.reals[e, 0]):
                return BAD_RANK
            held_queue.insert(s, e, s.ctl[e, st.C_ARRIVING], s.reals[e, 0])
            s.ctl[e, st.C_ARRIVING] = -1
            start_scan(s, e)

        # The scan in progress: one answer, or its end.
        if s.ctl[e, st.C_SCANNING]:
            answered = s.ctl[e, st.C_ANSWERED] != 0
            length = s.ctl[e, st.C_QLEN]
            if has_assign and not answered:
                fill_columns(s, tag, buffers, e, key)
                s.ctl[e, st.C_TOLD] = 0
                s.ctl[e, st.C_ASKED] = length
                s.ctl[e, st.C_ANSWERED] = 1
                if outside:
                    return ASK_ASSIGN
                cluster = cluster_view(s, perf, e, length)
                assign(queue_view(buffers, length), replicas, cluster, memory, buffers.out[:length])
            cursor = s.ctl[e, st.C_CURSOR]
            if (has_assign and s.ctl[e, st.C_TOLD] == s.ctl[e, st.C_ASKED]) or cursor >= length:
                s.ctl[e, st.C_SCANNING] = 0
                s.ctl[e, st.C_ANSWERED] = 0
                continue
            slot = s.queue_slot[e, s.ctl[e, st.C_QHEAD] + cursor]
            if has_assign:
                answer = buffers.out[s.ctl[e, st.C_TOLD]]
                s.ctl[e, st.C_TOLD] += 1
            elif outside:
                if not answered:
                    s.ctl[e, st.C_SLOT] = slot
                    return ASK_ROUTE
                s.ctl[e, st.C_ANSWERED] = 0
                answer = s.ctl[e, st.C_ANSWER]
            else:
                request = request_view(s, tag, key, e, slot, 0)
                answer = route(request, replicas, cluster_view(s, perf, e, length), memory)
            left = apply_answer(s, e, cursor, answer)
            if left < 0:
                return BAD_ANSWER
            if left == 0:
                s.ctl[e, st.C_CURSOR] = cursor + 1
                if s.params[st.P_SKIP] == 0 and not has_assign:
                    s.ctl[e, st.C_SCANNING] = 0
            elif answer >= 0 and s.params[st.P_HAS_DISPATCH]:
                if outside:
                    s.ctl[e, st.C_REPLICA] = answer
                    return TELL_DISPATCH
                on_dispatch(request_view(s, tag, key, e, slot, 0), answer, memory)
            continue

        # Engine steps up to the next event from outside the engines.
        arrival = INF
        if s.ctl[e, st.C_NEXT] < s.ctl[e, st.C_REQUESTS]:
            arrival = s.arrival_ps[e, s.ctl[e, st.C_NEXT]]
        held = s.ctl[e, st.C_QLEN] > 0
        tick = s.ctl[e, st.C_TICK] if held and s.params[st.P_TICK] > 0 else INF
        sample = s.ctl[e, st.C_SAMPLE] if s.params[st.P_SAMPLE] > 0 else INF
        limit = min(min(arrival, tick), min(sample, horizon))
        if run_steps(s, e, limit, held, has_events):
            continue
        if s.ctl[e, st.C_PENDING]:
            start_scan(s, e)
            continue

        # Nothing of the engines is due by `limit`.
        idle = held or arrival == INF
        if idle:
            for g in range(first, end):
                if s.next_ps[g] != INF:
                    idle = False
        if idle and not held and arrival == INF and sample > s.ctl[e, st.C_LAST]:
            return DONE
        if idle and held:
            if s.ctl[e, st.C_IDLE_SINCE] < 0:
                s.ctl[e, st.C_IDLE_SINCE] = s.ctl[e, st.C_NOW]
            too_long = s.ctl[e, st.C_IDLE_SINCE] + s.params[st.P_IDLE_LIMIT]
            if min(min(arrival, tick), sample) > too_long and too_long <= horizon:
                s.ctl[e, st.C_NOW] = too_long
                s.ctl[e, st.C_LAST] = too_long
                return HELD_TOO_LONG
        if min(min(arrival, tick), sample) > horizon:
            s.ctl[e, st.C_NOW] = horizon
            s.ctl[e, st.C_LAST] = horizon
            return DONE
        if sample == limit:
            s.ctl[e, st.C_NOW] = sample
            take_sample(s, e)
            continue
        if tick == limit:
            s.ctl[e, st.C_NOW] = tick
            s.ctl[e, st.C_TICK] = tick + s.params[st.P_TICK]
            s.ctl[e, st.C_PENDING] = 1
            continue
        if s.ctl[e, st.C_NEXT] >= stop_arrivals:
            return PAUSE
        s.ctl[e, st.C_NOW] = arrival
        s.ctl[e, st.C_LAST] = max(s.ctl[e, st.C_LAST], arrival)
        slot = open_slot(s, memory, e)
        if slot < 0:
            return ROOM
        if not held and s.params[st.P_TICK] > 0:
            tick_ps = s.params[st.P_TICK]
            offset = s.ctl[e, st.C_OFFSET]
            s.ctl[e, st.C_TICK] = ((arrival + offset) // tick_ps + 1) * tick_ps - offset
        s.ctl[e, st.C_ARRIVING] = slot
        s.ctl[e, st.C_SLOT] = slot
        s.reals[e, 0] = 0.0
        if s.params[st.P_HAS_RANK]:
            if outside:
                return ASK_RANK
            cluster = cluster_view(s, perf, e, s.ctl[e, st.C_QLEN] + 1)
            s.reals[e, 0] = rank(request_view(s, tag, key, e, slot, 0), cluster, memory)
