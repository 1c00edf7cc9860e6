"""Shortest predicted output first, those that run included, with a class for the starved.

Requests go by the length predictor's estimate, made once; the shorter takes the place of the longest that runs when
memory or places are short. Whoever has waited STARVED_POINTS scheduling points in a row comes before all others until
it has run PROMOTED_POINTS of them. The source trains a ranker and counts steps; here the ranker is the predictor of the
task, and where that grants none all is first come, first served.

Source: learning to rank (arXiv 2408.15792); periods of its released code, the predictor's quality is the task's.
Loses: where predictions are poor, and where memory or places are short: every preemption is computed again,
and a starved request takes a place for a few iterations only to lose it.
"""

from glia_bench.features import Memory, Replica, Request

NAME = "ltr-style"
SOURCE = "hao-ai-lab/vllm-ltr@13bbf6ff, vllm/core/scheduler.py"
PREEMPTIVE = True
DYNAMIC_RANK = True
TUNABLE = {"STARVED_POINTS": (10, 100000, "log"), "PROMOTED_POINTS": (1, 1000, "log")}
STARVED_POINTS = 200
PROMOTED_POINTS = 10
WAITED, PROMOTED = 0, 1
MEMORY = {"request": 2}


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Order by the predicted output, the promoted first; keep count of the points waited and run."""
    if request.predicted_tokens <= 0:
        return 0.0
    row = memory.request[request.slot]
    if request.computed_tokens > 0:  # it runs
        row[WAITED] = 0.0
        row[PROMOTED] = max(row[PROMOTED] - 1.0, 0.0)
    else:
        row[WAITED] += 1.0
        if row[WAITED] >= STARVED_POINTS:
            row[PROMOTED], row[WAITED] = PROMOTED_POINTS + 1.0, 0.0
    return -1.0 if row[PROMOTED] > 0 else request.predicted_tokens
