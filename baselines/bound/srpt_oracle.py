"""Shortest remaining work first, with true output lengths and true preemption costs.

Waiting and running requests are ordered by what is still to be computed: prefill tokens at PREFILL_WEIGHT each, output
tokens at 1. A waiting request takes the place of a running one with more left; the loser computes again.

Source: shortest remaining processing time (Schrage 1968), given true lengths in place of estimates.
Loses: batches share memory and iterations, so what is optimal on one server is not here; long requests starve.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "Schrage 1968, shortest remaining processing time; output lengths from the trace"
PREEMPTIVE = True
DYNAMIC_RANK = True
PREFILL_WEIGHT = 0.1
TUNABLE = {"PREFILL_WEIGHT": (0.01, 1.0, "log")}


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Least remaining work first."""
    prefill = request.prompt_tokens + request.generated_tokens - request.computed_tokens
    return PREFILL_WEIGHT * max(0, prefill) + request.predicted_tokens - request.generated_tokens
