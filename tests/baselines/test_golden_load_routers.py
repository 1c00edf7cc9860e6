"""Decisions of routers by load, small enough to check on paper."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from moments import Moment, make_replicas, make_request, moment

from glia_bench import HOLD
from glia_bench.loading import load_policy
from glia_bench.policy import Policy


def decide(name: str, prompt_tokens: int = 100, u: float = 0.0, **fields: Sequence[float]) -> int:
    """Return the answer of a shipped policy's plain hook at one moment."""
    policy = load_policy(name)
    return int(policy.routing["route"](*moment(policy, prompt_tokens, u, **fields)))


def with_draws(first: float, second: float) -> Any:
    """Return a request with its first two uniforms."""
    return make_request(100)._replace(u=(first, second, 0.5, 0.5))


def test_two_choices() -> None:
    """Of 4, u = 0.3 draws replica 1; of the 3 others, 0.1 draws 0 and 0.7 draws 3; the fewer in flight wins."""
    policy = load_policy("po2")
    now: Moment = moment(policy, inflight=[1, 5, 0, 9])
    route = policy.routing["route"]
    assert route(with_draws(0.3, 0.1), *now[1:]) == 0
    assert route(with_draws(0.3, 0.7), *now[1:]) == 1
    level = now._replace(replicas=make_replicas(4, inflight=[2, 2, 2, 2]))
    assert route(with_draws(0.3, 0.1), *level[1:]) == 1, "the first drawn, if both are as busy"


def test_two_choices_are_different_and_uniform() -> None:
    """Over a grid of draws every ordered pair of 3 replicas is drawn as often; one replica is the only choice."""
    policy = load_policy("po2")
    route, found = policy.routing["route"], Counter[int]()
    for busy in range(3):
        now = moment(policy, inflight=[9 if i == busy else 0 for i in range(3)])
        grid = [(k + 0.5) / 6 for k in range(6)]
        picks = Counter(route(with_draws(a, b), *now[1:]) for a in grid for b in grid)
        assert busy not in picks, "the busy one always meets another"
        found += picks
    assert set(found.values()) == {36}
    assert decide("po2", u=0.99, inflight=[7]) == 0


def test_least_memory_keeps_the_last() -> None:
    """Half of 100 blocks and 30 of 60 are equal: the last wins; 29 of 60 are less than half."""
    assert decide("least_kv", allocated_blocks=[50, 80, 30], capacity_blocks=[100, 100, 60]) == 2
    assert decide("least_kv", allocated_blocks=[50, 29, 50], capacity_blocks=[100, 60, 100]) == 1
    assert decide("least_kv", allocated_blocks=[0, 0, 0], ready=[1, 1, 0]) == 1


def test_weighted_turns_are_smooth() -> None:
    """Weights 2, 1, 1 give turns 0, 1, 2, 0 by hand: credits (2,1,1), (0,2,2), (2,-1,3), (4,0,0), then all 0 again."""
    policy = load_policy("weighted_rr")
    now = moment(policy, speed=[2.0, 1.0, 1.0])
    assert [policy.routing["route"](*now) for _ in range(8)] == [0, 1, 2, 0, 0, 1, 2, 0]


def test_weights_of_equal_replicas_are_round_robin() -> None:
    """With equal speeds it takes turns in index order."""
    policy = load_policy("weighted_rr")
    now = moment(policy, speed=[1.0] * 3)
    assert [policy.routing["route"](*now) for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_fewest_tokens() -> None:
    """500 in flight against 450 and 60 cached here: 600 against 490, prompts of 100; beyond the cap all are equal."""
    assert decide("least_tokens", 100, inflight_tokens=[500, 450], prefix_hit_tokens=[0, 60]) == 1
    assert decide("least_tokens", 100, inflight_tokens=[400, 450], prefix_hit_tokens=[0, 60]) == 1  # 500 against 490
    assert decide("least_tokens", 100, inflight_tokens=[380, 450], prefix_hit_tokens=[0, 60]) == 0
    full = [5_000_000, 4_194_304]
    assert [decide("least_tokens", u=u, inflight_tokens=full) for u in (0.0, 0.6)] == [0, 1]


def dp_moment(policy: Policy, **fields: Sequence[float]) -> Moment:
    """Return a moment with metrics that were published half a second ago, every second."""
    now = moment(policy, metrics_age_s=[0.5] * len(next(iter(fields.values()))), **fields)
    return now._replace(cluster=now.cluster._replace(metrics_interval_s=1.0))


def test_data_parallel_scores() -> None:
    """Waiting 2 and running 3 with 0.75 of memory used: 5 + 6 * 2 * 0.25 = 8; nothing waiting and 7 running: 7."""
    policy = load_policy("vllm_dp")
    fields: dict[str, Sequence[float]] = {"capacity_blocks": [100, 100], "allocated_blocks": [75, 90]}
    assert policy.routing["route"](*dp_moment(policy, waiting=[2, 0], running=[3, 7], **fields)) == 1
    assert policy.routing["route"](*dp_moment(policy, waiting=[2, 0], running=[3, 9], **fields)) == 0
    own = {"inflight": [12, 0]}
    assert policy.routing["route"](*dp_moment(policy, waiting=[2, 0], running=[3, 9], **own, **fields)) == 1


def test_data_parallel_scan_moves_on() -> None:
    """Equal replicas are taken in turn, since the scan starts one further each time and what was sent is counted."""
    policy = load_policy("vllm_dp")
    now = dp_moment(policy, waiting=[0, 0, 0])
    assert [policy.routing["route"](*now) for _ in range(6)] == [0, 1, 2, 0, 1, 2]
    assert now.memory.replica[:, 0].tolist() == [2.0, 2.0, 2.0]
    later = now._replace(cluster=now.cluster._replace(now_s=now.cluster.now_s + 1.0))  # all have reported since
    assert policy.routing["route"](*later) == 0
    assert now.memory.replica[:, 0].tolist() == [1.0, 0.0, 0.0]


def test_data_parallel_skips_who_is_not_ready() -> None:
    """A replica that is not ready is passed over wherever the scan starts."""
    policy = load_policy("vllm_dp")
    now = dp_moment(policy, waiting=[0, 0, 0], ready=[0, 1, 1])
    assert {policy.routing["route"](*now) for _ in range(4)} == {1, 2}
    none = dp_moment(policy, waiting=[0, 0], ready=[0, 0])
    assert policy.routing["route"](*none) == HOLD
    assert not np.any(none.memory.replica[:, 0])


def test_data_parallel_counts_until_the_next_report() -> None:
    """Of one report 124.15 - 0.05 is 124.1 and 125.7 - 1.6 a bit more: what was sent since it stays counted."""
    policy = load_policy("vllm_dp")
    now = dp_moment(policy, waiting=[0, 0])
    early_ps, late_ps, published_ps = 124_150_000_000_000, 125_700_000_000_000, 124_100_000_000_000
    for now_ps in (early_ps, late_ps):
        clock = now.cluster._replace(now_s=now_ps * 1e-12)
        seen = now.replicas._replace(metrics_age_s=np.full(2, (now_ps - published_ps) * 1e-12))
        policy.routing["route"](*now._replace(cluster=clock, replicas=seen))
    assert late_ps * 1e-12 - (late_ps - published_ps) * 1e-12 > early_ps * 1e-12 - (early_ps - published_ps) * 1e-12
    assert now.memory.replica[:, 0].tolist() == [1.0, 1.0]
