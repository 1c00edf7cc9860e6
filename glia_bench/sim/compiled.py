"""The kernel for compiled policies: one run, hooks as first-class functions.

The hooks' signatures are fixed, so the kernel is compiled once, cached, and never again for a new policy. Importing
this module compiles it or loads it from the cache.
"""

from typing import Any

import numpy as np
from numba import types

from glia_bench.features import Memory, Perf, Replicas
from glia_bench.sim import default_hooks
from glia_bench.sim.jit import kernel, plain
from glia_bench.sim.kernel import advance
from glia_bench.sim.queue_columns import AssignBuffers
from glia_bench.sim.signatures import HOOK_ARGUMENTS, HOOK_RESULTS, SERVICES, STATE
from glia_bench.sim.state import State

_FUNCTIONS = [types.FunctionType(HOOK_RESULTS[name](*HOOK_ARGUMENTS[name])) for name in HOOK_ARGUMENTS]


@kernel(types.int64(STATE, types.int64, *_FUNCTIONS, *SERVICES))
def run_compiled(
    state: State,
    stop_arrivals: int,
    route: Any,
    rank: Any,
    assign: Any,
    on_dispatch: Any,
    on_first_token: Any,
    on_finish: Any,
    replicas: Replicas,
    perf: Perf,
    memory: Memory,
    buffers: AssignBuffers,
    key: np.uint64,
) -> int:
    """Advance a single run; see `kernel.advance`."""
    return advance(
        state,
        0,
        stop_arrivals,
        route,
        rank,
        assign,
        on_dispatch,
        on_first_token,
        on_finish,
        replicas,
        perf,
        memory,
        buffers,
        key,
    )


def _default_hooks() -> dict[str, Any]:
    functions: dict[str, Any] = {
        "route": default_hooks.no_route,
        "rank": default_hooks.no_rank,
        "assign": default_hooks.no_assign,
        "on_dispatch": default_hooks.no_event,
        "on_first_token": default_hooks.no_event,
        "on_finish": default_hooks.no_event,
    }
    hooks: dict[str, Any] = {}
    for name, function in functions.items():
        hooks[name] = kernel(HOOK_RESULTS[name](*HOOK_ARGUMENTS[name]))(plain(function))
    return hooks


DEFAULT_HOOKS = _default_hooks()
"""First-class functions for the hooks that a design leaves out."""
