"""Variants of a cluster, Kendall's tau, and what is said of two rankings."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from glia_bench.cluster import LatencyGrid, LatencyTable
from glia_bench.errors import InvalidSpecError
from glia_bench.scoring.robustness import VARIANTS, compare_rankings, kendall_tau
from glia_bench.tasks.catalog import TASKS

PAPER, SESSIONS = TASKS["routing/paper-v0"].cluster, TASKS["routing/sessions-v0"].cluster


@pytest.mark.parametrize(
    ("one", "other", "tau"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 2, 4, 3], 4 / 6),  # five pairs agree, one does not
        ([1, 2, 2, 3], [1, 2, 3, 4], 5 / 30**0.5),  # one tie: five of five and six pairs
        ([1, 1], [1, 2], None),
        ([1], [1], None),
    ],
)
def test_kendalls_tau_by_hand(one: list[float], other: list[float], tau: float | None) -> None:
    """Agreeing less opposing pairs, over the geometric mean of untied ones; none where one side has no order."""
    assert kendall_tau(one, other) == (None if tau is None else pytest.approx(tau))


@pytest.mark.parametrize("percent", [110, 90])
def test_iteration_times_scale_in_every_coefficient(percent: int) -> None:
    """Each is the nearest picosecond of 1.1 or 0.9 times the task's; engine, sizes and signals stay."""
    word = "slower" if percent == 110 else "faster"
    varied = VARIANTS[f"iterations 10 % {word}"](SESSIONS)
    before, after = SESSIONS.pools[0].latency, varied.pools[0].latency
    assert isinstance(before, LatencyTable)
    assert isinstance(after, LatencyTable)
    for column in ("token_ps", "context_ps", "decode_ps"):
        old, new = getattr(before, column), getattr(after, column)
        assert new.dtype == np.int64
        assert np.all(np.abs(100 * new - percent * old) <= 50)
    for number in ("pair_ps", "chunk_ps"):
        assert abs(100 * getattr(after, number) - percent * getattr(before, number)) <= 50
    pools = tuple(dataclasses.replace(pool, latency=before) for pool in varied.pools)
    assert dataclasses.replace(varied, pools=pools) == SESSIONS


def test_grids_of_measurements_are_not_scaled() -> None:
    """They have no coefficients: this is said, not ignored."""
    grid = LatencyGrid(name="g", packed=np.zeros(2, dtype=np.int64), max_tokens=10_000, max_decodes=1_000)
    cluster = dataclasses.replace(PAPER, pools=(dataclasses.replace(PAPER.pools[0], latency=grid),))
    with pytest.raises(InvalidSpecError, match="looked up in grids"):
        VARIANTS["iterations 10 % slower"](cluster)


def test_engines_change_places_and_may_still_be_named() -> None:
    """The paper's sarathi becomes vllm_v1, vllm_v1 sarathi; a design that names the task's own engine keeps it."""
    for cluster, own, other in ((PAPER, "sarathi", "vllm_v1"), (SESSIONS, "vllm_v1", "sarathi")):
        varied = VARIANTS["vllm_v1 for sarathi, or the reverse"](cluster)
        assert {pool.engine.mode for pool in varied.pools} == {other}
        assert own in varied.engine_modes
        assert varied.pools[0].engine.num_blocks == cluster.pools[0].engine.num_blocks


def test_signals_grow_older() -> None:
    """Metrics fresh or 50 ms old become 200 ms old, KV events four times as late, and windows end 5 s earlier."""
    for cluster in (PAPER, SESSIONS):
        varied = VARIANTS["stale signals"](cluster)
        assert (varied.metrics_interval_s, varied.prefix_delay_s) == (0.2, 4 * cluster.prefix_delay_s)
        assert varied.window_lag_s == cluster.window_lag_s + 5


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_task_has_every_variant(variant: str) -> None:
    """No cluster of the catalog is refused, and each becomes another."""
    for task in TASKS.values():
        assert VARIANTS[variant](task.cluster) != task.cluster


def trials(costs: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return trials at one load, a cost per seed."""
    return [
        {"policy": name, "seed": seed, "load": 1.0, "status": "ok", "cost": cost}
        for name, of_seed in costs.items()
        for seed, cost in enumerate(of_seed)
    ]


def test_rankings_by_hand() -> None:
    """A and B change places, C stays last: tau 1/3; with seeds that agree A > B is a significant reversal."""
    base = trials({"a": [1.0, 2.0], "b": [1.1, 2.2], "c": [1.2, 2.4]})
    varied = trials({"a": [1.1, 2.2], "b": [1.0, 2.0], "c": [1.2, 2.4], "gone": [1.0, 1.0]})
    found = compare_rankings(["a", "b", "c", "gone"], "c", base, varied)
    assert (found["num_designs"], found["best"], found["order"]) == (3, "b", ["b", "a", "c"])
    assert found["tau"] == pytest.approx(1 / 3)
    assert found["expert_ratio"] == pytest.approx(1.2)
    assert found["reversed"] == ["a > b"]


def test_without_the_expert_nothing_is_said() -> None:
    """A variant in which the expert has no cost leaves the row empty rather than wrong."""
    base = trials({"a": [1.0], "c": [1.2]})
    assert compare_rankings(["a", "c"], "c", base, trials({"a": [1.0]}))["tau"] is None
