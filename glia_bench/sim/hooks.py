"""Compiling a policy's hooks to first-class functions, or saying why they must run as plain Python."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from numba.core import types

from glia_bench.errors import InvalidPolicyError, text_of
from glia_bench.policy import Policy
from glia_bench.sim import default_hooks
from glia_bench.sim.bound_hooks import bound
from glia_bench.sim.jit import compile_hook
from glia_bench.sim.signatures import FULL_ROUTER_TYPES, PLAIN_ROUTER_TYPES, SCALER_TYPES, SCHEDULER_TYPES


class Hooks(NamedTuple):
    """Compiled hooks.

    Of the router and the scheduler all, as first-class functions in the order of their tables; of the autoscaler those
    that the design has.
    """

    router: tuple[Any, ...]
    scheduler: tuple[Any, ...]
    scaler: Mapping[str, Callable[..., Any]]


def _result_error(name: str, wanted: Any, found: Any) -> str | None:
    """Return what is wrong with a hook's inferred result type, or None."""
    pair = isinstance(found, types.BaseTuple) and len(found) == 2 and all(isinstance(x, types.Integer) for x in found)
    if wanted is types.int64 and not isinstance(found, types.Integer):
        what = "a number of tokens" if name == "tokens" else "a replica index, HOLD or REJECT"
        rule = f"must return an integer on every path: {what}"
    elif wanted is types.float64 and not isinstance(found, types.Integer | types.Float):
        rule = "must return a number on every path"
    elif wanted is types.boolean and not isinstance(found, types.Boolean):
        rule = "must return True or False on every path"
    elif isinstance(wanted, types.UniTuple) and not pair:
        rule = "must return two integers on every path: a token budget and a number of running requests"
    elif wanted is types.none and found is not types.none:
        rule = "must return nothing"
    else:
        return None
    if isinstance(found, types.Optional):
        return f"{name} {rule} (on some path it returns nothing)"
    hint = "; wrap the result in int(...)" if isinstance(found, types.Float) else ""
    return f"{name} {rule} (it returns {'nothing' if found is types.none else found}){hint}"


def _compile(policy: Policy, name: str, function: Callable[..., Any], arguments: Any, wanted: Any) -> Any:
    options = {"bounds_checks": not policy.is_shipped, "cached": policy.is_shipped}
    hook = compile_hook(function, arguments, **options)
    if not hasattr(hook, "nopython_signatures") or wanted is None:
        return hook  # JIT is off: the kernel calls it as it is
    found = hook.nopython_signatures[0].return_type
    if error := _result_error(name, wanted, found):
        raise InvalidPolicyError(f"policy {policy.name!r}: {error}")
    return hook if found == wanted else compile_hook(function, wanted(*arguments), **options)


def compile_hooks(policy: Policy, *, is_full: bool) -> Hooks | str:
    """Compile a policy's hooks for the full or the plain engine; return the reason, in one line, if Numba cannot.

    Policies from files are compiled with bounds checks, so that an index outside an array is an error and not a number.

    Raises:
        InvalidPolicyError: If a hook compiles but returns the wrong kind of thing.
    """

    def compiled(given: Mapping[str, Any], table: dict[str, Any], defaults: dict[str, Any]) -> tuple[Any, ...]:
        # Defaults are bound, which saves a scaler's many returns to the kernel; a bound hook could raise no exception.
        left_out = dict(zip(table, bound(defaults, table), strict=True))
        return tuple(
            _compile(policy, name, given[name], *table[name]) if name in given else left_out[name] for name in table
        )

    router = (
        (FULL_ROUTER_TYPES, default_hooks.FULL_ROUTER) if is_full else (PLAIN_ROUTER_TYPES, default_hooks.PLAIN_ROUTER)
    )
    try:
        return Hooks(
            router=compiled(policy.routing, *router),
            scheduler=compiled(policy.scheduling, SCHEDULER_TYPES, default_hooks.SCHEDULER),
            scaler={
                name: _compile(policy, name, hook, *SCALER_TYPES[name]) for name, hook in policy.autoscaling.items()
            },
        )
    except InvalidPolicyError:
        raise
    except Exception as error:  # NumbaError, and what escapes from inside Numba on source that it does not foresee
        lines = [line.strip() for line in text_of(error).splitlines() if line.strip()]
        return next((line for line in lines if not line.startswith("Failed in nopython")), type(error).__name__)
