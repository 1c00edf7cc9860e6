"""Iteration-level batching that reserves memory for the longest output: nothing is ever preempted.

The head of the queue enters if the blocks of its prompt plus the most tokens that its client allows are left beside
those of all that run, and the batch has fewer than MAX_BATCH; or if nothing runs. Orca computes a prompt in one
iteration whatever its length; here the engine's token budget cuts it.

Source: Orca (OSDI 2022), as in Vidur's scheduler of that name.
Loses: wherever clients allow many more tokens than they get: most of the reserved memory is never used, a few requests
fill the replica, and all others wait.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "microsoft/vidur@7d475133, vidur/scheduler/replica_scheduler/orca_replica_scheduler.py"
TUNABLE = {"RESERVED_SHARE": (0.01, 1.0, "log"), "MAX_BATCH": (8, 256, "log")}
RESERVED_SHARE = 1.0  # of the output that the client allows
MAX_BATCH = 128
MEMORY = {"shared": 1}  # blocks reserved by those that run, added up anew at each scheduling point


def reservation(request: Request, replica: Replica) -> int:
    """Return the blocks that are set aside for a request."""
    output = max(request.generated_tokens, int(RESERVED_SHARE * request.max_tokens))
    return (request.prompt_tokens + output + replica.block_size_tokens - 1) // replica.block_size_tokens


def plan(replica: Replica, memory: Memory) -> tuple[int, int]:
    """Return the engine's budget and the batch."""
    return replica.token_budget, min(MAX_BATCH, replica.max_running)


def on_step(replica: Replica, memory: Memory) -> None:
    """Begin to count: each running request is asked for its tokens before anybody is admitted."""
    memory.shared[0] = 0.0


def tokens(request: Request, replica: Replica, left: int, memory: Memory) -> int:
    """Count the reservation of whoever runs or enters now; give it all tokens that are left."""
    memory.shared[0] += reservation(request, replica)
    return left


def admit(request: Request, replica: Replica, memory: Memory) -> bool:
    """Admit where prompt and longest output fit beside all other reservations."""
    unreserved = replica.capacity_blocks - memory.shared[0]
    return replica.running == 0 or reservation(request, replica) <= unreserved
