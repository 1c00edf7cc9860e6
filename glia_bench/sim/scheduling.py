"""How the full engine forms an iteration, at scheduling points and when one merely continues; docs/simulator.md.

An agent (a Gymnasium step) may take the place of admission: forming stops where it would be asked, and goes on with
its answer.
"""

import numpy as np

from glia_bench.sim import columns as col
from glia_bench.sim import prefix_cache, queues
from glia_bench.sim.batching import FINISHED_ONE
from glia_bench.sim.blocks import (
    blocks_short,
    blocks_wanted,
    content_start,
    hit_blocks,
    is_prefilled,
    known_of,
    take_blocks,
)
from glia_bench.sim.hashes import fold
from glia_bench.sim.jit import called, inlined
from glia_bench.sim.replica import (
    BAD_EVICT_RANK,
    BAD_PLAN,
    BAD_TOKENS,
    Scheduler,
    charge,
    engine_memory,
    enter_running,
    evict,
    forget_dispatch,
    leave_waiting,
    replica_of,
    scheduler_view,
    set_status,
    tell_finish,
    waiting_rank,
)
from glia_bench.sim.state import State
from glia_bench.types import EXPIRED


@inlined
def has_expired(s: State, e: int, slot: int) -> bool:
    """Return whether a request that was never admitted has outlived its class's patience."""
    if s.slots[slot, col.S_SCHEDULED] >= 0:
        return False
    i = s.slots[slot, col.S_ROW] - e * s.arrival_ps.shape[1]
    patience_s = s.slo[s.meta[e, i, col.M_CLASS], 3]
    if patience_s > 4e6:
        return False
    return s.ctl[e, col.C_NOW] - s.slots[slot, col.S_ARRIVED] >= int(np.rint(patience_s * 1e12))


@called
def expire_waiting(s: State, e: int, g: int) -> None:
    """Let go of the waiting requests of replica g whose clients have given up."""
    k = 0
    while k < s.view_int[col.V_WAITING, g]:
        slot = s.wait_slot[g, s.wait_meta[g, col.Q_HEAD] + k]
        if has_expired(s, e, slot):
            leave_waiting(s, e, g, k)
            forget_dispatch(s, e, g, slot)
            charge(s, e, slot, EXPIRED)
            tell_finish(s, e, slot)
            s.rep[g, col.R_OPEN] = FINISHED_ONE
        else:
            k += 1


@called
def rank_anew(s: State, e: int, g: int, sched: Scheduler) -> None:
    """Ask for all ranks of replica g again and sort its waiting queue."""
    head = s.wait_meta[g, col.Q_HEAD]
    for k in range(head, head + s.view_int[col.V_WAITING, g]):
        slot = s.wait_slot[g, k]
        rank = waiting_rank(s, e, g, slot, sched)
        s.slot_rank[slot] = rank
        s.wait_rank[g, k] = rank
    for k in range(s.view_int[col.V_RUNNING, g]):
        slot = s.run[g, k]
        s.slot_rank[slot] = waiting_rank(s, e, g, slot, sched)
    queues.sort(s.wait_rank, s.wait_slot, s.wait_meta, s.slots, g)


@called
def prepare(s: State, e: int, g: int, now: int, sched: Scheduler) -> None:
    """Begin a scheduling point of replica g: on_step, plan, ranks."""
    for k in range(s.view_int[col.V_RUNNING, g]):
        s.slots[s.run[g, k], col.S_TOKENS] = 0
        s.slots[s.run[g, k], col.S_ADMITTED] = 0
    if s.params[col.P_S_STEP]:
        sched.on_step(replica_of(s, e, g), engine_memory(s))
    if s.params[col.P_S_PLAN]:
        budget, cap = sched.plan(replica_of(s, e, g), engine_memory(s))
        if budget < 1 or budget > s.rep[g, col.R_BUDGET] or cap < 1 or cap > s.rep[g, col.R_CAP]:
            set_status(s, e, BAD_PLAN, cap, g, float(budget))
        else:
            s.rep[g, col.R_PLAN_BUDGET] = budget
            s.rep[g, col.R_PLAN_CAP] = cap
    if s.params[col.P_DYNAMIC]:
        rank_anew(s, e, g, sched)
    s.rep[g, col.R_LEFT] = s.rep[g, col.R_PLAN_BUDGET]
    s.rep[g, col.R_CHUNKS] = 0
    s.rep[g, col.R_SHORT] = 0
    s.rep[g, col.R_EVICTED] = 0


@inlined
def granted(s: State, e: int, g: int, slot: int, most: int, sched: Scheduler) -> int:
    """Return how many tokens a request gets, of the `most` that it could."""
    if s.params[col.P_S_TOKENS] == 0:
        return most
    left = s.rep[g, col.R_LEFT]
    tokens = sched.tokens(scheduler_view(s, e, g, slot, sched), replica_of(s, e, g), left, engine_memory(s))
    if tokens < 0:
        set_status(s, e, BAD_TOKENS, slot, g, float(tokens))
        return 0
    if tokens > 0 and (s.rep[g, col.R_RULES] & col.RULE_CHUNKED) == 0:
        return most
    return min(tokens, most)


@called
def victim_of(s: State, e: int, g: int, sched: Scheduler) -> int:
    """Return the position in the running list of who is preempted when a block is short."""
    last = s.view_int[col.V_RUNNING, g] - 1
    if s.params[col.P_S_EVICT] == 0:
        return last
    best = 0
    highest = -np.inf
    for k in range(last + 1):
        slot = s.run[g, k]
        rank = sched.evict_rank(scheduler_view(s, e, g, slot, sched), replica_of(s, e, g), engine_memory(s))
        if not np.isfinite(rank):
            set_status(s, e, BAD_EVICT_RANK, slot, g, rank)
        if rank >= highest:
            highest = rank
            best = k
    return best


@called
def place_decodes(s: State, e: int, g: int, now: int, sched: Scheduler) -> None:
    """Give every running decode of replica g its token and block, preempting where none is free."""
    spare = (s.rep[g, col.R_RULES] & col.RULE_SPARE) != 0
    k = 0
    while k < s.view_int[col.V_RUNNING, g] and s.rep[g, col.R_LEFT] > 0 and s.ctl[e, col.C_STATUS] == 0:
        slot = s.run[g, k]
        if not is_prefilled(s, slot) or granted(s, e, g, slot, 1, sched) == 0:
            k += 1
            continue
        need = blocks_short(s, slot, known_of(s, slot))
        is_there = True
        while (need > 0 or spare) and s.rep[g, col.R_FREE] == 0 and is_there and s.ctl[e, col.C_STATUS] == 0:
            victim = victim_of(s, e, g, sched)
            if s.ctl[e, col.C_STATUS] != 0:
                return
            is_there = s.run[g, victim] != slot
            s.rep[g, col.R_SHORT] = 1
            evict(s, e, g, victim, now, sched)
            if victim < k:
                k -= 1
        if not is_there:
            if s.params[col.P_S_EVICT] == 0:
                return
            continue
        if need > 0:
            take_blocks(s, e, g, need, now)
            s.slots[slot, col.S_BLOCKS] += need
        s.slots[slot, col.S_TOKENS] = -1
        s.rep[g, col.R_LEFT] -= 1
        k += 1


@inlined
def add_chunk(s: State, g: int, slot: int, tokens: int) -> None:
    """Add a prefill chunk to the iteration that replica g forms."""
    s.slots[slot, col.S_TOKENS] = tokens
    s.batch[g, s.rep[g, col.R_CHUNKS]] = slot
    s.rep[g, col.R_CHUNKS] += 1
    s.rep[g, col.R_LEFT] -= tokens


@called
def place_partials(s: State, e: int, g: int, sched: Scheduler) -> None:
    """Give every running request that still prefills its chunk."""
    for k in range(s.view_int[col.V_RUNNING, g]):
        slot = s.run[g, k]
        left = s.rep[g, col.R_LEFT]
        if left > 0 and not is_prefilled(s, slot):
            most = min(s.slots[slot, col.S_PREFILL] - s.slots[slot, col.S_COMPUTED], left)
            tokens = granted(s, e, g, slot, most, sched)
            if tokens > 0:
                add_chunk(s, g, slot, tokens)


@called
def has_room(s: State, e: int, g: int, slot: int, hits: int) -> bool:
    """Return whether a waiting request with this many cached blocks finds a place and its other blocks."""
    if s.view_int[col.V_RUNNING, g] >= s.rep[g, col.R_PLAN_CAP]:
        return False
    taken = blocks_wanted(s, e, g, slot) - hits
    if hits > 0:
        taken += prefix_cache.unreferenced(s.cache, g, s.block_nodes[e], content_start(s, e, slot), hits)
    return s.rep[g, col.R_FREE] - taken >= s.rep[g, col.R_WATERMARK]


@called
def chunk_of(s: State, e: int, g: int, slot: int, hits: int) -> int:
    """Return how many tokens the budget left gives a waiting request with this many cached blocks; 0 if none."""
    want = s.slots[slot, col.S_PREFILL] - (hits << s.params[col.P_SHIFT])
    left = s.rep[g, col.R_LEFT]
    if s.rep[g, col.R_RULES] & col.RULE_CHUNKED:
        return min(want, left)
    if s.rep[g, col.R_RULES] & col.RULE_PADDED:
        longest = want
        chunks = s.rep[g, col.R_CHUNKS]
        for b in range(chunks):
            longest = max(longest, s.slots[s.batch[g, b], col.S_TOKENS])
            left += s.slots[s.batch[g, b], col.S_TOKENS]
        return want if (chunks + 1) * longest <= left else 0
    return want if want <= left else 0


@called
def admit(s: State, e: int, g: int, position: int, hits: int, tokens: int, now: int) -> None:
    """Admit the waiting request at a position, which has room, with its cached blocks and a first chunk of tokens."""
    slot = leave_waiting(s, e, g, position)
    blocks = blocks_wanted(s, e, g, slot)
    if hits > 0:
        s.rep[g, col.R_FREE] -= prefix_cache.take_hits(s.cache, g, s.block_nodes[e], content_start(s, e, slot), hits)
    take_blocks(s, e, g, blocks - hits, now)
    s.slots[slot, col.S_BLOCKS] = blocks
    s.slots[slot, col.S_KEYED] = hits
    s.slots[slot, col.S_COMPUTED] = hits << s.params[col.P_SHIFT]
    s.slots[slot, col.S_ADMITTED] = 1
    if s.slots[slot, col.S_SCHEDULED] < 0:
        s.slots[slot, col.S_SCHEDULED] = now
        s.slots[slot, col.S_CACHED] = hits << s.params[col.P_SHIFT]
    enter_running(s, g, slot)
    add_chunk(s, g, slot, tokens)
    if s.params[col.P_SCHEDULER]:
        replica = g - e * s.params[col.P_REPLICAS]
        s.hash[e] = fold(fold(fold(s.hash[e], s.slots[slot, col.S_NUMBER]), -(replica + 3)), now)


@called
def worst_running(s: State, g: int, rank: float) -> int:
    """Return the position of the running request of the highest rank, if it is above `rank`; else -1."""
    worst = -1
    for k in range(s.view_int[col.V_RUNNING, g]):
        slot = s.run[g, k]
        other = s.slot_rank[slot]
        if s.slots[slot, col.S_ADMITTED] == 0 and other > rank:
            if worst < 0:
                worst = k
            else:
                best = s.run[g, worst]
                if other > s.slot_rank[best] or (
                    other == s.slot_rank[best] and s.slots[slot, col.S_NUMBER] > s.slots[best, col.S_NUMBER]
                ):
                    worst = k
    return worst


@inlined
def may_admit(s: State, g: int) -> bool:
    """Return whether the iteration that replica g forms may admit at all."""
    return (s.rep[g, col.R_RULES] & col.RULE_ADMIT) != 0 or s.rep[g, col.R_SHORT] == 0


@called
def admit_all(s: State, e: int, g: int, now: int, sched: Scheduler) -> None:
    """Admit from the head of replica g's waiting queue until one does not fit."""
    asked = -1
    while s.view_int[col.V_WAITING, g] > 0 and s.rep[g, col.R_LEFT] > 0 and s.ctl[e, col.C_STATUS] == 0:
        if s.view_int[col.V_RUNNING, g] >= s.rep[g, col.R_PLAN_CAP] and s.params[col.P_PREEMPTIVE] == 0:
            return
        slot = s.wait_slot[g, s.wait_meta[g, col.Q_HEAD]]
        if s.params[col.P_S_ADMIT] and slot != asked:
            asked = slot
            if not sched.admit(scheduler_view(s, e, g, slot, sched), replica_of(s, e, g), engine_memory(s)):
                return
        hits = hit_blocks(s, e, g, slot)
        most = chunk_of(s, e, g, slot, hits)
        if most == 0:
            return
        if not has_room(s, e, g, slot, hits):
            worst = -1
            if s.params[col.P_PREEMPTIVE]:
                worst = worst_running(s, g, s.slot_rank[slot])
            if worst < 0:
                return
            evict(s, e, g, worst, now, sched)
            continue
        tokens = granted(s, e, g, slot, most, sched)
        if tokens == 0:
            return
        admit(s, e, g, 0, hits, tokens, now)


@inlined
def can_ask(s: State, e: int, g: int) -> bool:
    """Return whether an agent has anything to choose from in the iteration that replica g forms."""
    return (
        s.view_int[col.V_WAITING, g] > 0
        and s.rep[g, col.R_LEFT] > 0
        and s.view_int[col.V_RUNNING, g] < s.rep[g, col.R_PLAN_CAP]
        and may_admit(s, g)
    )


@inlined
def place_running(s: State, e: int, g: int, now: int, sched: Scheduler) -> None:
    """Give the running requests of replica g their tokens."""
    place_decodes(s, e, g, now, sched)
    place_partials(s, e, g, sched)
