"""The import rules of docs/architecture.md and a few rules for every source file, read with `ast`, never by running it.

The one exception: what importing the command line loads is asked of a fresh interpreter, since that is the effect that
the rule is about (start-up time).
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "glia_bench": "glia_bench",
    "envs": "glia_bench.envs",
    "baselines": "glia_bench.baselines",
    "leaderboard": "glia_bench.leaderboard",
}
"""Folder to import name."""

CORE = {
    *("", "case", "cluster", "errors", "features", "field_reads"),
    *("policy", "repeatable", "static_check", "tunables", "types", "weights"),
}
"""Names below glia_bench that every part may import ("" is glia_bench itself), and that import only each other."""

MAY_IMPORT: dict[str, set[str]] = {
    "sim": set(),
    "workloads": set(),
    "calibrate": {"sim"},
    "declarations": {"sim"},
    "loading": {"declarations"},
    "timeline": set(),
    "tasks": {"sim", "workloads"},
    "scoring": {"sim", "workloads", "tasks"},
    "evaluation": {"sim", "workloads", "tasks", "scoring", "loading", "timeline"},
    "designer": {"sim", "workloads", "tasks", "scoring", "declarations", "loading", "evaluation"},
    "terminal_records": {"terminal", "terminal_columns", "evaluation", "scoring"},
    "cli_records": {"terminal", "terminal_records", "evaluation", "scoring"},
    "cli_setup": {"calibrate", "terminal", "cli_records", "evaluation"},
    "cli_design": {"tasks", "scoring", "evaluation", "designer", "terminal_designs"},
    "cli_tuning": {"terminal", "terminal_tuning", "evaluation"},
    "terminal_columns": {"scoring"},
    "terminal_tuning": {"evaluation"},
    "terminal": {"sim", "workloads", "tasks", "scoring", "loading", "evaluation", "designer", "terminal_columns"},
    "terminal_designs": {"designer", "terminal_columns"},
    "terminal_info": {"terminal_columns"},
    "cli": {
        *("sim", "workloads", "tasks", "scoring", "loading", "evaluation", "designer"),
        *("doctor", "terminal", "terminal_info", "cli_design", "cli_records", "cli_setup", "cli_tuning"),
    },
    "doctor": {"sim", "evaluation"},
    "__main__": {"cli"},
    "envs": {"sim", "workloads", "tasks", "scoring", "loading", "evaluation"},
    "baselines": {"sim", "workloads", "tasks", "scoring", "loading", "evaluation", "envs"},
    "leaderboard": {"sim", "workloads", "tasks", "scoring", "loading", "evaluation", "designer"},
}
"""Part of the project to the parts that it may import beside the core and itself."""

OPEN_SIM_MODULES = {
    *("engine", "stepper", "full_stepper", "reference", "reference_latency", "modes"),
    *("jit", "latency", "latency_file", "latency_parts", "latency_profile", "kv_capacity", "stream"),
}
"""Modules of sim that the rest may import."""

HEAVY = {"distributed", "dspy", "gymnasium", "jinja2", "matplotlib", "numba", "optuna", "pandas", "pyarrow", "rich"}
"""Distributions that no start-up may pay for."""


def sources() -> list[Path]:
    """Return every module of the distribution."""
    return sorted(path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py"))


def beside_the_distribution() -> list[Path]:
    """Return every module beside the distribution."""
    return sorted(path for folder in ("benchmarks", "tests", "tools") for path in (ROOT / folder).rglob("*.py"))


def relative(path: Path) -> str:
    """Return a path as messages name it."""
    return path.relative_to(ROOT).as_posix()


def part_of(module: str) -> str:
    """Return the part of the project that a module belongs to: the second component of its dotted name."""
    return (module + ".").split(".")[1]


def module_name(path: Path) -> str:
    """Return the dotted name under which a source file is imported."""
    folder, *rest = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([PACKAGES[folder], *rest]).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """Yield every dotted name that a file imports, at any depth; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ("." * node.level + f"{node.module or ''}.{alias.name}" for alias in node.names)


def internal_part(name: str) -> str:
    """Return the part that `from glia_bench...` reaches; names taken from glia_bench itself are core."""
    part = part_of(name)
    return part if part in MAY_IMPORT or part in CORE else ""


def may_import(importer: str, part: str) -> bool:
    """Return whether one part of the project may import another."""
    return part == importer or part in CORE or part in MAY_IMPORT.get(importer, set())


def test_every_part_is_in_the_table() -> None:
    """A new module or package directly below glia_bench states what it may import, in MAY_IMPORT or CORE."""
    assert {part_of(module_name(path)) for path in sources()} <= CORE | set(MAY_IMPORT)


def test_no_wrong_arrow() -> None:
    """Each part imports only what lies below it."""
    wrong = [
        f"{relative(path)} imports {name}"
        for path in sources()
        for name in imported(path)
        if name.split(".")[0] == "glia_bench" and not may_import(part_of(module_name(path)), internal_part(name))
    ]
    assert wrong == []


def test_only_open_modules_of_sim_are_used_from_outside() -> None:
    """Kernel, state and event queue stay private to the simulator."""
    wrong = [
        f"{relative(path)} imports {name}"
        for path in sources()
        if part_of(module_name(path)) != "sim"
        for name in imported(path)
        if name.startswith("glia_bench.sim.") and name.split(".")[2] not in OPEN_SIM_MODULES
    ]
    assert wrong == []


def test_sim_needs_only_numpy_and_numba() -> None:
    """The simulator imports nothing from outside but numpy and numba, and llvmlite, which numba is made of."""
    allowed = {"glia_bench", "llvmlite", "numpy", "numba", *sys.stdlib_module_names}
    wrong = [
        f"{relative(path)} imports {name}"
        for path in sorted((ROOT / "glia_bench" / "sim").rglob("*.py"))
        for name in imported(path)
        if name.split(".")[0] not in allowed
    ]
    assert wrong == []


def test_numba_decorators_come_from_one_module() -> None:
    """Only sim/jit.py decorates: compile options and the cache stamp are decided in one place."""
    pattern = re.compile(r"^\s*@(numba\.|nb\.)?(n?jit|vectorize|guvectorize|cfunc|stencil|jitclass)\b", re.MULTILINE)
    wrong = [
        relative(path)
        for path in sources()
        if module_name(path) != "glia_bench.sim.jit" and pattern.search(path.read_text())
    ]
    assert wrong == []


def test_imports_are_absolute_and_under_one_name() -> None:
    """No relative import, and none by a folder's bare name: each class exists once, whoever imports it."""
    bare = set(PACKAGES) - {"glia_bench"}
    wrong = [
        f"{relative(path)} imports {name}"
        for path in [*sources(), *beside_the_distribution()]
        for name in imported(path)
        if name.split(".")[0] in bare | {""}
    ]
    assert wrong == []


@pytest.mark.parametrize("module", ["", ".cli", ".errors", ".features", ".loading", ".policy", ".types"])
def test_start_up_loads_nothing_heavy(module: str) -> None:
    """Importing the package, its core or the command line loads none of the large libraries."""
    code = f"import sys, glia_bench{module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stderr


def test_every_module_has_a_docstring() -> None:
    """A module begins by saying what it holds."""
    assert [
        relative(path)
        for path in [*sources(), *beside_the_distribution()]
        if not ast.get_docstring(ast.parse(path.read_text()))
    ] == []


def test_files_can_be_read_in_one_sitting() -> None:
    """No module is longer than 400 lines; tests and benchmarks, mostly tables of cases, 500."""
    limits = dict.fromkeys(beside_the_distribution(), 500) | dict.fromkeys(sources(), 400)
    lengths = {path: len(path.read_text().splitlines()) for path in limits}
    assert {relative(path): lengths[path] for path, limit in limits.items() if lengths[path] > limit} == {}


def test_no_path_of_a_machine() -> None:
    """No file names a folder of the computer that it was written on."""
    pattern = re.compile(r"(?<![\w.>])/(?:home|root|Users|work|mnt|media)/\w")
    folders = [*PACKAGES, "benchmarks", "tests", "tools", "docs", "submissions", ".ci"]
    files = [
        path for path in ROOT.iterdir() if path.suffix in {".md", ".toml", ".txt", ".cff"} or path.name == "Makefile"
    ]
    for folder in folders:
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    found = []
    for path in files:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # binary tables
        found += [f"{relative(path)}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []
