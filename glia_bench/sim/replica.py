"""One replica of the full engine: its running list, waiting queue and blocks, and how a request enters and leaves them.

The full engine serves what the plain one (batching.py) does not: schedulers' hooks, prefix caches, other engine modes,
replicas that come and go. Work per scheduling point is proportional to the batch; iterations that merely continue cost
nothing until somebody looks.
"""

from typing import Any, NamedTuple

import numpy as np

from glia_bench.features import Memory, Replica, Request
from glia_bench.sim import columns as col
from glia_bench.sim import queues
from glia_bench.sim.blocks import (
    blocks_short,
    blocks_wanted,
    give_blocks,
    hit_blocks,
    is_prefilled,
    known_of,
    take_blocks,
)
from glia_bench.sim.jit import called, inlined
from glia_bench.sim.lists import release
from glia_bench.sim.state import State
from glia_bench.sim.stretch import blocks_of, iteration_in_progress, stretch_time
from glia_bench.sim.views import detailed_view, perf_view
from glia_bench.types import FINISHED

# What failed inside a step: values of C_STATUS, returned by `advance`.
BAD_SCHEDULER_RANK, BAD_EVICT_RANK, BAD_TOKENS, BAD_PLAN, STALLED, HOOK_FAILED = 30, 31, 32, 33, 34, 35


class Scheduler(NamedTuple):
    """A design's scheduling hooks, and the key of `request.u`."""

    rank: Any
    admit: Any
    evict_rank: Any
    tokens: Any
    plan: Any
    on_step: Any
    key: np.uint64


@inlined
def memory_of(s: State, copy: int) -> Memory:
    """Return one copy of a design's tables; the request table and the tags are the same in all."""
    m = s.memory
    copies = s.params[col.P_ROUTERS] + 2
    shared = m.shared.shape[0] // copies
    replica = m.replica.shape[0] // copies
    tenant = m.tenant.shape[0] // copies
    session = m.session.shape[0] // copies
    return Memory(
        m.shared[copy * shared : (copy + 1) * shared],
        m.replica[copy * replica : (copy + 1) * replica],
        m.tenant[copy * tenant : (copy + 1) * tenant],
        m.session[copy * session : (copy + 1) * session],
        m.request,
        m.tag,
    )


@inlined
def engine_memory(s: State) -> Memory:
    """Return the tables that all schedulers share."""
    return memory_of(s, s.params[col.P_ROUTERS])


@inlined
def replica_of(s: State, e: int, g: int) -> Replica:
    """Return replica g as its scheduler sees it now."""
    return Replica(
        g - e * s.params[col.P_REPLICAS],
        float(s.ctl[e, col.C_NOW] + s.ctl[e, col.C_OFFSET]) * 1e-12,
        s.view_int[col.V_WAITING, g],
        s.view_int[col.V_RUNNING, g],
        s.rep[g, col.R_FREE],
        s.rep[g, col.R_BLOCKS],
        s.rep[g, col.R_PREFILLED],
        s.rep[g, col.R_KNOWN],
        s.rep[g, col.R_BUDGET],
        s.rep[g, col.R_CAP],
        s.params[col.P_BLOCK],
        perf_view(s, s.rep[g, col.R_POOL]),
    )


@inlined
def scheduler_view(s: State, e: int, g: int, slot: int, sched: Scheduler) -> Request:
    """Return a request as replica g's scheduler sees it."""
    cached = 0
    if s.params[col.P_READS_CACHED]:
        cached = hit_blocks(s, e, g, slot) << s.params[col.P_SHIFT]
    generated = s.slots[slot, col.S_GENERATED]
    computed = s.slots[slot, col.S_COMPUTED]
    return detailed_view(s, s.memory.tag, sched.key, e, slot, generated, computed, cached)


@inlined
def add_ledger(s: State, e: int, g: int, slot: int, field: int, amount: int) -> None:
    """Add to a field of the ledger of a request's router."""
    router = s.slots[slot, col.S_ROUTER]
    if router == s.ctl[e, col.C_ROUTER]:
        s.view_int[field, g] += amount
    else:
        replicas = s.params[col.P_REPLICAS]
        s.ledger[e * s.params[col.P_ROUTERS] + router, field - col.V_INFLIGHT, g - e * replicas] += amount


@called
def show_ledger(s: State, e: int, router: int) -> None:
    """Let the replica view show the ledger of a router."""
    now_shown = s.ctl[e, col.C_ROUTER]
    if router == now_shown:
        return
    replicas = s.params[col.P_REPLICAS]
    base = e * s.params[col.P_ROUTERS]
    for k in range(5):
        for r in range(replicas):
            s.ledger[base + now_shown, k, r] = s.view_int[col.V_INFLIGHT + k, e * replicas + r]
            s.view_int[col.V_INFLIGHT + k, e * replicas + r] = s.ledger[base + router, k, r]
    s.ctl[e, col.C_ROUTER] = router


@inlined
def set_status(s: State, e: int, status: int, slot: int, g: int, detail: float) -> None:
    """Note the first thing that failed inside a step."""
    if s.ctl[e, col.C_STATUS] == 0:
        s.ctl[e, col.C_STATUS] = status
        s.ctl[e, col.C_SLOT] = slot
        s.ctl[e, col.C_REPLICA] = g - e * s.params[col.P_REPLICAS]
        s.reals[e, 0] = detail


@called
def waiting_rank(s: State, e: int, g: int, slot: int, sched: Scheduler) -> float:
    """Ask a scheduler for the rank of a request."""
    rank = sched.rank(scheduler_view(s, e, g, slot, sched), replica_of(s, e, g), engine_memory(s))
    if not np.isfinite(rank):
        set_status(s, e, BAD_SCHEDULER_RANK, slot, g, rank)
    return rank


@called
def enter_waiting(s: State, e: int, g: int, slot: int, at_head: bool, sched: Scheduler) -> None:
    """Put a request into replica g's waiting queue: by rank where there is one, else at its tail or head.

    A preempted request keeps its rank.
    """
    if s.params[col.P_S_RANK]:
        rank = s.slot_rank[slot] if at_head else waiting_rank(s, e, g, slot, sched)
    else:
        s.rep[g, col.R_KEYS] += 1
        rank = float(s.rep[g, col.R_KEYS])
        if at_head:
            rank = -rank
    s.slot_rank[slot] = rank
    queues.insert(s.wait_rank, s.wait_slot, s.wait_meta, s.slots, g, slot, rank)
    known = s.slots[slot, col.S_PREFILL]
    s.view_int[col.V_WAITING, g] += 1
    s.view_int[col.V_WAITING_TOKENS, g] += known
    s.view_int[col.V_WAITING_BLOCKS, g] += blocks_wanted(s, e, g, slot)


@called
def leave_waiting(s: State, e: int, g: int, position: int) -> int:
    """Take the request at a position out of replica g's waiting queue and return its slot."""
    slot = s.wait_slot[g, s.wait_meta[g, col.Q_HEAD] + position]
    queues.remove(s.wait_rank, s.wait_slot, s.wait_meta, g, position)
    known = s.slots[slot, col.S_PREFILL]
    s.view_int[col.V_WAITING, g] -= 1
    s.view_int[col.V_WAITING_TOKENS, g] -= known
    s.view_int[col.V_WAITING_BLOCKS, g] -= blocks_wanted(s, e, g, slot)
    return slot


@called
def enter_running(s: State, g: int, slot: int) -> None:
    """Put an admitted request into replica g's running list."""
    k = s.view_int[col.V_RUNNING, g]
    if s.rep[g, col.R_RULES] & col.RULE_BY_ARRIVAL:
        number = s.slots[slot, col.S_NUMBER]
        while k > 0 and s.slots[s.run[g, k - 1], col.S_NUMBER] > number:
            s.run[g, k] = s.run[g, k - 1]
            k -= 1
    s.run[g, k] = slot
    s.view_int[col.V_RUNNING, g] += 1


@called
def leave_running(s: State, g: int, k: int) -> None:
    """Take the request at position k out of replica g's running list."""
    s.view_int[col.V_RUNNING, g] -= 1
    for i in range(k, s.view_int[col.V_RUNNING, g]):
        s.run[g, i] = s.run[g, i + 1]


@called
def lose(s: State, e: int, g: int, slot: int, now: int) -> None:
    """Let a running request of replica g lose its blocks and what was computed: everything must be prefilled again."""
    if is_prefilled(s, slot):
        s.rep[g, col.R_PREFILLED] -= 1
        s.rep[g, col.R_KNOWN] -= known_of(s, slot)
    give_blocks(s, e, g, slot, now)
    s.slots[slot, col.S_PREFILL] = known_of(s, slot)
    s.slots[slot, col.S_COMPUTED] = 0
    s.slots[slot, col.S_TOKENS] = 0
    s.slots[slot, col.S_RESTARTS] += 1


@called
def evict(s: State, e: int, g: int, k: int, now: int, sched: Scheduler) -> None:
    """Preempt the request at position k of replica g's running list while an iteration is formed."""
    slot = s.run[g, k]
    tokens = s.slots[slot, col.S_TOKENS]
    if tokens < 0:
        s.rep[g, col.R_LEFT] += 1
    elif tokens > 0:
        s.rep[g, col.R_LEFT] += tokens
        chunks = s.rep[g, col.R_CHUNKS]
        i = 0
        while s.batch[g, i] != slot:
            i += 1
        for b in range(i, chunks - 1):
            s.batch[g, b] = s.batch[g, b + 1]
        s.rep[g, col.R_CHUNKS] = chunks - 1
    leave_running(s, g, k)
    lose(s, e, g, slot, now)
    s.view_int[col.V_PREEMPTIONS, g] += 1
    s.rep[g, col.R_EVICTED] += 1
    enter_waiting(s, e, g, slot, True, sched)


@inlined
def unlink(s: State, e: int, slot: int) -> None:
    """Take a request out of its router's list of dispatched ones."""
    q = e * s.params[col.P_ROUTERS] + s.slots[slot, col.S_ROUTER]
    before = s.slots[slot, col.S_BEFORE]
    after = s.slots[slot, col.S_AFTER]
    if before >= 0:
        s.slots[before, col.S_AFTER] = after
    else:
        s.held_meta[q, col.Q_FIRST] = after
    if after >= 0:
        s.slots[after, col.S_BEFORE] = before
    else:
        s.held_meta[q, col.Q_LAST] = before


@called
def forget_dispatch(s: State, e: int, g: int, slot: int) -> None:
    """Take a request out of its router's ledger and list."""
    prompt = s.slots[slot, col.S_PROMPT]
    add_ledger(s, e, g, slot, col.V_INFLIGHT, -1)
    add_ledger(s, e, g, slot, col.V_INFLIGHT_PROMPT, -prompt)
    add_ledger(s, e, g, slot, col.V_INFLIGHT_BLOCKS, -blocks_of(s, prompt))
    add_ledger(s, e, g, slot, col.V_INFLIGHT_TOKENS, -known_of(s, slot))
    if s.slots[slot, col.S_FIRST] < 0:
        add_ledger(s, e, g, slot, col.V_UNPREFILLED, -prompt)
    if s.params[col.P_INFLIGHT]:
        unlink(s, e, slot)


@called
def write_record(s: State, e: int, slot: int, outcome: int, finished: int) -> None:
    """Write what happened to a request that leaves the system."""
    row = s.slots[slot, col.S_ROW]
    s.records[row, 0] = outcome
    s.records[row, 1] = -1
    if s.slots[slot, col.S_REPLICA] >= 0:
        s.records[row, 1] = s.slots[slot, col.S_REPLICA] - e * s.params[col.P_REPLICAS]
    s.records[row, 2] = s.slots[slot, col.S_RESTARTS]
    s.records[row, 3] = s.slots[slot, col.S_DISPATCHED]
    s.records[row, 4] = s.slots[slot, col.S_SCHEDULED]
    s.records[row, 5] = s.slots[slot, col.S_FIRST]
    s.records[row, 6] = finished
    s.extra[row, 1] = max(s.slots[slot, col.S_CACHED], 0)
    s.ended[e, s.ctl[e, col.C_ENDED]] = row - e * s.arrival_ps.shape[1]
    s.ctl[e, col.C_ENDED] += 1


@called
def charge(s: State, e: int, slot: int, outcome: int) -> None:
    """Record a request that leaves the system unserved: rejected or given up, charged at the horizon."""
    write_record(s, e, slot, outcome, -1)
    s.ctl[e, col.C_LIVE] -= 1
    s.ctl[e, col.C_SUM] += s.ctl[e, col.C_HORIZON]


@inlined
def tell_finish(s: State, e: int, slot: int) -> None:
    """Let on_finish know of a request, or let go of it at once where that hook does not exist."""
    if s.params[col.P_HAS_FINISH]:
        k = s.ctl[e, col.C_EVENTS]
        s.events[e, k, 0] = col.EVENT_FINISH
        s.events[e, k, 1] = slot
        s.ctl[e, col.C_EVENTS] = k + 1
    else:
        release(s, e, slot)


@called
def push_due(s: State, e: int, time: int, row: int) -> None:
    """Add a follow-up turn to the heap of those that will arrive."""
    i = s.ctl[e, col.C_DUE]
    s.ctl[e, col.C_DUE] = i + 1
    while i > 0:
        parent = (i - 1) >> 1
        if s.due[e, parent, 0] < time or (s.due[e, parent, 0] == time and s.due[e, parent, 1] < row):
            break
        s.due[e, i, 0] = s.due[e, parent, 0]
        s.due[e, i, 1] = s.due[e, parent, 1]
        i = parent
    s.due[e, i, 0] = time
    s.due[e, i, 1] = row


@called
def finish(s: State, e: int, g: int, slot: int, now: int) -> None:
    """Finish a request that has left replica g's running list: blocks, record, ledger, its session's next turn."""
    s.rep[g, col.R_PREFILLED] -= 1
    s.rep[g, col.R_KNOWN] -= known_of(s, slot)
    give_blocks(s, e, g, slot, now)
    forget_dispatch(s, e, g, slot)
    write_record(s, e, slot, FINISHED, now)
    s.ctl[e, col.C_LIVE] -= 1
    s.ctl[e, col.C_SUM] += now
    pool = s.rep[g, col.R_POOL]
    s.second[e, pool, col.A_FINISHED] += 1
    output = s.slots[slot, col.S_GENERATED]
    if output > 1:
        s.second[e, pool, col.A_ENDS] += 1
        s.second[e, pool, col.A_TPOT] += (now - s.slots[slot, col.S_FIRST]) // (output - 1)
    row = s.slots[slot, col.S_ROW] - e * s.arrival_ps.shape[1]
    following = s.next_row[e, row]
    if following >= 0:
        push_due(s, e, now + s.think_ps[e, following], following)
    tell_finish(s, e, slot)


@called
def pass_iterations(s: State, e: int, g: int, count: int, now: int) -> None:
    """Give every decode of replica g's stretch the tokens and blocks of `count` finished iterations of it."""
    if count == 0:
        return
    taken = 0
    for k in range(s.view_int[col.V_RUNNING, g]):
        slot = s.run[g, k]
        if s.slots[slot, col.S_TOKENS] < 0:
            s.slots[slot, col.S_GENERATED] += count
            need = blocks_short(s, slot, known_of(s, slot))
            taken += need
            s.slots[slot, col.S_BLOCKS] += need
            add_ledger(s, e, g, slot, col.V_INFLIGHT_TOKENS, count)
    decodes = s.rep[g, col.R_DECODES]
    s.rep[g, col.R_KNOWN] += count * decodes
    s.rep[g, col.R_MADE] += count * decodes
    take_blocks(s, e, g, taken, now)
    s.view_int[col.V_ALLOCATED, g] += taken
    s.rep[g, col.R_START] += stretch_time(s, g, count)
    s.rep[g, col.R_CONTEXT] += count * decodes
    s.rep[g, col.R_SEG] -= count
    if s.rep[g, col.R_LOG] >= 0:
        s.log[s.rep[g, col.R_LOG], 3] += count


@called
def catch_up(s: State, e: int, g: int, now: int) -> None:
    """Make the iteration in progress at `now` the first of replica g's stretch."""
    if s.rep[g, col.R_BUSY] and s.rep[g, col.R_SEG] > 1:
        pass_iterations(s, e, g, iteration_in_progress(s, g, now) - 1, now)
