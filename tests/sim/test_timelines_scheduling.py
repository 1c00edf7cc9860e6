"""Timelines of engine modes and of a design's batch scheduler, each small enough to check on paper.

The sums stand beside the numbers. Times, blocks and requests are those of `timeline`, the unit is a picosecond.
"""

import pytest
from timeline import MS, S, Simulate, column, run

RANK_BY_PROMPT = """
def rank(request, replica, memory):
    return request.prompt_tokens
"""


def test_prefill_first(simulators: Simulate) -> None:
    """`vllm_v0` prefills alone as soon as somebody waits and fits; the decodes stand still."""
    result = run(simulators, [(0, 4, 3), (5, 6, 2)], mode="vllm_v0")
    # prefill of 0: 0..14; prefill of 1 alone: 14..30; both decode: 30..42; 0 alone: 42..53
    assert column(result, "first_token_ps") == [14, 30]
    assert column(result, "finished_ps") == [53, 42]


def test_whole_prompts(simulators: Simulate) -> None:
    """Without chunked prefill the first prompt that does not fit the budget left ends admission."""
    requests = [(0, 1, 1), (1, 6, 1), (1, 5, 1), (1, 4, 1)]
    result = run(simulators, requests, mode="vllm_v0", token_budget=10, num_blocks=90)
    # request 0: 0..11; request 1 leaves 4 of 10 tokens: 2 does not fit, 3 would; 11..27; then 5 + 4: 27..46
    assert column(result, "scheduled_ps") == [0, 11, 27, 27]
    assert column(result, "finished_ps") == [11, 27, 46, 46]


def test_padded_budget(simulators: Simulate) -> None:
    """Vidur's vLLM counts a batch of prompts as its number times its longest."""
    requests = [(0, 1, 1), (1, 6, 1), (1, 5, 1), (1, 2, 1)]
    result = run(simulators, requests, mode="vllm_v0_vidur", token_budget=12, num_blocks=90)
    # at 11: 1 * 6 and 2 * 6 do not exceed 12, 3 * 6 does; 6 + 5 tokens: 11..32; then 2: 32..44
    assert column(result, "finished_ps") == [11, 32, 32, 44]


def test_reserved_output(simulators: Simulate) -> None:
    """`orca` takes the blocks of prompt plus max_tokens on admission, and mixes prefills with decodes."""
    requests = [(0, 4, 2), (0, 4, 2), (0, 4, 2)]
    result = run(simulators, requests, mode="orca", num_blocks=5, trace={"max_tokens": [8, 8, 4]})
    # request 0 takes 3 of 5 blocks, 1 needs 3, 2 waits behind it: 0..14 and 14..25
    # then 3 + 2 blocks: 25..43 prefill of 4 + 4, 43..55 both decode
    assert column(result, "scheduled_ps") == [0, 25, 25]
    assert column(result, "finished_ps") == [25, 55, 55]
    assert column(result, "restarts") == [0, 0, 0]


def test_rank(cluster_simulators: Simulate) -> None:
    """A scheduler's rank orders the waiting queue."""
    requests = [(0, 4, 1), (1, 9, 1), (2, 5, 1)]
    result = run(cluster_simulators, requests, source=RANK_BY_PROMPT, track="scheduling", max_running=1)
    # 0..14, then the prompt of 5: 14..29, then 9: 29..48
    assert column(result, "finished_ps") == [14, 48, 29]


@pytest.mark.parametrize(("is_dynamic", "finished_ps"), [(False, [14, 48, 29]), (True, [14, 33, 48])])
def test_dynamic_rank(cluster_simulators: Simulate, is_dynamic: bool, finished_ps: list[int]) -> None:
    """A rank is asked at the dispatch alone, or anew at each scheduling point."""
    source = f"""
DYNAMIC_RANK = {is_dynamic}

def rank(request, replica, memory):
    return request.prompt_tokens if replica.now_s < 12e-12 else -request.prompt_tokens
"""
    requests = [(0, 4, 1), (1, 9, 1), (2, 5, 1)]
    result = run(cluster_simulators, requests, source=source, track="scheduling", max_running=1)
    # at the dispatches 5 < 9; at 14, asked anew, -9 < -5
    assert column(result, "finished_ps") == finished_ps


LATER = """
def admit(request, replica, memory):
    return request.id == 0 or replica.now_s > 40e-12
"""


def test_admit_ends_admission_and_a_stall_is_tried_again(cluster_simulators: Simulate) -> None:
    """A head that may not be admitted blocks those behind it; a replica with an empty batch tries again in 10 ms."""
    result = run(cluster_simulators, [(0, 4, 2), (0, 4, 1), (0, 4, 1)], source=LATER, track="scheduling")
    # request 0: 0..14, 14..25; nothing at 25; at 25 + 10 ms both: 10 + 8
    assert column(result, "scheduled_ps") == [0, 10 * MS + 25, 10 * MS + 25]
    assert column(result, "finished_ps") == [25, 10 * MS + 43, 10 * MS + 43]


def test_dispatch_ends_a_stall(cluster_simulators: Simulate) -> None:
    """A dispatch to a replica that stalls makes it try again at once."""
    result = run(cluster_simulators, [(0, 4, 2), (0, 4, 1), (100, 4, 1)], source=LATER, track="scheduling")
    # at 25 nothing; at 100 both: 10 + 8
    assert column(result, "finished_ps") == [25, 118, 118]


def test_stalling_for_ever(cluster_simulators: Simulate) -> None:
    """A replica that computes nothing for 60 s although requests wait ends the run."""
    source = """
def admit(request, replica, memory):
    return False
"""
    result = run(cluster_simulators, [(0, 4, 1)], source=source, track="scheduling")
    assert (result.status, result.end_ps) == ("bad_decision", 60 * S)
    assert "replica 0 computed nothing for 60 s with 1 requests waiting and 0 running" in result.message


def test_tokens_pause_a_decode(cluster_simulators: Simulate) -> None:
    """A paused decode is asked about again at the next scheduling point, not in an iteration that merely continues."""
    source = """
def tokens(request, replica, left, memory):
    if request.id == 0 and request.generated_tokens == 1 and replica.now_s < 30e-12:
        return 0
    return left
"""
    result = run(cluster_simulators, [(0, 4, 2), (3, 4, 3)], source=source, track="scheduling")
    # 0..14 prefill of 0; at 14 it pauses: 14..28 prefill of 1; at 28 it pauses: 28..39 decode of 1, which continues
    # 39..50 and ends there; 50..61 decode of 0
    assert column(result, "first_token_ps") == [14, 28]
    assert column(result, "finished_ps") == [61, 50]


def test_tokens_cut_chunks(cluster_simulators: Simulate) -> None:
    """Chunks as the scheduler wants them, so that several prompts can be partly computed at once."""
    source = """
def tokens(request, replica, left, memory):
    return min(left, 3)
"""
    result = run(cluster_simulators, [(0, 7, 1), (1, 5, 1)], source=source, track="scheduling")
    # 3 of request 0: 0..13; 3 + 3: 13..29; 1 + 2: 29..42
    assert column(result, "scheduled_ps") == [0, 13]
    assert column(result, "finished_ps") == [42, 42]


def test_plan(cluster_simulators: Simulate) -> None:
    """A plan lowers the budget and the number of running requests."""
    source = """
def plan(replica, memory):
    return 2, 1
"""
    result = run(cluster_simulators, [(0, 4, 2), (0, 2, 1)], source=source, track="scheduling")
    # 2 + 2 tokens of request 0: 0..12..24; its decode, 1 of 2 tokens, nobody beside it: 24..35; request 1: 35..47
    assert column(result, "finished_ps") == [35, 47]


def test_victim_of_the_scheduler(cluster_simulators: Simulate) -> None:
    """`evict_rank` may name the request that needs the block; the walk then goes on."""
    source = """
def evict_rank(request, replica, memory):
    return -request.id
"""
    requests = [(0, 1, 1), (1, 7, 6), (1, 7, 6)]
    result = run(cluster_simulators, requests, source=source, track="scheduling", num_blocks=4)
    # as in test_preemption_in_vllm_v1: at 47 both know 9 and request 1 is first to need a block; it goes itself
    # request 2 alone: tokens 3 to 6 at 58, 69, 80, 91; recompute of 9: 110; then 121, 132, 143
    assert column(result, "restarts") == [0, 1, 0]
    assert column(result, "finished_ps") == [11, 143, 91]


def test_token_is_given_back(cluster_simulators: Simulate) -> None:
    """`evict_rank` may name a request that has its token of this iteration already."""
    source = """
def evict_rank(request, replica, memory):
    return -request.id
"""
    requests = [(0, 1, 1), (1, 7, 6), (1, 7, 6)]
    result = run(cluster_simulators, requests, source=source, track="scheduling", num_blocks=5)
    # at 47 request 1 takes the fifth block, request 2 needs another: request 1 goes, its token is given back
    assert column(result, "restarts") == [0, 1, 0]
    assert column(result, "finished_ps") == [11, 143, 91]


def test_retraction_of_sglang(cluster_simulators: Simulate) -> None:
    """Fewest output tokens first, ties by the longest prompt, is preempted first."""
    source = """
def evict_rank(request, replica, memory):
    return request.prompt_tokens - 1000 * request.generated_tokens
"""
    requests = [(0, 3, 9), (1, 4, 9), (1, 8, 9)]
    result = run(cluster_simulators, requests, source=source, track="scheduling", num_blocks=6)
    # 0..13 prefill of 3 (1 block); 13..36 its decode, prefill of 4 and 8 (1 + 2 blocks); at 36 contexts 5, 5, 9 need
    # 2, 2, 3 blocks of 6; 0 and 1 get theirs, 2 finds none: outputs 2, 1, 1, prompts 3, 4, 8: 2 goes
    # 0 and 1: 48, 60, 72, 84 (contexts 9 and 9: the last two blocks), 96, 108, 120, where 0 ends; then the ninth token
    # of 1 and P = 9 of 2: 120..140; tokens 3 to 9 of 2: 7 * 11
    assert column(result, "restarts") == [0, 0, 1]
    assert column(result, "finished_ps") == [120, 140, 217]


def test_preemptive(cluster_simulators: Simulate) -> None:
    """With PREEMPTIVE the head takes the place of a running request of higher rank, which loses its token."""
    source = "PREEMPTIVE = True\n" + RANK_BY_PROMPT
    result = run(cluster_simulators, [(0, 9, 4), (5, 4, 1)], source=source, track="scheduling", max_running=1)
    # 0..19 prefill of 9; at 19 request 1 (rank 4) takes its place: 19..33; recompute of 9 + 1: 33..53, decodes 64, 75
    assert column(result, "restarts") == [1, 0]
    assert column(result, "first_token_ps") == [19, 33]
    assert column(result, "finished_ps") == [75, 33]


def test_preemptive_for_room(cluster_simulators: Simulate) -> None:
    """With PREEMPTIVE as many go as are needed to make room, the highest rank first."""
    source = "PREEMPTIVE = True\n" + RANK_BY_PROMPT
    requests = [(0, 9, 2), (1, 12, 2), (2, 8, 1)]
    result = run(cluster_simulators, requests, source=source, track="scheduling", num_blocks=6)
    # 0..19 prefill of 9 (3 blocks); 19: decode of 0, then request 2 (rank 8) enters before 1: 2 blocks, 1 is left;
    # 1 + 8 tokens: 19..38, both finish; then 12: 38..60, 71: nobody was in anybody's way
    assert column(result, "restarts") == [0, 0, 0]
    assert column(result, "finished_ps") == [38, 71, 38]
    result = run(cluster_simulators, requests, source=source, track="scheduling", num_blocks=4)
    # at 19 one block is free: request 0 (rank 9) goes; 2 alone: 19..37; then P = 10 of 0 (3 of 4 blocks) finishes with
    # its second token: 37..57; then 12: 57..79, 90
    assert column(result, "restarts") == [1, 0, 0]
    assert column(result, "finished_ps") == [57, 90, 37]
