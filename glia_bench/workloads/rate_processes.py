"""Rates that move by chance, in integers: Markov chains of rates, days with rhythm and slow noise, and one crowd.

Each function returns the relative rate of every second of a run; `arrivals.curve_arrivals_us` turns it into arrivals.
Onsets and phases are drawn with the seed, so that no design can know them. Left out: weeks, holidays, and rates that
react to how requests are served.
"""

from bisect import bisect_right

import numpy as np

from glia_bench.cluster import Ints
from glia_bench.workloads.normal import POWER_LOG2, Z_LOG2, normal, power_of_two
from glia_bench.workloads.quantile_table import shipped_data
from glia_bench.workloads.streams import Stream

DAY_S = 86_400
STEP_S = 600
"""Steps of a day's rhythm and noise."""

BASE = 1024
"""Relative rate outside the crowd of `crowd_levels`."""

LOG2_E = 94_548
"""1 / ln 2 in 2^-16."""


def flat_levels(horizon_s: int) -> Ints:
    """Return a constant rate."""
    return np.ones(horizon_s, dtype=np.int64)


def markov_levels(name: str, stream: Stream, horizon_s: int) -> Ints:
    """Return the rates of a stationary Markov chain, one step a second, in 10^-4 requests per second.

    A run in which the chain never leaves its pause is drawn again.

    Args:
        name: Of a chain in workloads/tables.
        stream: Source of the moves, used from where it stands.
        horizon_s: Seconds.
    """
    chain = shipped_data(name)
    rates = np.array(chain["rates"], dtype=np.int64)
    moves = [row[:-1] for row in chain["moves"]]
    while True:
        draws = (stream.bits(horizon_s) >> np.uint64(32)).tolist()
        state = bisect_right(chain["start"][:-1], draws[0])
        states = [state]
        for draw in draws[1:]:
            state = bisect_right(moves[state], draw)
            states.append(state)
        levels: Ints = rates[np.array(states)]
        if levels.any():
            return levels


def day_levels(name: str, stream: Stream, horizon_s: int, compression: int = 1) -> Ints:
    """Return the rates of a stretch of a day that begins at a random second of it.

    Args:
        name: Of a day in workloads/tables: its rhythm, and the noise of its logarithm.
        stream: Source of the beginning and of the noise, used from where it stands.
        horizon_s: Seconds.
        compression: Seconds of the day in a second of the run; noise is hurried alike.
    """
    day = shipped_data(name)
    second = stream.below(DAY_S) + np.arange(horizon_s, dtype=np.int64) * compression
    step = second // STEP_S
    step -= step[0]
    shocks = normal(stream.bits(int(step[-1]) + 1)).tolist()
    noise = [day["deviation"] * shocks[0] >> Z_LOG2]
    for shock in shocks[1:]:
        noise.append((day["phi"] * noise[-1] + day["shock"] * shock) >> Z_LOG2)
    factors = power_of_two(np.array(noise, dtype=np.int64))[step]
    rhythm = np.array(day["levels"], dtype=np.int64)[second // STEP_S % (DAY_S // STEP_S)]
    # both have a mean of about 1, in 2^-20 and 2^-16
    return (rhythm * factors) >> POWER_LOG2


def crowd_levels(
    stream: Stream, horizon_s: int, *, height: int, ramp_s: int, hold_s: int, decay_s: int, whole_s: int
) -> Ints:
    """Return the rates of a run with one flash crowd: a linear rise, a hold, and an exponential decay.

    The onset is uniform between a tenth and six tenths of the horizon. In a horizon below whole_s the three parts are
    shortened in proportion, to at least a second.

    Args:
        stream: Source of the onset, used from where it stands.
        horizon_s: Seconds.
        height: Highest rate in units of the base rate.
        ramp_s: Length of the rise.
        hold_s: Length of the hold.
        decay_s: Time constant of the decay.
        whole_s: Horizon that they belong to.
    """
    ramp, hold, decay = (max(part * min(horizon_s, whole_s) // whole_s, 1) for part in (ramp_s, hold_s, decay_s))
    onset = horizon_s // 10 + stream.below(max(horizon_s // 2, 1))
    since = np.arange(horizon_s, dtype=np.int64) - onset
    falling = power_of_two(-(np.maximum(since - ramp - hold, 0) * LOG2_E // decay)) * BASE >> POWER_LOG2
    surplus = np.where(since < 0, 0, np.minimum(np.minimum((since + 1) * BASE // ramp, BASE), falling))
    return BASE + (height - 1) * surplus
