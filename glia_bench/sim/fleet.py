"""What happens beside the engines: replicas come and go, faults, publications, the window's seconds, patience."""

import numpy as np

from glia_bench.sim import columns as col
from glia_bench.sim import prefix_cache, prefix_view, queues
from glia_bench.sim.fleet_setup import FAULT_FAIL
from glia_bench.sim.hashes import draw
from glia_bench.sim.jit import called, inlined
from glia_bench.sim.lists import release
from glia_bench.sim.replica import (
    catch_up,
    charge,
    forget_dispatch,
    leave_running,
    leave_waiting,
    lose,
    show_ledger,
)
from glia_bench.sim.scheduling import has_expired
from glia_bench.sim.state import State
from glia_bench.sim.steps import cut_short
from glia_bench.types import EXPIRED


@inlined
def want_scans(s: State, e: int) -> None:
    """Let every router of environment e scan that holds something."""
    for q in range(e * s.params[col.P_ROUTERS], (e + 1) * s.params[col.P_ROUTERS]):
        if s.held_meta[q, col.Q_LENGTH] > 0:
            s.held_meta[q, col.Q_PENDING] = 1


@called
def become(s: State, e: int, g: int, state: int) -> None:
    """Put replica g into a state and its life's row up to date."""
    was_ready = s.view_int[col.V_READY, g]
    now = s.ctl[e, col.C_NOW]
    s.view_int[col.V_STATE, g] = state
    s.view_int[col.V_READY, g] = int(state == col.READY)
    s.ctl[e, col.C_READY] += s.view_int[col.V_READY, g] - was_ready
    life = s.rep[g, col.R_LIFE]
    if state == col.READY and s.lives[e, life, 2] < 0:
        s.lives[e, life, 2] = now
    if state == col.DRAINING:
        s.lives[e, life, 3] = now
    if state == col.GONE:
        s.lives[e, life, 4] = now
        s.rep[g, col.R_LIFE_PS] = col.INF


@inlined
def capacity_changed(s: State, e: int) -> None:
    """Let routers scan because a replica became ready or was lost, if that is a trigger."""
    if s.params[col.P_ON_CAPACITY]:
        want_scans(s, e)


@inlined
def cold_factor(s: State, e: int, g: int, key: np.uint64) -> int:
    """Draw the factor of a cold start, in millionths."""
    number = s.ctl[e, col.C_COLD]
    s.ctl[e, col.C_COLD] = number + 1
    return s.cold[s.rep[g, col.R_POOL], 2 + np.int64(draw(key, 3, number) >> np.uint64(56))]


@inlined
def cold_span(s: State, g: int, part: int, factor: int) -> int:
    """Return the picoseconds of a cold start's provision (0) or load (1) times a factor."""
    return s.cold[s.rep[g, col.R_POOL], part] * factor // 1_000_000 * 1_000_000


@called
def empty_replica(s: State, e: int, g: int, now: int) -> None:
    """Take all requests from replica g; they wait in `back` for their routers, sorted by number."""
    catch_up(s, e, g, now)
    if s.rep[g, col.R_LOG] >= 0:
        s.log[s.rep[g, col.R_LOG], 2] = now
        s.log[s.rep[g, col.R_LOG], 3] += 1
        s.rep[g, col.R_LOG] = -1
    count = s.ctl[e, col.C_RETURNING]
    first = count
    while s.view_int[col.V_RUNNING, g] > 0:
        k = s.view_int[col.V_RUNNING, g] - 1
        slot = s.run[g, k]
        leave_running(s, g, k)
        forget_dispatch(s, e, g, slot)
        lose(s, e, g, slot, now)
        s.back[e, count] = slot
        count += 1
    while s.view_int[col.V_WAITING, g] > 0:
        slot = leave_waiting(s, e, g, 0)
        forget_dispatch(s, e, g, slot)
        s.slots[slot, col.S_RESTARTS] += 1
        s.back[e, count] = slot
        count += 1
    for k in range(first + 1, count):
        slot = s.back[e, k]
        i = k
        while i > first and s.slots[s.back[e, i - 1], col.S_NUMBER] > s.slots[slot, col.S_NUMBER]:
            s.back[e, i] = s.back[e, i - 1]
            i -= 1
        s.back[e, i] = slot
    s.ctl[e, col.C_RETURNING] = count
    s.rep[g, col.R_BUSY] = 0
    s.rep[g, col.R_QUIET] = 0
    s.rep[g, col.R_CHUNKS] = 0
    s.rep[g, col.R_STALLED] = -1
    s.next_ps[g] = col.INF
    s.view_int[col.V_ALLOCATED, g] = 0
    forget_cache(s, e, g)


@called
def forget_cache(s: State, e: int, g: int) -> None:
    """Empty replica g's cache and let routers forget it."""
    s.rep[g, col.R_FREE] = s.rep[g, col.R_BLOCKS]
    if s.params[col.P_CACHE]:
        prefix_cache.reset(s.cache, g, s.rep[g, col.R_BLOCKS])
        prefix_view.forget(s.seen, e, g - e * s.params[col.P_REPLICAS])


@inlined
def leave(s: State, e: int, g: int) -> None:
    """Let a draining replica without requests go."""
    become(s, e, g, col.GONE)
    forget_cache(s, e, g)


@called
def apply_fault(s: State, e: int, key: np.uint64) -> None:
    """Let the next fault befall its replica."""
    row = s.ctl[e, col.C_FAULT]
    s.ctl[e, col.C_FAULT] = row + 1
    now = s.ctl[e, col.C_NOW]
    g = e * s.params[col.P_REPLICAS] + s.faults[e, row, 2]
    state = s.view_int[col.V_STATE, g]
    if s.faults[e, row, 1] != FAULT_FAIL:
        cut_short(s, e, g, now)
        s.rep[g, col.R_FACTOR] = s.faults[e, row, 3]
        s.rep[g, col.R_SLOW] = s.faults[e, row, 4]
    elif state == col.READY:
        empty_replica(s, e, g, now)
        become(s, e, g, col.LOADING)
        factor = cold_factor(s, e, g, key)
        loss_ps = cold_span(s, g, 0, factor) + cold_span(s, g, 1, factor)
        s.rep[g, col.R_LIFE_PS] = now + s.faults[e, row, 3] + loss_ps
        capacity_changed(s, e)
    elif state == col.DRAINING:
        empty_replica(s, e, g, now)
        leave(s, e, g)
        capacity_changed(s, e)


@called
def next_life(s: State, e: int, g: int, key: np.uint64) -> None:
    """Do what replica g's clock says: begin to load, become ready, or give up draining."""
    now = s.ctl[e, col.C_NOW]
    state = s.view_int[col.V_STATE, g]
    s.rep[g, col.R_LIFE_PS] = col.INF
    if state == col.REQUESTED:
        become(s, e, g, col.LOADING)
        s.rep[g, col.R_LIFE_PS] = now + s.rep[g, col.R_NEXT]
    elif state == col.LOADING:
        become(s, e, g, col.READY)
        for k in range(6):
            s.published[col.ENGINE_FIELDS[k], g] = 0
        s.rep[g, col.R_PUBLISHED] = now
        capacity_changed(s, e)
    elif state == col.DRAINING:
        empty_replica(s, e, g, now)
        leave(s, e, g)
        capacity_changed(s, e)


@called
def publish(s: State, e: int, g: int) -> None:
    """Publish replica g's metrics."""
    now = s.ctl[e, col.C_NOW]
    s.rep[g, col.R_PUBLISH] += s.params[col.P_INTERVAL]
    if s.view_int[col.V_STATE, g] < col.READY:
        return
    catch_up(s, e, g, now)
    for k in range(6):
        field = col.ENGINE_FIELDS[k]
        s.published[field, g] = s.view_int[field, g]
    s.rep[g, col.R_PUBLISHED] = now
    if s.params[col.P_ON_PUBLICATION]:
        want_scans(s, e)


@called
def close_second(s: State, e: int) -> None:
    """Write the window's row of the second that ends now and begin the next."""
    replicas = s.params[col.P_REPLICAS]
    second = s.ctl[e, col.C_SECOND] // 1_000_000_000_000
    at = (second - 1) % col.WINDOW_SECONDS
    s.ctl[e, col.C_SECOND] += 1_000_000_000_000
    now = s.ctl[e, col.C_NOW]
    for pool in range(s.params[col.P_POOLS]):
        ready = 0
        loading = 0
        draining = 0
        waiting = 0
        running = 0
        allocated = 0
        capacity = 0
        made = 0
        for g in range(e * replicas, (e + 1) * replicas):
            if s.rep[g, col.R_POOL] != pool:
                continue
            catch_up(s, e, g, now)
            made += s.rep[g, col.R_MADE]
            state = s.view_int[col.V_STATE, g]
            if state == col.READY:
                ready += 1
                waiting += s.view_int[col.V_WAITING, g]
                running += s.view_int[col.V_RUNNING, g]
                allocated += s.view_int[col.V_ALLOCATED, g]
                capacity += s.rep[g, col.R_BLOCKS]
            elif state == col.DRAINING:
                draining += 1
            elif state != col.GONE:
                loading += 1
        acc = s.second
        w = s.window
        w[e, col.W_ARRIVALS, at, pool] = float(acc[e, 0, col.A_ARRIVALS])
        w[e, col.W_ARRIVAL_TOKENS, at, pool] = float(acc[e, 0, col.A_TOKENS])
        w[e, col.W_FINISHED, at, pool] = float(acc[e, pool, col.A_FINISHED])
        w[e, col.W_GENERATED, at, pool] = float(made - acc[e, pool, col.A_MADE])
        w[e, col.W_HELD, at, pool] = float(s.ctl[e, col.C_HELD])
        w[e, col.W_WAITING, at, pool] = float(waiting)
        w[e, col.W_RUNNING, at, pool] = float(running)
        w[e, col.W_KV, at, pool] = float(allocated) / float(capacity) if ready > 0 else 0.0
        firsts = acc[e, pool, col.A_FIRSTS]
        w[e, col.W_TTFT, at, pool] = float(acc[e, pool, col.A_TTFT] // firsts) * 1e-12 if firsts > 0 else 0.0
        ends = acc[e, pool, col.A_ENDS]
        w[e, col.W_TPOT, at, pool] = float(acc[e, pool, col.A_TPOT] // ends) * 1e-12 if ends > 0 else 0.0
        w[e, col.W_READY, at, pool] = float(ready)
        w[e, col.W_LOADING, at, pool] = float(loading)
        w[e, col.W_DRAINING, at, pool] = float(draining)
        acc[e, pool, col.A_MADE] = made
    for pool in range(s.params[col.P_POOLS]):
        for k in range(7):
            s.second[e, pool, k] = 0


@called
def expire_held(s: State, e: int, q: int) -> None:
    """Let go of the requests that router q holds whose clients have given up."""
    k = 0
    while k < s.held_meta[q, col.Q_LENGTH]:
        slot = s.held_slot[q, s.held_meta[q, col.Q_HEAD] + k]
        if has_expired(s, e, slot):
            queues.remove(s.held_rank, s.held_slot, s.held_meta, q, k)
            s.ctl[e, col.C_HELD] -= 1
            charge(s, e, slot, EXPIRED)
            release(s, e, slot)
        else:
            k += 1


@called
def prepare_scan(s: State, e: int, router: int) -> None:
    """Let the view show what a router sees now."""
    replicas = s.params[col.P_REPLICAS]
    show_ledger(s, e, router)
    now = s.ctl[e, col.C_NOW]
    age = s.view_float.shape[0] - 1
    for g in range(e * replicas, (e + 1) * replicas):
        if s.params[col.P_INTERVAL]:
            s.view_float[age, g] = float(now - s.rep[g, col.R_PUBLISHED]) * 1e-12
        if s.params[col.P_LAZY_FIELDS]:
            catch_up(s, e, g, now)
    if s.params[col.P_INFLIGHT]:
        fill_inflight(s, e, router)


@called
def fill_inflight(s: State, e: int, router: int) -> None:
    """Write a router's unfinished requests, in dispatch order, into the in-flight rows."""
    q = e * s.params[col.P_ROUTERS] + router
    first = e * s.params[col.P_REPLICAS]
    offset = s.ctl[e, col.C_OFFSET]
    for g in range(first, first + s.params[col.P_REPLICAS]):
        catch_up(s, e, g, s.ctl[e, col.C_NOW])
    slot = s.held_meta[q, col.Q_FIRST]
    k = 0
    while slot >= 0:
        s.inflight[0, k] = s.slots[slot, col.S_REPLICA] - first
        s.inflight[1, k] = s.slots[slot, col.S_PROMPT]
        s.inflight[2, k] = s.slots[slot, col.S_GENERATED]
        s.inflight_s[0, k] = float(s.slots[slot, col.S_SENT] + offset) * 1e-12
        s.inflight_s[1, k] = np.inf
        if s.slots[slot, col.S_FIRST] >= 0:
            s.inflight_s[1, k] = float(s.slots[slot, col.S_FIRST] + offset) * 1e-12
        slot = s.slots[slot, col.S_AFTER]
        k += 1
    s.ctl[e, col.C_DETAIL] = k


@called
def prefix_hits(s: State, e: int, slot: int) -> None:
    """Write the hits of a held request into the view."""
    prompt = s.slots[slot, col.S_PROMPT]
    i = s.slots[slot, col.S_ROW] - e * s.arrival_ps.shape[1]
    start = s.block_start[e, i]
    limit = min((prompt - 1) >> s.params[col.P_SHIFT], s.block_start[e, i + 1] - start)
    replicas = s.params[col.P_REPLICAS]
    router = s.slots[slot, col.S_ROUTER]
    now = s.ctl[e, col.C_NOW]
    ids = s.block_ids[e]
    prefix_view.hits(s.seen, e, router, ids, start, limit, now, replicas, s.view_int, col.V_HIT, e * replicas)
    for g in range(e * replicas, (e + 1) * replicas):
        s.view_int[col.V_HIT, g] <<= s.params[col.P_SHIFT]


@called
def pop_due(s: State, e: int) -> int:
    """Take the next follow-up turn from the heap and return its row."""
    row = s.due[e, 0, 1]
    last = s.ctl[e, col.C_DUE] - 1
    s.ctl[e, col.C_DUE] = last
    time = s.due[e, last, 0]
    moved = s.due[e, last, 1]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= last:
            break
        if child + 1 < last and (
            s.due[e, child + 1, 0] < s.due[e, child, 0]
            or (s.due[e, child + 1, 0] == s.due[e, child, 0] and s.due[e, child + 1, 1] < s.due[e, child, 1])
        ):
            child += 1
        if s.due[e, child, 0] > time or (s.due[e, child, 0] == time and s.due[e, child, 1] >= moved):
            break
        s.due[e, i, 0] = s.due[e, child, 0]
        s.due[e, i, 1] = s.due[e, child, 1]
        i = child
    s.due[e, i, 0] = time
    s.due[e, i, 1] = moved
    return row
