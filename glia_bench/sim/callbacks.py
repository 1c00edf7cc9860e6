"""Scheduling hooks as plain Python, called from inside the kernel: first-class functions that ask the interpreter.

A scheduling point asks many questions in the middle of a step, so the kernel does not return for each as it does for a
router's. One run at a time has its hooks here; what goes wrong in one is kept for it, and the kernel stops.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numba import njit, objmode

from glia_bench.features import Memory, Replica, Request
from glia_bench.sim import columns as col
from glia_bench.sim import messages
from glia_bench.sim.default_hooks import SCHEDULER
from glia_bench.sim.replica import HOOK_FAILED
from glia_bench.sim.signatures import SCHEDULER_TYPES
from glia_bench.sim.state import State
from glia_bench.types import Status


class Callbacks:
    """The scheduling hooks of the run in progress, checked answer by answer.

    Attributes:
        failure: Status and message of the first thing that went wrong, or None.
    """

    def __init__(self, hooks: Mapping[str, Callable[..., Any]], state: State) -> None:
        self.hooks = hooks
        self.ctl = state.ctl
        self.failure: tuple[Status, str] | None = None

    def call(self, name: str, subject: str, *arguments: Any) -> Any:
        """Call a hook; after a failure nothing is called any more, and the answer is None."""
        if self.failure is not None:
            return None
        try:
            return self.hooks[name](*arguments)
        except Exception as error:
            self.fail("policy_error", messages.raised(name, subject, error))
            return None

    def fail(self, status: Status, message: str) -> None:
        """Stop the kernel."""
        if self.failure is None:
            self.failure = (status, message)
            self.ctl[0, col.C_STATUS] = HOOK_FAILED

    def rank(self, name: str, request: Request, replica: Replica, memory: Memory) -> float:
        """Ask for a rank or evict rank."""
        answer = self.call(name, f"request {request.id}", request, replica, memory)
        if self.failure is None and not _is_finite(answer):
            self.fail("bad_decision", messages.bad_rank(name, f"request {request.id}", answer))
        return float(answer) if self.failure is None else 0.0

    def admit(self, request: Request, replica: Replica, memory: Memory) -> bool:
        """Ask whether the head of the queue may enter."""
        return bool(self.call("admit", f"request {request.id}", request, replica, memory))

    def tokens(self, request: Request, replica: Replica, left: int, memory: Memory) -> int:
        """Ask for a chunk size."""
        answer = self.call("tokens", f"request {request.id}", request, replica, int(left), memory)
        if self.failure is None and (not _is_integer(answer) or answer < 0):
            self.fail("bad_decision", messages.bad_tokens(request.id, answer))
        return min(int(answer), 2**40) if self.failure is None else 0

    def plan(self, replica: Replica, memory: Memory) -> tuple[int, int]:
        """Ask for the budgets."""
        answer = self.call("plan", f"replica {replica.id}", replica, memory)
        limits = (replica.token_budget, replica.max_running)
        if self.failure is None and not _is_plan(answer, limits):
            self.fail("bad_decision", messages.bad_plan(replica.id, answer, *limits))
        return (int(answer[0]), int(answer[1])) if self.failure is None else (1, 1)

    def on_step(self, replica: Replica, memory: Memory) -> None:
        """Tell of a scheduling point."""
        self.call("on_step", f"replica {replica.id}", replica, memory)


def _is_integer(answer: Any) -> bool:
    return isinstance(answer, int | np.integer) and not isinstance(answer, bool | np.bool_)


def _is_finite(answer: Any) -> bool:
    is_number = isinstance(answer, int | float | np.integer | np.floating) and not isinstance(answer, bool)
    return is_number and bool(np.isfinite(float(answer)))


def _is_plan(answer: Any, limits: tuple[int, int]) -> bool:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return False
    return all(_is_integer(x) and 1 <= x <= limit for x, limit in zip(answer, limits, strict=True))


_current: list[Callbacks] = []


def _rank(request: Any, replica: Any, memory: Any) -> float:
    return _current[-1].rank("rank", request, replica, memory)


def _evict_rank(request: Any, replica: Any, memory: Any) -> float:
    return _current[-1].rank("evict_rank", request, replica, memory)


def _admit(request: Any, replica: Any, memory: Any) -> bool:
    return _current[-1].admit(request, replica, memory)


def _tokens(request: Any, replica: Any, left: Any, memory: Any) -> int:
    return _current[-1].tokens(request, replica, left, memory)


def _plan(replica: Any, memory: Any) -> tuple[int, int]:
    return _current[-1].plan(replica, memory)


def _on_step(replica: Any, memory: Any) -> None:
    _current[-1].on_step(replica, memory)


def _ask_rank(request: Any, replica: Any, memory: Any) -> Any:
    with objmode(answer="float64"):
        answer = _rank(request, replica, memory)
    return answer


def _ask_evict_rank(request: Any, replica: Any, memory: Any) -> Any:
    with objmode(answer="float64"):
        answer = _evict_rank(request, replica, memory)
    return answer


def _ask_admit(request: Any, replica: Any, memory: Any) -> Any:
    with objmode(answer="boolean"):
        answer = _admit(request, replica, memory)
    return answer


def _ask_tokens(request: Any, replica: Any, left: Any, memory: Any) -> Any:
    with objmode(answer="int64"):
        answer = _tokens(request, replica, left, memory)
    return answer


def _ask_plan(replica: Any, memory: Any) -> Any:
    with objmode(answer="UniTuple(int64, 2)"):
        answer = _plan(replica, memory)
    return answer


def _tell_step(replica: Any, memory: Any) -> None:
    with objmode():
        _on_step(replica, memory)


_ASKING = {
    "rank": _ask_rank,
    "admit": _ask_admit,
    "evict_rank": _ask_evict_rank,
    "tokens": _ask_tokens,
    "plan": _ask_plan,
    "on_step": _tell_step,
}
_compiled: dict[str, Any] = {}


def first_class(hooks: Mapping[str, Callable[..., Any]]) -> tuple[Any, ...]:
    """Return functions for the kernel: those of the hooks that a design has ask `Callbacks`, the rest are defaults."""
    functions = []
    for name, (arguments, result) in SCHEDULER_TYPES.items():
        if name not in hooks:
            functions.append(SCHEDULER[name])
            continue
        if name not in _compiled:
            _compiled[name] = njit(result(*arguments))(_ASKING[name])
        functions.append(_compiled[name])
    return tuple(functions)


def enter(callbacks: Callbacks) -> None:
    """Let the kernel ask these hooks from now on, until `leave`."""
    _current.append(callbacks)


def leave() -> None:
    """Let the kernel ask what it asked before."""
    _current.pop()
