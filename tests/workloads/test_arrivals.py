"""Arrivals: the renewal process in exact integers, and the paper's own sequence."""

from pathlib import Path

import numpy as np
import pytest

from glia_bench.errors import EvaluationFailure
from glia_bench.workloads import arrivals
from glia_bench.workloads.arrivals import paper_arrivals_s, paper_exact_arrivals_us, renewal_arrivals_us
from glia_bench.workloads.quantile_table import QuantileTable, shipped_table
from glia_bench.workloads.streams import Stream

GAPS = shipped_table("lognormal_sigma2_gaps")


def renewal(rate_urps: int, horizon_us: int, seed: int = 0) -> np.ndarray:
    """Arrivals of a fresh stream."""
    return renewal_arrivals_us(Stream("test", seed, "gaps"), GAPS, rate_urps=rate_urps, horizon_us=horizon_us)


def test_constant_gaps_arrive_on_their_grid() -> None:
    """With every gap equal to the mean, 4 requests/s arrive at 0, 0.25, 0.5, 0.75 s before a horizon of 1 s."""
    always_mean = QuantileTable(octaves=1, bins_log2=0, knots=np.array([2**20, 2**20], dtype=np.int64))
    found = renewal_arrivals_us(Stream("test", 0, "g"), always_mean, rate_urps=4_000_000, horizon_us=1_000_000)
    assert found.tolist() == [0, 250_000, 500_000, 750_000]


def test_arrivals_are_the_scaled_sum_of_gaps() -> None:
    """Arrival k is floor(sum of the first k gaps / rate), with no rounding in between."""
    rate_urps = 7_123_457
    found = renewal(rate_urps, 2_000_000_000)
    gaps = GAPS.draw(Stream("test", 0, "gaps").bits(len(found)))
    total, expected = 0, [0]
    for gap in gaps[:-1].tolist():
        total += gap
        expected.append(total * 10**12 // (2**20 * rate_urps))
    assert found.tolist() == expected
    assert len(found) > 8192, "the test must pass the size of one portion of draws"
    following = (total + int(gaps[-1])) * 10**12 // (2**20 * rate_urps)
    assert found[-1] < 2_000_000_000 <= following


def test_loads_are_paired() -> None:
    """At half the rate a seed's requests come at twice the time, to the microsecond of rounding."""
    fast, slow = renewal(8_000_000, 500_000_000), renewal(4_000_000, 500_000_000)
    assert len(slow) < len(fast)
    assert np.abs(slow - 2 * fast[: len(slow)]).max() <= 1


def test_mean_rate_is_the_nominal_one() -> None:
    """Over 4 seeds of 40,000 s the mean rate is 7.5/s within 3 standard errors (gap CV 7.3: 2 %)."""
    counts = [len(renewal(7_500_000, 40_000_000_000, seed)) for seed in range(4)]
    assert np.mean(counts) / 300_000 == pytest.approx(1, abs=3 * 7.3 / np.sqrt(4 * 300_000))


def test_paper_sequence_is_the_published_one() -> None:
    """The regenerated 7.5-rps arrivals: 7,859 of them, from 0 to 999.799953 s, on the microsecond grid."""
    found = paper_exact_arrivals_us()
    assert len(found) == 7859
    assert (found[0], found[-1]) == (0, 999_799_953)
    assert np.all(np.diff(found) >= 0)


def test_paper_sequence_meets_the_public_12_rps_file(shared_dir: Path) -> None:
    """The same generator at 12 rps and 300 s gives the arrivals of the authors' public trace to 1e-9 s."""
    path = shared_dir / "data" / "glia_paper" / "sharegpt_12.csv.gz"
    public = np.loadtxt(path, delimiter=",", skiprows=1, usecols=0)
    found = paper_arrivals_s(12, 300)
    assert found.shape == public.shape
    assert np.abs(found - public).max() < 1e-9


def test_a_platform_with_other_draws_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the arrivals do not hash to the frozen value, the machinery says that it failed, and why."""
    monkeypatch.setattr(arrivals, "PAPER_SIGMA", 2.0000001)
    with pytest.raises(EvaluationFailure, match=r"numpy .* on this platform draws .* differently"):
        paper_exact_arrivals_us()
