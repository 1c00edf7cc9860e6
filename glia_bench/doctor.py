"""`glia-bench doctor`: what one needs to know of a machine when something fails there, and what stands in the way.

It looks and reports; it compiles, installs and repairs nothing.
"""

import argparse
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

KERNELS = {"run_plain": "plain engine", "run_full": "full engine", "run_outside": "plain Python policies"}
"""Kernel that runs need to the policies or tasks that need it."""
MIN_FREE_BYTES = 1 << 30


def add_verb(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    verb("doctor", run, "say what this machine has, and what would make a run fail or slow")


def run(options: argparse.Namespace) -> int:
    """Print the facts; exit code 1 if something would make a run fail."""
    facts = examine()
    if options.json:
        print(json.dumps(facts, indent=2, sort_keys=True))
    else:
        print("\n".join(lines(facts)))
    return 1 if facts["problems"] else 0


def examine() -> dict[str, Any]:
    """Return versions, caches, processor, memory and extras, and what is wrong with them."""
    from glia_bench.evaluation.build import describe_build

    packages, extras = _packages()
    facts = {
        "build": describe_build(),
        "python": {"version": platform.python_version(), "path": sys.executable},
        "platform": platform.platform(),
        "packages": packages,
        "extras": extras,
        "cache": _cache(),
        "cpu": {"name": _cpu_name(), "num": os.cpu_count(), "num_usable": _num_usable()},
        "memory": _memory(),
    }
    return facts | {"problems": _problems(facts)}


def lines(facts: dict[str, Any]) -> list[str]:
    """Return the facts as text."""
    cache, memory, cpu, build = facts["cache"], facts["memory"], facts["cpu"], facts["build"]
    compiled = [KERNELS[name] for name, is_compiled in cache["kernels"].items() if is_compiled]
    missing = [KERNELS[name] for name, is_compiled in cache["kernels"].items() if not is_compiled]
    extras = [
        f"{name} ({'installed' if not absent else 'missing: ' + ', '.join(absent)})"
        for name, absent in facts["extras"].items()
    ]
    rows = {
        "glia-bench": f"{build['glia_bench']}, source {build['source'][:12]}",
        "python": f"{facts['python']['version']}  {facts['python']['path']}",
        "platform": facts["platform"],
        "packages": ", ".join(f"{name} {found or 'missing'}" for name, found in facts["packages"].items()),
        "extras": ", ".join(extras),
        "cache": cache["folder"] + ("" if cache["is_writable"] else "  (not writable)"),
        "compiled": (", ".join(compiled) or "nothing")
        + (f"; not yet: {', '.join(missing)} (glia-bench precompile)" if missing else ""),
        "cpu": f"{cpu['name']}, {cpu['num']} cores, {cpu['num_usable']} usable",
        "memory": f"{_gib(memory['available_bytes'])} available of {_gib(memory['total_bytes'])}",
    }
    text = [f"{name:<10}  {value}" for name, value in rows.items()]
    return [*text, *(f"problem     {problem}" for problem in facts["problems"])]


def _packages() -> tuple[dict[str, str | None], dict[str, list[str]]]:
    """Return required packages with their versions, and extras with what of them is missing."""
    packages: dict[str, str | None] = {}
    extras: dict[str, list[str]] = {}
    for requirement in requires("glia-bench") or []:
        match = re.match(r"[\w.-]+", requirement)
        assert match is not None
        found = _version(match[0])
        if extra := re.search(r"extra == ['\"]([\w-]+)['\"]", requirement):
            absent = extras.setdefault(extra[1], [])
            if found is None:
                absent.append(match[0])
        else:
            packages[match[0]] = found
    return packages, extras


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cache() -> dict[str, Any]:
    """Return where compiled code of this build lies, and which kernels are there; nothing is made."""
    from glia_bench.sim.jit import cache_root, kernel_stamp

    folder = cache_root() / kernel_stamp()
    there = [path.name for path in folder.rglob("*.nbi")]
    place = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    return {
        "folder": str(folder),
        "is_writable": _is_writable(place),
        "kernels": {name: any(f".{name}-" in file for file in there) for name in KERNELS},
    }


def _is_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _cpu_name() -> str:
    names = re.findall(r"^model name\s*: (.*)$", _text("/proc/cpuinfo"), re.MULTILINE)
    return names[0] if names else platform.processor() or platform.machine()


def _num_usable() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> dict[str, int | None]:
    """Return bytes in all and available, a container's limit included; null where the system does not say."""
    said = dict(re.findall(r"^(\w+):\s+(\d+) kB$", _text("/proc/meminfo"), re.MULTILINE))
    total, available = (int(said[name]) * 1024 if name in said else None for name in ("MemTotal", "MemAvailable"))
    if (limit := _text("/sys/fs/cgroup/memory.max").strip()).isdigit() and total and int(limit) < total:
        used = int(_text("/sys/fs/cgroup/memory.current").strip() or 0)
        total, available = int(limit), min(available or 0, int(limit) - used)
    return {"total_bytes": total, "available_bytes": available}


def _text(path: str) -> str:
    """Return what the system says at a path; empty where it has no such file."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _gib(num_bytes: int | None) -> str:
    return "unknown" if num_bytes is None else f"{num_bytes / (1 << 30):.1f} GiB"


def _problems(facts: dict[str, Any]) -> list[str]:
    found = [f"package {name} is missing: pip install {name}" for name, v in facts["packages"].items() if v is None]
    if not facts["cache"]["is_writable"]:
        found.append("the cache folder must be writable, else every run compiles anew: set NUMBA_CACHE_DIR")
    available = facts["memory"]["available_bytes"]
    if available is not None and available < MIN_FREE_BYTES:
        found.append(f"{_gib(available)} of memory is available; a run should have {_gib(MIN_FREE_BYTES)}")
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        found.append("NUMBA_DISABLE_JIT is set: nothing is compiled, runs take a hundred times as long")
    return found
