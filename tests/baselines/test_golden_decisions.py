"""Decisions of every baseline on states that are small enough to check on paper; blocks hold 16 tokens throughout."""

import inspect
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from moments import make_cluster, make_memory, make_queue, make_replicas, make_request, moment

from glia_bench import HOLD
from glia_bench.loading import load_policy, shipped_policies


def decide(name: str, prompt_tokens: int = 100, u: float = 0.0, **replica_fields: Sequence[float]) -> int:
    """Return the answer of a shipped policy at one moment, asked of its plain Python hook."""
    policy = load_policy(name)
    return int(policy.routing["route"](*moment(policy, prompt_tokens, u, **replica_fields)))


ROUTERS = [policy.name for policy in shipped_policies("routing") if "route" in policy.routing]


@pytest.mark.parametrize("name", ROUTERS)
def test_nobody_is_ready(name: str) -> None:
    """With no replica ready, every router holds."""
    assert decide(name, ready=[0, 0, 0]) == HOLD


@pytest.mark.parametrize("name", ROUTERS)
def test_only_the_last_is_ready(name: str) -> None:
    """With one replica ready, every router picks it, whatever the random number."""
    assert {decide(name, u=u, ready=[0, 0, 1]) for u in (0.0, 0.5, 0.999999)} == {2}


@pytest.mark.parametrize("name", ["expert", "hra", "hra_file", "hra_deployed", "spt_hold"])
def test_shortest_prompt_first(name: str) -> None:
    """The admission routers rank by prompt tokens, so that equal prompts keep their arrival order."""
    rank = load_policy(name).routing["rank"]
    memory = make_memory({}, 1)
    assert [rank(make_request(prompt), make_cluster(1), memory) for prompt in (43, 43, 4096)] == [43.0, 43.0, 4096.0]


def test_fifo_has_no_rank() -> None:
    """`hra_fifo` is `hra` line by line, without its rank."""
    fifo, hra = load_policy("hra_fifo").routing, load_policy("hra").routing
    assert set(fifo) == {"route"}
    assert inspect.getsource(fifo["route"]) == inspect.getsource(hra["route"])


def test_round_robin_skips_replicas_that_are_not_ready() -> None:
    """Turns go over the ready replicas in index order; the counter goes on when the set changes."""
    policy = load_policy("round_robin")
    now = moment(policy, ready=[1, 0, 1, 1])
    assert [policy.routing["route"](*now) for _ in range(4)] == [0, 2, 3, 0]
    now = now._replace(replicas=make_replicas(4))  # all ready; this is pick number 4 of 4 replicas
    assert [policy.routing["route"](*now) for _ in range(3)] == [0, 1, 2]


def test_lor_vidur_counts_waiting_only() -> None:
    """Fewest waiting, however many run; the lowest index wins a tie."""
    assert decide("lor_vidur", waiting=[1, 0, 0], running=[0, 9, 5]) == 1


def test_llq_counts_waiting_and_running() -> None:
    """Fewest waiting plus running (1 + 3, 0 + 3, 2 + 1: the tie of 3 goes to index 1)."""
    assert decide("llq", waiting=[1, 0, 2], running=[3, 3, 1]) == 1


def test_lor_reads_its_ledger() -> None:
    """Fewest in flight by the ledger, whatever the engine reports; the random number splits the tie in order."""
    state: dict[str, Any] = {"inflight": [4, 2, 2, 2], "waiting": [0, 9, 9, 9], "ready": [1, 1, 0, 1]}
    assert [decide("lor", u=u, **state) for u in (0.0, 0.49, 0.5, 0.99)] == [1, 1, 3, 3]


def test_expert_eligibility() -> None:
    """2100 committed blocks of 2240 (waiting ones included) are eligible, 2101 are not; with none eligible it holds."""
    assert decide("expert", allocated_blocks=[2100], waiting_blocks=[0]) == 0
    assert decide("expert", allocated_blocks=[2000], waiting_blocks=[100]) == 0
    assert decide("expert", allocated_blocks=[2000], waiting_blocks=[101]) == HOLD
    assert decide("expert", prompt_tokens=4096, allocated_blocks=[2100], waiting_blocks=[0]) == 0  # may overshoot
    assert decide("expert", capacity_blocks=[224], allocated_blocks=[210]) == 0
    assert decide("expert", capacity_blocks=[224], allocated_blocks=[211]) == HOLD


def test_expert_picks_the_least_loaded_of_the_eligible() -> None:
    """Fewest waiting plus running among the eligible; ties at random."""
    state: dict[str, Any] = {"allocated_blocks": [2101, 900, 2100, 0], "waiting": [0, 1, 0, 2], "running": [0, 2, 3, 2]}
    assert [decide("expert", u=u, **state) for u in (0.0, 0.49, 0.5, 0.99)] == [1, 1, 2, 2]


def test_spt_hold_threshold() -> None:
    """850 held + 20 waiting + 30 needed = 900 of 1000 is within 0.9; one block more is not."""
    state: dict[str, Any] = {
        "capacity_blocks": [1000],
        "allocated_blocks": [850],
        "waiting_blocks": [20],
        "inflight": [3],
    }
    assert decide("spt_hold", prompt_tokens=480, **state) == 0
    assert decide("spt_hold", prompt_tokens=481, **state) == HOLD


def test_spt_hold_never_holds_for_an_empty_replica() -> None:
    """A prompt above the threshold goes to an empty replica, and only there."""
    state: dict[str, Any] = {"capacity_blocks": [100, 100], "allocated_blocks": [10, 0], "inflight": [1, 0]}
    assert decide("spt_hold", prompt_tokens=1590, **state) == 1  # 100 blocks


def test_spt_hold_takes_the_fewest_in_flight() -> None:
    """Fewest in flight among those that fit; the lowest index wins a tie."""
    assert decide("spt_hold", inflight=[1, 2, 1], allocated_blocks=[2200, 5, 5]) == 2
    assert decide("spt_hold", inflight=[3, 2, 2], allocated_blocks=[0, 5, 0]) == 1


def test_hra_file_admission() -> None:
    """A prompt of 320 needs 320 * 1.5 / 16 = 30 of 1000 blocks, and 20 must stay free.

    Waiting prompts of 640 tokens reserve 60: 1000 - 900 - 60 - 30 = 10, refused. 426 reserve 40 (39.9): 30, admitted.
    """
    state: dict[str, Any] = {"capacity_blocks": [1000], "allocated_blocks": [900]}
    assert decide("hra_file", prompt_tokens=320, waiting_tokens=[640], **state) == HOLD
    assert decide("hra_file", prompt_tokens=320, waiting_tokens=[426], **state) == 0


@pytest.mark.parametrize(
    ("name", "prompt", "most_allocated"),
    [
        ("hra", 100, 2240 - 10 - 67),  # 100 * 1.6 / 16 = 10; 3 % of 2240 = 67.2
        ("hra", 101, 2240 - 11 - 67),  # 10.1, rounded up
        ("hra_fifo", 100, 2240 - 10 - 67),
        ("hra_file", 100, 2240 - 10 - 44),  # 9.4; 2 % = 44.8
        ("hra_deployed", 100, 2240 - 8 - 112),  # 100 * 1.25 / 16 = 7.8; 5 % = 112
    ],
)
def test_hra_margins(name: str, prompt: int, most_allocated: int) -> None:
    """Each variant admits up to exactly its head-room and holds one block above it."""
    assert decide(name, prompt_tokens=prompt, allocated_blocks=[most_allocated]) == 0
    assert decide(name, prompt_tokens=prompt, allocated_blocks=[most_allocated + 1]) == HOLD


@pytest.mark.parametrize(
    ("name", "answers"),
    [("hra", (1, 2, 0)), ("hra_fifo", (1, 2, 0)), ("hra_file", (2, 2, 0)), ("hra_deployed", (2, 1, 0))],
)
def test_hra_choice(name: str, answers: tuple[int, int, int]) -> None:
    """Memory or queue length first, the other or the lowest index on ties, per variant."""
    memory_against_queue = decide(name, allocated_blocks=[900, 100, 500], running=[9, 5, 1])
    tie_of_the_first = decide(name, allocated_blocks=[900, 150, 100], waiting_tokens=[0, 0, 0], running=[9, 1, 1])
    all_equal = decide(name, allocated_blocks=[7, 7], running=[2, 2])
    assert (memory_against_queue, tie_of_the_first, all_equal) == answers


def test_hra_counts_waiting_as_used() -> None:
    """800 waiting tokens reserve 80 blocks, so 50 + 80 used is more than 120 + 0."""
    assert decide("hra", allocated_blocks=[50, 120], waiting_tokens=[800, 0], waiting=[1, 0]) == 1


def test_random_is_uniform() -> None:
    """3,000 evenly spaced random numbers fall on the three ready replicas 1,000 times each."""
    picks = Counter(decide("random", u=(k + 0.5) / 3000, ready=[1, 0, 1, 1]) for k in range(3000))
    assert picks == {0: 1000, 2: 1000, 3: 1000}


def test_do_nothing_takes_the_first() -> None:
    """The lowest ready index, however full it is."""
    assert decide("do_nothing", ready=[0, 1, 1], running=[0, 128, 0], allocated_blocks=[0, 2240, 0]) == 1


class TestFunSearch:
    """FunSearch's router: before any completion it predicts 96 output tokens."""

    policy = load_policy("funsearch_fig13")

    def assign(self, allocated: list[int], prompts: list[int], restarts: list[int] | None = None) -> list[int]:
        """Return its answers for held prompts on replicas of 100 blocks."""
        held = [
            make_request(prompt, id=k, slot=k, restarts=count)
            for k, (prompt, count) in enumerate(zip(prompts, restarts or [0] * len(prompts), strict=True))
        ]
        num, out = len(allocated), np.full(len(held), HOLD)
        replicas = make_replicas(num, allocated_blocks=allocated, capacity_blocks=[100] * num)
        memory = make_memory(self.policy.memory, num)
        self.policy.routing["assign"](make_queue(held), replicas, make_cluster(num, len(held)), memory, out)
        return out.tolist()

    def test_soft_cap(self) -> None:
        """A prompt of 64 is predicted 160 tokens, 10 blocks: 93 + 10 = 103 % is the soft cap, 104 % is above it."""
        assert self.assign([93], [64]) == [0]
        assert self.assign([94], [64]) == [HOLD]

    def test_least_cost(self) -> None:
        """Utilisation dominates the cost; the first of two equal replicas is taken."""
        assert self.assign([60, 30, 30], [64]) == [1]

    def test_shortest_prediction_first(self) -> None:
        """89 + 10 (prompt 64) fits and leaves no room for 13 (prompt 100), though that came first and fits alone."""
        assert self.assign([89], [100]) == [0]
        assert self.assign([89], [100, 64]) == [HOLD, 0]

    def test_what_does_not_fit_is_skipped(self) -> None:
        """A shorter prompt behind one that is held is still placed, and picks of one scan count."""
        assert self.assign([70], [100, 64, 64, 64]) == [HOLD, 0, 0, 0]  # 70 + 30 = 100; with 13 more 113

    def test_restarted_first(self) -> None:
        """A restarted request goes first, and up to 110 %."""
        assert self.assign([100], [64], [1]) == [0]
        assert self.assign([101], [64], [1]) == [HOLD]
        assert self.assign([85], [64, 100], [0, 1]) == [HOLD, 0]  # 85 + 13 = 98; then 108

    def test_no_replica_is_ready(self) -> None:
        """Everything is held when nothing takes requests."""
        out, memory = np.full(1, HOLD), make_memory(self.policy.memory, 2)
        queue, replicas = make_queue([make_request()]), make_replicas(2, ready=[0, 0])
        self.policy.routing["assign"](queue, replicas, make_cluster(2), memory, out)
        assert out.tolist() == [HOLD]

    def test_learns_outputs(self) -> None:
        """Averages move by a tenth from 96 (0.9 * 96 + 0.1 * 196 = 106), per bucket and over all, within 32 to 1024."""
        memory = make_memory(self.policy.memory, 1)
        for prompt, output in ((127, 196), (128, 100_000), (512, 1)):
            self.policy.routing["on_finish"](make_request(prompt, generated_tokens=output), 0, memory)
        assert memory.shared[:3].tolist() == pytest.approx([106.0, 1024.0, 0.9 * 96 + 0.1])
        assert memory.shared[7] == pytest.approx(0.9 * 1024 + 0.1)

    def test_projects_what_streams(self) -> None:
        """Two streams dispatched 10 s and 30 s ago share 40 streamed tokens as 10 and 30.

        Each is predicted 64 + 96 = 160 tokens, 10 blocks, and has ceil(74 / 16) = 5 and ceil(94 / 16) = 6: 9 to come.
        A third that has not streamed yet is projected with all its 10.
        """
        hooks, memory = self.policy.routing, make_memory(self.policy.memory, 1)
        replicas = make_replicas(1, inflight_tokens=[168], inflight_prompt_tokens=[128], allocated_blocks=[50])
        for slot, now_s in ((0, 970.0), (1, 990.0), (2, 999.0)):
            queue, out = make_queue([make_request(64, slot=slot)]), np.full(1, HOLD)
            hooks["assign"](queue, make_replicas(1), make_cluster(1, now_s=now_s), memory, out)
            if slot < 2:
                hooks["on_first_token"](make_request(64, slot=slot), 0, memory)
        out = np.full(1, HOLD)
        hooks["assign"](make_queue([make_request(64, slot=3)]), replicas, make_cluster(1), memory, out)
        assert memory.replica[0, 0] == 50 + 9 + 10 + 10  # and the 10 of the request just placed
