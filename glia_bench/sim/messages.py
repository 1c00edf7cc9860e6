"""What a run tells a design's author when it breaks the rules: one text for each rule, in every simulator.

Holds words only: what is checked, and when, is each simulator's own.
"""

from typing import Any

import numpy as np

from glia_bench.errors import text_of
from glia_bench.features import HOLD, REJECT


def raised(hook: str, subject: str, error: BaseException) -> str:
    """An exception in a hook; the subject is "request 3", "replica 0" or empty."""
    return f"{hook} raised {type(error).__name__}{_for(subject)}: {text_of(error)}"


def bad_route(hook: str, request_id: int, answer: Any, num_replicas: int) -> str:
    """An answer of route or assign that is no ready replica, HOLD or REJECT."""
    return (
        f"{hook} answered {_shown(answer)} for request {request_id}; "
        f"it must be a ready replica's index 0..{num_replicas - 1}, HOLD ({HOLD}) or REJECT ({REJECT})"
    )


def bad_rank(hook: str, subject: str, answer: Any) -> str:
    """A rank, evict_rank or drain_rank that cannot be compared; the subject is "request 3" or "replica 0"."""
    return f"{hook} answered {_shown(answer)}{_for(subject)}; it must be a finite number"


def bad_tokens(request_id: int, answer: Any) -> str:
    """A chunk size below 0 or no integer."""
    return f"tokens answered {_shown(answer)} for request {request_id}; it must be an integer of at least 0"


def bad_plan(replica_id: int, answer: Any, token_budget: int, max_running: int) -> str:
    """A plan that is no pair of integers within the engine's own limits."""
    return (
        f"plan answered {_shown(answer)} for replica {replica_id}; it must be a pair of integers: a token budget from "
        f"1 to {token_budget} and a number of running requests from 1 to {max_running}"
    )


def bad_scale(pool_name: str, answer: Any, smallest: int, largest: int) -> str:
    """A size that is no integer within the quota of its pool."""
    return f"scale answered {_shown(answer)} for pool {pool_name!r}; it must be an integer from {smallest} to {largest}"


def bad_scale_shape(answer: Any, num_pools: int) -> str:
    """An answer of scale that is not one number per pool."""
    return (
        f"scale answered {_shown(answer)}; it must be {num_pools} integers, one per pool"
        f"{' (or the integer itself)' if num_pools == 1 else ''}"
    )


def stalled(replica_id: int, limit_s: float, waiting: int, running: int) -> str:
    """A scheduler that let its replica stand still for too long."""
    return (
        f"replica {replica_id} computed nothing for {limit_s:g} s with {waiting} requests waiting and {running} "
        f"running; admit must let one in, or tokens give one a token"
    )


def held_too_long(limit_s: float, num_held: int, head_id: int) -> str:
    """A router that held everything before an idle cluster for too long."""
    return (
        f"the whole cluster was idle for {limit_s:g} s with {num_held} requests held; "
        f"an idle replica must be given work (request {head_id} waits at the head)"
    )


def _for(subject: str) -> str:
    return f" for {subject}" if subject else ""


def _shown(answer: Any) -> str:
    """Return an answer as text that does not tell a NumPy number from a plain one."""
    if isinstance(answer, np.integer | np.floating | np.bool_):
        return repr(answer.item())
    if isinstance(answer, tuple | list):
        return f"({', '.join(_shown(x) for x in answer)})"
    if isinstance(answer, np.ndarray):
        return _shown(tuple(answer.ravel()))
    return repr(answer)
