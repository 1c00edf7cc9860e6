"""The machine and versions behind a result, for its record; nothing that names the user or the host."""

import hashlib
import os
import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from glia_bench import __version__

LIBRARIES = ("numpy", "numba", "llvmlite")
"""Distributions whose version may change machine code or numbers."""

_CORE = (
    *("case", "cluster", "declarations", "features", "loading", "policy", "types"),
    *("scoring/metrics", "scoring/unloaded"),
)


@cache
def simulator_sha256() -> str:
    """Return the hash of the sources and tables that a trial's numbers come from."""
    package = Path(__file__).parents[1]
    files = [package / f"{name}.py" for name in _CORE]
    for part in ("sim", "workloads", "tasks"):
        files += [file for file in (package / part).rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    digest = hashlib.sha256()
    for name, file in sorted((file.relative_to(package).as_posix(), file) for file in files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def describe_environment() -> dict[str, Any]:
    """Return versions, processor and operating system."""
    return {
        "glia_bench": __version__,
        "simulator_sha256": simulator_sha256(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "cpu_arch": platform.machine(),
        "num_cpus": os.cpu_count(),
        "platform": platform.platform(),
    }


def utc_now() -> str:
    """Return the time of day as an ISO 8601 string in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
