"""Earliest deadline first among those that can still make it: who cannot waits behind everybody who can.

In the order of their deadlines, waiting requests are given the time at which their first token would come if prompts
were computed one after the other, at SHARE of the engine's speed since others decode beside them. Whoever is too late
is put behind all who are not, and takes no part in their sums.

Source: QLM (SoCC 2024), waiting times from the queue ahead, order by deadline; without its groups, models and eviction.
Loses: for the requests that it gives up: those wait until nobody can make it, however long that takes.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "arXiv 2407.00047 (QLM), request waiting time estimator and global scheduler"
DYNAMIC_RANK = True
TUNABLE = {"SHARE": (0.05, 1.0)}
SHARE = 0.8
LATE_S = 1e9  # after every deadline
LAST_S = 1e8  # the deadline of who has none
AHEAD_S = 0
MEMORY = {"shared": 1}


def on_step(replica: Replica, memory: Memory) -> None:
    """Begin to add up the prefills of the queue, which is asked for its ranks in order."""
    memory.shared[AHEAD_S] = 0.0


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Order by the deadline, those who will miss it last."""
    due_s = min(request.arrival_s + request.ttft_slo_s, LAST_S)
    if request.computed_tokens > 0 or request.generated_tokens > 0:  # it runs, or was preempted: it has had its first
        return due_s
    perf = replica.perf
    prefill_s = perf.token_s * request.prompt_tokens + perf.prefill_pair_s * request.prompt_tokens**2
    ready_s = replica.now_s + perf.fixed_s + (memory.shared[AHEAD_S] + prefill_s) / SHARE
    if ready_s > due_s:
        return LATE_S + due_s
    memory.shared[AHEAD_S] += prefill_s
    return due_s
