"""Refusing what would make a run differ from the next: dice and clocks, read from a policy's text.

This catches the honest mistake; it cannot stop someone who hides a clock.
"""

import ast

from glia_bench.errors import InvalidPolicyError

SOURCES = {
    "random": "draw from request.u",
    "secrets": "draw from request.u",
    "uuid": "draw from request.u",
    "time": "use cluster.now_s",
    "datetime": "use cluster.now_s",
}
"""Module (or name below numpy) to what a policy uses instead."""


def refuse_dice_and_clocks(module: ast.Module, path: str) -> None:
    """Check that a policy uses no randomness but request.u and no clock but cluster.now_s.

    Raises:
        InvalidPolicyError: Naming the line, what was found and what to use.
    """
    numpy_names = {"numpy"}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, *below = alias.name.split(".")
                if top == "numpy":
                    numpy_names.add(alias.asname or top)
                _refuse("random" if top == "numpy" and below[:1] == ["random"] else top, alias.name, node.lineno, path)
        elif isinstance(node, ast.ImportFrom) and node.module:
            top, *below = node.module.split(".")
            _refuse(top, node.module, node.lineno, path)
            names = [*below[:1], *(alias.name for alias in node.names)] if top == "numpy" else []
            if "random" in names:
                _refuse("random", "numpy.random", node.lineno, path)
    for node in ast.walk(module):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr="random") if name in numpy_names:
                _refuse("random", "numpy.random", node.lineno, path)


def _refuse(name: str, found: str, line: int, path: str) -> None:
    if name in SOURCES:
        raise InvalidPolicyError(
            f"{path}, line {line}: a policy must do the same in every run (it uses {found}); {SOURCES[name]}"
        )
