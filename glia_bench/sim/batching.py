"""One replica's engine: iterations by the rules of docs/simulator.md, at constant work per iteration.

A decode needs nothing per token: its context, its next block and its end follow from the iteration at whose end it
began. So an iteration costs a ring entry for the blocks, a heap top for the completions and a few sums; a run of
iterations without prefill is one *stretch* with a closed-form end, cut short when a dispatch could change it. Only a
shortage of blocks walks the running list.
"""

from glia_bench.sim import columns as col
from glia_bench.sim.columns import INF
from glia_bench.sim.jit import inlined
from glia_bench.sim.lists import enter_running, heap_push, heap_remove, leave_running, release, wait
from glia_bench.sim.state import State
from glia_bench.sim.stretch import blocks_of, iteration_in_progress, stretch_blocks, stretch_length, stretch_time
from glia_bench.types import FINISHED

FINISHED_ONE, PREEMPTED_ONE = 1, 2
"""Bits of a step's result: what happened that may trigger a scan."""


@inlined
def start_decoding(s: State, g: int, slot: int) -> None:
    """Count a request among the decodes from the iteration after col.R_ITER on."""
    i0 = s.rep[g, col.R_ITER]
    known = s.slots[slot, col.S_PREFILL]
    s.slots[slot, col.S_START] = i0
    s.rep[g, col.R_DECODES] += 1
    s.rep[g, col.R_CSUM] += known - i0
    s.ring[g, (i0 + 1 - known) & (s.params[col.P_BLOCK] - 1)] += 1
    heap_push(s, g, s.rep[g, col.R_HEAP], ((i0 + s.slots[slot, col.S_TOTAL] - known - 1) << 32) | slot)
    s.rep[g, col.R_HEAP] += 1


@inlined
def stop_decoding(s: State, g: int, slot: int) -> None:
    """Undo what `start_decoding` counted, the heap aside."""
    i0 = s.slots[slot, col.S_START]
    known = s.slots[slot, col.S_PREFILL]
    s.rep[g, col.R_DECODES] -= 1
    s.rep[g, col.R_CSUM] -= known - i0
    s.ring[g, (i0 + 1 - known) & (s.params[col.P_BLOCK] - 1)] -= 1
    s.slots[slot, col.S_START] = -1


@inlined
def preempt(s: State, g: int, slot: int, j: int) -> None:
    """Preempt a running request that iteration j has not placed: free its blocks, keep its tokens, wait at the head."""
    i0 = s.slots[slot, col.S_START]
    known = s.slots[slot, col.S_PREFILL]
    if i0 < 0:
        s.rep[g, col.R_FREE] += blocks_of(s, known)
        s.rep[g, col.R_PREFILLING] -= known
        s.rep[g, col.R_PARTIAL] = -1
    else:
        s.rep[g, col.R_FREE] += blocks_of(s, known + j - 1 - i0)
        end = (i0 + s.slots[slot, col.S_TOTAL] - known - 1) << 32 | slot
        i = 0
        while s.heap[g, i] != end:
            i += 1
        heap_remove(s, g, s.rep[g, col.R_HEAP], i)
        s.rep[g, col.R_HEAP] -= 1
        stop_decoding(s, g, slot)
        s.slots[slot, col.S_PREFILL] = known + j - i0
    leave_running(s, g, slot)
    s.slots[slot, col.S_RESTARTS] += 1
    s.view_int[col.V_PREEMPTIONS, g] += 1
    wait(s, g, slot, True)


@inlined
def place_decodes_short(s: State, g: int, j: int) -> bool:
    """Place iteration j's decodes one by one, preempting where a block is short; return whether any was preempted.

    Everything after the current request in the running list is not yet placed, so the victim is always the tail.
    """
    preempted = False
    mask = s.params[col.P_BLOCK] - 1
    slot = s.rep[g, col.R_RUN_HEAD]
    while slot >= 0:
        i0 = s.slots[slot, col.S_START]
        if i0 < 0:
            slot = s.slots[slot, col.S_NEXT]
            continue
        needs = ((j - (i0 + 1 - s.slots[slot, col.S_PREFILL])) & mask) == 0
        while (needs or s.params[col.P_SPARE]) and s.rep[g, col.R_FREE] == 0:
            victim = s.rep[g, col.R_RUN_TAIL]
            preempted = True
            preempt(s, g, victim, j)
            if victim == slot:
                return True
        if needs:
            s.rep[g, col.R_FREE] -= 1
        slot = s.slots[slot, col.S_NEXT]
    return preempted


@inlined
def finish(s: State, e: int, g: int, slot: int, now: int) -> None:
    """Write a finished request's record and let go of it (after on_finish, where that hook exists)."""
    leave_running(s, g, slot)
    prompt = s.slots[slot, col.S_PROMPT]
    s.view_int[col.V_INFLIGHT, g] -= 1
    s.view_int[col.V_INFLIGHT_PROMPT, g] -= prompt
    s.view_int[col.V_INFLIGHT_BLOCKS, g] -= blocks_of(s, prompt)
    row = s.slots[slot, col.S_ROW]
    s.records[row, 0] = FINISHED
    s.records[row, 1] = g - e * s.params[col.P_REPLICAS]
    s.records[row, 2] = s.slots[slot, col.S_RESTARTS]
    s.records[row, 3] = s.slots[slot, col.S_DISPATCHED]
    s.records[row, 4] = s.slots[slot, col.S_SCHEDULED]
    s.records[row, 5] = s.slots[slot, col.S_FIRST]
    s.records[row, 6] = now
    s.ctl[e, col.C_LIVE] -= 1
    s.ctl[e, col.C_SUM] += now
    if s.params[col.P_HAS_FINISH]:
        k = s.ctl[e, col.C_EVENTS]
        s.events[e, k, 0] = col.EVENT_FINISH
        s.events[e, k, 1] = slot
        s.ctl[e, col.C_EVENTS] = k + 1
    else:
        release(s, e, slot)


@inlined
def end_iteration(s: State, e: int, g: int, now: int) -> int:
    """End replica g's stretch: tokens, completions, first tokens. Returns FINISHED_ONE or 0."""
    result = 0
    if s.rep[g, col.R_SEG] > 1:
        s.rep[g, col.R_FREE] -= stretch_blocks(s, g, s.rep[g, col.R_SEG])
        s.rep[g, col.R_ITER] += s.rep[g, col.R_SEG] - 1
    j = s.rep[g, col.R_ITER]
    while s.rep[g, col.R_HEAP] > 0 and (s.heap[g, 0] >> 32) == j:
        slot = s.heap[g, 0] & 0xFFFFFFFF
        heap_remove(s, g, s.rep[g, col.R_HEAP], 0)
        s.rep[g, col.R_HEAP] -= 1
        s.rep[g, col.R_FREE] += blocks_of(s, s.slots[slot, col.S_TOTAL] - 1)
        stop_decoding(s, g, slot)
        finish(s, e, g, slot, now)
        result = FINISHED_ONE
    slot = s.rep[g, col.R_CHAIN]
    while slot >= 0:
        chained = s.slots[slot, col.S_CHAIN]
        known = s.slots[slot, col.S_PREFILL]
        s.rep[g, col.R_PREFILLING] -= known
        if s.slots[slot, col.S_FIRST] < 0:
            s.slots[slot, col.S_FIRST] = now
            s.view_int[col.V_UNPREFILLED, g] -= s.slots[slot, col.S_PROMPT]
            if s.params[col.P_HAS_FIRST]:
                k = s.ctl[e, col.C_EVENTS]
                s.events[e, k, 0] = col.EVENT_FIRST
                s.events[e, k, 1] = slot
                s.ctl[e, col.C_EVENTS] = k + 1
        if s.slots[slot, col.S_TOTAL] == known + 1:
            s.rep[g, col.R_FREE] += blocks_of(s, known)
            finish(s, e, g, slot, now)
            result = FINISHED_ONE
        else:
            start_decoding(s, g, slot)
        slot = chained
    s.rep[g, col.R_CHAIN] = -1
    return result


@inlined
def begin_iteration(s: State, g: int, now: int) -> int:
    """Start replica g's next iteration, or a stretch of pure decodes, at `now`. Returns PREEMPTED_ONE or 0."""
    j = s.rep[g, col.R_ITER] + 1
    s.rep[g, col.R_ITER] = j
    mask = s.params[col.P_BLOCK] - 1
    need = s.ring[g, j & mask]
    preempted = False
    if need + s.params[col.P_SPARE] > s.rep[g, col.R_FREE] and s.rep[g, col.R_DECODES] > 0:
        preempted = place_decodes_short(s, g, j)
    else:
        s.rep[g, col.R_FREE] -= need
    decodes = s.rep[g, col.R_DECODES]
    budget = s.params[col.P_BUDGET] - decodes
    pairs = 0
    chunks = 0
    partial = s.rep[g, col.R_PARTIAL]
    if partial >= 0:
        done = s.rep[g, col.R_PARTIAL_DONE]
        chunk = min(s.slots[partial, col.S_PREFILL] - done, budget)
        pairs = chunk * (2 * done + chunk)
        chunks = 1
        budget -= chunk
        s.rep[g, col.R_PARTIAL_DONE] = done + chunk
        if done + chunk == s.slots[partial, col.S_PREFILL]:
            s.slots[partial, col.S_CHAIN] = -1
            s.rep[g, col.R_CHAIN] = partial
            s.rep[g, col.R_PARTIAL] = -1
    if s.params[col.P_ADMIT] or not preempted:
        while (
            s.view_int[col.V_WAITING, g] > 0
            and s.view_int[col.V_RUNNING, g] < s.params[col.P_MAX_RUNNING]
            and budget > 0
        ):
            slot = s.rep[g, col.R_WAIT_HEAD]
            known = s.slots[slot, col.S_PREFILL]
            blocks = blocks_of(s, known)
            if s.rep[g, col.R_FREE] - blocks < s.params[col.P_WATERMARK]:
                break
            s.rep[g, col.R_WAIT_HEAD] = s.slots[slot, col.S_NEXT]
            s.view_int[col.V_WAITING, g] -= 1
            s.view_int[col.V_WAITING_TOKENS, g] -= known
            s.view_int[col.V_WAITING_BLOCKS, g] -= blocks
            s.rep[g, col.R_FREE] -= blocks
            s.rep[g, col.R_PREFILLING] += known
            enter_running(s, g, slot)
            if s.slots[slot, col.S_SCHEDULED] < 0:
                s.slots[slot, col.S_SCHEDULED] = now
            chunk = min(known, budget)
            pairs += chunk * chunk
            chunks += 1
            budget -= chunk
            if chunk == known:
                s.slots[slot, col.S_CHAIN] = s.rep[g, col.R_CHAIN]
                s.rep[g, col.R_CHAIN] = slot
            else:
                s.rep[g, col.R_PARTIAL] = slot
                s.rep[g, col.R_PARTIAL_DONE] = chunk
    tokens = s.params[col.P_BUDGET] - budget
    result = PREEMPTED_ONE if preempted else 0
    if tokens == 0:
        s.rep[g, col.R_BUSY] = 0
        s.rep[g, col.R_SEG] = 1
        s.next_ps[g] = INF
        return result
    context = decodes * j + s.rep[g, col.R_CSUM]
    token_ps = s.token_ps[0, tokens] + s.decode_ps[0, decodes]
    slope = s.context_ps[0, decodes]
    s.rep[g, col.R_BUSY] = 1
    s.rep[g, col.R_START] = now
    s.rep[g, col.R_SEG] = 1
    s.rep[g, col.R_TOKEN_PS] = token_ps
    s.rep[g, col.R_SLOPE] = slope
    s.rep[g, col.R_CONTEXT] = context
    if tokens == decodes and not preempted:
        s.rep[g, col.R_SEG] = stretch_length(s, g, j)
        s.next_ps[g] = now + stretch_time(s, g, s.rep[g, col.R_SEG])
    else:
        prefill = s.params[col.P_CHUNK_PS] * chunks + s.params[col.P_PAIR_PS] * pairs
        s.next_ps[g] = now + token_ps + slope * context + prefill
    return result


@inlined
def dispatch(s: State, g: int, slot: int, now: int) -> None:
    """Give a request to replica g at `now`: wake it if idle, or cut short a stretch that it could change."""
    prompt = s.slots[slot, col.S_PROMPT]
    s.slots[slot, col.S_DISPATCHED] = now
    s.slots[slot, col.S_REPLICA] = g
    s.view_int[col.V_INFLIGHT, g] += 1
    s.view_int[col.V_INFLIGHT_PROMPT, g] += prompt
    s.view_int[col.V_INFLIGHT_BLOCKS, g] += blocks_of(s, prompt)
    s.view_int[col.V_INFLIGHT_TOKENS, g] += prompt
    s.view_int[col.V_UNPREFILLED, g] += prompt
    if s.rep[g, col.R_BUSY] == 0:
        s.next_ps[g] = now
    elif (
        s.rep[g, col.R_SEG] > 1
        and s.view_int[col.V_WAITING, g] == 0
        and s.view_int[col.V_RUNNING, g] < s.params[col.P_MAX_RUNNING]
    ):
        m = iteration_in_progress(s, g, now)
        if m < s.rep[g, col.R_SEG]:
            s.next_ps[g] = s.rep[g, col.R_START] + stretch_time(s, g, m)
            s.rep[g, col.R_SEG] = m
    wait(s, g, slot, False)
