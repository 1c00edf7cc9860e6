"""Refusing what would make a run differ from the next: dice and clocks, read from a policy's text.

This catches the honest mistake; it cannot stop someone who hides a clock.
"""

import ast

from glia_bench.errors import InvalidPolicyError
from glia_bench.policy import Track

DICE = frozenset(("random", "secrets", "uuid"))
CLOCKS = frozenset(("time", "datetime"))
"""Modules (or names below numpy) that answer differently in every run."""
INSTEAD: dict[Track, tuple[str, str]] = {
    "routing": ("draw from request.u", "use cluster.now_s"),
    "scheduling": ("draw from request.u", "use replica.now_s"),
    "autoscaling": ("an autoscaler has no dice", "use cluster.now_s"),
    "cluster": ("draw from request.u", "use cluster.now_s or replica.now_s"),
}
"""What a policy uses for dice and for a clock, by track."""


def refuse_dice_and_clocks(module: ast.Module, track: Track, path: str) -> None:
    """Check that a policy uses no randomness but request.u and no clock but the cluster's and the replica's.

    Raises:
        InvalidPolicyError: Naming the line, what was found and what to use.
    """
    numpy_names = {"numpy"}
    used: list[tuple[str, str, int]] = []
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, *below = alias.name.split(".")
                if top == "numpy":
                    numpy_names.add(alias.asname or top)
                name = "random" if top == "numpy" and below[:1] == ["random"] else top
                used.append((name, alias.name, node.lineno))
        elif isinstance(node, ast.ImportFrom) and node.module:
            top, *below = node.module.split(".")
            used.append((top, node.module, node.lineno))
            names = [*below[:1], *(alias.name for alias in node.names)] if top == "numpy" else []
            if "random" in names:
                used.append(("random", "numpy.random", node.lineno))
    for node in ast.walk(module):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr="random") if name in numpy_names:
                used.append(("random", "numpy.random", node.lineno))
    for name, found, line in used:
        if name in DICE | CLOCKS:
            way_out = INSTEAD[track][name in CLOCKS]
            raise InvalidPolicyError(
                f"{path}, line {line}: a policy must do the same in every run (it uses {found}); {way_out}"
            )
