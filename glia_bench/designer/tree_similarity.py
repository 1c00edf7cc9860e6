"""How alike two policy texts are: Dice's coefficient over the subtrees of their syntax trees, names and numbers aside.

A tree is brought to a plain form first: docstrings, comments, layout, annotations and imports are dropped, as are
module-level constants, which stand for their type wherever they are read; `x += y` is `x = x + y`, `a > b` is `b < a`.
What the author named (variables, parameters, helpers) is known in each subtree only by the order of its first mentions
there, so names do not matter but which is which does; builtins, imported names, attributes and hooks keep theirs. Then
the subtrees of 3 to 256 nodes are counted, and twice the common ones divided by all.

So two designs that differ in their constants alone are equal here. Whoever turns loops into helpers, swaps the arms of
an if or writes the same arithmetic otherwise gets a lower number, and all policies of a track share some idioms (a loop
over replicas, a request's prompt), so unlike ones are seldom near 0, and code that does nothing dilutes a copy: a
number is read beside those of known designs.
"""

import ast
import builtins
import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from glia_bench.errors import InvalidPolicyError

SMALLEST, LARGEST = 3, 256
"""Nodes of the subtrees that are counted; a larger one is seen by its parts."""

Token: TypeAlias = str | tuple[int, str]
"""A node's kind with what is left of its own; or, for what the author named, the scope and the name."""

_DROPPED = frozenset({"ctx", "annotation", "returns", "type_comment", "type_params", "type_ignores", "kind", "simple"})
_UNREAD = frozenset({"NAME", "SOURCE", "TUNABLE"})  # what a file says of itself
_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_SCOPES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)


def tree_similarity(source_a: str, source_b: str) -> float:
    """Return how alike two texts are, from 0 to 1, the same either way round; 1 for two without any code.

    Raises:
        InvalidPolicyError: If one of them is no Python, or is nested too deeply to be read.
    """
    a, b = subtrees(source_a), subtrees(source_b)
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 1.0


def subtrees(source: str) -> Counter[bytes]:
    """Return how often each subtree stands in a text, by the hash of its plain form, the module itself aside.

    Raises:
        InvalidPolicyError: See `tree_similarity`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape is no error
            module = ast.parse(source)
        flat = _Flat.of(module)
    except (SyntaxError, ValueError) as error:
        raise InvalidPolicyError(f"a text that is compared must be Python ({error}); mend it first") from error
    except (RecursionError, MemoryError) as error:
        raise InvalidPolicyError("a text that is compared must not be nested so deeply; write it flatter") from error
    found: Counter[bytes] = Counter()
    for start, size in enumerate(flat.sizes):
        if SMALLEST <= size <= LARGEST:
            found[_numbered(flat.tokens[start : start + size])] += 1
    return found


def _numbered(tokens: list[Token]) -> bytes:
    """Return the hash of tokens, with names replaced by the order of their first mentions."""
    numbers: dict[Token, str] = {}
    plain = [
        numbers.setdefault(token, f"name {len(numbers)}") if isinstance(token, tuple) else token for token in tokens
    ]
    return hashlib.blake2b("\n".join(plain).encode("utf-8", "backslashreplace"), digest_size=16).digest()


@dataclass(slots=True)
class _Scope:
    """Where names are looked up: those bound here, then in the scope around."""

    number: int
    bound: dict[str, Token]
    around: "_Scope | None" = None

    def token(self, name: str) -> Token:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.bound:
                return scope.bound[name]
            scope = scope.around
        return f"global {name}" if hasattr(builtins, name) else (0, name)


@dataclass(slots=True)
class _Flat:
    """A tree as its nodes in order, parents first, and how many nodes stand below and at each."""

    tokens: list[Token] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    num_scopes: int = 1
    outside: dict[int, _Scope] = field(default_factory=dict)  # of what a comprehension goes through first, by its id

    @classmethod
    def of(cls, module: ast.Module) -> "_Flat":
        flat = cls()
        scope = _Scope(0, _module_names(module))
        for statement in _code(module.body):
            if not _is_constant(statement):
                flat.add(statement, scope)
        return flat

    def add(self, node: ast.AST, scope: _Scope) -> None:
        scope = self.outside.get(id(node), scope)
        node = _plain(node)
        here = len(self.tokens)
        self.tokens.append("")
        self.sizes.append(0)
        inner = scope
        if isinstance(node, _SCOPES):
            self.num_scopes += 1
            inner = _Scope(self.num_scopes, {name: (self.num_scopes, name) for name in _bound(node)}, scope)
            for first in getattr(node, "generators", ())[:1]:
                self.outside[id(first.iter)] = scope
        label = [type(node).__name__]
        for name, value in ast.iter_fields(node):
            if name in _DROPPED:
                continue
            if isinstance(value, list):
                items = _code(value) if name in ("body", "orelse", "finalbody") else value
                label.append(f"{name}:{len(items)}")
                for item in items:  # what else stands in lists is names, as of `global`, and None in `{**x}`
                    if isinstance(item, ast.AST):
                        self.add(item, inner)
            elif isinstance(value, ast.AST):
                self.add(value, inner)
            elif value is not None and not isinstance(node, ast.Name | ast.arg | ast.Constant):
                label.append(self._own(node, name, value, scope))
        self.tokens[here] = " ".join(label)
        if isinstance(node, ast.Constant):
            self.tokens[here] = _type_of(node.value)
        elif isinstance(node, ast.Name):
            self.tokens[here] = scope.token(node.id)
        elif isinstance(node, ast.arg):
            self.tokens[here] = scope.token(node.arg)
        self.sizes[here] = len(self.tokens) - here

    def _own(self, node: ast.AST, name: str, value: Any, scope: _Scope) -> str:
        """Return what a field of a node's own adds to its label: attributes and keywords, hooks, not other names."""
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) and name == "name":
            token = scope.token(value)
            return token if isinstance(token, str) else ""
        if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar | ast.MatchMapping):
            return ""
        return str(value)


def _plain(node: ast.AST) -> ast.AST:
    """Return a node in the form that stands for several ways to write the same."""
    if isinstance(node, ast.AugAssign):
        return ast.Assign(targets=[node.target], value=ast.BinOp(left=node.target, op=node.op, right=node.value))
    if isinstance(node, ast.AnnAssign):
        return ast.Assign(targets=[node.target], value=node.value) if node.value else ast.Pass()
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _FLIPPED:
        flipped = _FLIPPED[type(node.ops[0])]()
        return ast.Compare(left=node.comparators[0], ops=[flipped], comparators=[node.left])
    return node


def _code(statements: list[Any]) -> list[Any]:
    """Return statements without docstrings, imports and what says nothing."""
    return [
        s
        for s in statements
        if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
        and not isinstance(s, ast.Import | ast.ImportFrom | ast.Pass)
        and not (isinstance(s, ast.AnnAssign) and s.value is None)
    ]


def _module_names(module: ast.Module) -> dict[str, Token]:
    """Return the names of a module that keep theirs, and constants by their type; all others are the author's."""
    from glia_bench.policy import HOOKS, WRITTEN_IN_CLUSTER

    hooks = {name for _, name in HOOKS} | set(WRITTEN_IN_CLUSTER.values())
    names: dict[str, Token] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = f"global {alias.name}"
    for statement in module.body:
        if isinstance(statement, ast.FunctionDef):
            names[statement.name] = f"hook {statement.name}" if statement.name in hooks else (0, statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            for target, value in _constants(statement):
                names[target] = _type_of(value)
    return names


def _constants(statement: ast.stmt) -> Iterator[tuple[str, Any]]:
    """Give the names that a statement binds to literals of a simple kind, with these."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    value = getattr(statement, "value", None)
    for target in targets:
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            pairs = list(zip(target.elts, value.elts, strict=True))
        for name, literal in pairs:
            if isinstance(literal, ast.UnaryOp) and isinstance(literal.op, ast.USub):
                literal = literal.operand
            if isinstance(name, ast.Name) and isinstance(literal, ast.Constant):
                yield name.id, literal.value


def _is_constant(statement: ast.stmt) -> bool:
    """Return whether a statement only binds constants, or says what the file is called and where it is from."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return False
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    names = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return set(names) <= _UNREAD or len(list(_constants(statement))) == len(names)


def _bound(scope: ast.AST) -> set[str]:
    """Return the names that a function, a class or a comprehension binds itself."""
    names: set[str] = set()
    elsewhere: set[str] = set()
    waiting: list[ast.AST] = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            elsewhere |= set(node.names)
        elif isinstance(node, _NAMED) and node.name:
            names.add(node.name)
        if not isinstance(node, _SCOPES):
            waiting += ast.iter_child_nodes(node)
    return names - elsewhere


def _type_of(value: Any) -> str:
    """Return what is left of a constant; whole numbers and others are of one type."""
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
