"""Rate curves and the arrivals along them."""

import numpy as np
import pytest

from glia_bench.errors import InvalidSpecError
from glia_bench.workloads.arrivals import US_PER_S, modulated_arrivals_us, renewal_arrivals_us
from glia_bench.workloads.quantile_table import shipped_table
from glia_bench.workloads.rate_curves import BASE, Bursts, burst_levels
from glia_bench.workloads.streams import Stream

BURSTS = Bursts(span_s=900, count=3, lowest=3000, highest=5000, ramp_s=30, hold_s=120, decay_s=60)
GAPS = shipped_table("exponential_gaps")


def test_bursts_rise_hold_and_fall_once_in_each_window() -> None:
    """In every window of 300 s the rate leaves its base for 210 s at most and holds a height of 3 to 5 times it."""
    for seed in range(20):
        levels = burst_levels(BURSTS, Stream("t", seed, "bursts"))
        assert len(levels) == 900
        for window in np.array(levels).reshape(3, 300):
            top = int(window.max())
            assert 3000 <= top <= 5000
            assert 120 <= np.count_nonzero(window == top) <= 122
            raised = np.flatnonzero(window > BASE)
            assert raised[-1] - raised[0] < 210
            peak = int(window.argmax())
            assert np.all(np.diff(window[: peak + 1]) >= 0)
            assert np.all(np.diff(window[peak:]) <= 0)


def test_onsets_and_heights_differ_from_seed_to_seed() -> None:
    """No two of ten seeds have the same curve."""
    assert len({tuple(burst_levels(BURSTS, Stream("t", seed, "bursts"))) for seed in range(10)}) == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hold_s": 300}, r"burst of 390 s must fit a window of 300 s"),
        ({"lowest": 500}, "heights from 1000"),
        ({"lowest": 6000}, "the lowest first"),
        ({"count": 0}, "at least 1"),
    ],
)
def test_impossible_bursts_are_refused(changes: dict[str, int], message: str) -> None:
    """What does not fit is refused when the task is made."""
    fields = {name: getattr(BURSTS, name) for name in BURSTS.__slots__}
    with pytest.raises(InvalidSpecError, match=message):
        Bursts(**{**fields, **changes})


def test_a_flat_curve_is_the_renewal_process() -> None:
    """With one level the arrivals are those of the plain process, which counts its first at 0 beside its gaps."""
    plain = renewal_arrivals_us(Stream("t", 0, "a"), GAPS, rate_urps=2_000_000, horizon_us=100 * US_PER_S)
    flat = modulated_arrivals_us(Stream("t", 0, "a"), GAPS, rate_urps=2_000_000, levels=[7] * 10, step_us=10 * US_PER_S)
    assert plain[1:].tolist() == flat.tolist()


def test_arrivals_follow_the_curve() -> None:
    """Levels 1, 0, 3 at 100 requests/s on average: 7,500, none and 22,500 in 100 s each, within 5 deviations."""
    arrivals = modulated_arrivals_us(
        Stream("t", 0, "b"), GAPS, rate_urps=100_000_000, levels=[1, 0, 3], step_us=100 * US_PER_S
    )
    counts = np.bincount(arrivals // (100 * US_PER_S), minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] - 7500) < 5 * 7500**0.5
    assert abs(counts[2] - 22500) < 5 * 22500**0.5
    assert np.all(np.diff(arrivals) >= 0)


def test_the_scale_of_a_curve_does_not_matter() -> None:
    """Levels times seven give the same arrivals: the rate is the mean over the curve."""
    one, seven = (
        modulated_arrivals_us(
            Stream("t", 0, "c"), GAPS, rate_urps=5_000_000, levels=[1 * k, 4 * k], step_us=50 * US_PER_S
        )
        for k in (1, 7)
    )
    assert one.tolist() == seven.tolist()


def test_exponential_gaps_are_exponential() -> None:
    """Mean 1, standard deviation 1, and exp(-3) of them above 3, within 5 standard errors at 100,000."""
    gaps = GAPS.draw(Stream("t", 0, "d").bits(100_000)) / 2**20
    assert gaps.mean() == pytest.approx(1, abs=5 / 100_000**0.5)
    assert gaps.std() == pytest.approx(1, abs=5 * (2 / 100_000) ** 0.5)
    assert (gaps > 3).mean() == pytest.approx(np.exp(-3), abs=5 * (0.05 / 100_000) ** 0.5)
