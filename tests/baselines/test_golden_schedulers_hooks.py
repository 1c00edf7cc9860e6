"""Decisions of scheduling designs, hook by hook, on states that are small enough to check on paper.

A block holds 16 tokens. Iterations last 30 ms + 0.22 ms a token + 0.3 us a token of context + 4 ns a pair.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from moments import make_memory, make_replica, make_request

from glia_bench.features import Memory
from glia_bench.loading import load_policy


def loaded(name: str, num_tenants: int = 1) -> tuple[Mapping[str, Callable[..., Any]], Memory]:
    """Return a scheduler's hooks and its memory, empty."""
    policy = load_policy(name, "scheduling")
    memory = make_memory(policy.memory, 1)
    return policy.scheduling, memory._replace(tenant=np.zeros((num_tenants, memory.tenant.shape[1])))


def test_priority_goes_before_class_and_class_before_arrival() -> None:
    """Priority 0 of class 1 before priority 1 of class 0; within both the earlier; the last of these is preempted."""
    hooks, memory = loaded("vllm_v1_priority")
    order = [(0, 0, 900.0), (0, 1, 5.0), (0, 1, 6.0), (1, 0, 1.0)]
    requests = [make_request(priority=p, slo_class=c, arrival_s=s) for p, c, s in order]
    for name in ("rank", "evict_rank"):
        ranks = [hooks[name](request, make_replica(), memory) for request in requests]
        assert ranks == sorted(set(ranks))


def test_sarathi_caps_budget_and_batch() -> None:
    """512 tokens and 128 requests, or the engine's own if those are less."""
    hooks, memory = loaded("sarathi")
    assert hooks["plan"](make_replica(token_budget=2048, max_running=256), memory) == (512, 128)
    assert hooks["plan"](make_replica(token_budget=256, max_running=100), memory) == (256, 100)


def test_sarathi_keeps_a_watermark() -> None:
    """Of 1000 blocks 10 stay free: 160 tokens enter with 20 free, not with 19; cached ones need nothing."""
    hooks, memory = loaded("sarathi")

    def admits(free: int, running: int, **fields: int) -> bool:
        replica = make_replica(free_blocks=free, running=running)
        return bool(hooks["admit"](make_request(160, **fields), replica, memory))

    assert [admits(20, 1), admits(19, 1), admits(19, 0)] == [True, False, True]
    assert [admits(20, 1, generated_tokens=1), admits(19, 1, cached_tokens=16)] == [False, True]
    assert hooks["evict_rank"](make_request(id=7), make_replica(), memory) == 7.0


def test_orca_reserves_the_longest_output() -> None:
    """100 + 8092 tokens that run are 512 of 1000 blocks: 488 more may be reserved, 100 + 7708 tokens, not one more."""
    hooks, memory = loaded("orca")
    replica = make_replica(free_blocks=993, running=1)
    for _ in range(2):  # a later scheduling point counts anew
        hooks["on_step"](replica, memory)
        assert hooks["tokens"](make_request(100, max_tokens=8092, generated_tokens=9), replica, 50, memory) == 50
    assert hooks["admit"](make_request(100, max_tokens=7708), replica, memory)
    assert not hooks["admit"](make_request(100, max_tokens=7709), replica, memory)
    assert hooks["tokens"](make_request(100, max_tokens=60), replica, 50, memory) == 50  # enters: 10 blocks
    assert not hooks["admit"](make_request(100, max_tokens=7708), replica, memory)
    assert hooks["admit"](make_request(100, max_tokens=10**6), make_replica(running=0), memory)


def test_vllm_v0_pauses_decodes_for_a_prompt_that_fits() -> None:
    """160 tokens need 10 blocks beside a watermark of 10: with 20 free both decodes stand still, with 19 not."""
    for free, answers in ((20, [0, 0, 300]), (19, [300, 300, 300])):
        hooks, memory = loaded("vllm_v0")
        replica = make_replica(free_blocks=free, running=2, decode_tokens=2, waiting=2)
        hooks["on_step"](replica, memory)
        assert hooks["rank"](make_request(160, arrival_s=3.5), replica, memory) == 3.5
        hooks["rank"](make_request(1), replica, memory)  # only the head counts
        hooks["rank"](make_request(1, computed_tokens=1), replica, memory)
        assert [hooks["tokens"](make_request(), replica, 300, memory) for _ in range(3)] == answers
        assert hooks["admit"](make_request(160), replica, memory) == (free == 20)
        assert not hooks["admit"](make_request(161), replica, memory)
        assert hooks["evict_rank"](make_request(id=4), replica, memory) == 4.0


def test_vllm_v0_finishes_what_is_begun() -> None:
    """The rest of a prompt, the third asked, has the turn before both decodes; so has any prompt if nothing decodes."""
    hooks, memory = loaded("vllm_v0")
    replica = make_replica(running=3, decode_tokens=2)
    hooks["on_step"](replica, memory)
    assert [hooks["tokens"](make_request(), replica, 300, memory) for _ in range(3)] == [0, 0, 300]
    empty = make_replica(free_blocks=3)
    hooks["on_step"](empty, memory)
    assert hooks["admit"](make_request(160), empty, memory)


SGLANG = pytest.mark.parametrize("name", ["sglang_fcfs", "sglang_lpm"])


@SGLANG
def test_sglang_takes_back_the_fewest_outputs_then_the_longest_prompt(name: str) -> None:
    """Outputs 5, 5, 90 and prompts 100, 900, 50: the 900. All at 500 of 1000: the ratio is then 1560 / 3001."""
    hooks, memory = loaded(name)
    running = [make_request(prompt, generated_tokens=out) for out, prompt in ((5, 100), (5, 900), (90, 50))]
    ranks = [hooks["evict_rank"](request, make_replica(running=4), memory) for request in running]
    assert ranks.index(max(ranks)) == 1
    replica = make_replica(running=3, decode_tokens=2)
    hooks["on_step"](replica, memory)
    for _ in range(3):
        hooks["evict_rank"](make_request(generated_tokens=500, max_tokens=1000), replica, memory)
    hooks["on_step"](replica, memory)
    hooks["rank"](make_request(10, computed_tokens=10, max_tokens=3001), replica, memory)  # reserves 1560
    assert hooks["admit"](make_request(14_338, max_tokens=100), replica, memory)  # 16000 - 1560 - 100 - 2
    assert not hooks["admit"](make_request(14_342, max_tokens=100), replica, memory)


@SGLANG
def test_sglang_guesses_seven_tenths_of_the_rest(name: str) -> None:
    """4096 of the allowed output count, 0.7 of them for who runs: 16000 - 2867.2 > 9036 + 4096, but not 9037."""
    for prompt, answer in ((9036, 0), (9037, 9)):
        hooks, memory = loaded(name)
        replica = make_replica(running=1, decode_tokens=1, waiting=1)
        hooks["on_step"](replica, memory)
        hooks["rank"](make_request(prompt), replica, memory)
        hooks["rank"](make_request(10, computed_tokens=10, max_tokens=8000), replica, memory)
        assert hooks["tokens"](make_request(10, computed_tokens=10), replica, 9, memory) == answer
        assert hooks["admit"](make_request(prompt), replica, memory) == (answer == 0)


@SGLANG
def test_sglang_reserves_in_full_for_who_enters(name: str) -> None:
    """With nothing else running, 100 tokens of a new request leave 15900: more than 11803 + 4096, not than 11804."""
    hooks, memory = loaded(name)
    hooks["on_step"](make_replica(waiting=2), memory)
    assert hooks["admit"](make_request(10**5), make_replica(waiting=2), memory)
    assert hooks["tokens"](make_request(200, max_tokens=100), make_replica(waiting=2), 9, memory) == 9
    assert hooks["admit"](make_request(11_803), make_replica(running=1), memory)
    assert not hooks["admit"](make_request(11_804), make_replica(running=1), memory)


@SGLANG
def test_sglang_ratio_falls_with_decode_steps(name: str) -> None:
    """(0.7 - 0.098) / 600 a step: after 300 steps 0.399 of 4096 are 1634.3, after 600 and more 0.098 are 401.4."""
    for steps, most in ((300, 10_269), (600, 11_502), (9000, 11_502)):
        hooks, memory = loaded(name)
        replica = make_replica(running=2, decode_tokens=1)  # somebody's prompt is begun: its turn
        running = make_request(10, computed_tokens=10, generated_tokens=steps, max_tokens=30_000)
        for _ in range(3):  # the steps are seen in the first, and the ratio falls in the second
            hooks["on_step"](replica, memory)
            hooks["rank"](running, replica, memory)
        assert hooks["admit"](make_request(most), replica, memory)
        assert not hooks["admit"](make_request(most + 1), replica, memory)


def test_sglang_lpm_orders_by_the_cached_prefix_while_few_wait() -> None:
    """The longest prefix first with up to 128 waiting, else first come, first served."""
    hooks, memory = loaded("sglang_lpm")
    requests = [make_request(100, cached_tokens=cached, id=k) for k, cached in enumerate((0, 64, 16))]
    for waiting, ranks in ((128, [0.0, -64.0, -16.0]), (129, [0.0, 0.0, 0.0])):
        replica = make_replica(waiting=waiting)
        hooks["on_step"](replica, memory)
        assert [hooks["rank"](request, replica, memory) for request in requests] == ranks


def test_tgi_waits_for_three_tenths() -> None:
    """Beside 10 that run, 2 that wait have no turn and 3 have; nor is there one before 20 decode steps have passed."""
    for waiting, generated, has_turn in ((2, 0, False), (3, 0, True), (2, 19, False), (2, 20, True)):
        hooks, memory = loaded("tgi")
        hooks["rank"](make_request(100, max_tokens=60), make_replica(), memory)
        replica = make_replica(running=10, decode_tokens=10, waiting=waiting)
        hooks["tokens"](make_request(generated_tokens=generated), replica, 300, memory)
        hooks["on_step"](replica, memory)
        answer = hooks["tokens"](make_request(generated_tokens=generated), replica, 300, memory)
        assert answer == (0 if has_turn else 300)


def test_tgi_reserves_one_token_less_than_the_longest() -> None:
    """100 + 8093 - 1 tokens that run are 512 of 1000 blocks: 100 + 7709 - 1 tokens, 488 blocks, fit beside them."""
    hooks, memory = loaded("tgi")
    replica = make_replica(running=1)
    hooks["on_step"](replica, memory)
    hooks["tokens"](make_request(100, max_tokens=8093), replica, 300, memory)
    assert hooks["admit"](make_request(100, max_tokens=7709), replica, memory)
    assert not hooks["admit"](make_request(100, max_tokens=7710), replica, memory)
    assert hooks["plan"](make_replica(max_running=256), memory) == (2048, 128)


def test_edf_orders_by_the_first_tokens_deadline() -> None:
    """Arrival plus objective; without one, after every deadline."""
    rank = loaded("edf")[0]["rank"]
    requests = (make_request(arrival_s=10.0, ttft_slo_s=0.5), make_request(arrival_s=3.0, ttft_slo_s=float("inf")))
    assert [rank(request, make_replica(), make_memory({}, 1)) for request in requests] == [10.5, 1e12]


def test_aged_prompts_overtake() -> None:
    """At 20 tokens a second 100 tokens of now go behind 1100 of 50 s ago by nothing, and before 1101."""
    rank = loaded("sjf-aged-style")[0]["rank"]
    new, equal, longer = ((100, 50.0), (1100, 0.0), (1101, 0.0))
    ranks = [rank(make_request(p, arrival_s=s), make_replica(), make_memory({}, 1)) for p, s in (new, equal, longer)]
    assert ranks == [1100.0, 1100.0, 1101.0]


def test_fastserve_skips_levels_and_falls() -> None:
    """100 tokens take 52.04 ms: 10, 20 and 40 ms are too short, so level 3 (80 ms); after 81 ms of running, level 4."""
    hooks, memory = loaded("fastserve")

    def level(now_s: float, computed: int, waiting_points: int = 1) -> tuple[int, float]:
        for _ in range(waiting_points):
            hooks["on_step"](make_replica(), memory)
        place = hooks["rank"](make_request(100, computed_tokens=computed), make_replica(now_s=now_s), memory)
        return int(place // 1e8), place % 1e8

    assert level(1000.0, 0) == (3, 1000.0)
    assert level(1002.0, 0) == (3, 1000.0)  # waiting uses no time up
    assert level(1002.0625, 100) == (3, 1000.0)
    assert level(1002.125, 100) == (4, 1002.125)  # 125 ms: the end of the next level
    assert level(1005.0, 0, 993) == (4, 1002.125)  # the 997th point
    assert level(1005.125, 0, 3) == (3, 1005.125)  # the 1000th, and 3 s without running


def test_fastserve_promotes_no_one_who_ran_within_three_seconds() -> None:
    """2.9 s after its last iteration a request keeps its level at the 1000th scheduling point."""
    hooks, memory = loaded("fastserve")
    request = make_request(10)  # 32.2 ms: level 2
    hooks["rank"](request, make_replica(now_s=1000.0), memory)
    for _ in range(1000):
        hooks["on_step"](make_replica(), memory)
    assert hooks["rank"](request, make_replica(now_s=1002.9), memory) == 2e8 + 1000.0


def test_ltr_promotes_the_starved_for_ten_points() -> None:
    """By the prediction; at the 200th point of waiting before all others, until ten points have been run."""
    hooks, memory = loaded("ltr-style")

    def rank(computed: int) -> float:
        request = make_request(100, predicted_tokens=70.0, computed_tokens=computed)
        return float(hooks["rank"](request, make_replica(), memory))

    assert [rank(0) for _ in range(200)] == [70.0] * 199 + [-1.0]
    assert [rank(100) for _ in range(11)] == [-1.0] * 10 + [70.0]
    assert [rank(0) for _ in range(199)] == [70.0] * 199  # counted from the beginning
    assert hooks["rank"](make_request(100), make_replica(), memory) == 0.0


def test_trail_protects_who_has_run_most_of_its_prediction() -> None:
    """Of 100 predicted tokens 21 are left after 79; from 80 on whoever runs is safe, and who waits has a place."""
    rank = loaded("trail-style")[0]["rank"]

    def place(generated: int, computed: int, predicted: float = 100.0) -> float:
        request = make_request(10, predicted_tokens=predicted, generated_tokens=generated, computed_tokens=computed)
        return float(rank(request, make_replica(), make_memory({}, 1)))

    assert [place(79, 10), place(80, 10), place(80, 0), place(130, 0), place(9, 10, 0.0)] == [
        21.0,
        -1.0,
        20.0,
        0.0,
        0.0,
    ]


def test_vtc_lifts_a_tenant_that_begins_to_wait() -> None:
    """Tenant 0 has 500 and waits; tenant 1 comes with 0 and is lifted to 500, tenant 2 with 900 keeps that."""
    hooks, memory = loaded("vtc", num_tenants=3)
    memory.tenant[:, 0] = [500.0, 0.0, 900.0]
    memory.tenant[0, 1] = 1.0
    for tenant, slot, counter in ((1, 1, 500.0), (2, 2, 900.0)):
        assert hooks["rank"](make_request(10, tenant=tenant, slot=slot), make_replica(), memory) == counter
        assert memory.tenant[tenant, 0] == counter
    memory.tenant[1, 0] = 20.0
    hooks["rank"](make_request(10, tenant=1, slot=3), make_replica(), memory)
    assert memory.tenant[1, 0] == 20.0  # it waits already


def test_vtc_lets_the_least_served_enter_first() -> None:
    """Two prompts of 300 of tenant 0 and two of 100 of tenant 1: counters 0, 300 and 0, 100, so 1's second is third."""
    hooks, memory = loaded("vtc", num_tenants=2)
    queue = [make_request(300 if k < 2 else 100, tenant=k // 2, slot=k, id=k) for k in range(4)]
    hooks["on_step"](make_replica(), memory)
    assert [hooks["rank"](request, make_replica(), memory) for request in queue] == [0.0, 300.0, 0.0, 100.0]
    assert hooks["tokens"](queue[0], make_replica(), 512, memory) == 512  # it enters: 300 for its prompt
    hooks["on_step"](make_replica(), memory)
    assert [hooks["rank"](request, make_replica(), memory) for request in queue[1:]] == [300.0, 0.0, 100.0]
    runs = queue[0]._replace(computed_tokens=300, generated_tokens=50)
    assert hooks["rank"](runs, make_replica(), memory) == 0.0  # if preempted, the head
    hooks["rank"](runs, make_replica(), memory)
    assert memory.tenant[0, 0] == 400.0  # 50 tokens of weight 2, counted once
    hooks["tokens"](runs._replace(computed_tokens=0, restarts=1), make_replica(), 512, memory)
    assert memory.tenant[0, 0] == 400.0  # a prompt is charged once


def test_qlm_puts_the_late_behind() -> None:
    """1000 tokens take 224 ms, at 0.8 of the speed 280, and 30 ms: 310 ms at the head, 590 ms behind another."""
    hooks, memory = loaded("qlm_lite")
    hooks["on_step"](make_replica(), memory)

    def place(ttft_s: float, **fields: int) -> float:
        request = make_request(1000, arrival_s=1000.0, ttft_slo_s=ttft_s, **fields)
        return float(hooks["rank"](request, make_replica(now_s=1000.0), memory))

    assert [place(0.3), place(0.32)] == [1e9 + 1000.3, 1000.32]  # the late one is not added to the sum
    assert [place(0.58), place(0.6), place(0.6)] == [1e9 + 1000.58, 1000.6, 1e9 + 1000.6]
    assert place(0.1, generated_tokens=5) == 1000.1  # it was preempted
    assert place(float("inf")) == 1e8


def test_lens_fills_the_slack() -> None:
    """Ten decodes of 10,000 tokens take 35.2 ms; of 200 ms are left 164.8: 733 tokens take 163.4 ms, 749 take 167.0."""
    hooks, memory = loaded("lens-style")
    replica = make_replica(decode_tokens=10, context_tokens=10_000, running=10)
    assert hooks["plan"](replica, memory) == (2048, 128)  # no pace is known
    hooks["tokens"](make_request(tpot_slo_s=0.2), replica, 300, memory)
    hooks["tokens"](make_request(tpot_slo_s=float("inf")), replica, 300, memory)
    hooks["on_step"](replica, memory)
    assert hooks["plan"](replica, memory) == (743, 128)
    assert hooks["plan"](make_replica(), memory) == (2048, 128)  # nobody decodes
    hooks["tokens"](make_request(tpot_slo_s=0.1), replica, 300, memory)
    hooks["on_step"](replica, memory)
    assert hooks["plan"](replica, memory) == (522, 128)  # 64.8 ms are fewer than 512 tokens


def test_lens_counts_the_time_saved() -> None:
    """First token at 1000.0 s, the 11th at 1000.5: at 0.1 s each the next is due at 1001.1, not within 0.1 s."""
    hooks, memory = loaded("lens-style")
    request = make_request(tpot_slo_s=0.1, generated_tokens=1)
    hooks["tokens"](request, make_replica(now_s=1000.0), 300, memory)
    assert memory.shared[1] == pytest.approx(0.1)
    hooks["on_step"](make_replica(), memory)
    hooks["tokens"](request._replace(generated_tokens=11), make_replica(now_s=1000.5), 300, memory)
    assert memory.shared[1] == pytest.approx(0.6)
    hooks["on_step"](make_replica(), memory)
    hooks["tokens"](request._replace(generated_tokens=12), make_replica(now_s=1009.0), 300, memory)
    assert memory.shared[1] == pytest.approx(0.1)  # late: one interval
