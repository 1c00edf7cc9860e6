"""What can be said of a policy from its text alone, before any of it runs: errors, and which fields it may read.

The text is parsed, never executed, so this is safe on anyone's file. Hook parameters are followed by position to the
feature groups of `policy.HOOKS`, through plain aliases (`perf = cluster.perf`) and into the functions of the same
file that they are handed to. Left out: values (those of constants are checked by `loading` once the file has run, bad
answers when they are given), writes to module-level arrays, and whatever hides behind getattr and friends, for which
`fields_read` is None: the text cannot tell.
"""

import ast
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from glia_bench.errors import InvalidPolicyError, did_you_mean
from glia_bench.features import GROUPS, schema
from glia_bench.policy import HOOKS, Track
from glia_bench.repeatable import refuse_dice_and_clocks

MAX_SOURCE_BYTES = 256 * 1024
CONSTANTS = ("MEMORY", "SKIP_BLOCKED", "TICK_S")
"""Module constants that the simulator reads."""

_FIELDS: dict[str, frozenset[str]] = {group: frozenset(spec.name for spec in schema(group)) for group in GROUPS}
_FIELDS["queue"] = _FIELDS["request"]
_FIELDS["index"] = frozenset()  # what a routing hook calls `replica` is a number
_PLAIN_IMPORTS = ("numpy", "math", "glia_bench", "typing", "__future__")
_OPAQUE_NAMES = frozenset(
    ("getattr", "setattr", "delattr", "eval", "exec", "compile", "vars", "dir", "locals", "globals", "__import__")
)
_OPAQUE_ATTRIBUTES = frozenset(("base", "ctypes", "data", "stride_tricks"))  # ways from one array to its neighbours
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_Groups = dict[str, str | None]
"""Names of a scope: the feature group that each holds, or None if it holds anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What the text says.

    Attributes:
        hooks: Names of the hooks that it defines, in the order of `policy.HOOKS`.
        fields_read: Every "group.field" that it may read; None where the text cannot tell.
        notes: Remarks for its author.
        idea: First line of its docstring, or an empty string.
        public_source: Its SOURCE constant, or an empty string.
    """

    hooks: tuple[str, ...]
    fields_read: frozenset[str] | None
    notes: tuple[str, ...]
    idea: str
    public_source: str


def static_check(source: str, track: Track, *, path: str = "policy.py") -> SourceFacts:
    """Check a policy's text against the hooks and the feature schema without running it.

    Args:
        source: The text.
        track: Whose hooks it should define.
        path: How messages call the file.

    Raises:
        InvalidPolicyError: With the line, the rule, what was found and the way out.
    """
    if all(hook_track != track for hook_track, _ in HOOKS):
        known = ", ".join(sorted({hook_track for hook_track, _ in HOOKS}))
        raise InvalidPolicyError(f"track must be one of {known} (got {track!r})")
    try:
        refuse_dice_and_clocks(module := _parse(source, path), path)
        return _Check(module, track, path).facts()
    except (RecursionError, MemoryError):
        raise InvalidPolicyError(f"{path}: nested too deeply to be read; write it with fewer nested levels") from None


def _parse(source: str, path: str) -> ast.Module:
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > MAX_SOURCE_BYTES:
        raise InvalidPolicyError(f"{path}: a policy may have {MAX_SOURCE_BYTES} bytes (got {size}); cut tables out")
    if "\0" in source:
        where = source.index("\0")
        raise InvalidPolicyError(f"{path}: a policy must be text (character {where} is a NUL byte); save it as text")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source, path)
    except SyntaxError as error:
        raise InvalidPolicyError(f"{path}, line {error.lineno}: not valid Python: {error.msg}") from None
    except ValueError as error:
        raise InvalidPolicyError(f"{path}: not valid Python: {error}") from None


class _Check:
    """One pass over one module."""

    def __init__(self, module: ast.Module, track: Track, path: str) -> None:
        self.module, self.track, self.path = module, track, path
        self.functions: dict[str, _Function] = {n.name: n for n in module.body if isinstance(n, _Function)}
        self.track_hooks = {name: hook for (of, name), hook in HOOKS.items() if of == track}
        visible = {group for hook in self.track_hooks.values() for group in hook.parameters} & set(GROUPS)
        self.visible = (visible | {"perf"}) - ({"replica"} if track == "routing" else set())
        self.modules: set[str] = set()
        self.fields: set[str] = set()
        self.is_opaque = False
        self.done: set[tuple[str, tuple[tuple[str, str | None], ...]]] = set()
        self.where = "the module"

    def facts(self) -> SourceFacts:
        for node in ast.walk(self.module):
            self._check_statement(node)
        self._check_names()
        hooks = tuple(name for name in self.track_hooks if name in self.functions)
        for name in hooks:
            self._enter(name, self._parameter_groups(name))
        reached = {name for name, _ in self.done}
        for statement in self.module.body:
            if not (isinstance(statement, _Function) and statement.name in reached):
                self.where = getattr(statement, "name", "the module")
                self._visit(statement, {})
        doc = ast.get_docstring(self.module) or ""
        return SourceFacts(
            hooks=hooks,
            fields_read=None if self.is_opaque else frozenset(self.fields),
            notes=tuple(self._notes()),
            idea=doc.partition("\n")[0].strip(),
            public_source=self._public_source(),
        )

    def _fail(self, node: ast.AST, message: str) -> NoReturn:
        raise InvalidPolicyError(f"{self.path}, line {getattr(node, 'lineno', 0)}: {message}")

    # --- names: which functions are hooks, and do they look like them -------------------------------------------

    def _check_names(self) -> None:
        for name, function in self.functions.items():
            owners = sorted(of for of, hook in HOOKS if hook == name)
            if name in self.track_hooks:
                self._check_signature(name, function)
            elif owners:
                self._fail(
                    function,
                    f"{name} is a hook of the {' and '.join(owners)} track and this is a {self.track} policy: "
                    f"it would never be called; rename it if it is a helper",
                )
            elif name.startswith("on_"):
                events = [hook for hook in self.track_hooks if hook.startswith("on_")]
                self._fail(
                    function,
                    f"{name} is no hook of the {self.track} track (names that begin with on_ are kept for hooks: "
                    f"{', '.join(events)}){did_you_mean(name, events)}",
                )
        for node in self.module.body:
            for name in () if isinstance(node, _Function) else _stored_names(node):
                if name in self.track_hooks:
                    self._fail(node, f"{name} must be a plain function of this file: write {self._signature(name)}")
        needed = ("route", "assign") if self.track == "routing" else tuple(self.track_hooks)
        if not any(name in self.functions for name in needed):
            close = next(filter(None, (did_you_mean(name, needed) for name in self.functions)), "")
            found = ", ".join(list(self.functions)[:10]) or "none"
            raise InvalidPolicyError(
                f"{self.path}: a {self.track} policy needs the function {' or '.join(needed)} "
                f"(functions found: {found}){close}"
            )

    def _signature(self, hook: str) -> str:
        return f"def {hook}({', '.join(self.track_hooks[hook].parameters)})"

    def _check_signature(self, name: str, function: _Function) -> None:
        spec, wanted = function.args, self.track_hooks[name].parameters
        positional = len(spec.posonlyargs) + len(spec.args)
        if isinstance(function, ast.AsyncFunctionDef):
            self._fail(function, f"{name} must be a plain function, not async: write {self._signature(name)}")
        if positional != len(wanted) or spec.vararg or spec.kwonlyargs or spec.kwarg:
            self._fail(
                function,
                f"{name} must take {len(wanted)} parameters by position, {self._signature(name)} "
                f"(found def {name}({ast.unparse(spec)}))",
            )

    def _parameter_groups(self, hook: str) -> _Groups:
        spec = self.functions[hook].args
        groups: _Groups = {}
        for parameter, group in zip(spec.posonlyargs + spec.args, self.track_hooks[hook].parameters, strict=True):
            if group == "replica" and self.track == "routing":
                group = "index"
            groups[parameter.arg] = group if group in _FIELDS else None
        return groups

    def _public_source(self) -> str:
        for node in self.module.body:
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Constant)
                and "SOURCE" in _stored_names(node)
            ):
                return str(node.value.value)
        return ""

    def _notes(self) -> Iterator[str]:
        if "assign" in self.functions and self.track == "routing":
            for name in ("route", "rank"):
                if name in self.functions:
                    yield f"{name} is never called: assign decides for the whole queue in its place"
        called = {n.id for n in ast.walk(self.module) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        for name in self.functions:
            if name not in called and name not in self.track_hooks and (hint := did_you_mean(name, self.track_hooks)):
                yield f"function {name} is never called{hint}"
        constants = {name for node in self.module.body for name in _stored_names(node) if name.isupper()}
        for name in sorted(constants - called):
            if name not in CONSTANTS and (hint := did_you_mean(name, CONSTANTS)):
                yield f"constant {name} is never used{hint}"

    # --- statements that no policy may have, and those behind which fields can hide -----------------------------

    def _check_statement(self, node: ast.AST) -> None:
        if isinstance(node, ast.Global | ast.Nonlocal):
            word = "global" if isinstance(node, ast.Global) else "nonlocal"
            self._fail(
                node,
                f"`{word} {', '.join(node.names)}`: a policy keeps no state in globals, which compiled code freezes; "
                f"declare MEMORY = {{'shared': {len(node.names)}}} and keep it in memory.shared",
            )
        if isinstance(node, ast.Import | ast.ImportFrom):
            roots = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if any(root.split(".")[0] not in _PLAIN_IMPORTS or "stride_tricks" in root for root in roots):
                self.is_opaque = True
            self.modules.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
        if isinstance(node, ast.Name) and node.id in _OPAQUE_NAMES:
            self.is_opaque = True
        if isinstance(node, ast.Attribute) and (node.attr.startswith("_") or node.attr in _OPAQUE_ATTRIBUTES):
            self.is_opaque = True
        if isinstance(node, _Function | ast.ClassDef) and node.decorator_list:
            self.is_opaque = True

    # --- fields ---------------------------------------------------------------------------------------------------

    def _enter(self, name: str, groups: _Groups) -> None:
        """Follow a function of the module with its parameters bound to feature groups, once per binding."""
        key = (name, tuple(sorted(groups.items())))
        if key in self.done:
            return
        self.done.add(key)
        caller, self.where = self.where, name
        self._scope(self.functions[name], groups)
        self.where = caller

    def _scope(self, function: _Function | ast.Lambda, groups: _Groups) -> None:
        spec = function.args
        own: _Groups = dict(groups)
        for argument in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg):
            if argument is not None:
                own.setdefault(argument.arg, None)
        body = function.body if isinstance(function.body, list) else [function.body]
        stores = Counter(name for node in body for name in _stored_names(node))
        for name in stores:
            if own.get(name):  # a parameter that is bound again: what it holds later is not known
                self.is_opaque = True
            own[name] = None
        for assignment in (n for statement in body for n in _walk_scope(statement) if isinstance(n, ast.Assign)):
            target = assignment.targets[0]
            if len(assignment.targets) == 1 and isinstance(target, ast.Name) and stores[target.id] == 1:
                own[target.id] = self._group_of(assignment.value, own)
        for node in body:
            self._visit(node, own)

    def _group_of(self, node: ast.expr, names: _Groups) -> str | None:
        """Return the feature group that an expression is, or None; checks and counts the fields on the way."""
        if isinstance(node, ast.Name):
            return names.get(node.id)
        if isinstance(node, ast.Attribute) and (group := self._group_of(node.value, names)):
            self._read(group, node)
            return "perf" if (group, node.attr) == ("cluster", "perf") else None
        return None

    def _read(self, group: str, node: ast.Attribute) -> None:
        written = ast.unparse(node)
        if node.attr.startswith("_"):
            return  # the namedtuple's own: already opaque
        if node.attr not in _FIELDS[group]:
            elsewhere = sorted(f"{g}.{node.attr}" for g in self.visible if node.attr in _FIELDS[g])
            hint = did_you_mean(node.attr, _FIELDS[group])
            if group == "index":
                hint = f"; {node.value.id if isinstance(node.value, ast.Name) else 'it'} is a replica's index here"
            elif group in ("request", "queue") and ("output" in node.attr or "decode" in node.attr):
                hint = "; nobody sees a true output length before the request has finished"
            elif elsewhere and not hint:
                hint = f"; did you mean {' or '.join(map(repr, elsewhere))}?"
            self._fail(node, f"{self.where} reads {written}: no such field{hint or f'; {group} has ' + _listed(group)}")
        if not isinstance(node.ctx, ast.Load):
            self._fail(
                node,
                f"{self.where} writes {written}: what a policy sees is read-only; declare MEMORY and write to memory",
            )
        self.fields.add(f"{'request' if group == 'queue' else group}.{node.attr}")

    def _visit(self, node: ast.AST, names: _Groups) -> None:
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load) and names.get(node.id) not in (None, "index"):
                self.is_opaque = True  # a whole group goes where the text cannot follow
        elif isinstance(node, ast.Attribute):
            self._visit_attribute(node, names)
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            self._check_item_write(node, names)
            self._visit_children(node, names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in names:
            self._visit_call(node, node.func.id, names)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            if not names.get(node.targets[0].id):
                self._visit(node.value, names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            spec = node.args
            own = {a.arg for a in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg) if a}
            for default in (*spec.defaults, *filter(None, spec.kw_defaults)):
                self._visit(default, names)
            self._scope(node, {name: group for name, group in names.items() if name not in own})
        elif isinstance(node, _COMPREHENSIONS):
            targets = {name for g in node.generators for name in _stored_names(g.target)}
            self._visit_children(node, {**names, **dict.fromkeys(targets)})
        else:
            self._visit_children(node, names)

    def _visit_children(self, node: ast.AST, names: _Groups) -> None:
        for child in ast.iter_child_nodes(node):
            self._visit(child, names)

    def _visit_attribute(self, node: ast.Attribute, names: _Groups) -> None:
        if group := self._group_of(node.value, names):
            self._read(group, node)
            if (group, node.attr) == ("cluster", "perf"):
                self.is_opaque = True  # used as a whole
            return
        root: ast.expr = node.value
        while isinstance(root, ast.Attribute):
            root = root.value
        if not (isinstance(root, ast.Name) and root.id in self.modules and root.id not in names):
            self.fields.update(f"{g}.{node.attr}" for g in self.visible if node.attr in _FIELDS[g])
        self._visit(node.value, names)

    def _check_item_write(self, node: ast.Subscript, names: _Groups) -> None:
        value = node.value
        if isinstance(value, ast.Attribute) and self._group_of(value.value, names) not in (None, "memory"):
            self._fail(
                node,
                f"{self.where} writes {ast.unparse(node)}: what a policy sees is read-only; "
                f"declare MEMORY and write to memory",
            )

    def _visit_call(self, node: ast.Call, callee: str, names: _Groups) -> None:
        function = self.functions.get(callee)
        if function is None:
            self._visit_children(node, names)
            return
        parameters = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
        bound: _Groups = {}
        for position, argument in enumerate(node.args):
            group = self._group_of(argument, names)
            if group and position < len(parameters) and not any(isinstance(a, ast.Starred) for a in node.args):
                bound[parameters[position]] = group
            else:
                self._visit(argument, names)
        for keyword in node.keywords:
            group = self._group_of(keyword.value, names)
            if group and keyword.arg in parameters:
                bound[keyword.arg] = group
            else:
                self._visit(keyword.value, names)
        self._enter(callee, bound)


def _listed(group: str) -> str:
    return ", ".join(sorted(_FIELDS[group]))


def _walk_scope(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a statement without entering the functions, classes and comprehensions inside it."""
    yield node
    if not isinstance(node, _SCOPES):
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, _COMPREHENSIONS):
                yield from _walk_scope(child)


def _stored_names(node: ast.AST) -> Iterator[str]:
    """Yield every name that a statement binds in its own scope."""
    for inner in _walk_scope(node):
        if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
            yield inner.id
        elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield inner.name
        elif isinstance(inner, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.split(".")[0] for alias in inner.names)
        elif isinstance(inner, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and inner.name:
            yield inner.name
        elif isinstance(inner, ast.MatchMapping) and inner.rest:
            yield inner.rest
