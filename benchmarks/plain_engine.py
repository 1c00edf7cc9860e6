"""A plain compiled engine to compare the fast one with: same semantics, but it loops over the batch in every iteration.

It is written as one would write a per-token simulator with care: flat arrays, no allocation in the loop, Numba, the
router (fewest waiting + running) built in. It serves no task; it is the yardstick of `ratios.py`, and each comparison
first checks that both engines give the same records.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from glia_bench.case import Case

Ints = npt.NDArray[np.int64]
FIRST, FINISHED, RESTARTS = 0, 1, 2
INF = 2**62


@njit(cache=True, error_model="numpy")
def _run(
    arrival: Ints,
    prompt: Ints,
    output: Ints,
    token_ps: Ints,
    num_replicas: int,
    block: int,
    num_blocks: int,
    watermark: int,
    spare: int,
    admit_after_preemption: int,
    by_arrival: int,
    budget: int,
    max_running: int,
    context_ps: int,
    pair_ps: int,
) -> Ints:
    num = len(arrival)
    result = np.zeros((num, 3), dtype=np.int64)
    known = prompt.copy()  # prompt + generated
    prefill = prompt.copy()  # tokens to compute before the next token
    done = np.zeros(num, dtype=np.int64)  # of those
    held = np.zeros(num, dtype=np.int64)  # blocks
    chunk = np.zeros(num, dtype=np.int64)  # tokens in the iteration in progress
    following = np.full(num, -1, dtype=np.int64)
    running = np.zeros((num_replicas, max_running), dtype=np.int64)
    num_running = np.zeros(num_replicas, dtype=np.int64)
    head = np.full(num_replicas, -1, dtype=np.int64)
    tail = np.full(num_replicas, -1, dtype=np.int64)
    num_waiting = np.zeros(num_replicas, dtype=np.int64)
    free = np.full(num_replicas, num_blocks, dtype=np.int64)
    next_ps = np.full(num_replicas, INF, dtype=np.int64)
    busy = np.zeros(num_replicas, dtype=np.int64)
    result[:, FIRST] = -1
    for i in range(num + 1):
        limit = arrival[i] if i < num else INF - 1
        for g in range(num_replicas):
            while next_ps[g] <= limit:
                now = next_ps[g]
                if busy[g]:  # end of the iteration: one token for decodes and for completed prefills
                    kept = 0
                    for k in range(num_running[g]):
                        r = running[g, k]
                        if done[r] < prefill[r]:
                            done[r] += chunk[r]
                            if done[r] < prefill[r]:
                                running[g, kept] = r
                                kept += 1
                                continue
                        known[r] += 1
                        if result[r, FIRST] < 0:
                            result[r, FIRST] = now
                        if known[r] == prompt[r] + output[r]:
                            result[r, FINISHED] = now
                            free[g] += held[r]
                        else:
                            running[g, kept] = r
                            kept += 1
                    num_running[g] = kept
                # start of the next iteration
                tokens = 0
                context = 0
                pairs = 0
                preempted = False
                k = 0
                while k < num_running[g]:
                    r = running[g, k]
                    if done[r] == prefill[r]:
                        needs = (known[r] + block - 1) // block > held[r]
                        gone = False
                        while (needs or spare) and free[g] == 0:
                            num_running[g] -= 1
                            v = running[g, num_running[g]]
                            free[g] += held[v]
                            held[v] = 0
                            prefill[v] = known[v]
                            done[v] = 0
                            result[v, RESTARTS] += 1
                            preempted = True
                            following[v] = head[g]
                            if head[g] < 0:
                                tail[g] = v
                            head[g] = v
                            num_waiting[g] += 1
                            if v == r:
                                gone = True
                                break
                        if gone:
                            break
                        if needs:
                            held[r] += 1
                            free[g] -= 1
                        tokens += 1
                        context += known[r]
                    k += 1
                left = budget - tokens
                for k in range(num_running[g]):
                    r = running[g, k]
                    if done[r] < prefill[r]:
                        chunk[r] = min(prefill[r] - done[r], left)
                        left -= chunk[r]
                        tokens += chunk[r]
                        pairs += chunk[r] * (2 * done[r] + chunk[r])
                if admit_after_preemption or not preempted:
                    while head[g] >= 0 and num_running[g] < max_running and left > 0:
                        r = head[g]
                        blocks = (prefill[r] + block - 1) // block
                        if free[g] - blocks < watermark:
                            break
                        head[g] = following[r]
                        num_waiting[g] -= 1
                        free[g] -= blocks
                        held[r] = blocks
                        place = num_running[g]
                        if by_arrival:
                            while place > 0 and running[g, place - 1] > r:
                                running[g, place] = running[g, place - 1]
                                place -= 1
                        running[g, place] = r
                        num_running[g] += 1
                        chunk[r] = min(prefill[r], left)
                        left -= chunk[r]
                        tokens += chunk[r]
                        pairs += chunk[r] * chunk[r]
                busy[g] = tokens > 0
                next_ps[g] = now + token_ps[tokens] + context_ps * context + pair_ps * pairs if tokens > 0 else INF
        if i < num:
            best = 0
            for g in range(1, num_replicas):
                if num_waiting[g] + num_running[g] < num_waiting[best] + num_running[best]:
                    best = g
            following[i] = -1
            if head[best] < 0:
                head[best] = i
            else:
                following[tail[best]] = i
            tail[best] = i
            num_waiting[best] += 1
            if not busy[best]:
                next_ps[best] = arrival[i]
    return result


def simulate(case: Case) -> Ints:
    """Run a case under `llq` to its end.

    Returns:
        First-token time, finish time (ps) and restarts per request; int64, shape (num_requests, 3).
    """
    cluster, engine, latency = case.cluster, case.cluster.pools[0].engine, case.cluster.pools[0].latency
    return _run(
        case.trace.arrival_ps,
        case.trace.prompt_tokens,
        case.trace.output_tokens,
        np.array(latency.token_ps),
        cluster.num_replicas,
        engine.block_size_tokens,
        engine.num_blocks,
        engine.watermark_blocks,
        int(engine.spare_block),
        int(engine.admit_after_preemption),
        int(engine.order == "arrival"),
        engine.token_budget,
        engine.max_running,
        int(latency.context_ps[0]),
        latency.pair_ps,
    )
