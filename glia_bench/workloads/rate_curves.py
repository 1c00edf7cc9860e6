"""Rate curves in integers: how the arrival rate rises and falls during a run, drawn anew for each seed.

A curve is a list of relative rates of equal steps; `arrivals.modulated_arrivals_us` turns it into arrivals. Left out:
daily rhythms, drifts of the length distribution.
"""

from dataclasses import dataclass

from glia_bench.errors import InvalidSpecError
from glia_bench.workloads.streams import Stream

BASE = 1000
"""Relative rate outside bursts; those of bursts are in the same unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """Flash crowds over a base rate: the span is cut into equal windows with one burst in each.

    A burst rises linearly, holds its height and falls linearly. Its onset is uniform within its window as far as it
    fits, its height uniform between two bounds.

    Attributes:
        span_s: Length of the curve; whole seconds, like all of these. A step is one second.
        count: Bursts.
        lowest, highest: Bounds of their height, in thousandths of the base rate.
        ramp_s, hold_s, decay_s: Their three parts.
    """

    span_s: int
    count: int
    lowest: int
    highest: int
    ramp_s: int
    hold_s: int
    decay_s: int

    def __post_init__(self) -> None:
        if min(self.count, self.ramp_s, self.decay_s) < 1 or self.hold_s < 0 or not BASE <= self.lowest <= self.highest:
            raise InvalidSpecError(
                f"bursts need a count, a ramp and a decay of at least 1, a hold of at least 0, and heights from {BASE} "
                f"on, the lowest first (got {self})"
            )
        if self.length_s > self.span_s // self.count:
            raise InvalidSpecError(
                f"a burst of {self.length_s} s must fit a window of {self.span_s // self.count} s; lengthen the span "
                f"or have fewer of them"
            )

    @property
    def length_s(self) -> int:
        """Seconds from onset to base rate."""
        return self.ramp_s + self.hold_s + self.decay_s


def burst_levels(bursts: Bursts, stream: Stream) -> list[int]:
    """Return the relative rate of every second of the span."""
    levels = [BASE] * bursts.span_s
    window = bursts.span_s // bursts.count
    for number in range(bursts.count):
        onset = number * window + stream.below(window - bursts.length_s + 1)
        rise = bursts.lowest - BASE + stream.below(bursts.highest - bursts.lowest + 1)
        shape = [rise * (second + 1) // bursts.ramp_s for second in range(bursts.ramp_s)]
        shape += [rise] * bursts.hold_s
        shape += [rise * (bursts.decay_s - second) // bursts.decay_s for second in range(bursts.decay_s)]
        for second, extra in enumerate(shape, start=onset):
            levels[second] += extra
    return levels
