"""Steps of the full engine: an iteration ends, the next one begins; a request is dispatched; an agent admits."""

from glia_bench.sim import columns as col
from glia_bench.sim import prefix_cache, prefix_view
from glia_bench.sim.batching import FINISHED_ONE, PREEMPTED_ONE
from glia_bench.sim.blocks import content_count, content_start, hit_blocks, is_prefilled, known_of
from glia_bench.sim.jit import called, inlined
from glia_bench.sim.launching import launch, place_again, suffices
from glia_bench.sim.replica import (
    Scheduler,
    add_ledger,
    catch_up,
    enter_waiting,
    finish,
    leave_running,
    pass_iterations,
)
from glia_bench.sim.scheduling import (
    admit,
    admit_all,
    can_ask,
    chunk_of,
    expire_waiting,
    has_room,
    may_admit,
    place_running,
    prepare,
)
from glia_bench.sim.state import State
from glia_bench.sim.stretch import blocks_of, stretch_time

ASKING = 4
"""Bit of a step's result: an agent is asked whom to admit."""


@called
def first_token(s: State, e: int, g: int, slot: int, now: int) -> None:
    """Note a request's first output token."""
    s.slots[slot, col.S_FIRST] = now
    add_ledger(s, e, g, slot, col.V_UNPREFILLED, -s.slots[slot, col.S_PROMPT])
    pool = s.rep[g, col.R_POOL]
    s.second[e, pool, col.A_FIRSTS] += 1
    s.second[e, pool, col.A_TTFT] += now - s.slots[slot, col.S_ARRIVED]
    if s.params[col.P_HAS_FIRST]:
        k = s.ctl[e, col.C_EVENTS]
        s.events[e, k, 0] = col.EVENT_FIRST
        s.events[e, k, 1] = slot
        s.ctl[e, col.C_EVENTS] = k + 1


@inlined
def generate(s: State, e: int, g: int, slot: int) -> bool:
    """Give a request one output token; returns whether it was its last."""
    s.slots[slot, col.S_GENERATED] += 1
    s.rep[g, col.R_KNOWN] += 1
    s.rep[g, col.R_MADE] += 1
    add_ledger(s, e, g, slot, col.V_INFLIGHT_TOKENS, 1)
    return known_of(s, slot) == s.slots[slot, col.S_TOTAL]


@called
def enter_cache(s: State, e: int, g: int, slot: int, now: int) -> None:
    """Let the whole blocks of a prefill that are computed enter replica g's cache."""
    whole = min(s.slots[slot, col.S_COMPUTED] >> s.params[col.P_SHIFT], content_count(s, e, slot))
    keyed = s.slots[slot, col.S_KEYED]
    if whole > keyed:
        s.rep[g, col.R_FREE] += prefix_cache.enter(
            s.cache, s.seen, g, s.block_ids[e], s.block_nodes[e], content_start(s, e, slot), keyed, whole, now
        )
        s.slots[slot, col.S_KEYED] = whole


@called
def end_iteration(s: State, e: int, g: int, now: int) -> int:
    """End replica g's stretch: tokens, completions, first tokens. Returns FINISHED_ONE or 0."""
    result = 0
    pass_iterations(s, e, g, s.rep[g, col.R_SEG] - 1, now)
    if s.rep[g, col.R_LOG] >= 0:
        s.log[s.rep[g, col.R_LOG], 2] = now
        s.log[s.rep[g, col.R_LOG], 3] += 1
        s.rep[g, col.R_LOG] = -1
    s.rep[g, col.R_BUSY] = 0
    chunks = s.rep[g, col.R_CHUNKS]
    s.rep[g, col.R_CHUNKS] = 0
    for b in range(chunks):
        slot = s.batch[g, b]
        s.slots[slot, col.S_COMPUTED] += s.slots[slot, col.S_TOKENS]
        s.slots[slot, col.S_TOKENS] = 0
        if s.params[col.P_CACHE]:
            enter_cache(s, e, g, slot, now)
    k = 0
    while k < s.view_int[col.V_RUNNING, g]:
        slot = s.run[g, k]
        if s.slots[slot, col.S_TOKENS] < 0 and generate(s, e, g, slot):
            leave_running(s, g, k)
            finish(s, e, g, slot, now)
            result = FINISHED_ONE
        else:
            k += 1
    for b in range(chunks):
        slot = s.batch[g, b]
        if not is_prefilled(s, slot):
            continue
        s.rep[g, col.R_PREFILLED] += 1
        s.rep[g, col.R_KNOWN] += known_of(s, slot)
        is_last = generate(s, e, g, slot)
        if s.slots[slot, col.S_FIRST] < 0:
            first_token(s, e, g, slot, now)
        if is_last:
            k = 0
            while s.run[g, k] != slot:
                k += 1
            leave_running(s, g, k)
            finish(s, e, g, slot, now)
            result = FINISHED_ONE
    if result:
        s.rep[g, col.R_QUIET] = 0
    return result


@inlined
def close_iteration(s: State, e: int, g: int, now: int, sched: Scheduler) -> int:
    """Start what replica g has formed. Returns PREEMPTED_ONE or 0."""
    if s.rep[g, col.R_RULES] & col.RULE_PREFILL_FIRST and s.rep[g, col.R_CHUNKS] == 0:
        place_running(s, e, g, now, sched)
    launch(s, e, g, now)
    return PREEMPTED_ONE if s.rep[g, col.R_EVICTED] > 0 else 0


@called
def begin_iteration(s: State, e: int, g: int, now: int, sched: Scheduler) -> int:
    """Start replica g's next iteration, or a stretch of pure decodes. Returns PREEMPTED_ONE, ASKING or 0."""
    if s.rep[g, col.R_QUIET] and suffices(s, g):
        place_again(s, e, g, now)
        launch(s, e, g, now)
        return 0
    if s.params[col.P_PATIENCE]:
        expire_waiting(s, e, g)
    if s.view_int[col.V_RUNNING, g] + s.view_int[col.V_WAITING, g] == 0:
        launch(s, e, g, now)
        return 0
    prepare(s, e, g, now, sched)
    if (s.rep[g, col.R_RULES] & col.RULE_PREFILL_FIRST) == 0:
        place_running(s, e, g, now, sched)
    if s.params[col.P_AGENT]:
        if can_ask(s, e, g):
            s.ctl[e, col.C_SCHEDULING] = g
            return ASKING
    elif may_admit(s, g):
        admit_all(s, e, g, now, sched)
    return close_iteration(s, e, g, now, sched)


@called
def agent_answered(s: State, e: int, g: int, position: int, now: int, sched: Scheduler) -> int:
    """Go on with an agent's answer: a position in the waiting queue, or -1 to stop. Returns as begin_iteration, or -1.

    -1: there is no such position, or the request there has no room.
    """
    if position >= 0:
        if position >= s.view_int[col.V_WAITING, g]:
            return -1
        slot = s.wait_slot[g, s.wait_meta[g, col.Q_HEAD] + position]
        hits = hit_blocks(s, e, g, slot)
        tokens = chunk_of(s, e, g, slot, hits)
        if tokens == 0 or not has_room(s, e, g, slot, hits):
            return -1
        admit(s, e, g, position, hits, tokens, now)
        if can_ask(s, e, g):
            return ASKING
    s.ctl[e, col.C_SCHEDULING] = -1
    return close_iteration(s, e, g, now, sched)


@called
def cut_short(s: State, e: int, g: int, now: int) -> None:
    """Let replica g's stretch end with the iteration in progress."""
    if s.rep[g, col.R_BUSY] and s.rep[g, col.R_SEG] > 1:
        catch_up(s, e, g, now)
        s.rep[g, col.R_SEG] = 1
        s.next_ps[g] = s.rep[g, col.R_START] + stretch_time(s, g, 1)


@called
def dispatch(s: State, e: int, g: int, slot: int, now: int, sched: Scheduler) -> None:
    """Give a request to replica g: its ledger, its waiting queue, a scheduling point as soon as there can be one."""
    prompt = s.slots[slot, col.S_PROMPT]
    s.slots[slot, col.S_SENT] = now
    if s.slots[slot, col.S_DISPATCHED] < 0:
        s.slots[slot, col.S_DISPATCHED] = now
    s.slots[slot, col.S_REPLICA] = g
    add_ledger(s, e, g, slot, col.V_INFLIGHT, 1)
    add_ledger(s, e, g, slot, col.V_INFLIGHT_PROMPT, prompt)
    add_ledger(s, e, g, slot, col.V_INFLIGHT_BLOCKS, blocks_of(s, prompt))
    add_ledger(s, e, g, slot, col.V_INFLIGHT_TOKENS, known_of(s, slot))
    if s.slots[slot, col.S_FIRST] < 0:
        add_ledger(s, e, g, slot, col.V_UNPREFILLED, prompt)
    router = s.slots[slot, col.S_ROUTER]
    if s.params[col.P_INFLIGHT]:
        q = e * s.params[col.P_ROUTERS] + router
        last = s.held_meta[q, col.Q_LAST]
        s.slots[slot, col.S_BEFORE] = last
        s.slots[slot, col.S_AFTER] = -1
        if last >= 0:
            s.slots[last, col.S_AFTER] = slot
        else:
            s.held_meta[q, col.Q_FIRST] = slot
        s.held_meta[q, col.Q_LAST] = slot
    if s.params[col.P_CACHE]:
        count = min(prompt >> s.params[col.P_SHIFT], content_count(s, e, slot))
        replica = g - e * s.params[col.P_REPLICAS]
        prefix_view.noted(
            s.seen, e, router, replica, s.block_ids[e], content_start(s, e, slot), count, s.rep[g, col.R_BLOCKS]
        )
    cut_short(s, e, g, now)
    s.rep[g, col.R_QUIET] = 0
    if s.rep[g, col.R_BUSY] == 0:
        s.next_ps[g] = now
    enter_waiting(s, e, g, slot, False, sched)
