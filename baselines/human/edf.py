"""Earliest deadline first: waiting requests by arrival plus the objective of their first token.

Requests without an objective come last, ties go by arrival. A preempted request keeps its deadline, and nobody who runs
is preempted for somebody who waits.

Source: the ordering by SLO deadline of llm-d's router, flow control; here inside the engine.
Loses: once deadlines are missed anyway: it serves the request that has waited longest first, hopeless or not. With one
limit for all it is first come, first served, but for what a longer prompt is allowed.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "llm-d/llm-d-router@ebab6879, pkg/epp/framework/plugins/flowcontrol/"
LAST_S = 1e12  # after every deadline


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Order by the instant at which the first token is due."""
    return min(request.arrival_s + request.ttft_slo_s, LAST_S)
