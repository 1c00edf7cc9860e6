"""docs/tasks.md is what its generator writes from the task files."""

import importlib
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"


def test_the_page_is_up_to_date() -> None:
    """The committed page equals what the generator writes; if not: python tools/make_tasks_page.py."""
    assert importlib.import_module("make_tasks_page").page() == PAGE.read_text(encoding="utf-8")
