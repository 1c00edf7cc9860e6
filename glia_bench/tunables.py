"""Constants that a design's author would try other values of: their ranges, read from its text, and texts with others.

A policy declares them as in `EXAMPLE`: each is a constant of the file whose default is a plain number; both ends of a
range belong to it; whole numbers stay whole. A design with other values is the same text with those numbers in it, and
so another design. Nothing is executed.
"""

import ast
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from glia_bench.errors import InvalidPolicyError, did_you_mean

Number: TypeAlias = int | float
Constants: TypeAlias = tuple[tuple[str, Number], ...]
"""Names and values of constants, sorted by name."""

EXAMPLE = 'TUNABLE = {"THETA": (0.5, 0.99), "GROWTH_BLOCKS": (0, 16), "PATIENCE_S": (1.0, 600.0, "log")}'
MAX_TUNABLE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunable:
    """One constant with the values that it may have.

    Attributes:
        name: As the file calls it.
        default: The file's own value.
        low, high: Smallest and largest value, of the default's type.
        is_log: Whether ratios rather than differences matter.
    """

    name: str
    default: Number
    low: Number
    high: Number
    is_log: bool = False


def tunables(module: ast.Module, path: str) -> tuple[Tunable, ...]:
    """Return the tunable constants that a policy's text declares, in its order; none if it declares none.

    Raises:
        InvalidPolicyError: If the declaration is not as in `EXAMPLE`, or names something that is no number of the file.
    """
    declared = _assigned(module).get("TUNABLE")
    if declared is None:
        return ()
    try:
        ranges = ast.literal_eval(declared)
    except ValueError:
        ranges = None
    if not isinstance(ranges, dict) or not all(isinstance(name, str) for name in ranges):
        raise InvalidPolicyError(
            f"{path}, line {declared.lineno}: TUNABLE must be a dict of ranges, all written out (got "
            f"{ast.unparse(declared)[:80]}); write {EXAMPLE}"
        )
    if len(ranges) > MAX_TUNABLE:
        raise InvalidPolicyError(f"{path}: TUNABLE may name {MAX_TUNABLE} constants (got {len(ranges)})")
    defaults = _numbers(module)
    return tuple(_tunable(name, given, defaults, f"{path}, line {declared.lineno}") for name, given in ranges.items())


def with_constants(source: str, constants: Mapping[str, object]) -> str:
    """Return a policy's text with other values of some of its constants.

    Raises:
        InvalidPolicyError: If one is no constant that the file writes out in one line.
    """
    nodes = {name: node for name, node in _assigned(ast.parse(source)).items() if _is_written_out(node)}
    if unknown := [name for name in constants if name not in nodes]:
        raise InvalidPolicyError(
            f"{unknown[0]} must be a constant that the file writes out{did_you_mean(unknown[0], nodes)}"
        )
    lines = source.encode().splitlines(keepends=True)  # ast counts bytes
    for name in sorted(constants, key=lambda name: (nodes[name].lineno, nodes[name].col_offset), reverse=True):
        row, start, end = nodes[name].lineno - 1, nodes[name].col_offset, nodes[name].end_col_offset
        lines[row] = lines[row][:start] + repr(constants[name]).encode() + lines[row][end:]
    return b"".join(lines).decode()


def sorted_constants(constants: Mapping[str, Number]) -> Constants:
    """Return constants as a tuple, which can be a key."""
    return tuple(sorted(constants.items()))


def sha256_of(source: str) -> str:
    """Return the hash that identifies a design's text."""
    return hashlib.sha256(source.encode()).hexdigest()


def variant_name(name: str, sha256: str) -> str:
    """Return what a text of the same idea with other constants is called: `hpa@3f2a1c`."""
    return f"{name.partition('@')[0]}@{sha256[:6]}"


def _tunable(name: str, given: object, defaults: Mapping[str, Number], where: str) -> Tunable:
    default = defaults.get(name)
    if default is None:
        raise InvalidPolicyError(
            f"{where}: TUNABLE names {name!r}, which must be a constant of the file with a plain number, such as "
            f"{name} = 0.9{did_you_mean(name, defaults)}"
        )
    parts: Sequence[object] = given if isinstance(given, tuple) else ()
    is_log = len(parts) == 3 and parts[2] == "log"
    numbers = parts[:2] if is_log else parts
    kind = type(default)
    low, high = numbers if len(numbers) == 2 else (None, None)
    if not _is_number(low) or not _is_number(high) or (kind is int and not all(isinstance(x, int) for x in numbers)):
        what = "two whole numbers, as its default is one" if kind is int else "two numbers"
        raise InvalidPolicyError(
            f'{where}: the range of {name} must be {what}, and "log" if ratios matter (got {given!r}); write {EXAMPLE}'
        )
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if not low <= default <= high or low >= high or (is_log and low <= 0):
        above = " above 0" if is_log else ""
        raise InvalidPolicyError(
            f"{where}: the range of {name} must rise{above} and hold its default {default!r} (got {given!r})"
        )
    return Tunable(name=name, default=default, low=kind(low), high=kind(high), is_log=is_log)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _assigned(module: ast.Module) -> dict[str, ast.expr]:
    """Return the names that are assigned once at the top of a module, alone on the left, with what is assigned."""
    found: dict[str, list[ast.expr]] = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found.setdefault(node.target.id, []).append(node.value)
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def _is_written_out(node: ast.expr) -> bool:
    """Return whether an expression is a literal in one line."""
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return node.lineno == node.end_lineno


def _numbers(module: ast.Module) -> dict[str, Number]:
    return {name: value for name, node in _assigned(module).items() if (value := _value(node)) is not None}


def _value(node: ast.expr) -> Number | None:
    """Return the value of a number that is written out, with its sign; None for anything else."""
    is_negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    plain = node.operand if isinstance(node, ast.UnaryOp) and is_negative else node
    value = plain.value if isinstance(plain, ast.Constant) else None
    if not isinstance(value, int | float) or not _is_number(value):
        return None
    return -value if is_negative else value
