"""Which part of a run a timeline shows, and what its replicas are called."""

from dataclasses import dataclass

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S
from glia_bench.errors import InvalidSpecError
from glia_bench.types import RunResult

SHORTEST_PS = 1_000_000
"""One microsecond: a run that failed at its first instant is shown that long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From `start_ps` (included) to `end_ps`, picoseconds of the run."""

    start_ps: int
    end_ps: int

    @property
    def seconds(self) -> tuple[float, float]:
        """Both ends in seconds."""
        return self.start_ps / PS_PER_S, self.end_ps / PS_PER_S


def window_of(result: RunResult, start_s: float | None = None, end_s: float | None = None) -> Window:
    """Return the window of a run; None stands for its start and its end.

    Raises:
        InvalidSpecError: If nothing of the run lies in it.
    """
    last_ps = max(result.end_ps, SHORTEST_PS)
    last_s = last_ps / PS_PER_S
    start = 0.0 if start_s is None else start_s
    end = last_s if end_s is None else end_s
    if not 0 <= start < min(end, last_s):  # also refuses NaN
        raise InvalidSpecError(
            f"a timeline's window must begin within the run, which ends at {last_s:g} s, and before its own end "
            f"(got start_s={start_s}, end_s={end_s})"
        )
    start_ps = round(start * PS_PER_S)
    end_ps = last_ps if end_s is None or end >= last_s else round(end * PS_PER_S)
    return Window(start_ps=start_ps, end_ps=max(end_ps, start_ps + SHORTEST_PS))


def replica_names(case: Case) -> list[str]:
    """Return "pool r3" for every row of the replica arrays."""
    return [f"{case.cluster.pools[k].name} r{row}" for row, k in enumerate(case.cluster.pool_of)]


def existing_replicas(result: RunResult, window: Window) -> list[int]:
    """Return the rows of replicas that were there, from request to gone, at some time of the window."""
    lives = result.lifetimes
    gone_ps = np.where(lives.gone_ps < 0, max(result.end_ps, window.end_ps), lives.gone_ps)
    is_there = (lives.requested_ps < window.end_ps) & (gone_ps >= window.start_ps)
    return [int(row) for row in np.unique(lives.replica[is_there])]
