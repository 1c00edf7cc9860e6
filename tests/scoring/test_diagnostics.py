"""The definitions of rliable: by hand, against numbers that it gave, and against itself where it is installed."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glia_bench.scoring.diagnostics import (
    bootstrap,
    describe,
    iqm,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

OURS = np.array(
    [
        [0.1, 0.19, 0.018, -0.167],
        [-0.036, -0.197, 0.118, 0.502],
        [-0.048, -0.086, 0.247, 0.207],
        [0.132, -0.179, 0.091, 0.309],
        [-0.303, -0.037, -0.47, -0.287],
        [-0.453, 0.029, -0.28, 0.181],
    ]
)
"""Six seeds of four tasks."""

THEIRS = np.array(
    [
        [-0.036, -0.197, 0.118, -0.167],
        [-0.015, 0.034, -0.459, 0.502],
        [-0.294, -0.243, 0.318, 0.207],
        [-0.01, 0.265, -0.175, 0.309],
        [0.033, 0.019, -0.368, -0.287],
        [0.408, -0.464, 0.258, 0.181],
    ]
)
"""Shares cells with `OURS`, the whole last task among them: draws."""

LEVELS = np.array([-0.4, -0.1, 0.0, 0.1, 0.3])
IQM_ENDS = (-0.12383333333333334, 0.09016666666666667)
"""Ends of rliable's stratified bootstrap of the IQM, 50,000 replicates."""


def tasks(matrix: np.ndarray) -> list[np.ndarray]:
    """Return the columns, as our functions take them."""
    return list(matrix.T)


def test_by_hand() -> None:
    """Of 1 to 8 the middle four have mean 4.5; short of 6 by (5 + 4 + 3 + 2 + 1) / 8; 3 of 8 lie above 5."""
    scores = [np.array([1.0, 8.0, 2.0]), np.array([7.0, 3.0, 6.0, 4.0, 5.0])]
    assert iqm(scores) == 4.5
    assert optimality_gap(scores, 6.0) == 15 / 8
    assert performance_profile(scores, np.array([5.0, 8.0])).tolist() == [3 / 8, 0.0]
    # task 1: 1 and 3 against 2: one of two; task 2: 5 against 5: a draw
    pair = ([np.array([1.0, 3.0]), np.array([5.0])], [np.array([2.0]), np.array([5.0])])
    assert probability_of_improvement(*pair) == 0.5


def test_numbers_of_rliable() -> None:
    """What rliable 1.2.0 with SciPy 1.17 printed for these matrices, to 1e-9."""
    assert iqm(tasks(OURS)) == pytest.approx(-0.005416666666666671, abs=1e-9)
    assert optimality_gap(tasks(OURS), 0.0) == pytest.approx(0.10595833333333333, abs=1e-9)
    assert probability_of_improvement(tasks(OURS), tasks(THEIRS)) == pytest.approx(0.4618055555555556, abs=1e-9)
    expected = [0.9166666666666666, 0.6666666666666666, 0.5, 0.3333333333333333, 0.08333333333333333]
    assert performance_profile(tasks(OURS), LEVELS) == pytest.approx(expected, abs=1e-9)


def test_the_bootstrap_agrees_with_rliables_up_to_chance() -> None:
    """20,000 replicates meet its interval within 0.004, four standard errors of such quantiles."""
    assert bootstrap(iqm, tasks(OURS), replicates=20_000) == pytest.approx(IQM_ENDS, abs=0.004)


def test_a_profile_has_a_band_of_its_own_shape() -> None:
    """One interval per level, which contains the profile and lies within 0 and 1; the same again for the same seed."""
    low, high = bootstrap(lambda scores: performance_profile(scores, LEVELS), tasks(OURS), seed=5)
    profile = performance_profile(tasks(OURS), LEVELS)
    assert low.shape == high.shape == LEVELS.shape
    assert np.all((low >= 0) & (low <= profile) & (profile <= high) & (high <= 1))
    again, _ = bootstrap(lambda scores: performance_profile(scores, LEVELS), tasks(OURS), seed=5)
    assert again.tolist() == low.tolist()


def test_the_expert_is_level_with_itself() -> None:
    """Log-gains of 0: IQM 1 without spread, no gap, and an improvement of one half."""
    found = describe([np.zeros(3), np.zeros(10)])
    assert found == {"iqm": 1.0, "iqm_low": 1.0, "iqm_high": 1.0, "optimality_gap": 0.0, "improvement": 0.5}


MATRICES = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1)).map(
    lambda drawn: np.random.default_rng(drawn[2]).integers(-3, 4, (2, drawn[0], drawn[1])).astype(np.float64)
)


@pytest.fixture(scope="module")
def metrics() -> Any:
    """Return rliable's metrics."""
    return pytest.importorskip("rliable.metrics")


@given(pair=MATRICES)
def test_against_rliable(metrics: Any, pair: np.ndarray) -> None:
    """Small whole numbers, so with many draws: all definitions agree to 1e-9."""
    one, other = pair
    assert iqm(tasks(one)) == pytest.approx(metrics.aggregate_iqm(one), abs=1e-9)
    assert optimality_gap(tasks(one), 1.0) == pytest.approx(metrics.aggregate_optimality_gap(one, 1), abs=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy's p-value of nothing but draws, which rliable does not use
        expected = metrics.probability_of_improvement(one, other)
    assert probability_of_improvement(tasks(one), tasks(other)) == pytest.approx(expected, abs=1e-9)


def test_profiles_against_rliable() -> None:
    """The score distribution agrees to 1e-9; rliable's own import fails beside pandas 3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from rliable import library
        except (ImportError, TypeError) as error:
            pytest.skip(f"rliable is not installed or does not load: {error}")
    assert performance_profile(tasks(OURS), LEVELS) == pytest.approx(
        library.score_distributions(OURS, LEVELS), abs=1e-9
    )
