"""The machine and versions behind a result, for its record; nothing that names the user or the host."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from glia_bench import __version__

LIBRARIES = ("numpy", "numba", "llvmlite")
"""Distributions whose version may change machine code or numbers."""


def describe_environment() -> dict[str, Any]:
    """Return versions, processor and operating system."""
    return {
        "glia_bench": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "cpu_arch": platform.machine(),
        "num_cpus": os.cpu_count(),
        "platform": platform.platform(),
    }


def utc_now() -> str:
    """Return the time of day as an ISO 8601 string in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
