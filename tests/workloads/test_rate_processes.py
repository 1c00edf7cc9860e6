"""Markov chains of rates, days, crowds, and arrivals along them."""

import numpy as np
import pytest

from glia_bench.workloads.arrivals import US_PER_S, curve_arrivals_us
from glia_bench.workloads.quantile_table import shipped_data
from glia_bench.workloads.rate_processes import BASE, crowd_levels, day_levels, flat_levels, markov_levels
from glia_bench.workloads.streams import Stream
from glia_bench.workloads.variation import gamma_gaps


@pytest.mark.parametrize("name", ["azure23_conv_rates", "azure23_code_rates"])
def test_chains_move_with_their_probabilities(name: str) -> None:
    """Over 200,000 s every transition is as frequent as its table says, within 5 standard errors."""
    chain = shipped_data(name)
    state = np.searchsorted(chain["rates"], markov_levels(name, Stream("r", 0, name), 200_000))
    num = len(chain["rates"])
    counts = np.zeros((num, num))
    np.add.at(counts, (state[:-1], state[1:]), 1)
    visits = counts.sum(axis=1, keepdims=True)
    chances = np.diff(np.array(chain["moves"]) / 2**32, axis=1, prepend=0)
    assert np.all(np.abs(counts / visits - chances) <= 5 * np.sqrt(chances * (1 - chances) / visits) + 1e-9)


def test_a_chain_that_only_pauses_is_drawn_again() -> None:
    """In a second of code, which pauses two thirds of the time, some rate is above 0 for each of 30 seeds."""
    assert all(markov_levels("azure23_code_rates", Stream("r", seed, "p"), 1).any() for seed in range(30))


def test_a_day_follows_its_curve_from_a_random_second() -> None:
    """Averaged over 300 seeds the peak hour is 1.7 and the quietest 0.14 of the mean, within a tenth; phases differ."""
    days = [day_levels("burstgpt_day", Stream("r", seed, "d"), 86_400) for seed in range(300)]
    curve = np.array(shipped_data("burstgpt_day")["levels"])
    assert len({int(day.argmin()) // 600 for day in days}) > 60
    # the phase is the first word of the stream
    begin = [Stream("r", seed, "d").below(86_400) for seed in range(300)]
    mean = np.mean([np.roll(day, second) for day, second in zip(days, begin, strict=True)], axis=0)
    hours = mean.reshape(24, 3600).mean(axis=1) / mean.mean()
    expected = curve.reshape(24, 6).mean(axis=1) / curve.mean()
    assert hours == pytest.approx(expected, rel=0.1)
    assert (expected.max(), expected.min()) == pytest.approx((1.7, 0.14), rel=0.1)


def test_the_noise_of_a_day_is_an_autoregression() -> None:
    """The log of day over curve has the stated deviation and lag-1 correlation in steps of 600 s."""
    day = shipped_data("burstgpt_day")
    levels = day_levels("burstgpt_day", Stream("r", 0, "n"), 600 * 20_000)
    second = Stream("r", 0, "n").below(86_400) + np.arange(len(levels))
    rhythm = np.array(day["levels"])[second // 600 % 144]
    noise = np.log2(levels[::600] / rhythm[::600])
    assert noise.std() == pytest.approx(day["deviation"] / 65536, rel=0.05)
    assert np.corrcoef(noise[:-1], noise[1:])[0, 1] == pytest.approx(day["phi"] / 65536, abs=0.02)


def test_a_compressed_day_has_its_curve_in_a_twelfth_of_the_time() -> None:
    """Twelve times as fast, every twelfth second of the day is met, from the same beginning and with the same noise."""
    whole = day_levels("burstgpt_day", Stream("r", 0, "c"), 86_400)
    assert np.array_equal(day_levels("burstgpt_day", Stream("r", 0, "c"), 7200, 12), whole[::12])


def test_a_crowd_rises_holds_and_falls() -> None:
    """The rate is 8 times its base for 240 s after 30 s of rise, a third of it 120 s later, and 1 before."""
    levels = crowd_levels(Stream("r", 3, "c"), 3600, height=8, ramp_s=30, hold_s=240, decay_s=120, whole_s=3600)
    surplus = (levels - BASE) / BASE
    onset = int(surplus.argmax()) - 29
    assert 360 <= onset < 2160
    assert surplus[:onset].max() == 0
    assert np.all(surplus[onset + 29 : onset + 270] == 7)
    assert surplus[onset + 270 + 120] == pytest.approx(7 / np.e, rel=0.02)
    assert (
        len(
            {
                int(
                    crowd_levels(
                        Stream("r", seed, "c"), 600, height=8, ramp_s=30, hold_s=240, decay_s=120, whole_s=3600
                    ).argmax()
                )
                for seed in range(20)
            }
        )
        > 15
    )


def test_arrivals_follow_a_curve_from_its_first_second() -> None:
    """Levels 1, 0, 3 at 100 requests/s and CV 4: 5,000, none and 15,000 in 100 s each, within 5 deviations."""
    levels = np.repeat([1, 0, 3], 100).astype(np.int64)
    arrivals = curve_arrivals_us(Stream("r", 0, "b"), gamma_gaps(4000), rate_urps=66_666_667, levels=levels)
    counts = np.bincount(arrivals // (100 * US_PER_S), minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] - 5000) < 5 * 4 * 5000**0.5
    assert abs(counts[2] - 15_000) < 5 * 4 * 15_000**0.5
    assert np.all(np.diff(arrivals) >= 0)


def test_uneven_gaps_bring_no_crowd_at_the_beginning() -> None:
    """At CV 9.5 the first 100 s of 400 runs hold 100 requests on average, within 5 standard errors; 145 if fresh."""
    found = [
        len(curve_arrivals_us(Stream("r", seed, "s"), gamma_gaps(9500), rate_urps=1_000_000, levels=flat_levels(100)))
        for seed in range(400)
    ]
    assert np.mean(found) == pytest.approx(100, abs=5 * np.std(found) / 20)
    assert 5 * np.std(found) / 20 < 30


def test_loads_are_paired_along_a_curve() -> None:
    """On a constant curve half the rate doubles every arrival, to two microseconds of rounding."""
    fast, slow = (
        curve_arrivals_us(Stream("r", 0, "l"), gamma_gaps(1600), rate_urps=rate, levels=flat_levels(1000))
        for rate in (8_000_000, 4_000_000)
    )
    assert 0.4 < len(slow) / len(fast) < 0.6
    assert np.abs(slow - 2 * fast[: len(slow)]).max() <= 2
