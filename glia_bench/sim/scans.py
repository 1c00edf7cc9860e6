"""Why the event loops stop; how a scan begins and a sample is taken, in each of the two engines."""

from glia_bench.sim import columns as col
from glia_bench.sim.fleet import expire_held, prepare_scan
from glia_bench.sim.jit import called, inlined
from glia_bench.sim.replica import catch_up
from glia_bench.sim.state import State
from glia_bench.sim.stretch import refresh_lazy_fields

# Why `advance` returned; from BAD_ANSWER on the run is over (30 to 39: `replica`).
DONE, PAUSE, ROOM = 0, 1, 2
ASK_ROUTE, ASK_RANK, ASK_ASSIGN, TELL_DISPATCH, TELL_EVENTS, ASK_SCALE, ASK_ADMIT = range(10, 17)
BAD_ANSWER, BAD_RANK, HELD_TOO_LONG, BAD_ADMISSION, BAD_SCALE = 20, 21, 22, 23, 24

GO_ON = -1
"""A part of the loop has done something: begin again at the top."""
ARRIVAL = -2
"""The next thing is an arrival."""


@inlined
def begin_scan(s: State, e: int, router: int) -> None:
    """Note that a scan of a router's held queue is in progress."""
    s.held_meta[e * s.params[col.P_ROUTERS] + router, col.Q_PENDING] = 0
    s.ctl[e, col.C_SCANNING] = 1
    s.ctl[e, col.C_CURSOR] = 0


@inlined
def start_plain_scan(s: State, e: int, router: int) -> None:
    """Begin a scan in the plain engine."""
    begin_scan(s, e, router)
    if s.params[col.P_LAZY_FIELDS]:
        replicas = s.params[col.P_REPLICAS]
        for g in range(e * replicas, (e + 1) * replicas):
            refresh_lazy_fields(s, g, s.ctl[e, col.C_NOW])


@called
def start_full_scan(s: State, e: int, router: int) -> None:
    """Begin a scan in the full engine."""
    begin_scan(s, e, router)
    prepare_scan(s, e, router)
    if s.params[col.P_PATIENCE]:
        expire_held(s, e, e * s.params[col.P_ROUTERS] + router)


@called
def write_sample(s: State, e: int) -> None:
    """Write the sample that is due now, from a view that is up to date."""
    replicas = s.params[col.P_REPLICAS]
    k = s.ctl[e, col.C_SAMPLE] // s.params[col.P_SAMPLE]
    s.samples[k, 0] = s.ctl[e, col.C_HELD]
    for r in range(replicas):
        g = e * replicas + r
        s.samples[k, 1 + r] = s.view_int[col.V_WAITING, g]
        s.samples[k, 1 + replicas + r] = s.view_int[col.V_RUNNING, g]
        s.samples[k, 1 + 2 * replicas + r] = s.view_int[col.V_ALLOCATED, g]
    s.ctl[e, col.C_SAMPLE] += s.params[col.P_SAMPLE]


@inlined
def take_plain_sample(s: State, e: int) -> None:
    """Take a sample in the plain engine."""
    replicas = s.params[col.P_REPLICAS]
    for g in range(e * replicas, (e + 1) * replicas):
        refresh_lazy_fields(s, g, s.ctl[e, col.C_NOW])
    write_sample(s, e)


@called
def take_full_sample(s: State, e: int) -> None:
    """Take a sample in the full engine."""
    replicas = s.params[col.P_REPLICAS]
    for g in range(e * replicas, (e + 1) * replicas):
        catch_up(s, e, g, s.ctl[e, col.C_NOW])
    write_sample(s, e)
