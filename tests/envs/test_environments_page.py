"""docs/environments.md is what its generator writes, and its examples run as they stand."""

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from glia_bench.envs import ClusterEnv

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "environments.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The script in tools/ as a module."""
    return importlib.import_module("make_environments_page")


@pytest.mark.slow
def test_page_is_up_to_date(generator: ModuleType) -> None:
    """The committed page equals what the generator writes; if not: python tools/make_environments_page.py."""
    assert generator.render() == PAGE


def test_page_names_every_column() -> None:
    """Each array's table lists its columns in the order of the observation."""
    for group, names in (
        ("request", ClusterEnv.request_fields),
        ("replicas", ClusterEnv.replica_fields),
        ("cluster", ClusterEnv.cluster_fields),
        ("waiting", ClusterEnv.waiting_fields),
        ("engine", ClusterEnv.engine_fields),
        ("window", ClusterEnv.window_fields),
        ("pools", ClusterEnv.pool_fields),
    ):
        table = PAGE.split(f"\n`{group}`, shape (", 1)[1].split("\n\n", 2)[1]
        assert re.findall(r"^\| \d+ \| `(\w+)` \|", table, re.MULTILINE) == list(names)


def test_links_lead_somewhere() -> None:
    """Every relative link of the page names a file of the project."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", PAGE)
    assert targets
    assert [target for target in targets if not (ROOT / "docs" / target).exists()] == []


def test_short_examples_run() -> None:
    """The examples that make an environment give an observation of it."""
    scope: dict[str, Any] = {}
    for text in EXAMPLES[:2]:
        exec(text, scope)
    assert scope["observation"] in scope["env"].observation_space
    assert scope["observations"] in scope["envs"].observation_space


def test_training_loop_learns(capsys: pytest.CaptureFixture[str]) -> None:
    """The training loop ends with a router better than its random ones on a case that it has not seen."""
    scope: dict[str, Any] = {}
    exec(EXAMPLES[2], scope)
    assert capsys.readouterr().out.count("generation") == 12
    learned = scope["returns_of"](np.tile(scope["mean"], (32, 1)), seed=2**20 - 1)
    others = scope["returns_of"](np.random.default_rng(1).normal(size=(32, 4)), seed=2**20 - 1)
    assert len(EXAMPLES) == 3
    assert set(learned.tolist()) == {learned[0]}
    assert learned[0] > np.quantile(others, 0.9)
