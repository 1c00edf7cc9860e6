"""Shortest prompt first with ageing: every second of waiting makes a prompt TOKENS_PER_S tokens shorter.

Since all waiting requests age alike, the order of two never changes, and prompt plus rate times arrival is enough to
sort by. A rate of 0 is shortest prompt first; a high one is first come, first served.

Source: ageing, the textbook cure for starvation, on shortest prompt first; the rate is chosen here and tunable.
Loses: where outputs, not prompts, are the work; and under a long overload, when all prompts have aged and the short
ones wait with them.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "textbook: shortest job first with ageing; no single publication"
NAME = "sjf-aged-style"
TUNABLE = {"TOKENS_PER_S": (0.0, 2000.0)}
TOKENS_PER_S = 20.0


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Order by the prompt less what it has aged, up to a term that is the same for all."""
    return request.prompt_tokens + TOKENS_PER_S * request.arrival_s
