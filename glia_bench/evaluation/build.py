"""What simulates, as text that two machines or two runs can compare: sources and the libraries that make machine code.

A shipped policy is not part of it: every design has a hash of its own. Processor and operating system are left out,
since results do not depend on them.
"""

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from glia_bench import __version__
from glia_bench.evaluation.environment import LIBRARIES

Build: TypeAlias = dict[str, str]

_ELSEWHERE = ("envs", "baselines", "leaderboard")
"""Packages that lie inside the folder when installed from a wheel and beside it in a checkout."""


@cache
def source_sha256(package: Path | None = None) -> str:
    """Return the hash over every source file and table of the package, wherever it is installed.

    Args:
        package: Folder of the `glia_bench` package; default this one.
    """
    root = package or Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root)
        if name.parts[0] in _ELSEWHERE or "__pycache__" in name.parts or name.name.startswith("."):
            continue
        if file.is_file():
            digest.update(name.as_posix().encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def describe_build() -> Build:
    """Return the versions and the source hash that a trial's result may depend on."""
    return {
        "glia_bench": __version__,
        "source": source_sha256(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: version(name) for name in LIBRARIES},
    }


def difference(expected: Build, found: Build) -> str:
    """Return what differs, such as "numba 0.68.1 instead of 0.63.0"; empty if nothing does."""
    names = [name for name in expected if found.get(name) != expected[name]]
    return ", ".join(f"{name} {found.get(name, 'none')[:12]} instead of {expected[name][:12]}" for name in names)
