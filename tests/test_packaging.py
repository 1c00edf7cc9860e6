"""The distribution: what pyproject.toml lists is what lies on disk, and the wheel owns no name but glia_bench."""

import fnmatch
import importlib.resources
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import glia_bench

ROOT = Path(__file__).parents[1]
NEEDED_TO_BUILD = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "glia_bench", "envs", "baselines", "leaderboard")


def project() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def folder_of(package: str) -> Path:
    """Return the folder that setuptools maps a package to."""
    mapping: dict[str, str] = project()["tool"]["setuptools"]["package-dir"]
    for prefix in sorted(mapping, key=len, reverse=True):
        if package == prefix or package.startswith(prefix + "."):
            return ROOT / mapping[prefix] / package[len(prefix) :].lstrip(".").replace(".", "/")
    return ROOT / package.replace(".", "/")


def package_folders() -> dict[str, Path]:
    """Return every folder on disk that holds source files of the distribution, by its import name."""
    mapping: dict[str, str] = project()["tool"]["setuptools"]["package-dir"]
    found = {}
    for name, top in {"glia_bench": "glia_bench", **mapping}.items():
        for folder in [ROOT / top, *(p for p in (ROOT / top).rglob("*") if p.is_dir())]:
            if any(folder.glob("*.py")):
                found[".".join((name, *folder.relative_to(ROOT / top).parts))] = folder
    return found


def data_files() -> dict[str, str]:
    """Return the files of the packages that are not Python: path relative to the root, and name in the wheel."""
    found = {}
    for name in package_folders():
        if name in ("glia_bench", *project()["tool"]["setuptools"]["package-dir"]):
            for path in folder_of(name).rglob("*"):
                if path.is_file() and path.suffix not in (".py", ".pyc", ".nbi", ".nbc"):
                    inside = path.relative_to(folder_of(name)).as_posix()
                    found[path.relative_to(ROOT).as_posix()] = f"{name.replace('.', '/')}/{inside}"
    return found


def test_packages_equal_folders() -> None:
    """Every folder with Python files is a listed package, and every listed package is such a folder."""
    assert set(project()["tool"]["setuptools"]["packages"]) == set(package_folders())


def test_every_package_has_an_init() -> None:
    """Each package folder has an __init__.py, so that none is a namespace package by accident."""
    assert [str(folder) for folder in package_folders().values() if not (folder / "__init__.py").is_file()] == []


def test_every_data_file_is_declared() -> None:
    """A table or template that no package-data pattern covers would be missing from the wheel only."""
    patterns = [
        f"{package.replace('.', '/')}/{glob}"
        for package, globs in project()["tool"]["setuptools"]["package-data"].items()
        for glob in globs
    ]
    undeclared = [
        path
        for path, in_wheel in data_files().items()
        if not any(fnmatch.fnmatchcase(in_wheel, pattern) for pattern in patterns)
    ]
    assert undeclared == []


def test_typed_marker_is_installed() -> None:
    """Type checkers find py.typed in the package as it is installed."""
    assert (importlib.resources.files("glia_bench") / "py.typed").is_file()


def test_one_version_everywhere() -> None:
    """pyproject.toml, the package, CITATION.cff and the newest CHANGELOG entry name the same version."""
    citation = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    released = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert citation is not None
    assert released is not None
    version = project()["project"]["version"]
    assert {"package": glia_bench.__version__, "citation": citation[1], "changelog": released[1]} == {
        "package": version,
        "citation": version,
        "changelog": version,
    }


def test_lock_covers_every_requirement() -> None:
    """Each requirement of the project and of its dev extra has an exact version in the lock file, above its floor."""
    lock = dict(line.split("==") for line in (ROOT / "requirements-lock.txt").read_text().splitlines() if "==" in line)
    requirements = project()["project"]["dependencies"] + project()["project"]["optional-dependencies"]["dev"]
    for requirement in requirements:
        name, floor = requirement.split(">=")
        locked = [int(part) for part in lock[name].split(".")]
        assert locked >= [int(part) for part in floor.partition(",")[0].split(".")], requirement


@pytest.mark.slow
def test_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    """A built wheel holds each source and data file under glia_bench/, and no other top-level name."""
    source = tmp_path / "source"
    source.mkdir()
    for name in NEEDED_TO_BUILD:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run([*command, "-w", str(tmp_path), str(source)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr

    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {
        f"{package.replace('.', '/')}/{path.name}"
        for package, folder in package_folders().items()
        for path in folder.glob("*.py")
    }
    assert names == modules | set(data_files().values())
