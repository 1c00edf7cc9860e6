"""Policies by name or from a file: find the text, check it, execute it, and hand out its hooks.

Shipped policies are modules of `glia_bench.baselines`, one idea each; the folder that a module lies in says its kind.
They are imported like any module, so that Numba can cache them. A file of yours is read and checked as text first;
only then is it executed, as a fresh module. Executing a stranger's file is as dangerous as it sounds: the runner does
it in a process of its own. `read_source` and `static_check.static_check` never execute anything.
"""

import hashlib
import importlib
import linecache
import os
import pkgutil
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from glia_bench.errors import InvalidPolicyError, UnknownPolicyError, did_you_mean, text_of
from glia_bench.policy import Policy, Track
from glia_bench.static_check import CONSTANTS, MAX_SOURCE_BYTES, SourceFacts, static_check

KINDS = {"human": "human", "published_ai": "published_ai", "null": "null"}
"""Folder of `glia_bench.baselines` to the kind of the policies in it."""
MEMORY_LIMITS = {"shared": 65_536, "replica": 1_024, "tenant": 1_024, "session": 64, "request": 64}
"""Tables that MEMORY may declare, with the widest row of each (float64 values)."""
MIN_TICK_S = 0.01
MAX_TICK_S = 3600
_SHIPPED_TRACK: Track = "routing"  # the one track of this release


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declarations:
    """The module constants that the simulator reads, checked: MEMORY, SKIP_BLOCKED, TICK_S."""

    memory: Mapping[str, int]
    skip_blocked: bool
    tick_s: float | None


def load_policy(name_or_path: str, track: Track = "routing") -> Policy:
    """Return a shipped policy by its name, or load one from a path that ends in .py.

    A path is executed: call this only where that is acceptable.

    Raises:
        UnknownPolicyError: If no shipped policy has this name, or no file lies at this path.
        InvalidPolicyError: If the file breaks a rule of policies; the message says which and where.
    """
    if _looks_like_path(name_or_path):
        path = Path(name_or_path)
        return policy_from_source(read_source(path), name=path.stem, path=str(path), track=track)
    shipped = {policy.name: policy for policy in shipped_policies()}
    if name_or_path not in shipped:
        hint = did_you_mean(name_or_path, shipped) or f" (known: {', '.join(shipped)})"
        raise UnknownPolicyError(
            f"no policy {name_or_path!r}{hint}; a policy of your own is given by a path to a .py file"
        )
    policy = shipped[name_or_path]
    if policy.track != track:
        raise UnknownPolicyError(f"policy {name_or_path!r} belongs to the {policy.track} track, not to {track}")
    return policy


def shipped_policies(track: Track | None = None) -> list[Policy]:
    """Return every policy of the distribution, humans first, then by file name; only those of one track if given."""
    return [policy for policy in _all_shipped() if track in (None, policy.track)]


def policy_from_source(source: str, *, name: str, path: str, track: Track, kind: str = "user") -> Policy:
    """Check a policy's text, execute it as a fresh module and return its hooks.

    Args:
        source: The text.
        name: What results call the policy.
        path: How messages and tracebacks call the text; it need not exist.
        track: Whose hooks it should define.
        kind: Who designed it; "user" if that is not known.

    Raises:
        InvalidPolicyError: If the text breaks a rule, or raises while it is executed.
    """
    facts = static_check(source, track, path=path)
    module = _execute(source, path)
    return _policy(module, facts, source, name=name, path=path, track=track, kind=kind)


def read_source(path: Path) -> str:
    """Return the text of a policy file, without executing it.

    Raises:
        UnknownPolicyError: If nothing lies at this path.
        InvalidPolicyError: If it is no file, not a .py file, too large, unreadable or not UTF-8 text.
    """
    try:
        if not path.exists():
            raise UnknownPolicyError(f"no file at {str(path)!r}; check the path, or give the name of a shipped policy")
        if not path.is_file():
            found = "a folder" if path.is_dir() else "a device or pipe"
            raise InvalidPolicyError(f"{path}: a policy must be a file (got {found}); give the path of a .py file")
        if path.suffix != ".py":
            raise InvalidPolicyError(f"{path}: a policy must be a .py file (got {path.suffix!r}); rename it")
        with path.open("rb") as file:
            raw = file.read(MAX_SOURCE_BYTES + 1)
    except OSError as error:
        raise InvalidPolicyError(f"{path}: cannot be read ({error.strerror}); check path and permissions") from None
    if len(raw) > MAX_SOURCE_BYTES:
        raise InvalidPolicyError(f"{path}: a policy may have {MAX_SOURCE_BYTES} bytes (got more); cut tables out")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidPolicyError(
            f"{path}: a policy must be UTF-8 text (byte {raw[error.start]:#04x} at {error.start}); save it as UTF-8"
        ) from None


def facts_of(policy: Policy) -> SourceFacts:
    """Return what a loaded policy's text says of itself: its idea in one line, its public source, its notes."""
    return static_check(policy.source, policy.track, path=policy.path)


def _looks_like_path(name_or_path: str) -> bool:
    separators = [separator for separator in (os.sep, os.altsep, "/") if separator]
    return name_or_path.endswith(".py") or any(separator in name_or_path for separator in separators)


@cache
def _all_shipped() -> tuple[Policy, ...]:
    found = []
    for folder, kind in KINDS.items():
        package = importlib.import_module(f"glia_bench.baselines.{folder}")
        for stem in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
            module = importlib.import_module(f"{package.__name__}.{stem}")
            path, name = str(module.__file__), getattr(module, "NAME", stem)
            source = Path(path).read_text(encoding="utf-8")
            facts = static_check(source, _SHIPPED_TRACK, path=path)
            found.append(_policy(module, facts, source, name=name, path=path, track=_SHIPPED_TRACK, kind=kind))
    return tuple(found)


def _policy(
    module: types.ModuleType, facts: SourceFacts, source: str, *, name: str, path: str, track: Track, kind: str
) -> Policy:
    hooks: dict[str, Callable[..., Any]] = {}
    for hook in facts.hooks:
        function = getattr(module, hook, None)
        if not isinstance(function, types.FunctionType):
            raise InvalidPolicyError(
                f"{path}: {hook} must still be a plain function once the file has run (got {type(function).__name__}); "
                f"leave decorators out, hooks are compiled for you"
            )
        hooks[hook] = function
    declared = _declarations({c: getattr(module, c) for c in CONSTANTS if hasattr(module, c)}, path=path)
    return Policy(
        name=name,
        track=track,
        kind=kind,
        source=source,
        sha256=hashlib.sha256(source.encode()).hexdigest(),
        path=path,
        hooks=hooks,
        memory=dict(declared.memory),
        skip_blocked=declared.skip_blocked,
        tick_s=declared.tick_s,
        fields_read=facts.fields_read,
        is_shipped=kind != "user" and module.__name__.startswith("glia_bench.baselines."),
        notes=facts.notes,
    )


def _execute(source: str, path: str) -> types.ModuleType:
    """Execute a text as a module of its own; Numba and tracebacks find its lines under `path`."""
    module = types.ModuleType(f"glia_bench_policy_{hashlib.sha256(source.encode()).hexdigest()[:16]}")
    module.__file__ = path
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    sys.modules[module.__name__] = module
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape is no error, whatever the filters say
            code = compile(source, path, "exec", dont_inherit=True)
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        where = f"{path}, line {lines[-1]}" if lines else path
        raised = f"{type(error).__name__}: {text_of(error)}"
        raise InvalidPolicyError(
            f"{where}: the file must run without error when it is loaded (raised {raised})"
        ) from error
    return module


def _declarations(values: Mapping[str, Any], *, path: str) -> _Declarations:
    """Check the values of the constants that a policy declares; those left out keep their defaults."""
    memory = values.get("MEMORY", {})
    if not isinstance(memory, dict):
        raise InvalidPolicyError(f"{path}: MEMORY must be a dict of widths like {{'shared': 8}} (got {memory!r})")
    for table, width in memory.items():
        if table not in MEMORY_LIMITS:
            raise InvalidPolicyError(
                f"{path}: MEMORY has no table {table!r} (known: {', '.join(MEMORY_LIMITS)})"
                f"{did_you_mean(str(table), MEMORY_LIMITS)}"
            )
        if not isinstance(width, int) or isinstance(width, bool) or not 0 <= width <= MEMORY_LIMITS[table]:
            raise InvalidPolicyError(
                f"{path}: MEMORY[{table!r}] must be an integer from 0 to {MEMORY_LIMITS[table]}, "
                f"the number of float64 values in a row (got {width!r})"
            )
    skip_blocked = values.get("SKIP_BLOCKED", False)
    if not isinstance(skip_blocked, bool):
        raise InvalidPolicyError(f"{path}: SKIP_BLOCKED must be True or False (got {skip_blocked!r})")
    tick_s = values.get("TICK_S")
    if "TICK_S" in values and (
        not isinstance(tick_s, int | float) or isinstance(tick_s, bool) or not MIN_TICK_S <= tick_s <= MAX_TICK_S
    ):
        raise InvalidPolicyError(
            f"{path}: TICK_S must be a number of seconds from {MIN_TICK_S} to {MAX_TICK_S} (got {tick_s!r}); "
            f"leave it out to be asked at arrivals and completions only"
        )
    return _Declarations(
        memory=dict(memory), skip_blocked=skip_blocked, tick_s=None if tick_s is None else float(tick_s)
    )
