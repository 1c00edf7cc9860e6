"""Shortest predicted remaining output first, with preemption allowed early in a request's life only.

The shorter takes the place of the longest that runs when memory or places are short, but only of one that has generated
less than LIMIT of its prediction: the memory lost would be too much later on. The source refines its prediction with
every token from the model's own embeddings; here it is made once. Where a task grants no predictor all is first come,
first served.

Source: TRAIL (arXiv 2410.01035); the limit as recalled, and tunable.
Loses: where outputs run far beyond their prediction: such a request counts as about to end for as long as it lasts.
"""

from glia_bench.features import Memory, Replica, Request

NAME = "trail-style"
SOURCE = "arXiv 2410.01035 (TRAIL), section on limited preemption"
PREEMPTIVE = True
DYNAMIC_RANK = True
TUNABLE = {"LIMIT": (0.0, 1.0)}
LIMIT = 0.8


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Order by what is left of the prediction; before all who wait, whoever may no longer be preempted."""
    if request.predicted_tokens <= 0:
        return 0.0
    if request.computed_tokens > 0 and request.generated_tokens >= int(LIMIT * request.predicted_tokens):
        return -1.0
    return max(request.predicted_tokens - request.generated_tokens, 0.0)
