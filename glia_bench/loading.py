"""Policies by name or from a file: find the text, check it, execute it, and hand out its hooks.

Shipped policies are modules of `glia_bench.baselines`, one idea each; the folder that a module lies in says its kind.
They are imported like any module, so that Numba can cache them. A file of yours is read and checked as text first;
only then is it executed, as a fresh module. Executing a stranger's file is as dangerous as it sounds: the runner does
it in a process of its own. `read_source` and `static_check.static_check` never execute anything.
"""

import dataclasses
import importlib
import linecache
import os
import pkgutil
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from glia_bench.declarations import declarations
from glia_bench.errors import InvalidPolicyError, UnknownPolicyError, did_you_mean, text_of
from glia_bench.policy import CONSTANTS, TRACKS, Policy, Track, hooks_of
from glia_bench.static_check import MAX_SOURCE_BYTES, SourceFacts, fitting_tracks, static_check
from glia_bench.tunables import sha256_of, variant_name, with_constants
from glia_bench.weights import arrays_of, check_bound, declares_weights, read_weights

KINDS = {"human": "human", "published_ai": "published_ai", "bound": "bound", "null": "null"}
"""Folder of `glia_bench.baselines` to the kind of the policies in it."""


def load_policy(name_or_path: str, track: Track = "routing") -> Policy:
    """Return a shipped policy by its name, or load one from a path that ends in .py.

    A path is executed: call this only where that is acceptable.

    Raises:
        UnknownPolicyError: If no shipped policy has this name, or no file lies at this path.
        InvalidPolicyError: If the file breaks a rule of policies; the message says which and where.
    """
    if _looks_like_path(name_or_path):
        path = Path(name_or_path)
        source = read_source(path)
        weights = read_weights(path, source)
        return policy_from_source(source, name=path.stem, path=str(path), track=track, weights=weights)
    shipped = {policy.name: policy for policy in shipped_policies()}
    if name_or_path not in shipped:
        known = ", ".join(policy.name for policy in shipped.values() if policy.track == track)
        hint = did_you_mean(name_or_path, shipped) or f" (known: {known})"
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


def policy_from_source(
    source: str, *, name: str, path: str, track: Track, kind: str = "user", weights: bytes = b""
) -> Policy:
    """Check a policy's text, execute it as a fresh module and return its hooks.

    Args:
        source: The text.
        name: What results call the policy.
        path: How messages and tracebacks call the text; it need not exist.
        track: Whose hooks it should define.
        kind: Who designed it; "user" if that is not known.
        weights: Content of its weights file, if its text declares one.

    Raises:
        InvalidPolicyError: If the text breaks a rule, or raises while it is executed, or the weights are not its own.
    """
    facts = static_check(source, track, path=path)
    arrays = arrays_of(weights, path) if declares_weights(source) else {}
    module = _execute(source, path, arrays)
    if declares_weights(source):
        check_bound(getattr(module, "WEIGHTS", None), weights, path)
    policy = _policy(module, facts, source, name=name, path=path, track=track, kind=kind)
    return dataclasses.replace(policy, weights=weights if declares_weights(source) else b"")


def with_other_constants(policy: Policy, constants: Mapping[str, object]) -> Policy:
    """Return the same idea with other values of some of its constants: another text, and so another design.

    Raises:
        InvalidPolicyError: If one is no constant that the file writes out, or the file does not run with it.
    """
    source = with_constants(policy.source, constants)
    name = variant_name(policy.name, sha256_of(source))
    known = {"name": name, "path": policy.path, "track": policy.track, "kind": policy.kind}
    return policy_from_source(source, **known, weights=policy.weights)  # type: ignore[arg-type]


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
            track = fitting_tracks(source, path=path)[0]
            facts = static_check(source, track, path=path)
            found.append(_policy(module, facts, source, name=name, path=path, track=track, kind=kind))
    return tuple(found)


def _policy(
    module: types.ModuleType, facts: SourceFacts, source: str, *, name: str, path: str, track: Track, kind: str
) -> Policy:
    parts: dict[Track, dict[str, Callable[..., Any]]] = {part: {} for part in TRACKS}
    written = hooks_of(track)
    for name_written in facts.hooks:
        function = getattr(module, name_written, None)
        if not isinstance(function, types.FunctionType):
            raise InvalidPolicyError(
                f"{path}: {name_written} must still be a plain function once the file has run "
                f"(got {type(function).__name__}); leave decorators out, hooks are compiled for you"
            )
        part, hook = written[name_written]
        parts[part][hook] = function
    values = {constant: getattr(module, constant) for constant in CONSTANTS if hasattr(module, constant)}
    declared = declarations(values, path=path, scales="scale" in parts["autoscaling"])
    return Policy(
        name=name,
        track=track,
        kind=kind,
        source=source,
        sha256=sha256_of(source),
        path=path,
        routing=parts["routing"],
        scheduling=parts["scheduling"],
        autoscaling=parts["autoscaling"],
        memory=declared.memory,
        skip_blocked=declared.skip_blocked,
        tick_s=declared.tick_s,
        prefix_view=declared.prefix_view,
        preemptive=declared.preemptive,
        dynamic_rank=declared.dynamic_rank,
        engine_mode=declared.engine_mode,
        interval_s=declared.interval_s,
        fields_read=facts.fields_read,
        tunable=facts.tunable,
        is_shipped=module.__name__.startswith("glia_bench.baselines."),
        notes=facts.notes,
    )


def _execute(source: str, path: str, arrays: Mapping[str, object]) -> types.ModuleType:
    """Execute a text as a module of its own that has some arrays; Numba and tracebacks find its lines under `path`."""
    module = types.ModuleType(f"glia_bench_policy_{sha256_of(source)[:16]}")
    module.__dict__.update(arrays)
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
