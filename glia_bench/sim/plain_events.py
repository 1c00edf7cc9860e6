"""The event loop of the plain engine, arrivals and hooks aside: steps, ticks, samples, the end."""

from glia_bench.sim import batching
from glia_bench.sim import columns as col
from glia_bench.sim.batching import FINISHED_ONE, PREEMPTED_ONE
from glia_bench.sim.columns import INF
from glia_bench.sim.jit import inlined
from glia_bench.sim.scans import ARRIVAL, DONE, GO_ON, HELD_TOO_LONG, start_plain_scan, take_plain_sample
from glia_bench.sim.state import State


@inlined
def run_steps(s: State, e: int, limit: int, held: bool, has_events: bool) -> bool:
    """Take the plain engine's steps that are due by `limit`.

    In time order while requests are held or hooks listen, stopping after one step if hooks listen or when a scan is
    due; otherwise replica by replica. Returns whether it stopped for the hooks.
    """
    first = e * s.params[col.P_REPLICAS]
    end = first + s.params[col.P_REPLICAS]
    in_order = held or has_events
    g = first
    while True:
        if in_order:
            g = first
            for other in range(first + 1, end):
                if s.next_ps[other] < s.next_ps[g]:
                    g = other
            if s.held_meta[e, col.Q_PENDING] and s.next_ps[g] > s.ctl[e, col.C_NOW]:
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
        if s.rep[g, col.R_BUSY]:
            happened = batching.end_iteration(s, e, g, now)
        happened |= batching.begin_iteration(s, g, now)
        s.ctl[e, col.C_LAST] = max(s.ctl[e, col.C_LAST], now)
        if in_order:
            s.ctl[e, col.C_NOW] = now
            wanted = ((happened & FINISHED_ONE) != 0 and s.params[col.P_ON_COMPLETION] != 0) or (
                (happened & PREEMPTED_ONE) != 0 and s.params[col.P_ON_RESTART] != 0
            )
            if wanted and held:
                s.held_meta[e, col.Q_PENDING] = 1
            if has_events:
                return True


@inlined
def plain_events(s: State, e: int, arrival: int, tick: int, sample: int) -> int:
    """Do what is next in the plain engine, up to an arrival; returns why, GO_ON or ARRIVAL."""
    first = e * s.params[col.P_REPLICAS]
    end = first + s.params[col.P_REPLICAS]
    horizon = s.ctl[e, col.C_HORIZON]
    held = s.ctl[e, col.C_HELD] > 0
    has_events = s.params[col.P_HAS_FIRST] != 0 or s.params[col.P_HAS_FINISH] != 0
    limit = min(min(arrival, tick), min(sample, horizon))
    if run_steps(s, e, limit, held, has_events):
        return GO_ON
    if s.held_meta[e, col.Q_PENDING]:
        start_plain_scan(s, e, 0)
        return GO_ON
    idle = held or arrival == INF
    if idle:
        for g in range(first, end):
            if s.next_ps[g] != INF:
                idle = False
    if idle and not held and arrival == INF and sample > s.ctl[e, col.C_LAST]:
        return DONE
    if idle and held:
        if s.ctl[e, col.C_IDLE_SINCE] < 0:
            s.ctl[e, col.C_IDLE_SINCE] = s.ctl[e, col.C_NOW]
        too_long = s.ctl[e, col.C_IDLE_SINCE] + s.params[col.P_IDLE_LIMIT]
        if min(min(arrival, tick), sample) > too_long and too_long <= horizon:
            s.ctl[e, col.C_NOW] = too_long
            s.ctl[e, col.C_LAST] = too_long
            return HELD_TOO_LONG
    if min(min(arrival, tick), sample) > horizon:
        s.ctl[e, col.C_NOW] = horizon
        s.ctl[e, col.C_LAST] = horizon
        return DONE
    if sample == limit:
        s.ctl[e, col.C_NOW] = sample
        take_plain_sample(s, e)
        return GO_ON
    if tick == limit:
        s.ctl[e, col.C_NOW] = tick
        s.ctl[e, col.C_TICK] = tick + s.params[col.P_TICK]
        s.held_meta[e, col.Q_PENDING] = 1
        return GO_ON
    return ARRIVAL
