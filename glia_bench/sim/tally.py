"""What a run in progress has cost so far: rewards are its growth.

The cost is a mean over the trace's requests of what a goal has a price for: seconds in the system, which accrue while a
request is there; slowdown and missed objectives, which count when it leaves; GPU time, which accrues. Who has not left
is not yet charged for the rest: a run's last reward, which brings all of them to the exact cost, is the stepper's.
Slowdown, objectives and GPU time need the full engine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import types

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S, Ints
from glia_bench.features import FloatArray, IntArray
from glia_bench.sim import columns as col
from glia_bench.sim.by_reference import nth, reference_type
from glia_bench.sim.jit import called, kernel
from glia_bench.sim.scans import ASK_ROUTE, BAD_ANSWER
from glia_bench.sim.signatures import STATE
from glia_bench.sim.state import State
from glia_bench.types import FINISHED, RunResult

REWARD_GRID = 2.0**-32
"""All rewards but an episode's last are multiples: in seconds a quarter of a nanosecond. So they and their sums are
exact, and the last can always make the sum what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a run is charged for: prices, each per request of the trace, and the exact cost that comes of them.

    Attributes:
        cost: A finished run's cost.
        unloaded_ps: Each request's latency alone on an empty replica: what slowdown is measured against.
        latency: Price of a second of a request in the system.
        slowdown: Price of a unit of slowdown.
        miss: Price of a request that misses its objectives.
        gpu: Price of a second of a GPU.
    """

    cost: Callable[[Case, RunResult], float]
    unloaded_ps: Callable[[Case], Ints]
    latency: float = 0.0
    slowdown: float = 0.0
    miss: float = 0.0
    gpu: float = 0.0

    @property
    def needs_full(self) -> bool:
        """Whether the plain engine does not tell enough."""
        return self.slowdown != 0 or self.miss != 0 or self.gpu != 0


class Tally(NamedTuple):
    """A run's account.

    Attributes:
        prices: P_* of the goal, and the number of requests.
        unloaded_ps: Per row of the trace; one element if slowdown has no price.
        gpus: GPUs per replica row.
        counted: Rows of `State.ended` that have been counted; shape (1,).
        sums: S_*.
    """

    prices: FloatArray
    unloaded_ps: IntArray
    gpus: IntArray
    counted: IntArray
    sums: FloatArray


P_LATENCY, P_SLOWDOWN, P_MISS, P_GPU, P_REQUESTS = range(5)
S_LEFT, S_REWARDS = range(2)
"""S_LEFT what requests that have left cost, latency aside; S_REWARDS all rewards so far."""


def make_tally(goal: Goal, case: Case) -> Tally:
    """Return the account of a run that begins."""
    pools = case.cluster.pools
    return Tally(
        prices=np.array([goal.latency, goal.slowdown, goal.miss, goal.gpu, len(case.trace)]),
        unloaded_ps=goal.unloaded_ps(case) if goal.slowdown else np.ones(1, dtype=np.int64),
        gpus=np.array([pools[pool].gpus_per_replica for pool in case.cluster.pool_of], dtype=np.int64),
        counted=np.zeros(1, dtype=np.int64),
        sums=np.zeros(2),
    )


_ONE = np.ones(1, dtype=np.int64)
_TALLY = reference_type(Tally(np.zeros(5), _ONE, _ONE, _ONE, np.zeros(2)))


@called
def latency_s(s: State) -> float:
    """Return the seconds that requests have spent in the system so far, of all together."""
    seen = s.ctl[0, col.C_SUM] + s.ctl[0, col.C_LIVE] * s.ctl[0, col.C_NOW]
    total = s.ctl[0, col.C_COST_PS] + (seen - s.ctl[0, col.C_SEEN])
    s.ctl[0, col.C_SEEN] = seen
    s.ctl[0, col.C_COST_S] += total // PS_PER_S
    s.ctl[0, col.C_COST_PS] = total % PS_PER_S
    return float(s.ctl[0, col.C_COST_S]) + float(s.ctl[0, col.C_COST_PS]) * 1e-12


@called
def has_missed(s: State, row: int) -> bool:
    """Return whether a request that has left missed an objective of its class; as scoring/metrics.py has it."""
    if s.records[row, 0] != FINISHED:
        return True
    slo = s.meta[0, row, col.M_CLASS]
    first = s.records[row, 5]
    gaps = s.output_tokens[0, row] - 1
    limit_s = s.slo[slo, 0] + s.slo[slo, 2] * s.prompt_tokens[0, row]
    is_late = (first - s.extra[row, 0]) / PS_PER_S > limit_s
    return is_late or (gaps > 0 and (s.records[row, 6] - first) / PS_PER_S > s.slo[slo, 1] * gaps)


@called
def left_cost(s: State, t: Tally) -> float:
    """Return the slowdowns and misses of all that have left so far."""
    for k in range(t.counted[0], s.ctl[0, col.C_ENDED]):
        row = s.ended[0, k]
        if t.prices[P_SLOWDOWN] != 0.0:
            end = s.records[row, 6] if s.records[row, 0] == FINISHED else s.ctl[0, col.C_HORIZON]
            t.sums[S_LEFT] += t.prices[P_SLOWDOWN] * (end - s.extra[row, 0]) / t.unloaded_ps[row]
        if has_missed(s, row):
            t.sums[S_LEFT] += t.prices[P_MISS]
    t.counted[0] = s.ctl[0, col.C_ENDED]
    return t.sums[S_LEFT]


@called
def gpu_s(s: State, t: Tally) -> float:
    """Return the GPU seconds billed so far."""
    total = 0.0
    for life in range(s.ctl[0, col.C_LIVES]):
        gone = s.lives[0, life, 4]
        until = s.ctl[0, col.C_NOW] if gone < 0 else gone
        total += float(t.gpus[s.lives[0, life, 0]] * (until - s.lives[0, life, 1])) * 1e-12
    return total


@kernel(types.void(STATE, _TALLY, types.int64[::1], types.int64[::1], types.float64[::1]))
def give_rewards(runs: State, tallies: Tally, was: IntArray, why: IntArray, rewards: FloatArray) -> None:
    """Write the rewards of one step: the negative growth of the cost from one question of a run to the next, else 0.

    Args:
        runs: References to the states of E runs.
        tallies: References to their accounts. Changed in place.
        was: Why each run had stopped before the step; int64, shape (E,).
        why: Why it has now.
        rewards: float64, shape (E,). Written.
    """
    for e in range(len(why)):
        rewards[e] = 0.0
        if ASK_ROUTE <= was[e] < BAD_ANSWER and ASK_ROUTE <= why[e] < BAD_ANSWER:
            s = nth(runs, e)
            t = nth(tallies, e)
            cost = 0.0
            if t.prices[P_LATENCY] != 0.0:
                cost += t.prices[P_LATENCY] * latency_s(s)
            if t.prices[P_SLOWDOWN] != 0.0 or t.prices[P_MISS] != 0.0:
                cost += left_cost(s, t)
            if t.prices[P_GPU] != 0.0:
                cost += t.prices[P_GPU] * gpu_s(s, t)
            total = np.rint(cost / t.prices[P_REQUESTS] / REWARD_GRID) * REWARD_GRID
            rewards[e] = -total - t.sums[S_REWARDS]
            t.sums[S_REWARDS] = -total
