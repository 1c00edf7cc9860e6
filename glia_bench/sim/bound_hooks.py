"""First-class functions whose address is looked up once, for kernels that are called at every step of an agent.

Given a dispatcher, Numba searches its compiled versions anew at each call of a kernel, which hashes types of hundreds
of parts: half a millisecond for six hooks. A bound hook knows its type and its address.
"""

from typing import Any

from numba.core import config, types
from numba.experimental.function_type import _get_wrapper_address
from numba.extending import typeof_impl


class BoundHook:
    """A compiled hook, kept alive, with its type and address."""

    __slots__ = ("address", "hook", "kind")

    def __init__(self, hook: Any, arguments: tuple[Any, ...], result: Any) -> None:
        signature = result(*arguments)
        self.hook = hook
        self.kind = types.FunctionType(signature)
        self.address = _get_wrapper_address(hook, signature)

    def __wrapper_address__(self) -> int:
        """Return the address, as Numba's protocol for first-class functions asks."""
        return int(self.address)


def bound(hooks: dict[str, Any], table: dict[str, tuple[tuple[Any, ...], Any]]) -> tuple[Any, ...]:
    """Return the hooks of a table in its order, bound; as they are without JIT.

    Args:
        hooks: Compiled hook by name.
        table: Argument types and result type of each.
    """
    if config.DISABLE_JIT:
        return tuple(hooks[name] for name in table)
    return tuple(BoundHook(hooks[name], arguments, result) for name, (arguments, result) in table.items())


@typeof_impl.register(BoundHook)  # type: ignore[untyped-decorator]
def _kind_of(hook: BoundHook, context: Any) -> Any:
    return hook.kind
