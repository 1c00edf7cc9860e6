"""Compiled code is kept, found again, and never served after an edit of any source that it was made from."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import glia_bench
from glia_bench.loading import policy_from_source
from glia_bench.sim import engine, jit
from glia_bench.tasks.catalog import get_task

PACKAGE = Path(glia_bench.__file__).parent
KERNEL_FILES = [
    f"sim/{path.name}" for path in sorted((PACKAGE / "sim").glob("*.py")) if not path.name.startswith("reference")
]
CORE_FILES = ["cluster.py", "features.py", "types.py", *KERNEL_FILES]


@pytest.fixture
def copied_package(tmp_path: Path) -> Path:
    """A copy of what the stamp reads."""
    for name in CORE_FILES:
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(PACKAGE / name, target)
    return tmp_path


@pytest.mark.parametrize("name", CORE_FILES)
def test_an_edit_of_any_core_file_changes_the_stamp(copied_package: Path, name: str) -> None:
    """One more comment in any kernel source leads to another cache folder."""
    before = jit.kernel_stamp(copied_package)
    with (copied_package / name).open("a") as source:
        source.write("# edited\n")
    assert jit.kernel_stamp(copied_package) != before
    assert jit.kernel_stamp(PACKAGE) != jit.kernel_stamp(copied_package)


def test_checked_code_has_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for bounds checks never finds code that was compiled without."""
    monkeypatch.delenv("NUMBA_BOUNDSCHECK", raising=False)
    before = jit.kernel_stamp()
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    assert jit.kernel_stamp() != before


def test_folders_of_other_builds_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the few most recently used folders stay, this build's among them."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    root = jit.cache_root()
    for age in range(8):
        (root / f"old{age}").mkdir(parents=True)
        long_ago = time.time() - 1000 * (age + 1)
        os.utime(root / f"old{age}", (long_ago, long_ago))
    jit.cache_folder.cache_clear()
    try:
        folder = jit.cache_folder()
    finally:
        jit.cache_folder.cache_clear()
    assert folder is not None
    assert {path.name for path in root.iterdir()} == {folder.name, "old0", "old1", "old2"}


def test_nothing_is_cached_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder that cannot be made is no error: code is compiled anew."""
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(blocker))
    jit.cache_folder.cache_clear()
    try:
        assert jit.cache_folder() is None
    finally:
        jit.cache_folder.cache_clear()


def test_a_new_policy_does_not_compile_the_core() -> None:
    """A router that nobody has seen before runs without a single new compilation of the kernel."""
    from glia_bench.sim.compiled import run_plain

    kernel = run_plain
    before = len(kernel.signatures)  # type: ignore[attr-defined]
    source = f"# {time.time_ns()}\ndef route(request, replicas, cluster, memory):\n    return request.id % 4\n"
    policy = policy_from_source(source, name="unseen", path="<unseen>", track="routing")
    result = engine.simulate(get_task("routing/paper-v0").case(0.2, 0), policy)
    assert (result.status, result.tier) == ("ok", "compiled")
    assert len(kernel.signatures) == before == 1  # type: ignore[attr-defined]


def test_a_second_process_finds_the_compiled_core() -> None:
    """The kernel that this process compiled or loaded is loaded by the next one, not compiled."""
    from glia_bench.sim import compiled  # noqa: F401  leaves the kernel in the cache

    if jit.cache_folder() is None:
        pytest.skip("no writable cache folder here")
    code = "from glia_bench.sim.compiled import run_plain as k; print(sum(k.stats.cache_hits.values()))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "1"
