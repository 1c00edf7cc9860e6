"""Shortest prompt first: waiting requests by prompt length, ties by arrival; nobody who runs is preempted for it.

All else is the engine's. The prompt is the part of a request's work that is known when it arrives.

Source: BLIS, scheduler `sjf` (waiting queue by prompt tokens, arrival, id).
Loses: where outputs, not prompts, are the work; and long prompts starve under sustained load, so the tail pays for the
mean.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "inference-sim/inference-sim@f90a1e3a (BLIS), docs/guide/scheduling.md, sjf"


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Shortest prompt first."""
    return float(request.prompt_tokens)
