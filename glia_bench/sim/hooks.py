"""Compiling a policy's hooks to first-class functions, or saying why they must run as plain Python."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba.core import types
from numba.core.errors import NumbaError

from glia_bench.errors import InvalidPolicyError
from glia_bench.policy import Policy
from glia_bench.sim.compiled import DEFAULT_HOOKS
from glia_bench.sim.jit import compile_hook
from glia_bench.sim.signatures import HOOK_ARGUMENTS, HOOK_RESULTS

CHECKED_DECISIONS = 1000
"""A policy from a file runs with bounds checks for this many decisions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledHooks:
    """A policy's hooks as first-class functions, in the order of `HOOK_ARGUMENTS`.

    Attributes:
        fast: Without bounds checks.
        checked: With bounds checks; the same objects as `fast` for shipped policies.
    """

    fast: tuple[Any, ...]
    checked: tuple[Any, ...]


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


def _compile(policy: Policy, name: str, function: Callable[..., Any], *, bounds_checks: bool) -> Any:
    arguments = HOOK_ARGUMENTS[name]
    hook = compile_hook(function, arguments, bounds_checks=bounds_checks, cached=policy.is_shipped)
    if not hasattr(hook, "nopython_signatures"):
        return hook  # JIT is off: the kernel calls it as it is
    found = hook.nopython_signatures[0].return_type
    if error := _result_error(name, found):
        raise InvalidPolicyError(f"policy {policy.name!r}: {error}")
    if found != HOOK_RESULTS[name]:
        signature = HOOK_RESULTS[name](*arguments)
        hook = compile_hook(function, signature, bounds_checks=bounds_checks, cached=policy.is_shipped)
    return hook


def _compile_all(policy: Policy, *, bounds_checks: bool) -> tuple[Any, ...]:
    return tuple(
        _compile(policy, name, policy.hooks[name], bounds_checks=bounds_checks)
        if name in policy.hooks
        else DEFAULT_HOOKS[name]
        for name in HOOK_ARGUMENTS
    )


def compile_hooks(policy: Policy) -> CompiledHooks | str:
    """Compile a policy's hooks; return the reason, in one line, if Numba cannot.

    Raises:
        InvalidPolicyError: If a hook compiles but returns the wrong kind of thing.
    """
    try:
        fast = _compile_all(policy, bounds_checks=False)
        checked = fast if policy.is_shipped else _compile_all(policy, bounds_checks=True)
    except NumbaError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return next((line for line in lines if not line.startswith("Failed in nopython")), type(error).__name__)
    return CompiledHooks(fast=fast, checked=checked)
