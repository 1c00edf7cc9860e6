"""Decisions of routers by load, small enough to check on paper."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from moments import Moment, compiled, make_memory, make_replicas, make_request, moment

from glia_bench import HOLD
from glia_bench.features import Inflight
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


def test_data_parallel_routers_start_apart() -> None:
    """Of two routers over four idle replicas, the second scans from replica 2, in both versions."""
    for name in ("vllm_dp", "vllm_dp_legacy"):
        policy = load_policy(name)
        now = dp_moment(policy, waiting=[0] * 4)
        second = now._replace(cluster=now.cluster._replace(num_routers=2, router=1))
        assert policy.routing["route"](*second) == 2, name


def test_legacy_data_parallel_scores() -> None:
    """4 * 2 + 3 = 11 against 12 running: 0; against 11: a tie, the first; what was sent counts 4 until a report."""
    policy = load_policy("vllm_dp_legacy")
    assert policy.routing["route"](*dp_moment(policy, waiting=[2, 0], running=[3, 12])) == 0
    now = dp_moment(policy, waiting=[2, 0], running=[3, 11])
    assert [policy.routing["route"](*now) for _ in range(3)] == [0, 1, 0], "11 and 11, 15 and 11, 15 and 15"
    assert now.memory.replica[:, 0].tolist() == [2.0, 1.0]
    later = now._replace(cluster=now.cluster._replace(now_s=now.cluster.now_s + 1.0))
    assert policy.routing["route"](*later) == 0
    assert now.memory.replica[:, 0].tolist() == [1.0, 0.0]


def test_freest_replica() -> None:
    """(100 - 40 - 20) / 4 = 10 and (200 - 90) / 11 = 10: the last; one block less there and it is the first."""
    fields: dict[str, Sequence[float]] = {
        "capacity_blocks": [100, 200],
        "waiting_blocks": [20, 0],
        "waiting": [1, 0],
        "running": [3, 11],
    }
    assert decide("llumnix", allocated_blocks=[40, 90], **fields) == 1
    assert decide("llumnix", allocated_blocks=[40, 91], **fields) == 0


def test_idle_is_freest() -> None:
    """An idle replica beats any other; of idle ones the last is taken; with all overcommitted, the least so."""
    assert decide("llumnix", running=[1, 0, 1], allocated_blocks=[1, 0, 1]) == 1
    assert decide("llumnix", running=[0, 0, 0]) == 2
    over: dict[str, Sequence[float]] = {"capacity_blocks": [100, 100], "allocated_blocks": [90, 90]}
    assert decide("llumnix", running=[5, 5], waiting=[5, 5], waiting_blocks=[40, 30], **over) == 1  # -3 and -2


def with_tenants(policy: Policy, now: Moment, num: int) -> Moment:
    """Return the moment with empty memory for so many tenants."""
    return now._replace(memory=now.memory._replace(tenant=np.zeros((num, policy.memory["tenant"]))))


def asks(now: Moment, tenant: int, prompt_tokens: int, u: tuple[float, float, float, float]) -> Moment:
    """Return the moment with a request of a tenant."""
    return now._replace(request=make_request(prompt_tokens)._replace(tenant=tenant, u=u))


def test_heavy_tenants_go_to_the_third_replica() -> None:
    """A prompt of 1000 is 1000 + 2 * 1500 = 4000 tokens; used (4000, 400): bucket 2200, places 1.82 and 0.18."""
    policy = load_policy("aibrix_vtc_basic")
    now = with_tenants(policy, moment(policy, running=[0] * 4), 3)
    route, flat = policy.routing["route"], (0.5, 0.5, 0.5, 0.5)
    assert route(*asks(now, 0, 1000, flat)) == 0, "nothing used yet"
    assert route(*asks(now, 1, 100, flat)) == 0
    assert now.memory.tenant[:, -1].tolist() == [4000.0, 400.0, 0.0]
    assert route(*asks(now, 0, 1, flat)) == 2
    assert now.memory.tenant[0, -1] == 4005.0, "1 and twice 1.5, rounded up"
    assert route(*asks(now, 1, 1, flat)) == 0
    assert route(*asks(now, 2, 1, flat)) == 0, "who used nothing"


def test_load_moves_a_tenant_by_one() -> None:
    """At place 0 with 100 running there and 0 at the next: 1 + 0 against 0 + 1, so the noise decides; 99: it stays."""
    policy = load_policy("aibrix_vtc_basic")
    route = policy.routing["route"]
    full = with_tenants(policy, moment(policy, running=[100, 0]), 1)
    assert route(*asks(full, 0, 1, (0.9, 0.1, 0.0, 0.0))) == 1
    full = with_tenants(policy, moment(policy, running=[100, 0]), 1)
    assert route(*asks(full, 0, 1, (0.1, 0.9, 0.0, 0.0))) == 0
    less = with_tenants(policy, moment(policy, running=[99, 0]), 1)
    assert route(*asks(less, 0, 1, (0.05, 0.0, 0.0, 0.0))) == 0
    assert route(*asks(less, 0, 1, (0.5, 0.0, 0.0, 0.0))) == 1


def test_tenants_are_forgiven_after_five_minutes() -> None:
    """What was used at second 1000 counts until 1299 and is gone at 1300."""
    policy = load_policy("aibrix_vtc_basic")
    now = with_tenants(policy, moment(policy, running=[0] * 3), 2)
    flat = (0.5, 0.5, 0.5, 0.5)
    policy.routing["route"](*asks(now, 0, 1000, flat))
    used = []
    for second in (1299.0, 1300.0):
        policy.routing["route"](*asks(now, 1, 1, flat)._replace(cluster=now.cluster._replace(now_s=second)))
        used.append(float(now.memory.tenant[0, -1]))
    assert used == [4000.0, 0.0]


def in_flight(*rows: tuple[int, int, int, float, float]) -> Inflight:
    """Return requests in flight: replica, prompt tokens, streamed tokens, dispatched and answered when."""
    columns = zip(*rows, strict=True)
    kinds = (np.int64, np.int64, np.int64, np.float64, np.float64)
    return Inflight(*(np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)))


def watched(now: Moment, now_s: float, *rows: tuple[int, int, int, float, float]) -> Moment:
    """Return the moment at an instant with requests in flight; a prompt token takes a millisecond."""
    perf = now.cluster.perf._replace(token_s=0.001)
    return now._replace(cluster=now.cluster._replace(now_s=now_s, perf=perf, inflight=in_flight(*rows)))


def test_expected_latency() -> None:
    """Queue, prefill and decode of two replicas by hand.

    At 10.0: replica 0 answered 100 tokens after 0.5 s (0.4 queue, 0.1 prefill) at 9.0 and has 20 tokens in 1.0 s since;
    replica 1 answered 300 after 0.4 s (0.1, 0.3) at 8.0 and has 20 in 2.0 s. Mean prompt 200, output 100 (guessed):
    0.4 + 0.001 * 200 + 0.05 * 100 = 5.6 and 0.1 + 0.001 * 200 + 0.1 * 100 = 10.3.
    """
    policy = load_policy("least_latency-style")
    now = moment(policy, running=[1, 1])
    seen = watched(now, 10.0, (0, 100, 20, 8.5, 9.0), (1, 300, 20, 7.6, 8.0), (1, 50, 0, 9.9, float("inf")))
    assert policy.routing["route"](*seen) == 0
    found = now.memory.replica[:, :5].tolist()
    assert np.allclose(found, [[0.4, 0.1, 100.0, 1.0, 1.0], [0.1, 0.3, 300.0, 1.0, 2.0]], rtol=1e-12)
    again = watched(now, 11.0, (0, 100, 40, 8.5, 9.0), (1, 300, 40, 7.6, 8.0))
    policy.routing["route"](*again)
    assert now.memory.replica[:, 3].tolist() == [1.0, 1.0], "a first token counts once"
    assert now.memory.replica[:, 4].tolist() == [2.0, 3.0]


def test_ended_requests_count_at_their_replica() -> None:
    """Outputs of 30 and 50 at replica 1 have mean 40; 4 s of decoding for 80 tokens, none in flight: 0.05 s each."""
    policy = load_policy("least_latency-style")
    now = moment(policy, running=[0, 0])
    for tokens in (30, 50):
        policy.routing["on_finish"](make_request(10, generated_tokens=tokens), 1, now.memory)
    assert now.memory.replica[1, 5:7].tolist() == [80.0, 2.0]
    assert not np.any(now.memory.replica[0])
    now.memory.replica[1, :5] = [1.0, 0.1, 20.0, 2.0, 4.0]  # expected 0.5 + 0.005 * 10 + 0.05 * 40 = 2.55
    now.memory.replica[0] = [2.4, 0.2, 40.0, 2.0, 4.0, 100.0, 1.0, 0.0]  # 1.2 + 0.005 * 15 + 0.04 * 70 = 4.075
    assert policy.routing["route"](*now) == 1


def test_latencies_tie_and_start() -> None:
    """Of equal replicas the last is taken; one that is not known counts as 0; with none known one is drawn."""
    assert [decide("least_latency-style", u=u, running=[0] * 3) for u in (0.0, 0.5, 0.99)] == [0, 1, 2]
    policy = load_policy("least_latency-style")
    now = moment(policy, running=[0] * 3)
    now.memory.replica[:2] = [1.0, 0.1, 20.0, 2.0, 4.0, 80.0, 2.0, 0.0]
    assert policy.routing["route"](*now) == 2
    now.memory.replica[2] = now.memory.replica[0]
    assert policy.routing["route"](*now) == 2
    now.memory.replica[2, 0] = 1.5
    assert policy.routing["route"](*now) == 1


def test_first_token_soonest() -> None:
    """Work ahead, cached prefix, iterations and speed by the model: 0.03 s an iteration, 0.00022 s a token.

    100 tokens with 500 ahead take 0.03 + 600 * 0.00022 = 0.162; 700 of which 100 are cached, none ahead, the same.
    """
    name = "ttft_min-style"
    assert decide(name, 700, unprefilled_tokens=[0, 0], prefix_hit_tokens=[90, 100]) == 1
    assert decide(name, 100, unprefilled_tokens=[500, 500]) == 0, "the first of equals"
    assert decide(name, 100, unprefilled_tokens=[0, 500], speed=[0.3, 1.0]) == 1, "0.052 / 0.3 = 0.173 is more"
    assert decide(name, 100, unprefilled_tokens=[0, 500], speed=[0.4, 1.0]) == 0, "0.052 / 0.4 = 0.13"


def test_first_token_counts_iterations() -> None:
    """1000 tokens at 499 an iteration beside one decode are 3 iterations, 0.31 s; 5000 at 8192 are one, 1.13 s."""
    name, budgets = "ttft_min-style", [500, 8192]
    assert decide(name, 1000, unprefilled_tokens=[0, 0], token_budget=budgets, inflight=[1, 1]) == 1
    assert decide(name, 1000, unprefilled_tokens=[0, 300], token_budget=budgets, inflight=[1, 1]) == 0  # 0.31 and 0.316
    assert decide(name, 1000, unprefilled_tokens=[0, 250], token_budget=budgets, inflight=[1, 1]) == 1  # and 0.305
    reading = [200_000, 0]  # 0.03 + 200,000 * 3e-7 = 0.09 an iteration
    assert decide(name, 100, unprefilled_tokens=[0, 250], inflight_tokens=reading) == 1  # 0.112 and 0.107
    assert decide(name, 100, unprefilled_tokens=[0, 300], inflight_tokens=reading) == 0  # and 0.118


def test_tiers_agree_on_tenants_and_requests_in_flight() -> None:
    """With 3 tenants and with requests in flight, both tiers answer alike and leave the same bits."""
    for name in ("aibrix_vtc_basic", "least_latency-style"):
        policy = load_policy(name)
        left = []
        for hook in (policy.routing["route"], compiled(policy.routing["route"])):
            rng, memory = np.random.default_rng(5), make_memory(policy.memory, 3)
            memory = memory._replace(tenant=np.zeros((3, policy.memory.get("tenant", 0))))
            answers = []
            for number in range(400):
                now_s = 1000.0 + 2.3 * number
                starts = now_s - 5.0 * rng.random(6)
                rows = [(int(rng.integers(3)), 10 * k + 10, 5 * k, s, s + rng.random()) for k, s in enumerate(starts)]
                now = watched(moment(policy, running=rng.integers(0, 150, 3).tolist()), now_s, *rows)
                draws = tuple(float(x) for x in rng.random(4))
                now = asks(
                    now, int(rng.integers(3)), int(rng.integers(1, 900)), (draws[0], draws[1], draws[2], draws[3])
                )
                answers.append(hook(*now._replace(memory=memory)))
            left.append((answers, [table.tobytes() for table in memory]))
        assert left[0] == left[1], name
        assert set(left[0][0]) == {0, 1, 2}, name
