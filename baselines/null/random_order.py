"""Random order: waiting requests are admitted by lot, drawn once for each.

Source: the permanent random row of this benchmark for scheduling; vLLM and SGLang serve in order of arrival instead.
Loses: to first come, first served in the tail, and to any order that knows something; it says what order is worth.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "this benchmark: the row of a scheduler that draws lots"


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Rank by the first of the request's uniforms."""
    return request.u[0]
