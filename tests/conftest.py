"""Fixtures that many tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of development data that is not part of the project; tests that ask for it skip where it is absent."""
    candidate = Path(os.environ.get("GLIA_BENCH_SHARED", Path(__file__).parents[2] / "shared"))
    if not (candidate / "data").is_dir():
        pytest.skip("development data not found (set GLIA_BENCH_SHARED)")
    return candidate
