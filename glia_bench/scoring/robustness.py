"""Do ranks hold where the simulator may be wrong? Variants of a cluster, and how far a ranking agrees with another.

The variants move what is least certain in a simulated cluster: iteration times by 10 % either way, the engine's rules,
and the age of the signals that policies decide by. Workload, sizes and objectives stay. Iteration times looked up in
grids of measurements are not scaled: no catalog task has them.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from glia_bench.cluster import ClusterSpec, Ints, Latency, LatencyTable, PoolSpec
from glia_bench.errors import InvalidSpecError
from glia_bench.scoring import score
from glia_bench.scoring.record import TrialRecord
from glia_bench.sim.modes import with_mode

Row: TypeAlias = dict[str, Any]

STALE_METRICS_S = 0.2
STALENESS = 4
"""Signals of the stale variant are so many times as old, and engine metrics at least `STALE_METRICS_S`."""

STALE_WINDOW_S = 5
"""Seconds by which an autoscaler's window ends earlier there."""

LONGEST_WINDOW_LAG_S = 599


def _with_times(cluster: ClusterSpec, percent: int) -> ClusterSpec:
    return _each_pool(cluster, lambda pool: replace(pool, latency=_scaled(pool.latency, percent)))


def _scaled(latency: Latency, percent: int) -> LatencyTable:
    """Return a latency table with every coefficient scaled, rounded to the nearest picosecond."""
    if not isinstance(latency, LatencyTable):
        raise InvalidSpecError(f"only latency tables can be scaled ({latency.name!r} is looked up in grids)")
    factor = Fraction(percent, 100)

    def scale(column: Ints) -> Ints:
        return np.array([round(int(value) * factor) for value in column], dtype=np.int64)

    return replace(
        latency,
        name=f"{latency.name}, times x {percent / 100:g}",
        token_ps=scale(latency.token_ps),
        context_ps=scale(latency.context_ps),
        decode_ps=scale(latency.decode_ps),
        chunk_ps=round(latency.chunk_ps * factor),
        pair_ps=round(latency.pair_ps * factor),
    )


def _with_other_engine(cluster: ClusterSpec) -> ClusterSpec:
    """Return `sarathi` for `vllm_v1`, and `vllm_v1` for any other mode; designs that name their engine keep it."""

    def other(pool: PoolSpec) -> PoolSpec:
        mode = "sarathi" if pool.engine.mode == "vllm_v1" else "vllm_v1"
        return replace(pool, engine=with_mode(pool.engine, mode))

    named = dict.fromkeys([*cluster.engine_modes, *(pool.engine.mode for pool in cluster.pools)])
    return replace(_each_pool(cluster, other), engine_modes=tuple(named))


def _with_stale_signals(cluster: ClusterSpec) -> ClusterSpec:
    return replace(
        cluster,
        metrics_interval_s=max(STALE_METRICS_S, STALENESS * cluster.metrics_interval_s),
        prefix_delay_s=STALENESS * cluster.prefix_delay_s,
        window_lag_s=min(cluster.window_lag_s + STALE_WINDOW_S, LONGEST_WINDOW_LAG_S),
    )


def _each_pool(cluster: ClusterSpec, change: Callable[[PoolSpec], PoolSpec]) -> ClusterSpec:
    return replace(cluster, pools=tuple(change(pool) for pool in cluster.pools))


VARIANTS: Mapping[str, Callable[[ClusterSpec], ClusterSpec]] = MappingProxyType(
    {
        "iterations 10 % slower": lambda cluster: _with_times(cluster, 110),
        "iterations 10 % faster": lambda cluster: _with_times(cluster, 90),
        "vllm_v1 for sarathi, or the reverse": _with_other_engine,
        "stale signals": _with_stale_signals,
    }
)
"""Name of a variant, as tables show it, to what it makes of a cluster."""


def kendall_tau(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Kendall's tau-b of two rankings of the same things: 1 the same order, -1 the reverse.

    None where one of them has a single value, and so no order.

    Source:
        Kendall, The treatment of ties in ranking problems, Biometrika 33 (1945).
    """
    pairs = list(itertools.combinations(zip(one, other, strict=True), 2))
    signs = [(_sign(a[0] - b[0]), _sign(a[1] - b[1])) for a, b in pairs]
    untied = [sum(sign[side] != 0 for sign in signs) for side in (0, 1)]
    if 0 in untied:
        return None
    return float(sum(x * y for x, y in signs) / (untied[0] * untied[1]) ** 0.5)


def compare_rankings(
    policies: Sequence[str], expert: str, base: Sequence[TrialRecord], varied: Sequence[TrialRecord]
) -> Row:
    """Return how the ranking of a variant compares with the task's own, on the same seeds and loads.

    Args:
        policies: Those to rank.
        expert: The task's expert; its costs must be among both.
        base: Trials of the task itself.
        varied: Trials of the variant.

    Returns:
        num_designs: Those that have a result in both; others, which a variant refuses, are left out.
        tau: Kendall's tau of their two rankings by `expert_ratio`; null where there is no order.
        best: The policy with the highest ratio in the variant, and its `expert_ratio` there.
        order: Policies in the variant's order, best first.
        reversed: Pairs that are in significant order in both, "a > b" in the task and the reverse in the variant.
    """
    loads = sorted({trial["load"] for trial in base})
    found = [
        {name: score.gains(_of(trials, name), _of(trials, expert), loads) for name in policies}
        for trials in (base, varied)
    ]
    policies = [name for name in policies if all(here[name] for here in found)]
    if not policies:
        return {"num_designs": 0, "tau": None, "best": None, "expert_ratio": None, "order": [], "reversed": []}
    found = [{name: here[name] for name in policies} for here in found]
    means = [{name: float(np.mean(list(gains.values()))) for name, gains in here.items()} for here in found]
    order = sorted(policies, key=lambda name: (-means[1][name], name))
    signs = {
        (a, b): tuple(score.significant_order({"": here[a]}, {"": here[b]}) for here in found)
        for a, b in itertools.permutations(policies, 2)
    }
    return {
        "num_designs": len(policies),
        "tau": kendall_tau(*(list(here.values()) for here in means)),
        "best": order[0],
        "expert_ratio": float(np.exp(means[1][order[0]])),
        "order": order,
        "reversed": [f"{a} > {b}" for (a, b), sign in signs.items() if sign == (1, -1)],
    }


def _of(trials: Sequence[TrialRecord], policy: str) -> list[TrialRecord]:
    return [trial for trial in trials if trial["policy"] == policy]


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
