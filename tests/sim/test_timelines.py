"""Timelines of a few requests on one engine and one router, each small enough to check on paper.

The sums stand beside the numbers. Times, blocks and requests are those of `timeline`.
"""

from typing import Any

import pytest
from timeline import MS, S, Simulate, column, line, run

from glia_bench.cluster import Trigger
from glia_bench.types import FINISHED, NEVER_PS, REJECTED, UNFINISHED

BY_PARITY = """
def route(request, replicas, cluster, memory):
    return request.id % cluster.num_replicas
"""
HOLD_WHILE_BUSY = """
def route(request, replicas, cluster, memory):
    return 0 if replicas.inflight[0] == 0 else -1
"""
HOLD_ALL = """
def route(request, replicas, cluster, memory):
    return -1
"""
SECOND_FIRST = """
# Holds request 0 until request 1 has been dispatched; request 2 goes to replica 1.
SKIP_BLOCKED = True
MEMORY = {"shared": 1}

def route(request, replicas, cluster, memory):
    if request.id == 0 and memory.shared[0] == 0.0:
        return -1
    memory.shared[0] = 1.0
    return 1 if request.id == 2 else 0
"""


def test_decode(simulators: Simulate) -> None:
    """A prompt is prefilled in one iteration, which yields the first token; each decode reads its known tokens."""
    result = run(simulators, [(0, 4, 3)], latency=line(32, context=2, pair=3))
    # prefill of 4: 10 + 4 + 3 * 4^2 = 62; decode with 5 known: 11 + 2 * 5 = 21; with 6 known: 11 + 2 * 6 = 23
    assert column(result, "scheduled_ps") == [0]
    assert column(result, "first_token_ps") == [62]
    assert column(result, "finished_ps") == [62 + 21 + 23]
    assert column(result, "outcome") == [FINISHED]
    assert (result.status, result.end_ps, result.num_decisions) == ("ok", 106, 1)


def test_chunked_prefill(simulators: Simulate) -> None:
    """A prompt longer than the token budget takes two iterations; the second pays for attention to the first."""
    result = run(simulators, [(0, 12, 2)], token_budget=9, latency=line(9, pair=3))
    # chunk of 9: 19 + 3 * 81 = 262; chunk of 3 after 9: 13 + 3 * (2 * 3 * 9 + 9) = 202; decode: 11
    assert column(result, "first_token_ps") == [262 + 202]
    assert column(result, "finished_ps") == [262 + 202 + 11]


def test_arrival_during_an_iteration(simulators: Simulate) -> None:
    """An arrival at a busy replica waits for the iteration's end and then shares a batch with the decode."""
    result = run(simulators, [(0, 4, 4), (20, 6, 1)])
    # prefill 0..14, decode 14..25, then 1 decode + 6 prefill tokens: 25 + 17 = 42, last decode 42..53
    assert column(result, "dispatched_ps") == [0, 20]
    assert column(result, "scheduled_ps") == [0, 25]
    assert column(result, "first_token_ps") == [14, 42]
    assert column(result, "finished_ps") == [53, 42]


def test_idle_start(simulators: Simulate) -> None:
    """An idle replica starts at the instant of a dispatch, so of two simultaneous arrivals the second waits."""
    result = run(simulators, [(1000, 5, 1), (1000, 5, 1)])
    # 1000 + 15 = 1015, then the second alone
    assert column(result, "scheduled_ps") == [1000, 1015]
    assert column(result, "finished_ps") == [1015, 1030]


def test_arrival_at_the_end_of_an_iteration(simulators: Simulate) -> None:
    """A step comes before an arrival of the same instant: the arrival waits for the iteration that has just begun."""
    result = run(simulators, [(0, 4, 3), (14, 4, 1)])
    # prefill 0..14, decode 14..25 is already under way when the second arrives; 25 + 10 + 1 + 4 = 40
    assert column(result, "scheduled_ps") == [0, 25]
    assert column(result, "finished_ps") == [40, 40]


def test_block_growth(simulators: Simulate) -> None:
    """Blocks follow the known tokens of each decode; the last token's KV is never stored."""
    result = run(simulators, [(0, 4, 6)], sample_interval_s=1e-12, drain_s=1e-9)
    # prefill to 14: 1 block; decodes with 5, 6, 7, 8 known, 11 ps each: 2 blocks; the last with 9 known: 3 blocks
    assert column(result, "finished_ps") == [14 + 5 * 11]
    assert result.samples is not None
    blocks = result.samples.allocated_blocks[:, 0].tolist()
    # the sample at 0 comes before the arrival, the sample at 69 after the last step
    assert blocks == [0] + 13 * [1] + 4 * 11 * [2] + 11 * [3] + [0]
    assert result.samples.running[:, 0].tolist() == [0] + 68 * [1] + [0]


def test_preemption_in_vllm_v1(simulators: Simulate) -> None:
    """Without a free block the last admitted is preempted and recomputes prompt and generated tokens."""
    result = run(simulators, [(0, 1, 1), (1, 7, 6), (1, 7, 6)], num_blocks=4)
    # 0..11 prefill of request 0, which finishes; 11..35 prefill of 7 + 7 tokens, 2 + 2 blocks
    # 35..47 both decode with 8 known; at 47 both know 9: request 1 needs a third block, request 2 loses its two
    # request 2 (P = 9, 3 blocks) does not fit beside the other's 3 of 4
    # request 1 alone: tokens 3 to 6 at 58, 69, 80, 91; 91..110 recompute of 9 tokens gives request 2 its third token
    # then tokens 4 to 6 at 121, 132, 143
    assert column(result, "scheduled_ps") == [0, 11, 11]
    assert column(result, "first_token_ps") == [11, 35, 35]
    assert column(result, "finished_ps") == [11, 91, 143]
    assert column(result, "restarts") == [0, 0, 1]


def test_preempted_request_goes_to_the_head(simulators: Simulate) -> None:
    """A preempted request is readmitted before those that were waiting, even where these would fit sooner."""
    result = run(simulators, [(0, 7, 6), (0, 7, 6), (20, 1, 1)], num_blocks=4, max_running=2)
    # 0..17 prefill of request 0; at 17: decode + 7 = 18 ps, 35; both hold 2 blocks
    # at 35 request 0 knows 9 and needs a third: request 1 (P = 8) is preempted and waits ahead of request 2
    # request 0 knows 8 at 17, its tokens 2..6 at 35, 46, 57, 68, 79
    # request 1 (2 blocks) does not fit beside 3 of 4 until 79, and request 2 (1 block) must wait behind it
    # 79..98 recompute of 8 tokens and prefill of 1 in one batch: 10 + 9 = 19
    assert column(result, "restarts") == [0, 1, 0]
    assert column(result, "scheduled_ps") == [0, 17, 79]
    assert column(result, "finished_ps") == [79, 98 + 4 * 11, 98]


@pytest.mark.parametrize(("admits", "finished_ps"), [(True, [11, 48, 48]), (False, [11, 42, 58])])
def test_admission_after_preemption(simulators: Simulate, admits: bool, finished_ps: list[int]) -> None:
    """An iteration that preempted admits only if the mode allows it; a spare block is asked for though none is used."""
    rules: dict[str, Any] = {"spare_block": True, "admit_after_preemption": admits}
    result = run(simulators, [(0, 1, 1), (1, 5, 2), (1, 5, 2)], num_blocks=4, **rules)
    # 0..11 request 0; 11..31 prefill of 5 + 5 tokens, 2 + 2 of 4 blocks
    # at 31 request 1 needs no further block but wants one free: request 2 is preempted (P = 6, 2 blocks, 2 free)
    # admitted at once: 1 + 6 tokens, 31 + 17 = 48, both finish; else 31 + 11 = 42, then 6 tokens: 42 + 16 = 58
    assert column(result, "restarts") == [0, 0, 1]
    assert column(result, "finished_ps") == finished_ps


@pytest.mark.parametrize(
    ("mode", "restarts", "finished_ps"),
    [("sarathi", [0, 1, 0], [68, 120, 16]), ("vllm_v1", [1, 0, 0], [119, 79, 16])],
)
def test_victim(simulators: Simulate, mode: str, restarts: list[int], finished_ps: list[int]) -> None:
    """`sarathi` preempts the youngest arrival, `vllm_v1` the latest admitted, here the oldest arrival."""
    requests = [(0, 7, 4), (0, 7, 6), (5, 1, 1)]
    result = run(simulators, requests, source=SECOND_FIRST, mode=mode, replicas=2, num_blocks=4)
    # request 1 is dispatched at 0, request 0 at 5; 0..17 prefill of 1; 17..35 decode of 1, prefill of 0; 2 + 2 blocks
    # at 35 request 1 knows 9 and needs a third block, request 0 knows 8
    # sarathi: nobody arrived after 1, so it goes itself; 0 alone: tokens 2, 3, 4 at 46, 57, 68; then P = 9 of 1:
    #   68..87 (third token), 98, 109, 120
    # vllm_v1: 0 goes; 1 alone: tokens 3 to 6 at 46, 57, 68, 79; then P = 8 of 0: 79..97 (second token), 108, 119
    assert column(result, "dispatched_ps") == [5, 0, 5]
    assert column(result, "scheduled_ps") == [17, 0, 5]
    assert column(result, "restarts") == restarts
    assert column(result, "finished_ps") == finished_ps


@pytest.mark.parametrize(
    ("mode", "restarts", "finished_ps"),
    [("sarathi", [0, 1, 0], [59, 85, 16]), ("vllm_v1", [1, 0, 0], [96, 51, 16])],
)
def test_partial_prefill_is_passed_over(
    simulators: Simulate, mode: str, restarts: list[int], finished_ps: list[int]
) -> None:
    """A partial prefill that comes before the needy decode in the running list is safe, one that comes after is not."""
    requests = [(0, 15, 1), (0, 3, 4), (5, 1, 1)]
    settings: dict[str, Any] = {"num_blocks": 5, "token_budget": 6, "max_running": 5}
    result = run(simulators, requests, source=SECOND_FIRST, mode=mode, replicas=2, **settings)
    # 0..13 prefill of 1 (1 block); 13..29 decode of 1 and 5 tokens of 0 (4 blocks); at 29 request 1 knows 5: one more
    # sarathi: list 0, 1: request 1 goes itself (P = 5); 0 computes 6 (29..45) and the last 4 (45..59);
    #   59..74 recompute of 5 (third token), 85
    # vllm_v1: list 1, 0: request 0 goes; 1 alone: 40, 51; 0 from the start: 6 (51..67), 6 (67..83), 3 (83..96)
    assert column(result, "restarts") == restarts
    assert column(result, "finished_ps") == finished_ps


def test_budget_is_shared_with_decodes(simulators: Simulate) -> None:
    """With a budget of 2048 and 100 decodes, a waiting prompt of 5000 gets 1948 tokens in that iteration."""
    requests = [(0, 10, 10)] * 99 + [(0, 10, 2), (500, 5000, 1)]
    result = run(simulators, requests, token_budget=2048, max_running=256, num_blocks=2000)
    # 0..20 prefill of request 0 alone; then 1 decode + 990 tokens: 20 + 1001 = 1021; then 100 decodes + 1948 tokens:
    # 1021 + 2058 = 3079, where request 99 finishes; then 99 + 1949: 5137; then 99 + the last 1103: 5137 + 1212
    assert column(result, "first_token_ps")[99] == 1021
    assert column(result, "finished_ps")[99] == 3079
    assert column(result, "scheduled_ps")[100] == 1021
    assert column(result, "first_token_ps")[100] == 6349


def test_watermark(simulators: Simulate) -> None:
    """An admission must leave the watermark free, and the first that does not fit blocks those behind it."""
    result = run(simulators, [(0, 16, 2), (0, 17, 1), (0, 1, 1)], num_blocks=10, watermark=0.25)
    # watermark floor(2.5) = 2 blocks. 0..26 prefill of request 0; its decode 26..37 holds 5 blocks; request 1 needs the
    # other 5, so it waits, and request 2 (1 block) behind it; then both: 17 + 1 tokens, 37 + 28 = 65
    assert column(result, "scheduled_ps") == [0, 37, 37]
    assert column(result, "finished_ps") == [37, 65, 65]


def test_max_running(simulators: Simulate) -> None:
    """No more than max_running requests hold blocks at once."""
    result = run(simulators, [(0, 2, 2), (0, 3, 1), (0, 4, 1)], max_running=2)
    # 0..12 prefill of 0; 12..26 decode of 0 and prefill of 1; then 2 alone: 26 + 14 = 40
    assert column(result, "scheduled_ps") == [0, 12, 26]
    assert column(result, "finished_ps") == [26, 26, 40]


@pytest.mark.parametrize(("triggers", "dispatched_ps"), [(("arrival", "completion"), 14), (("arrival",), 30)])
def test_held_until_trigger(simulators: Simulate, triggers: tuple[Trigger, ...], dispatched_ps: int) -> None:
    """A held request is asked about again when a request finishes, if the task lists that trigger, or one arrives."""
    result = run(simulators, [(0, 4, 1), (5, 4, 1), (30, 4, 1)], source=HOLD_WHILE_BUSY, triggers=triggers)
    # request 0: 0..14; request 1 is held at 5; it starts at the instant of its dispatch and takes 14
    assert column(result, "dispatched_ps")[:2] == [0, dispatched_ps]
    assert column(result, "scheduled_ps")[:2] == [0, dispatched_ps]
    assert column(result, "finished_ps")[:2] == [14, dispatched_ps + 14]


def test_restart_trigger(simulators: Simulate) -> None:
    """A preemption starts a scan if the task lists that trigger."""
    hold_until_preemption = """
def route(request, replicas, cluster, memory):
    if request.id == 2 and replicas.preemptions[0] == 0:
        return -1
    return 1 if request.id == 2 else 0
"""
    requests = [(0, 7, 6), (0, 7, 6), (20, 1, 1)]
    settings: dict[str, Any] = {"replicas": 2, "num_blocks": 4, "triggers": ("arrival", "restart")}
    result = run(simulators, requests, source=hold_until_preemption, **settings)
    # as in test_preempted_request_goes_to_the_head: request 1 is preempted at 35
    assert column(result, "dispatched_ps") == [0, 0, 35]
    assert column(result, "finished_ps")[2] == 46


@pytest.mark.parametrize(("skips", "dispatched_ps"), [(True, [10, 1, 10]), (False, [10, 10, 10])])
def test_skip_blocked(simulators: Simulate, skips: bool, dispatched_ps: list[int]) -> None:
    """A held head keeps all behind it, unless the design declares SKIP_BLOCKED."""
    source = f"""
SKIP_BLOCKED = {skips}

def route(request, replicas, cluster, memory):
    return -1 if request.id == 0 and cluster.now_s < 9.5e-12 else 0
"""
    result = run(simulators, [(0, 4, 1), (1, 4, 1), (10, 4, 1)], source=source, triggers=("arrival",))
    assert column(result, "dispatched_ps") == dispatched_ps


def test_reject(simulators: Simulate) -> None:
    """A rejected request leaves for good; it is never dispatched, and the run can end at that instant."""
    reject_odd = """
def route(request, replicas, cluster, memory):
    return -2 if request.id % 2 else 0
"""
    result = run(simulators, [(0, 4, 1), (50, 4, 1)], source=reject_odd)
    assert column(result, "outcome") == [FINISHED, REJECTED]
    assert column(result, "replica") == [0, -1]
    assert column(result, "dispatched_ps") == [0, NEVER_PS]
    assert column(result, "finished_ps") == [14, NEVER_PS]
    assert (result.status, result.end_ps, result.num_decisions) == ("ok", 50, 2)


def test_rank_orders_the_held_queue(simulators: Simulate) -> None:
    """Held requests are considered by rank, lower sooner, ties in arrival order."""
    shortest_first = (
        HOLD_WHILE_BUSY
        + """
def rank(request, cluster, memory):
    return float(request.prompt_tokens)
"""
    )
    result = run(simulators, [(0, 4, 1), (1, 9, 1), (2, 5, 1), (3, 5, 1)], source=shortest_first)
    # request 0: 0..14; request 2: 14..29; request 3: 29..44; request 1: 44..63
    assert column(result, "dispatched_ps") == [0, 44, 14, 29]
    assert column(result, "finished_ps") == [14, 63, 29, 44]


def test_assign(simulators: Simulate) -> None:
    """`assign` answers for the whole queue at once: here the two newest leave, the oldest stays until they finish."""
    newest_pair = """
def assign(queue, replicas, cluster, memory, out):
    if cluster.num_held == 3:
        out[1] = 0
        out[2] = 1
    elif replicas.inflight[1] == 0 and cluster.now_s > 2.5e-12:
        out[0] = 1
"""
    result = run(simulators, [(0, 4, 1), (1, 4, 1), (2, 5, 1)], source=newest_pair, replicas=2)
    # scans at 0, 1 and 2 answer for 1, 2 and 3 requests; request 1: 2..16 on replica 0, request 2: 2..17 on replica 1;
    # the scan at 16 finds replica 1 busy, that at 17 does not
    assert column(result, "dispatched_ps") == [17, 2, 2]
    assert column(result, "replica") == [1, 0, 1]
    assert result.num_decisions == 1 + 2 + 3 + 1 + 1


def test_replicas_end_together(simulators: Simulate) -> None:
    """All steps of an instant come before the scan they trigger, which sees every replica free."""
    hold_unless_all_free = """
def route(request, replicas, cluster, memory):
    if request.id == 2 and replicas.inflight[0] + replicas.inflight[1] > 0:
        return -1
    return request.id % 2
"""
    result = run(simulators, [(0, 4, 1), (0, 4, 1), (3, 4, 1)], source=hold_unless_all_free, replicas=2)
    # both end at 14; were there a scan after the first step, it would be one more decision: 0, 1, hold, dispatch
    assert column(result, "dispatched_ps") == [0, 0, 14]
    assert result.num_decisions == 4


def test_idle_hold(simulators: Simulate) -> None:
    """Holding everything before an idle cluster for 60 s ends the run; a further arrival does not buy time."""
    result = run(simulators, [(1 * S, 4, 1), (31 * S, 4, 1), (300 * S, 4, 1)], source=HOLD_ALL)
    assert result.status == "bad_decision"
    assert result.end_ps == 61 * S
    assert "request 0" in result.message
    assert "60 s" in result.message
    assert column(result, "outcome") == [UNFINISHED] * 3


def test_idle_hold_is_reset_by_a_dispatch(simulators: Simulate) -> None:
    """The 60 s begin anew when a dispatched request has finished."""
    hold_first = """
SKIP_BLOCKED = True

def route(request, replicas, cluster, memory):
    return -1 if request.id == 0 else 0
"""
    result = run(simulators, [(0, 4, 1), (31 * S, 4, 1), (300 * S, 4, 1)], source=hold_first)
    assert result.status == "bad_decision"
    assert result.end_ps == 91 * S + 14


def test_idle_hold_is_reset_by_an_empty_queue(simulators: Simulate) -> None:
    """The 60 s begin anew once the queue has been empty, even if another request is held at the same instant."""
    reject_first_at_tick = """
TICK_S = 31.0

def route(request, replicas, cluster, memory):
    return -2 if request.id == 0 and cluster.now_s > 30.0 else -1
"""
    requests = [(1 * S, 4, 1), (31 * S, 4, 1), (300 * S, 4, 1)]
    result = run(simulators, requests, source=reject_first_at_tick, triggers=("arrival", "tick"))
    # held at 1 s; the tick at 31 s rejects request 0, then request 1 arrives and is held: 31 + 60
    assert result.status == "bad_decision"
    assert result.end_ps == 91 * S
    assert column(result, "outcome") == [REJECTED, UNFINISHED, UNFINISHED]


def test_drain_horizon(simulators: Simulate) -> None:
    """A run ends drain_s after the last arrival, after the events of that instant; the rest is unfinished."""
    result = run(simulators, [(0, 4, 1), (0, 4, 2), (20, 4, 9)], drain_s=19e-12)
    # 0..14, 14..28, then decode of 1 and prefill of 2: 28 + 15 = 43; horizon 20 + 19 = 39
    assert column(result, "outcome") == [FINISHED, UNFINISHED, UNFINISHED]
    assert column(result, "first_token_ps") == [14, 28, NEVER_PS]
    assert column(result, "scheduled_ps") == [0, 14, 28]
    assert (result.status, result.end_ps) == ("ok", 39)
    result = run(simulators, [(0, 4, 1), (0, 4, 2), (20, 4, 9)], drain_s=23e-12)
    assert column(result, "outcome") == [FINISHED, FINISHED, UNFINISHED]
    assert column(result, "first_token_ps") == [14, 28, 43]
    assert result.end_ps == 43


def test_tick(simulators: Simulate) -> None:
    """A held request is asked about at every multiple of TICK_S, as long as something is held."""
    wait_25_ms = """
TICK_S = 0.01

def route(request, replicas, cluster, memory):
    return -1 if cluster.now_s - request.arrival_s < 0.0245 else 0
"""
    triggers: tuple[Trigger, ...] = ("arrival", "tick")
    result = run(simulators, [(3 * MS, 4, 1), (90 * MS, 4, 1)], source=wait_25_ms, triggers=triggers)
    # held at 3, asked again at 10, 20 and 30 ms; held at 90 ms, asked again at 100, 110 and 120 ms
    assert column(result, "dispatched_ps") == [30 * MS, 120 * MS]
    assert result.num_decisions == 8
    ignored = run(simulators, [(3 * MS, 4, 1), (90 * MS, 4, 1)], source=wait_25_ms, drain_s=0.5)
    assert column(ignored, "dispatched_ps") == [90 * MS, NEVER_PS]


def test_samples(simulators: Simulate) -> None:
    """A sample follows the steps of its instant and precedes its arrivals; samples go on to the end."""
    requests = [(0, 4, 2), (7, 4, 1), (14, 8, 1)]
    result = run(simulators, requests, source=HOLD_WHILE_BUSY, sample_interval_s=7e-12, drain_s=1e-9)
    # request 0: 0..14..25; request 1 is held from 7, dispatched at 25: 25..39; request 2 from 14 to 39: 39..57
    assert result.samples is not None
    assert result.samples.held.tolist() == [0, 0, 1, 2, 1, 1, 0, 0, 0]
    assert result.samples.running[:, 0].tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 1]
    assert result.samples.waiting[:, 0].tolist() == [0] * 9
    # prompt of 4: one block, two for its decode; prompt of 8: two
    assert result.samples.allocated_blocks[:, 0].tolist() == [0, 1, 2, 2, 1, 1, 2, 2, 2]


def test_unfinished_after_bad_index(simulators: Simulate) -> None:
    """An index outside the cluster ends the run at once; what was recorded before stays."""
    second_to_seven = """
def route(request, replicas, cluster, memory):
    return 7 if request.id == 1 else 0
"""
    result = run(simulators, [(0, 4, 3), (14, 4, 1), (50, 4, 1)], source=second_to_seven)
    assert (result.status, result.end_ps, result.num_decisions) == ("bad_decision", 14, 1)
    assert result.message.startswith("route answered 7 for request 1; it must be")
    assert "0..0, HOLD (-1) or REJECT (-2)" in result.message
    assert column(result, "first_token_ps") == [14, NEVER_PS, NEVER_PS]
    assert column(result, "outcome") == [UNFINISHED] * 3
