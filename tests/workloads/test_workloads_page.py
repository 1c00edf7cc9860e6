"""docs/workloads.md is what its generator writes, and generated traces are near the measured ones beside them."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from glia_bench.workloads.scenarios import SCENARIOS

PAGE = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The script in tools/ as a module."""
    return importlib.import_module("make_workloads_page")


@pytest.mark.slow
def test_page_is_up_to_date(generator: ModuleType) -> None:
    """The committed page equals what the generator writes; if not: python tools/make_workloads_page.py."""
    assert generator.page() == PAGE


def test_page_shows_every_scenario() -> None:
    """Each scenario has a row with its source and what is weaker, as the code says them."""
    for spec in SCENARIOS.values():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{spec.name}` | {spec.title} "))
        assert row.endswith(f"| {spec.source} | {spec.weaker} |")


@pytest.mark.parametrize(
    ("name", "tolerances"),
    [
        # what a Markov chain of rates misses over minutes, and 40 minutes leave to chance (16 seeds: 7 % at 60 s)
        ("chat_steady", (0.05, 0.1, 0.25, 0.45)),
        # 76 bursts in 40 minutes: 8 % chance at 60 s, over 16 seeds
        ("code_bursty", (0.2, 0.12, 0.2, 0.3)),
        # 18 hours of one noise: 11 % chance at 60 s, over 8 seeds
        ("reasoning_long_output", (0.1, 0.2, 0.35, 0.4)),
        # an imitation of the peak hour's clients, not a fit
        ("multi_tenant_slo", (0.05, 0.3, 0.2, 0.3)),
    ],
)
def test_arrivals_are_near_the_measured_ones(name: str, tolerances: tuple[float, ...], generator: ModuleType) -> None:
    """CV of gaps and IoD at 1, 10 and 60 s are the source's within the stated tolerances; mean lengths within 2 %."""
    _, rate_rps, horizon_s, measured = generator.MEASURED[name]
    num_seeds = 8 if name == "reasoning_long_output" else 16
    found = generator.mean_statistics(name, rate_rps, horizon_s, num_seeds)
    for value, expected, tolerance in zip(found, measured, (*tolerances, 0.02, 0.02), strict=True):
        assert np.isnan(expected) or value == pytest.approx(expected, rel=tolerance)
