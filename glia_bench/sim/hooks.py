"""Compiling a policy's hooks to first-class functions, or saying why they must run as plain Python."""

from collections.abc import Callable
from typing import Any

from numba.core import types

from glia_bench.errors import InvalidPolicyError, text_of
from glia_bench.policy import Policy
from glia_bench.sim.compiled import DEFAULT_HOOKS
from glia_bench.sim.jit import compile_hook
from glia_bench.sim.signatures import HOOK_ARGUMENTS, HOOK_RESULTS

Hooks = tuple[Any, ...]
"""First-class functions, in the order of `HOOK_ARGUMENTS`."""


def _result_error(name: str, found: Any) -> str | None:
    """Return what is wrong with a hook's inferred result type, or None."""
    wanted = HOOK_RESULTS[name]
    if wanted is types.int64 and not isinstance(found, types.Integer):
        rule = "must return an integer on every path: a replica index, HOLD or REJECT"
    elif wanted is types.float64 and not isinstance(found, types.Integer | types.Float):
        rule = "must return a number on every path"
    elif wanted is types.none and found is not types.none:
        rule = "must return nothing"
    else:
        return None
    if isinstance(found, types.Optional):
        return f"{name} {rule} (on some path it returns nothing)"
    hint = "; wrap the result in int(...)" if isinstance(found, types.Float) else ""
    return f"{name} {rule} (it returns {'nothing' if found is types.none else found}){hint}"


def _compile(policy: Policy, name: str, function: Callable[..., Any]) -> Any:
    options = {"bounds_checks": not policy.is_shipped, "cached": policy.is_shipped}
    arguments = HOOK_ARGUMENTS[name]
    hook = compile_hook(function, arguments, **options)
    if not hasattr(hook, "nopython_signatures"):
        return hook  # JIT is off: the kernel calls it as it is
    found = hook.nopython_signatures[0].return_type
    if error := _result_error(name, found):
        raise InvalidPolicyError(f"policy {policy.name!r}: {error}")
    return hook if found == HOOK_RESULTS[name] else compile_hook(function, HOOK_RESULTS[name](*arguments), **options)


def compile_hooks(policy: Policy) -> Hooks | str:
    """Compile a policy's hooks; return the reason, in one line, if Numba cannot.

    Policies from files are compiled with bounds checks, so that an index outside an array is an error and not a number.

    Raises:
        InvalidPolicyError: If a hook compiles but returns the wrong kind of thing.
    """
    try:
        return tuple(
            _compile(policy, name, policy.hooks[name]) if name in policy.hooks else DEFAULT_HOOKS[name]
            for name in HOOK_ARGUMENTS
        )
    except InvalidPolicyError:
        raise
    except Exception as error:  # NumbaError, and what escapes from inside Numba on source that it does not foresee
        lines = [line.strip() for line in text_of(error).splitlines() if line.strip()]
        return next((line for line in lines if not line.startswith("Failed in nopython")), type(error).__name__)
