"""The paper's routing row on the authors' own lengths: the acceptance conditions, on few resamplings.

The full check, with the unfitted predictions, is tools/check_anchor.py.
"""

from pathlib import Path

import numpy as np
import pytest

from glia_bench.loading import load_policy
from glia_bench.sim.engine import simulate
from glia_bench.tasks.catalog import get_task
from glia_bench.workloads.lengths_file import read_lengths

PAPER_S = {"round_robin": 63.34, "lor_vidur": 59.57, "llq": 54.64, "expert": 25.61, "hra": 24.1}


@pytest.fixture(scope="module")
def means(shared_dir: Path) -> dict[str, np.ndarray]:
    """Mean latency of each policy on seeds 100..111, which the time scale was not fitted on; seconds, shape (12,)."""
    lengths = read_lengths(shared_dir / "data/glia_paper/sharegpt_12.csv.gz")
    assert lengths.is_authors
    task = get_task("routing/paper-exact-v0")
    found: dict[str, list[float]] = {name: [] for name in PAPER_S}
    for seed in range(100, 112):
        case = task.case(1.0, seed, lengths)
        for name in PAPER_S:
            records = simulate(case, load_policy(name)).records
            found[name].append(float((records.finished_ps - case.trace.arrival_ps).mean()) * 1e-12)
    return {name: np.array(values) for name, values in found.items()}


def test_the_five_means_are_within_8_percent(means: dict[str, np.ndarray]) -> None:
    """Round robin, LOR, LLQ, Expert and HRA meet the paper's means."""
    errors = {name: float(values.mean() / PAPER_S[name] - 1) for name, values in means.items()}
    assert all(abs(error) <= 0.08 for error in errors.values()), errors


def test_the_ratios_to_llq_are_within_10_percent(means: dict[str, np.ndarray]) -> None:
    """Expert/LLQ is 0.469 and HRA/LLQ 0.441, within 10 %."""
    assert means["expert"].mean() / means["llq"].mean() == pytest.approx(0.469, rel=0.10)
    assert means["hra"].mean() / means["llq"].mean() == pytest.approx(0.441, rel=0.10)


def test_hra_beats_the_expert_and_both_beat_llq_on_every_trace(means: dict[str, np.ndarray]) -> None:
    """The paper's order of the three designs holds trace by trace."""
    assert (means["hra"] < means["expert"]).all()
    assert (means["expert"] < means["llq"]).all()
