"""The one place where Numba decorates: typed for mypy, and cached where no stale machine code can be served.

Numba's cache notices an edit only in the file of the cached function itself, and serves unchecked code when bounds
checks are asked for. So the cache lives in a folder named by a hash of all sources that kernels are made of, Numba's
version and the compile flags: an edit anywhere leads to another folder. Old folders are dropped.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast
from weakref import WeakSet

import numba
from numba.core import codegen, config, types
from numba.extending import register_jitable
from numba.np import arrayobj

P = ParamSpec("P")
R = TypeVar("R")

_KEPT_STAMPS = 4
_FLAGS = ("NUMBA_BOUNDSCHECK", "NUMBA_OPT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_DEBUGINFO")


def kernel_stamp(package: Path | None = None) -> str:
    """Return the hash over every source file that kernels are compiled from, with Numba's version and flags.

    Args:
        package: Folder of the `glia_bench` package; default this one.
    """
    root = package or Path(__file__).parents[1]
    digest = hashlib.sha256(f"{numba.__version__} {sys.version_info[:2]}".encode())
    for flag in _FLAGS:
        digest.update(f"{flag}={os.environ.get(flag, '')};".encode())
    core = [root / name for name in ("cluster.py", "features.py", "types.py")]
    sim = [file for file in sorted((root / "sim").glob("*.py")) if not file.name.startswith("reference")]
    for file in (*core, *sim):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def cache_root() -> Path:
    """Return the folder that holds one sub-folder per stamp: NUMBA_CACHE_DIR, else the user's cache folder."""
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(given) / "glia-bench"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "glia-bench" / "numba"


@cache
def cache_folder() -> Path | None:
    """Return this build's cache folder, made if needed; None where nothing can be written, and then nothing is cached.

    Folders of other builds are removed, the most recently used few aside.
    """
    folder = cache_root() / kernel_stamp()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
        others = sorted((f for f in folder.parent.iterdir() if f != folder), key=lambda f: f.stat().st_mtime)
        for stale in others[: max(0, len(others) - _KEPT_STAMPS + 1)]:
            shutil.rmtree(stale, ignore_errors=True)
    except OSError:
        return None
    return folder


@contextmanager
def _stamped_cache() -> Iterator[bool]:
    """Point Numba's cache at this build's folder while a function is decorated; yields whether it can be used."""
    folder = cache_folder()
    before = config.CACHE_DIR
    if folder is not None:
        config.CACHE_DIR = str(folder)
    try:
        yield folder is not None
    finally:
        config.CACHE_DIR = before


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a piece of a kernel; LLVM always inlines it, so that passing arrays costs nothing."""
    return _piece(numba.njit(function, forceinline=True, error_model="numpy", _nrt=False))


def called(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a larger piece of a kernel, which stays a function; for pieces that take references, not arrays."""
    piece = _piece(numba.njit(function, forceinline=False, error_model="numpy", _nrt=False))
    _called.append(piece)
    return piece


_pieces: list[Any] = []
_called: list[Any] = []


def _piece(dispatcher: Any) -> Any:
    if not config.DISABLE_JIT:
        _pieces.append(dispatcher)
    return dispatcher


@contextmanager
def _optimised_as_a_whole(name: str) -> Iterator[None]:
    """While a kernel of this name is compiled, optimise and emit it alone, not each of its pieces as well.

    Numba optimises every function with all that it calls, again at each level of calls, and LLVM inlines what is
    called once: for the hundred pieces of the full kernel that is several minutes instead of half of one. What a piece
    has been compiled to meanwhile cannot be called from Python, and is dropped. Indices are taken as they are, see
    `_index_as_it_is`. This replaces functions of Numba's own, for the time of the compilation only.
    """
    library, emitter = codegen.CPUCodeLibrary, codegen.JITCPUCodegen
    optimise, finalise, set_env = library._optimize_final_module, library._finalize_final_module, emitter.set_env
    optimise_functions = library._optimize_functions

    def optimise_kernel(self: Any) -> None:
        if self.name == name:
            names = {c.fndesc.mangled_name for piece in _called for c in piece.overloads.values()}
            for part in self._final_module.functions:
                if part.name in names and not part.is_declaration:
                    part.add_function_attribute("noinline")
                    part.linkage = "internal"
            passes, builder = self._codegen._module_pass_manager()
            passes.run(self._final_module, builder)

    def optimise_no_piece(self: Any, module: Any) -> None:
        if self.name == name:
            optimise_functions(self, module)

    def finalise_kernel(self: Any) -> None:
        if self.name == name:
            finalise(self)
        else:
            self._finalize_dynamic_globals()
            self._finalized = True

    def set_kernel_env(self: Any, env_name: str, env: Any) -> None:
        if self._engine.is_symbol_defined(env_name):
            set_env(self, env_name, env)

    library._optimize_final_module, library._finalize_final_module = optimise_kernel, finalise_kernel
    emitter.set_env = set_kernel_env
    library._optimize_functions = optimise_no_piece
    wrapped = arrayobj.fix_integer_index
    arrayobj.fix_integer_index = _index_as_it_is
    try:
        yield
    finally:
        library._optimize_final_module, library._finalize_final_module = optimise, finalise
        emitter.set_env = set_env
        library._optimize_functions = optimise_functions
        arrayobj.fix_integer_index = wrapped
        for piece in _pieces:
            piece._reset_overloads()
            piece.overloads.clear()


def _index_as_it_is(context: Any, builder: Any, kind: Any, index: Any, size: Any) -> Any:
    """Take an index as it is. Numba lets one below 0 count from the end, which is a choice in every access."""
    return context.cast(builder, index, kind, types.intp)


def plain(function: Callable[P, R]) -> Callable[P, R]:
    """Return the Python body of a compiled function."""
    return cast("Callable[P, R]", getattr(function, "py_func", function))


def kernel(signature: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a whole kernel for one signature when it is decorated, from the cache if it is there."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        with _stamped_cache() as can_cache, _optimised_as_a_whole(function.__qualname__):
            compiled = numba.njit(signature, cache=can_cache, error_model="numpy", _nrt=False)(function)
        return cast("Callable[P, R]", compiled)

    return decorate


def _let_hooks_call(helpers: Iterable[Callable[..., Any]], *, bounds_checks: bool) -> None:
    """Let compiled hooks call these plain functions, which stay plain for the Python tier."""
    for helper in helpers:
        if helper not in _callable_helpers:
            register_jitable(boundscheck=bounds_checks or None)(helper)
            _callable_helpers.add(helper)


_callable_helpers: WeakSet[Callable[..., Any]] = WeakSet()


def compile_hook(function: Callable[..., Any], arguments: tuple[Any, ...], *, bounds_checks: bool, cached: bool) -> Any:
    """Compile a policy's hook, with the helpers of its module, for fixed argument types; Numba's errors pass."""
    if config.DISABLE_JIT:
        return function
    module = function.__globals__
    helpers = [f for f in module.values() if isinstance(f, FunctionType) and f.__globals__ is module]
    _let_hooks_call(helpers, bounds_checks=bounds_checks)
    with _stamped_cache() as can_cache:
        dispatcher = numba.njit(boundscheck=bounds_checks or None, cache=cached and can_cache)(function)
        dispatcher.compile(arguments)
        dispatcher.disable_compile()
    return dispatcher
