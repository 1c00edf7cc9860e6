"""Decisions of the routers that use sessions or prefix caches, on states that are small enough to check on paper."""

from collections.abc import Mapping
from typing import Any

import moments
import numpy as np
import pytest
from moments import Moment, make_cluster, make_memory, make_replicas, make_request

from glia_bench import HOLD
from glia_bench.features import IntArray, Memory, Replicas, Request
from glia_bench.loading import load_policy

NAMES = [
    "llmd_default",
    "lmetric",
    "dynamo_kv",
    "sglang_cache_aware",
    "session",
    "llmd_precise",
    "session_ttl-style",
    "ps_prefixaware",
    "ps_kvaware",
]


def at(
    name: str, num: int, request: dict[str, Any] | None = None, now_s: float = 1000.0, memory: Memory | None = None,
    **columns: Any,
) -> Moment:  # fmt: skip
    """Return one moment for a policy, with given fields of the request, memory and columns of the replicas."""
    tables = make_memory(load_policy(name).memory, num) if memory is None else memory
    return Moment(
        make_request(**(request or {})), make_replicas(num, **columns), make_cluster(num, now_s=now_s), tables
    )


def decide(name: str, num: int, request: dict[str, Any] | None = None, **columns: Any) -> int:
    """Return what a policy's plain hook answers at one moment."""
    answer = load_policy(name).routing["route"](*at(name, num, request, **columns))
    assert type(answer) is int or answer.dtype == "int64"
    return int(answer)


@pytest.mark.parametrize("name", NAMES)
def test_edges(name: str) -> None:
    """With nobody ready every router holds; a single replica or a single ready one gets everything."""
    for session in (-1, 0):
        assert decide(name, 3, {"session": session}, ready=[0, 0, 0]) == HOLD
        for u in (0.0, 0.999999):
            request = {"session": session, "u": u, "prompt_tokens": 1}
            assert decide(name, 1, request) == 0
            assert decide(name, 3, request, ready=[0, 1, 0], inflight=[0, 9, 0], prefix_hit_tokens=[96, 0, 96]) == 1


@pytest.mark.parametrize("name", NAMES)
def test_compiled_equals_plain_with_caches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With sessions, cached prefixes and blocks in flight too, both tiers take the same decisions."""
    request, replicas, memory = moments.random_request, moments.random_replicas, moments.make_memory

    def with_session(rng: np.random.Generator, number: int, slot: int) -> Request:
        return request(rng, number, slot)._replace(session=int(rng.integers(-1, 12)))

    def with_hits(rng: np.random.Generator, num: int) -> Replicas:
        hits, blocks = 16 * rng.integers(0, 3, num), rng.integers(0, 40, num)
        return replicas(rng, num)._replace(prefix_hit_tokens=frozen(hits), inflight_blocks=frozen(blocks))

    def with_rows(widths: Mapping[str, int], num_replicas: int) -> Memory:
        return memory(widths, num_replicas)._replace(session=np.zeros((12, widths.get("session", 0))))

    monkeypatch.setattr(moments, "random_request", with_session)
    monkeypatch.setattr(moments, "random_replicas", with_hits)
    monkeypatch.setattr(moments, "make_memory", with_rows)
    plain = moments.play(load_policy(name), compile_hooks=False, seed=23, moments=1000)
    assert moments.play(load_policy(name), compile_hooks=True, seed=23, moments=1000) == plain
    assert set(plain.answers) >= {0, 1, 2, 3, 4}


def frozen(column: IntArray) -> IntArray:
    """Return a column as policies get it, read-only."""
    column.setflags(write=False)
    return column


def test_llmd_default_weighs_its_scores() -> None:
    """Q=(0,4), U=(0.9,0.1), match=(0,1/2): 2*1 + 2*0.1 + 0 = 2.2 against 2*0 + 2*0.9 + 3*0.5 = 3.3."""
    state: dict[str, Any] = {"waiting": [0, 4], "capacity_blocks": [100, 100], "allocated_blocks": [90, 10]}
    score = load_policy("llmd_default").routing["route"].__globals__["score"]
    now = at("llmd_default", 2, {"prompt_tokens": 640}, prefix_hit_tokens=[0, 320], **state)
    scores = [score(i, now.request, now.replicas, now.cluster, 0, 4) for i in (0, 1)]
    assert scores == pytest.approx([2.2, 3.3])
    assert decide("llmd_default", 2, {"prompt_tokens": 640}, prefix_hit_tokens=[0, 320], **state) == 1
    # without its cache the second has 1.8 and loses
    assert decide("llmd_default", 2, {"prompt_tokens": 640}, **state) == 0


def test_llmd_default_queue_score_is_relative() -> None:
    """Equal queues score 1 each, so 1/10 more memory decides; one waiting request outweighs 9/10 of the memory."""
    blocks = {"capacity_blocks": [100, 100], "allocated_blocks": [90, 0]}
    assert decide("llmd_default", 2, waiting=[7, 7], **blocks) == 1
    assert decide("llmd_default", 2, waiting=[7, 8], **blocks) == 0


def test_llmd_default_counts_whole_blocks_of_64() -> None:
    """63 cached tokens are no block; of 127 tokens 64 are the whole of one block, worth 3 > 2 * 0.9 of memory."""
    blocks = {"capacity_blocks": [100, 100], "allocated_blocks": [90, 0]}
    assert decide("llmd_default", 2, {"prompt_tokens": 127}, prefix_hit_tokens=[63, 0], **blocks) == 1
    assert decide("llmd_default", 2, {"prompt_tokens": 127}, prefix_hit_tokens=[64, 0], **blocks) == 0


def test_llmd_default_breaks_ties_at_random() -> None:
    """Three equal ready replicas share [0, 1) in thirds."""
    picks = [decide("llmd_default", 4, {"u": u}, ready=[1, 0, 1, 1]) for u in (0.0, 0.3, 0.4, 0.6, 0.7, 0.99)]
    assert picks == [0, 0, 2, 2, 3, 3]


def test_lmetric_product_and_ties() -> None:
    """L=1000, hits (800, 0), in flight (9, 1): 200 * 10 = 1000 * 2 = 2000, and the tie goes to fewer in flight."""
    prompt = {"prompt_tokens": 1000}
    assert decide("lmetric", 2, prompt, prefix_hit_tokens=[800, 0], inflight=[9, 1]) == 1
    assert decide("lmetric", 2, prompt, prefix_hit_tokens=[801, 0], inflight=[9, 1]) == 0  # 1990
    assert decide("lmetric", 2, prompt, prefix_hit_tokens=[800, 0], inflight=[10, 1]) == 1  # 2200


def test_lmetric_full_tie_goes_to_the_lowest_index() -> None:
    """Equal products of equal factors go to the first; a full hit is one token, not none: 1 * 9 > 4 * 2."""
    assert decide("lmetric", 3, {"u": 0.99}, inflight=[3, 2, 2]) == 1
    assert decide("lmetric", 2, {"prompt_tokens": 64}, prefix_hit_tokens=[64, 60], inflight=[8, 1]) == 1


def test_dynamo_kv_cost_in_blocks() -> None:
    """L=160, to prefill (0, 160), overlap (0, 8) blocks, 50 and 20 blocks with it: 10 + 50 = 60, 20 - 8 + 20 = 32."""
    hooks = load_policy("dynamo_kv").routing
    now = at(
        "dynamo_kv", 2, {"prompt_tokens": 160}, prefix_hit_tokens=[0, 128], inflight=[1, 1], inflight_blocks=[40, 10]
    )
    now.memory.replica[:, 0] = [0, 160]
    assert [hooks["route"].__globals__["cost"](i, *now) for i in (0, 1)] == [60.0, 32.0]
    assert hooks["route"](*now) == 1
    hooks["on_dispatch"](now.request, 1, now.memory)  # 32 of its 160 tokens are left to prefill
    assert now.memory.replica[:, 0].tolist() == [0.0, 192.0]
    hooks["on_first_token"](now.request, 1, now.memory)
    hooks["on_finish"](now.request, 1, now.memory)  # takes nothing off twice
    assert now.memory.replica[:, 0].tolist() == [0.0, 160.0]


def test_dynamo_kv_forgets_what_a_lost_replica_had() -> None:
    """A request that comes back counts at its new replica alone; an idle replica has nothing to prefill."""
    hooks = load_policy("dynamo_kv").routing
    now = at("dynamo_kv", 2, {"prompt_tokens": 160}, inflight_blocks=[0, 1])
    now.memory.replica[:, 0] = [999, 0]  # left over, but nothing is in flight: 10 + 10 against 10 + 11
    assert hooks["route"](*now) == 0
    hooks["on_dispatch"](now.request, 0, now.memory)
    now = now._replace(replicas=make_replicas(2, ready=[0, 1]))
    assert hooks["route"](*now) == 1
    hooks["on_dispatch"](now.request, 1, now.memory)
    assert now.memory.replica[:, 0].tolist() == [999.0, 160.0]


def test_dynamo_kv_ties_and_parking() -> None:
    """Equal costs are split in halves; with more than 16 budgets of 100 tokens before every replica it holds."""
    assert [decide("dynamo_kv", 3, {"u": u}, ready=[1, 0, 1]) for u in (0.0, 0.49, 0.5, 0.99)] == [0, 0, 2, 2]
    now = at("dynamo_kv", 3, ready=[1, 1, 0], inflight=[1, 1, 0], token_budget=[100, 100, 100])
    now.memory.replica[:, 0] = [1601, 1601, 0]
    route = load_policy("dynamo_kv").routing["route"]
    assert route(*now) == HOLD
    now.memory.replica[:, 0] = [1700, 1600, 0]
    assert route(*now) == 1


def test_sglang_cache_aware_balances_first() -> None:
    """In flight (70, 5): 65 > 64 and 70 > 1.5 * 5, so 1 in spite of a full match; a gap of 64 follows the match."""
    prompt = {"prompt_tokens": 160}
    assert decide("sglang_cache_aware", 2, prompt, inflight=[70, 5], prefix_hit_tokens=[144, 0]) == 1
    assert decide("sglang_cache_aware", 2, prompt, inflight=[64, 0], prefix_hit_tokens=[144, 0]) == 0
    # a gap of 65, but 195 is not more than 1.5 * 130
    assert decide("sglang_cache_aware", 2, prompt, inflight=[195, 130], prefix_hit_tokens=[144, 0]) == 0


def test_sglang_cache_aware_needs_more_than_the_threshold() -> None:
    """48 of 160 tokens are 0.3, which is no match: the least loaded replica; 64 are."""
    state: dict[str, Any] = {"inflight": [3, 1, 1]}
    picks = [decide("sglang_cache_aware", 3, {"prompt_tokens": 160, "u": u}, prefix_hit_tokens=[48, 0, 0], **state)
             for u in (0.0, 0.6)]  # fmt: skip
    assert picks == [1, 2]
    assert decide("sglang_cache_aware", 3, {"prompt_tokens": 160}, prefix_hit_tokens=[64, 0, 0], **state) == 0


def test_sglang_cache_aware_follows_the_latest_of_equal_matches() -> None:
    """Of replicas with the same 96 of 160 tokens, the first until the prefix has gone to another; not one with less."""
    route = load_policy("sglang_cache_aware").routing["route"]
    now = at("sglang_cache_aware", 3, {"prompt_tokens": 160}, prefix_hit_tokens=[96, 96, 80])
    assert route(*now) == 0
    tipped = now._replace(replicas=make_replicas(3, inflight=[65, 0, 1], prefix_hit_tokens=[96, 96, 80]))
    assert [route(*tipped), route(*now)] == [1, 1]
    tipped = now._replace(replicas=make_replicas(3, inflight=[65, 1, 0], prefix_hit_tokens=[96, 96, 80]))
    assert [route(*tipped), route(*now)] == [2, 0]
    other = now._replace(replicas=make_replicas(3, prefix_hit_tokens=[112, 112, 112]))
    assert [route(*tipped), route(*other)] == [2, 0]


def test_session_stays_within_the_bound() -> None:
    """In flight (6, 2) with c=1.5: 6 is 1.5 times the mean of 4 and stays, 7 of a mean of 4.5 is more than 6.75."""
    home = decide("session", 2, {"session": 7})
    for mine, bound_to in ((6, home), (7, 1 - home)):
        load = [mine, 2] if home == 0 else [2, mine]
        assert decide("session", 2, {"session": 7}, inflight=load) == bound_to


def test_session_moves_as_few_as_must() -> None:
    """Of 400 sessions on 4 replicas each has 50 to 150; when one goes its own move alone, and they come back."""
    before = [decide("session", 4, {"session": s}) for s in range(400)]
    assert all(50 <= before.count(i) <= 150 for i in range(4))
    after = [decide("session", 4, {"session": s}, ready=[1, 1, 0, 1]) for s in range(400)]
    assert all(b == a for b, a in zip(before, after, strict=True) if b != 2)
    assert {a for b, a in zip(before, after, strict=True) if b == 2} == {0, 1, 3}
    larger = [decide("session", 5, {"session": s}) for s in range(400)]
    assert {a for b, a in zip(before, larger, strict=True) if b != a} == {4}


def test_session_hash_is_a_permutation_of_31_bits() -> None:
    """Checked by hand: 1 -> 0x45D9F3B -> (0x45D9F3B ^ 0x45D) * 0x45D9F3B mod 2**31, and so on; no number twice."""
    mixed = load_policy("session").routing["route"].__globals__["mixed"]
    first = 0x45D9F3B
    second = (first ^ 0x45D) * 0x45D9F3B % 2**31
    assert mixed(1) == second ^ (second >> 16)
    hashes = {mixed(number) for number in (*range(5000), *range(2**31 - 5000, 2**31))}
    assert len(hashes) == 10_000
    assert 0 <= min(hashes) <= max(hashes) < 2**31


def test_session_without_a_session_is_least_loaded() -> None:
    """Fewest in flight, the lowest index on ties."""
    assert decide("session", 3, inflight=[2, 1, 1]) == 1


def test_llmd_precise_weighs_the_prefix_most() -> None:
    """Q=(0,4), U=(0.9,0.1), match=(0,1/2): 1 + 0.1 = 1.1 against 2*0.5 + 0.9 = 1.9; a match of 1/16 is 1.025."""
    state: dict[str, Any] = {"waiting": [0, 4], "capacity_blocks": [100, 100], "allocated_blocks": [90, 10]}
    assert decide("llmd_precise", 2, {"prompt_tokens": 256}, prefix_hit_tokens=[0, 128], **state) == 1
    assert decide("llmd_precise", 2, {"prompt_tokens": 256}, prefix_hit_tokens=[0, 16], **state) == 0
    # 31 tokens are one whole block of 16, and it is cached: 2 + 0 + 0.9
    assert decide("llmd_precise", 2, {"prompt_tokens": 31}, prefix_hit_tokens=[0, 16], **state) == 1
    assert [decide("llmd_precise", 3, {"u": u}, ready=[1, 0, 1]) for u in (0.0, 0.49, 0.5, 0.99)] == [0, 0, 2, 2]


def test_session_ttl_binds_for_five_minutes() -> None:
    """A binding is worth 3 > 2 * 1 of a queue for 300 s after its last use, then nothing."""
    route = load_policy("session_ttl-style").routing["route"]
    first = at("session_ttl-style", 2, {"session": 0}, waiting=[1, 0])
    assert route(*first) == 1

    def later(now_s: float, waiting: list[int]) -> int:
        return int(route(*at("session_ttl-style", 2, {"session": 0}, now_s, first.memory, waiting=waiting)))

    assert later(1300.0, [0, 1]) == 1  # used: bound until 1600
    assert later(1600.5, [0, 1]) == 0  # expired: 2 against 0, and bound anew
    assert later(1700.0, [1, 0]) == 0


def test_session_ttl_gives_way_to_load() -> None:
    """A queue that is longest and 6/10 more memory in use weigh 2 + 1.2 > 3; without a session load alone decides."""
    route = load_policy("session_ttl-style").routing["route"]
    first = at("session_ttl-style", 2, {"session": 0}, waiting=[0, 1])
    assert route(*first) == 0
    full = {"waiting": [1, 0], "capacity_blocks": [10, 10], "allocated_blocks": [6, 0]}
    outside = at("session_ttl-style", 2, memory=first.memory, waiting=[1, 0])
    assert route(*outside) == 1
    assert route(*at("session_ttl-style", 2, {"session": 0}, memory=first.memory, **full)) == 1


def test_ps_prefixaware_ignores_load() -> None:
    """Chunks of 32 tokens: 95 and 64 are both two chunks, split in halves whatever the load; 96 are three."""
    state: dict[str, Any] = {"inflight": [90, 90, 0]}
    picks = [decide("ps_prefixaware", 3, {"u": u}, prefix_hit_tokens=[95, 64, 48], **state) for u in (0.4, 0.6)]
    assert picks == [0, 1]
    assert decide("ps_prefixaware", 3, {"u": 0.9}, prefix_hit_tokens=[96, 64, 48], **state) == 0
    # a new prompt matches all equally: any
    assert [decide("ps_prefixaware", 3, {"u": u}, **state) for u in (0.1, 0.5, 0.9)] == [0, 1, 2]


def test_ps_kvaware_threshold() -> None:
    """Of 5000 tokens 3000 must be cached; below 2000 tokens one block is enough, but none is not."""
    load = {"inflight": [9, 0]}
    assert decide("ps_kvaware", 2, {"prompt_tokens": 5000}, prefix_hit_tokens=[3000, 0], **load) == 0
    assert decide("ps_kvaware", 2, {"prompt_tokens": 5001}, prefix_hit_tokens=[3000, 0], **load) == 1
    assert decide("ps_kvaware", 2, {"prompt_tokens": 1900}, prefix_hit_tokens=[16, 0], **load) == 0
    assert decide("ps_kvaware", 2, {"prompt_tokens": 1900}, **load) == 1
    assert decide("ps_kvaware", 3, {"prompt_tokens": 100}, prefix_hit_tokens=[0, 64, 64], inflight=[0, 1, 0]) == 1


def test_ps_kvaware_falls_back_to_the_session() -> None:
    """Without enough cached, a session goes where `session` sends it on an idle fleet, however loaded."""
    for number in range(20):
        home = decide("session", 4, {"session": number})
        load = [99 if i == home else 0 for i in range(4)]
        assert decide("ps_kvaware", 4, {"session": number}, inflight=load) == home


def test_aibrix_prefix_cache_spares_crowded_replicas() -> None:
    """In flight (0, 3, 3, 6): mean 3, sample deviation sqrt(18/3) = 2.449, so 5.449 < 6: the full match is passed over.

    With (0, 3, 3, 5): mean 2.75, deviation sqrt(12.75/3) = 2.06, so 4.81 < 5; with (1, 3, 3, 4): 4 <= 2.75 + 1.258.
    """
    prompt, hits = {"prompt_tokens": 160}, [0, 16, 32, 144]
    assert decide("aibrix_prefix_cache", 4, prompt, prefix_hit_tokens=hits, inflight=[0, 3, 3, 6]) == 2
    assert decide("aibrix_prefix_cache", 4, prompt, prefix_hit_tokens=hits, inflight=[0, 3, 3, 5]) == 2
    assert decide("aibrix_prefix_cache", 4, prompt, prefix_hit_tokens=hits, inflight=[1, 3, 3, 4]) == 3


def test_aibrix_prefix_cache_balances_beyond_eight() -> None:
    """A gap of 8 still follows the match (8 <= 4 + 4.62), one of 9 leaves only the least loaded."""
    hits = [0, 32, 96, 96]
    assert decide("aibrix_prefix_cache", 4, prefix_hit_tokens=hits, inflight=[0, 0, 8, 8]) == 2
    assert decide("aibrix_prefix_cache", 4, prefix_hit_tokens=hits, inflight=[0, 0, 9, 9]) == 1


def test_aibrix_prefix_cache_orders_by_match_then_load() -> None:
    """Of 201 blocks 2 are 0 per cent, 3 and 4 are 1; equal matches go to fewer in flight, then at random."""
    prompt = {"prompt_tokens": 201 * 16}
    assert decide("aibrix_prefix_cache", 2, prompt, prefix_hit_tokens=[48, 32], inflight=[1, 0]) == 0
    assert decide("aibrix_prefix_cache", 2, prompt, prefix_hit_tokens=[64, 48], inflight=[1, 0]) == 1  # 1 and 1
    picks = [decide("aibrix_prefix_cache", 3, {"u": u}, inflight=[1, 0, 0]) for u in (0.0, 0.49, 0.5, 0.99)]
    assert picks == [1, 1, 2, 2]


def test_preble_exploits_more_than_half() -> None:
    """96 of 160 tokens are more than 64: exploit, whatever the cost; 80 are not more than 80: the cheapest replica."""
    state: dict[str, Any] = {"inflight": [9, 0, 1]}
    assert decide("preble-e2-style", 3, {"prompt_tokens": 160}, prefix_hit_tokens=[96, 0, 0], **state) == 0
    assert decide("preble-e2-style", 3, {"prompt_tokens": 160}, prefix_hit_tokens=[80, 0, 0], **state) == 1
    # of two with the longest match the cheaper: 45 iterations for one request against nine times as many and longer
    assert decide("preble-e2-style", 3, {"prompt_tokens": 160}, prefix_hit_tokens=[96, 0, 96], **state) == 2


def test_preble_window_of_three_minutes() -> None:
    """Uncached tokens of the last 180 s count in steps of 10 s: sent at 1000 s, counted at 1179 s, gone at 1180 s."""
    hooks = load_policy("preble-e2-style").routing
    first = at("preble-e2-style", 2, {"prompt_tokens": 1000})
    assert hooks["route"](*first) == 0
    seconds = 1000 * (2.2e-4 + 4e-9 * 500)  # 0.222
    cost = hooks["route"].__globals__["cost"]

    def costs(now_s: float) -> list[float]:
        now = at("preble-e2-style", 2, now_s=now_s, memory=first.memory)
        return [cost(i, float(now_s // 10), now.replicas, now.cluster, now.memory) for i in (0, 1)]

    assert costs(1179.9) == pytest.approx([seconds, 0.0])
    assert costs(1180.0) == [0.0, 0.0]
    assert hooks["route"](*at("preble-e2-style", 2, now_s=1179.0, memory=first.memory)) == 1
    # the bucket of 1000 s is used again, and empty, at 1180 s; the one request of 100 tokens is on the second
    assert hooks["route"](*at("preble-e2-style", 2, now_s=1180.0, memory=first.memory)) == 0


def test_preble_rebalances_when_warm() -> None:
    """After 50 requests per replica, a full match that costs 1.5 times the least is passed over; 1.4 times is not."""
    route = load_policy("preble-e2-style").routing["route"]
    for seen, seconds, pick in ((99, 1.6, 0), (100, 1.6, 1), (100, 1.4, 0)):
        now = at("preble-e2-style", 2, {"prompt_tokens": 160}, prefix_hit_tokens=[144, 0])
        now.memory.shared[[9, 18]] = [99, seen]  # the ten seconds from 990 s, number 99 = 5 * 18 + 9
        now.memory.replica[:, 9] = [seconds, 1.0]
        assert route(*now) == pick
