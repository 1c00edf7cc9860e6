"""What can be said of a policy from its text alone, before any of it runs: errors, remarks, and the fields it reads.

The text is parsed, never executed, so this is safe on anyone's file. Names are judged here, the fields that hooks read
in `field_reads`, dice and clocks in `repeatable`. Left out: values (those of constants are checked by `declarations`
once the file has run, bad answers when they are given), and writes to module-level arrays.
"""

import ast
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from glia_bench.errors import InvalidPolicyError, did_you_mean
from glia_bench.field_reads import Function, fields_read, refuse, stored_names
from glia_bench.policy import CONSTANTS, HOOKS, TRACKS, WRITTEN_IN_CLUSTER, Track, constants_of, hooks_of
from glia_bench.repeatable import refuse_dice_and_clocks
from glia_bench.tunables import Tunable, tunables

MAX_SOURCE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What the text says.

    Attributes:
        hooks: Names of the hooks that it defines, as it writes them, in the order of `policy.HOOKS`.
        fields_read: Every "group.field" that it may read; None where the text cannot tell.
        tunable: Constants that it declares as tunable.
        notes: Remarks for its author.
        idea: First line of its docstring, or an empty string.
        public_source: Its SOURCE constant, or an empty string.
    """

    hooks: tuple[str, ...]
    fields_read: frozenset[str] | None
    tunable: tuple[Tunable, ...]
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
    if track not in TRACKS:
        raise InvalidPolicyError(
            f"track must be one of {', '.join(TRACKS)} (got {track!r}){did_you_mean(track, TRACKS)}"
        )
    try:
        module = _parse(source, path)
        refuse_dice_and_clocks(module, track, path)
        return _Check(module, track, path).facts()
    except (RecursionError, MemoryError):
        raise InvalidPolicyError(f"{path}: nested too deeply to be read; write it with fewer nested levels") from None


def fitting_tracks(source: str, *, path: str = "policy.py") -> tuple[Track, ...]:
    """Return the tracks that a policy's hooks and constants, by their names, make a complete design for.

    Raises:
        InvalidPolicyError: If the text is not Python.
    """
    return _fitting(*_names(_parse(source, path)))


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


def _names(module: ast.Module) -> tuple[dict[str, Function], dict[str, ast.stmt]]:
    """Return a module's functions, and what else it binds at its top with the statement that does."""
    functions = {node.name: node for node in module.body if isinstance(node, Function)}
    bound: dict[str, ast.stmt] = {}
    for node in module.body:
        if not isinstance(node, Function):
            bound.update(dict.fromkeys(stored_names(node), node))
    return functions, bound


def _fitting(functions: Collection[str], bound: Collection[str]) -> tuple[Track, ...]:
    """Return the tracks that these names make a complete design for."""
    hooks = {name for track in TRACKS for name in hooks_of(track)} & set(functions)
    constants = set(CONSTANTS) & set(bound)
    return tuple(
        track
        for track in TRACKS
        if hooks <= set(hooks_of(track))
        and constants <= set(constants_of(track))
        and not _lacks(track, hooks, constants)
    )


def _lacks(track: Track, functions: Collection[str], bound: Collection[str]) -> str:
    """Return what a design for a track needs and these names do not have, or an empty string."""
    if track == "routing":
        return "" if {"route", "assign"} & set(functions) else "the function route or assign"
    if track == "autoscaling":
        return "" if "scale" in functions else "the function scale"
    some = ", ".join(hooks_of(track))
    if track == "cluster":
        return "" if set(hooks_of(track)) & set(functions) else f"at least one of the functions {some}"
    declared = [name for name in CONSTANTS if CONSTANTS[name].track == track]
    if set(hooks_of(track)) & set(functions) or set(declared) & set(bound):
        return ""
    return f"at least one of the functions {some}, or one of the constants {', '.join(declared)}"


class _Check:
    """One pass over one module."""

    def __init__(self, module: ast.Module, track: Track, path: str) -> None:
        self.module, self.track, self.path = module, track, path
        self.functions, self.bound = _names(module)
        self.hooks = {name: HOOKS[hook] for name, hook in hooks_of(track).items()}

    def facts(self) -> SourceFacts:
        for node in ast.walk(self.module):
            if isinstance(node, ast.Global | ast.Nonlocal):
                self._refuse_global(node)
        self._check_functions()
        self._check_bound_names()
        if lacks := _lacks(self.track, self.functions, self.bound):
            strangers = (name for name in self.functions if name not in self.hooks)
            close = next(filter(None, (did_you_mean(name, self.hooks) for name in strangers)), "")
            found = ", ".join(list(self.functions)[:10]) or "none"
            a_track = f"an {self.track}" if self.track == "autoscaling" else f"a {self.track}"
            raise InvalidPolicyError(f"{self.path}: {a_track} policy needs {lacks} (functions found: {found}){close}")
        doc = ast.get_docstring(self.module) or ""
        return SourceFacts(
            hooks=tuple(name for name in self.hooks if name in self.functions),
            fields_read=fields_read(self.module, self.track, self.path),
            tunable=tunables(self.module, self.path),
            notes=tuple(self._notes()),
            idea=doc.partition("\n")[0].strip(),
            public_source=self._public_source(),
        )

    def _refuse_global(self, node: ast.Global | ast.Nonlocal) -> None:
        word = "global" if isinstance(node, ast.Global) else "nonlocal"
        refuse(
            node,
            self.path,
            f"`{word} {', '.join(node.names)}`: a policy keeps no state in globals, which compiled code freezes; "
            f"declare MEMORY = {{'shared': {len(node.names)}}} and keep it in memory.shared",
        )

    def _check_functions(self) -> None:
        for name, function in self.functions.items():
            owners = [track for track in TRACKS if track != "cluster" and name in hooks_of(track)]
            if name in self.hooks:
                self._check_signature(name, function)
            elif owners:
                self._refuse_other_track(function, f"{name} is a hook of the {' and '.join(owners)} track", "a helper")
            elif name in WRITTEN_IN_CLUSTER.values():
                (_, plain), *_ = [hook for hook, written in WRITTEN_IN_CLUSTER.items() if written == name]
                self._refuse_other_track(function, f"{name} is what cluster designs call the hook {plain}", "a helper")
            elif name.startswith("on_"):
                events = [hook for hook in self.hooks if hook.startswith("on_")]
                kept = f"kept for hooks: {', '.join(events) or 'this track has none'}"
                refuse(
                    function,
                    self.path,
                    f"{name} is no hook of the {self.track} track (names that begin with on_ are {kept})"
                    f"{did_you_mean(name, events)}",
                )

    def _check_bound_names(self) -> None:
        for name, node in self.bound.items():
            if name in self.hooks:
                refuse(node, self.path, f"{name} must be a plain function of this file: write {self._signature(name)}")
            if name in CONSTANTS and name not in constants_of(self.track):
                found = f"{name} is a constant of the {CONSTANTS[name].track} track"
                self._refuse_other_track(node, found, "a parameter of yours")

    def _refuse_other_track(self, node: ast.AST, found: str, else_it_is: str) -> None:
        fits = " and ".join(track for track in _fitting(self.functions, self.bound))
        whole = f" (as a whole, the file fits: {fits})" if fits else ""
        refuse(
            node,
            self.path,
            f"{found}; this task is {self.track}{whole}; rename it if it is {else_it_is}, it does nothing here",
        )

    def _signature(self, hook: str) -> str:
        return f"def {hook}({', '.join(self.hooks[hook].parameters)})"

    def _check_signature(self, name: str, function: Function) -> None:
        spec, wanted = function.args, self.hooks[name].parameters
        positional = len(spec.posonlyargs) + len(spec.args)
        if isinstance(function, ast.AsyncFunctionDef):
            refuse(function, self.path, f"{name} must be a plain function, not async: write {self._signature(name)}")
        if positional != len(wanted) or spec.vararg or spec.kwonlyargs or spec.kwarg:
            refuse(
                function,
                self.path,
                f"{name} must take {len(wanted)} parameters by position, {self._signature(name)} "
                f"(found def {name}({ast.unparse(spec)}))",
            )
        for (of, plain), written in WRITTEN_IN_CLUSTER.items():
            found = tuple(argument.arg for argument in spec.posonlyargs + spec.args)
            if (self.track, name, found) == ("cluster", plain, HOOKS[of, plain].parameters):
                way_out = f"write {self._signature(written)} for the {of} one"
                refuse(function, self.path, f"{self._signature(name)} is what {name} is in a cluster policy; {way_out}")

    def _public_source(self) -> str:
        for node in self.module.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and "SOURCE" in stored_names(node):
                return str(node.value.value)
        return ""

    def _notes(self) -> Iterator[str]:
        if "assign" in self.hooks and "assign" in self.functions:
            for name in ("route", "rank"):
                if name in self.functions:
                    yield f"{name} is never called: assign decides for the whole queue in its place"
        yield from self._idle_notes()
        called = {n.id for n in ast.walk(self.module) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        for name in self.functions:
            if name not in called and name not in self.hooks and (hint := did_you_mean(name, self.hooks)):
                yield f"function {name} is never called{hint}"
        known = constants_of(self.track)
        for name in sorted(name for name in self.bound if name.isupper() and name not in called):
            if name not in known and (hint := did_you_mean(name, known)):
                yield f"constant {name} is never used{hint}"

    def _idle_notes(self) -> Iterator[str]:
        """Yield what has no effect for want of something else."""
        written = {hook: name for name, hook in hooks_of(self.track).items()}
        for idle, needed in (
            ("PREEMPTIVE", written.get(("scheduling", "rank"))),
            ("DYNAMIC_RANK", written.get(("scheduling", "rank"))),
            ("INTERVAL_S", "scale"),
            ("drain_rank", "scale"),
        ):
            node = self.bound.get(idle)
            is_off = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is False
            if (idle in self.functions or (node is not None and not is_off)) and needed not in self.functions:
                yield f"{idle} has no effect without {needed}"
