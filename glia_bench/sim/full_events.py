"""The event loop of the full engine, arrivals and hooks aside: steps and everything of fleet.py, in time order."""

import numpy as np

from glia_bench.sim import columns as col
from glia_bench.sim import fleet, steps
from glia_bench.sim.batching import FINISHED_ONE, PREEMPTED_ONE
from glia_bench.sim.columns import INF
from glia_bench.sim.jit import called, inlined
from glia_bench.sim.prefix_view import needs_room
from glia_bench.sim.replica import Scheduler
from glia_bench.sim.scans import (
    ARRIVAL,
    ASK_SCALE,
    DONE,
    GO_ON,
    HELD_TOO_LONG,
    ROOM,
    start_full_scan,
    take_full_sample,
)
from glia_bench.sim.state import State


@inlined
def after_step(s: State, e: int, g: int, happened: int) -> None:
    """Draw the consequences of a step of the full engine: scans, and a drained replica goes."""
    if ((happened & FINISHED_ONE) != 0 and s.params[col.P_ON_COMPLETION] != 0) or (
        (happened & PREEMPTED_ONE) != 0 and s.params[col.P_ON_RESTART] != 0
    ):
        fleet.want_scans(s, e)
    if s.view_int[col.V_STATE, g] == col.DRAINING and s.next_ps[g] == INF:
        fleet.leave(s, e, g)


@inlined
def full_step(s: State, e: int, g: int, now: int, sched: Scheduler) -> int:
    """Take a step of replica g."""
    s.ctl[e, col.C_NOW] = now
    s.ctl[e, col.C_LAST] = max(s.ctl[e, col.C_LAST], now)
    happened = 0
    if s.rep[g, col.R_BUSY]:
        happened = steps.end_iteration(s, e, g, now)
    s.rep[g, col.R_OPEN] = happened
    begun = steps.begin_iteration(s, e, g, now, sched)
    if begun != steps.ASKING:
        after_step(s, e, g, s.rep[g, col.R_OPEN] | begun)
    return GO_ON


@inlined
def pending_router(s: State, e: int) -> int:
    """Return the first router with a pending scan, -1 if there is none or no replica is ready."""
    routers = s.params[col.P_ROUTERS]
    if s.ctl[e, col.C_READY] > 0:
        for router in range(routers):
            if s.held_meta[e * routers + router, col.Q_PENDING]:
                if s.held_meta[e * routers + router, col.Q_LENGTH] > 0:
                    return router
                s.held_meta[e * routers + router, col.Q_PENDING] = 0
    return -1


@called
def full_events(s: State, e: int, arrival: int, tick: int, sample: int, sched: Scheduler, key: np.uint64) -> int:
    """Do what is next in the full engine, up to an arrival."""
    first = e * s.params[col.P_REPLICAS]
    end = first + s.params[col.P_REPLICAS]
    horizon = s.ctl[e, col.C_HORIZON]
    g = first
    life = first
    publisher = first
    for other in range(first + 1, end):
        if s.next_ps[other] < s.next_ps[g]:
            g = other
        if s.rep[other, col.R_LIFE_PS] < s.rep[life, col.R_LIFE_PS]:
            life = other
        if s.rep[other, col.R_PUBLISH] < s.rep[publisher, col.R_PUBLISH]:
            publisher = other
    step_ps = s.next_ps[g]
    fault_ps = s.faults[e, s.ctl[e, col.C_FAULT], 0] if s.ctl[e, col.C_FAULT] < s.faults.shape[1] else INF
    life_ps = s.rep[life, col.R_LIFE_PS]
    sooner = min(step_ps, min(fault_ps, life_ps))
    if sooner > s.ctl[e, col.C_NOW]:
        router = pending_router(s, e)
        if router >= 0:
            start_full_scan(s, e, router)
            return GO_ON
    publish_ps = s.rep[publisher, col.R_PUBLISH]
    second_ps = s.ctl[e, col.C_SECOND] if s.params[col.P_WINDOW] else INF
    scale_ps = s.ctl[e, col.C_SCALE] if s.params[col.P_SCALE] > 0 else INF
    due_ps = s.due[e, 0, 0] if s.ctl[e, col.C_DUE] > 0 else INF
    other_ps = min(min(min(sample, publish_ps), min(second_ps, scale_ps)), min(tick, min(arrival, due_ps)))
    time = min(sooner, other_ps)
    held = s.ctl[e, col.C_HELD] > 0
    if step_ps == INF:
        drained = not held and arrival == INF and due_ps == INF and s.params[col.P_ELASTIC] == 0
        if drained and time > s.ctl[e, col.C_LAST]:
            return DONE
        if held and s.ctl[e, col.C_READY] > 0:
            if s.ctl[e, col.C_IDLE_SINCE] < 0:
                s.ctl[e, col.C_IDLE_SINCE] = s.ctl[e, col.C_NOW]
            too_long = s.ctl[e, col.C_IDLE_SINCE] + s.params[col.P_IDLE_LIMIT]
            if time > too_long and too_long <= horizon:
                s.ctl[e, col.C_NOW] = too_long
                s.ctl[e, col.C_LAST] = too_long
                return HELD_TOO_LONG
        else:
            s.ctl[e, col.C_IDLE_SINCE] = -1
    if time > horizon:
        s.ctl[e, col.C_NOW] = horizon
        s.ctl[e, col.C_LAST] = horizon
        return DONE
    if sooner == time and needs_room(s.seen, e, 3 * s.cache.keys.shape[1]):
        return ROOM
    if step_ps == time:
        if s.params[col.P_LOG] != 0 and s.ctl[e, col.C_LOG] == s.log.shape[0]:
            return ROOM
        return full_step(s, e, g, time, sched)
    if time == arrival and sooner > time and min(min(sample, publish_ps), min(second_ps, min(scale_ps, tick))) > time:
        return ARRIVAL
    s.ctl[e, col.C_NOW] = time
    if fault_ps == time:
        fleet.apply_fault(s, e, key)
    elif life_ps == time:
        fleet.next_life(s, e, life, key)
    elif sample == time:
        take_full_sample(s, e)
    elif publish_ps == time:
        fleet.publish(s, e, publisher)
    elif second_ps == time:
        fleet.close_second(s, e)
    elif scale_ps == time:
        s.ctl[e, col.C_SCALE] += s.params[col.P_SCALE]
        return ASK_SCALE
    elif tick == time:
        s.ctl[e, col.C_TICK] = tick + s.params[col.P_TICK]
        fleet.want_scans(s, e)
    else:
        return ARRIVAL
    return GO_ON
