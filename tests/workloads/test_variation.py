"""Variation: lengths and unevenness move as stated."""

import numpy as np
import pytest

from glia_bench.cluster import Ints
from glia_bench.errors import InvalidSpecError
from glia_bench.workloads.quantile_table import QuantileTable, shipped_data, shipped_table
from glia_bench.workloads.rate_processes import crowd_levels, day_levels, markov_levels
from glia_bench.workloads.streams import Stream
from glia_bench.workloads.variation import PLAIN, Variation, gamma_gaps, uneven_gaps, uneven_levels


def moments(table: QuantileTable) -> tuple[float, float]:
    """Return mean and CV of a table as it is read, in straight lines."""
    widths = []
    for octave in range(table.octaves):
        share = 2.0 ** -(octave + 1) if octave < table.octaves - 1 else 2.0**-octave
        widths += [share / (1 << table.bins_log2)] * (1 << table.bins_log2)
    knots = table.knots / 2**20
    low, high, width = knots[:-1], knots[1:], np.array(widths)
    mean = float((width * (low + high) / 2).sum())
    return mean, float((width * (low**2 + low * high + high**2) / 3).sum() / mean**2 - 1) ** 0.5


def depth(levels: Ints) -> float:
    """Return the CV of a rate curve."""
    return float(levels.std() / levels.mean())


@pytest.mark.parametrize("cv_permille", [550, 700, 1037, 1118, 1600, 3000, 9500, 14_250, 19_000])
def test_gamma_gaps_have_mean_1_and_the_cv_asked_for(cv_permille: int) -> None:
    """Interpolation between rungs of the ladder keeps the mean to 1e-5 and the CV to 0.7 per cent."""
    mean, cv = moments(gamma_gaps(cv_permille))
    assert mean == pytest.approx(1, abs=1e-5)
    assert cv == pytest.approx(cv_permille / 1000, rel=0.007)


def test_gamma_gaps_are_gamma() -> None:
    """At CV 1 the law is exponential: 1 - 1/e of gaps are below the mean and 5 % above 2.9957, within 0.2 %."""
    drawn = gamma_gaps(1000).draw(Stream("v", 0, "g").bits(1_000_000)) / 2**20
    assert (drawn < 1).mean() == pytest.approx(1 - np.exp(-1), abs=0.002)
    assert (drawn > 2.9957).mean() == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize("burst_permille", [500, 700, 1000, 1500, 2000])
def test_a_measured_law_of_gaps_gets_the_scaled_cv(burst_permille: int) -> None:
    """The CV of the code trace's gaps within bursts is scaled to within 3 per cent; their mean stays 1."""
    plain = shipped_table("azure23_code_gaps")
    cv_permille = shipped_data("azure23_code_gaps")["cv_permille"]
    assert moments(plain)[1] == pytest.approx(cv_permille / 1000, abs=0.002)
    mean, cv = moments(uneven_gaps(plain, cv_permille, Variation(burst_permille=burst_permille)))
    assert mean == pytest.approx(1, abs=1e-5)
    assert cv == pytest.approx(cv_permille * burst_permille / 1e6, rel=0.03)


@pytest.mark.parametrize("burst_permille", [500, 700, 1300, 1500])
def test_the_depth_of_rate_curves_is_scaled(burst_permille: int) -> None:
    """The CV of drifts, days and crowds is scaled to within 1 per cent, and no rate falls to 0."""
    variation = Variation(burst_permille=burst_permille)
    for levels in (
        markov_levels("azure23_conv_rates", Stream("v", 1, "m"), 3600),
        day_levels("servegen_r1_day", Stream("v", 1, "d"), 86_400),
        crowd_levels(Stream("v", 1, "c"), 3600, height=8, ramp_s=30, hold_s=240, decay_s=120, whole_s=3600),
    ):
        varied = uneven_levels(levels, variation)
        assert depth(varied) == pytest.approx(depth(levels) * burst_permille / 1000, rel=0.01)
        assert varied.min() > 0


@pytest.mark.parametrize(("burst_permille", "reached"), [(700, 0.75), (1500, 1.15)])
def test_pauses_stay_pauses(burst_permille: int, reached: float) -> None:
    """Where code pauses it pauses still, which bounds how far its depth moves: to 0.75 and 1.15, within 5 per cent."""
    levels = markov_levels("azure23_code_rates", Stream("v", 1, "p"), 36_000)
    varied = uneven_levels(levels, Variation(burst_permille=burst_permille))
    assert np.array_equal(varied == 0, levels == 0)
    assert depth(varied) == pytest.approx(depth(levels) * reached, rel=0.05)


def test_lengths_are_scaled_and_stay_at_least_1() -> None:
    """1, 3 and 1,000 tokens at 0.8 are 1, 2 and 800; at 1.25 they are 1, 4 and 1,250."""
    tokens = np.array([1, 3, 1000])
    assert Variation(length_permille=800).tokens(tokens).tolist() == [1, 2, 800]
    assert Variation(length_permille=1250).tokens(tokens).tolist() == [1, 4, 1250]
    assert PLAIN.tokens(tokens).tolist() == tokens.tolist()


@pytest.mark.parametrize("changes", [{"length_permille": 499}, {"burst_permille": 2001}])
def test_scales_outside_their_bounds_are_refused(changes: dict[str, int]) -> None:
    """Both scales lie between 500 and 2,000 thousandths."""
    with pytest.raises(InvalidSpecError, match="must be between 500 and 2000"):
        Variation(**changes)
