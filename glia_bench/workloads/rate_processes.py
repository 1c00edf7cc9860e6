"""Rates that move by chance, in integers: Markov chains of rates, and days with a rhythm and slow noise.

Each function returns the relative rate of every second of a run; `arrivals.curve_arrivals_us` turns it into arrivals.
Onsets and phases are drawn with the seed, so that no design can know them. Left out: weeks, holidays, and rates that
react to how requests are served.
"""

from bisect import bisect_right

import numpy as np

from glia_bench.cluster import Ints
from glia_bench.workloads.normal import Z_LOG2, normal, power_of_two
from glia_bench.workloads.quantile_table import shipped_data
from glia_bench.workloads.streams import Stream

DAY_S = 86_400
STEP_S = 600
"""Steps of a day's rhythm and noise."""


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
        levels = rates[np.array(states)]
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
    return (rhythm * factors) >> 20
