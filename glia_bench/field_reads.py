"""Which fields a policy may read, told from its text: hook parameters are followed through the functions of the file.

Parameters go by position to the feature groups of `policy.HOOKS`; they are followed through plain aliases
(`perf = cluster.perf`) and into functions of the same file that they are handed to. A field that its group does not
have, and a write to what is read-only, are refused. Whatever hides behind getattr and friends makes the answer None:
the text cannot tell.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from typing import NoReturn, get_args, get_type_hints

from glia_bench.errors import InvalidPolicyError, did_you_mean
from glia_bench.features import GROUPS, schema
from glia_bench.policy import HOOKS, Track, hooks_of

_FIELDS: dict[str, frozenset[str]] = {group: frozenset(spec.name for spec in schema(group)) for group in GROUPS}
_FIELDS["queue"] = _FIELDS["request"]
_FIELDS["index"] = frozenset()  # what the router's event hooks call `replica` is a number
_GROUP_OF_CLASS = {declared: group for group, declared in GROUPS.items()}
_NESTED: dict[tuple[str, str], str] = {
    (group, name): _GROUP_OF_CLASS[get_args(hint)[0]]
    for group, declared in GROUPS.items()
    for name, hint in get_type_hints(declared, include_extras=True).items()
    if get_args(hint)[0] in GROUPS.values()
}
"""Fields that are groups themselves: (group, field) to the group, such as ("cluster", "perf") to "perf"."""
_PLAIN_IMPORTS = ("numpy", "math", "glia_bench", "typing", "__future__")
_OPAQUE_NAMES = frozenset(
    ("getattr", "setattr", "delattr", "eval", "exec", "compile", "vars", "dir", "locals", "globals", "__import__")
)
_OPAQUE_ATTRIBUTES = frozenset(("base", "ctypes", "data", "stride_tricks"))  # ways from one array to its neighbours
Function = ast.FunctionDef | ast.AsyncFunctionDef
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_Groups = dict[str, str | None]
"""Names of a scope: the feature group that each holds, or None if it holds anything else."""


def fields_read(module: ast.Module, track: Track, path: str) -> frozenset[str] | None:
    """Return every "group.field" that a policy may read; None where the text cannot tell.

    Args:
        module: The policy; the signatures of its hooks have been checked.
        track: Whose hooks it may define.
        path: How messages call the file.

    Raises:
        InvalidPolicyError: If it reads a field that does not exist or writes to what is read-only.
    """
    return _Reads(module, track, path).all_fields()


def refuse(node: ast.AST, path: str, message: str) -> NoReturn:
    """Refuse a policy for what stands at a node."""
    raise InvalidPolicyError(f"{path}, line {getattr(node, 'lineno', 0)}: {message}")


class _Reads:
    """One pass over one module."""

    def __init__(self, module: ast.Module, track: Track, path: str) -> None:
        self.module, self.path = module, path
        self.functions: dict[str, Function] = {n.name: n for n in module.body if isinstance(n, Function)}
        self.parameters = {name: _groups_of(hook) for name, hook in hooks_of(track).items()}
        visible = {group for groups in self.parameters.values() for group in groups} & set(GROUPS)
        self.visible = visible | {inner for (outer, _), inner in _NESTED.items() if outer in visible}
        self.modules: set[str] = set()
        self.fields: set[str] = set()
        self.is_opaque = False
        self.done: set[tuple[str, tuple[tuple[str, str | None], ...]]] = set()
        self.where = "the module"

    def all_fields(self) -> frozenset[str] | None:
        for node in ast.walk(self.module):
            self._note_what_hides(node)
        for name in [name for name in self.parameters if name in self.functions]:
            spec = self.functions[name].args
            named = zip(spec.posonlyargs + spec.args, self.parameters[name], strict=True)
            self._enter(name, {argument.arg: group if group in _FIELDS else None for argument, group in named})
        reached = {name for name, _ in self.done}
        for statement in self.module.body:
            if not (isinstance(statement, Function) and statement.name in reached):
                self.where = getattr(statement, "name", "the module")
                self._visit(statement, {})
        return None if self.is_opaque else frozenset(self.fields)

    def _note_what_hides(self, node: ast.AST) -> None:
        """Note imports, and everything behind which fields can hide."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            roots = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if any(root.split(".")[0] not in _PLAIN_IMPORTS or "stride_tricks" in root for root in roots):
                self.is_opaque = True
            self.modules.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
        if isinstance(node, ast.Name) and node.id in _OPAQUE_NAMES:
            self.is_opaque = True
        if isinstance(node, ast.Attribute) and (node.attr.startswith("_") or node.attr in _OPAQUE_ATTRIBUTES):
            self.is_opaque = True
        if isinstance(node, Function | ast.ClassDef) and node.decorator_list:
            self.is_opaque = True

    def _enter(self, name: str, groups: _Groups) -> None:
        """Follow a function of the module with its parameters bound to feature groups, once per binding."""
        key = (name, tuple(sorted(groups.items())))
        if key in self.done:
            return
        self.done.add(key)
        caller, self.where = self.where, name
        self._scope(self.functions[name], groups)
        self.where = caller

    def _scope(self, function: Function | ast.Lambda, groups: _Groups) -> None:
        spec = function.args
        own: _Groups = dict(groups)
        for argument in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg):
            if argument is not None:
                own.setdefault(argument.arg, None)
        body = function.body if isinstance(function.body, list) else [function.body]
        stores = Counter(name for node in body for name in stored_names(node))
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
            return _NESTED.get((group, node.attr))
        return None

    def _read(self, group: str, node: ast.Attribute) -> None:
        written = ast.unparse(node)
        if node.attr.startswith("_"):
            return  # the namedtuple's own: already opaque
        if node.attr not in _FIELDS[group]:
            hint = self._hint(group, node)
            refuse(node, self.path, f"{self.where} reads {written}: no such field{hint}")
        if not isinstance(node.ctx, ast.Load):
            self._refuse_write(node, written)
        self.fields.add(f"{'request' if group == 'queue' else group}.{node.attr}")

    def _hint(self, group: str, node: ast.Attribute) -> str:
        """Return the way out of reading a field that a group does not have."""
        if group == "index":
            name = node.value.id if isinstance(node.value, ast.Name) else "it"
            return f"; {name} is a replica's index here"
        if group in ("request", "queue") and ("output" in node.attr or "decode" in node.attr):
            return "; nobody sees a true output length before the request has finished"
        if hint := did_you_mean(node.attr, _FIELDS[group]):
            return hint
        elsewhere = sorted(f"{self._written(g)}.{node.attr}" for g in self.visible if node.attr in _FIELDS[g])
        if elsewhere:
            return f"; did you mean {' or '.join(map(repr, elsewhere))}?"
        return f"; {group} has {', '.join(sorted(_FIELDS[group]))}"

    def _written(self, group: str) -> str:
        """Return how hooks of this track reach a group: by its name, or through the group that it is part of."""
        owners = [f"{outer}.{name}" for (outer, name), inner in _NESTED.items() if inner == group]
        return next((owner for owner in owners if owner.split(".")[0] in self.visible), group)

    def _refuse_write(self, node: ast.AST, written: str) -> NoReturn:
        rule = "what a policy sees is read-only; declare MEMORY and write to memory"
        refuse(node, self.path, f"{self.where} writes {written}: {rule}")

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
            targets = {name for g in node.generators for name in stored_names(g.target)}
            self._visit_children(node, {**names, **dict.fromkeys(targets)})
        else:
            self._visit_children(node, names)

    def _visit_children(self, node: ast.AST, names: _Groups) -> None:
        for child in ast.iter_child_nodes(node):
            self._visit(child, names)

    def _visit_attribute(self, node: ast.Attribute, names: _Groups) -> None:
        if group := self._group_of(node.value, names):
            self._read(group, node)
            if (group, node.attr) in _NESTED:
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
            self._refuse_write(node, ast.unparse(node))

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


def _groups_of(hook: tuple[Track, str]) -> tuple[str, ...]:
    """Return the group of each parameter of a hook, or the parameter's name where it has none."""
    track, _ = hook
    is_index = track == "routing"  # there, `replica` is a number
    return tuple("index" if p == "replica" and is_index else p for p in HOOKS[hook].parameters)


def _walk_scope(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a statement without entering the functions, classes and comprehensions inside it."""
    yield node
    if not isinstance(node, _SCOPES):
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, _COMPREHENSIONS):
                yield from _walk_scope(child)


def stored_names(node: ast.AST) -> Iterator[str]:
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
