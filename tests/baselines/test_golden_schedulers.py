"""Decisions of the scheduling baselines on states that are small enough to check on paper; blocks hold 16 tokens."""

import pytest
from moments import make_memory, make_replica, make_request

from glia_bench.features import Replica
from glia_bench.loading import load_policy

MEMORY = make_memory({}, 1)


def admits(replica: Replica, prompt_tokens: int, generated_tokens: int = 0, cached_tokens: int = 0) -> bool:
    """Return whether head-room admission lets a request in."""
    request = make_request(prompt_tokens, generated_tokens=generated_tokens, cached_tokens=cached_tokens)
    return bool(load_policy("headroom", "scheduling").scheduling["admit"](request, replica, MEMORY))


def test_headroom_keeps_a_share_and_a_block_for_each() -> None:
    """Of 1000 blocks, 50 and 20 for 20 running stay free: 160 tokens (10 blocks) enter with 80 free, not with 79."""
    assert admits(make_replica(free_blocks=80, running=20), 160)
    assert not admits(make_replica(free_blocks=79, running=20), 160)
    assert not admits(make_replica(free_blocks=80, running=20), 161)  # 11 blocks
    assert not admits(make_replica(free_blocks=80, running=21), 160)


def test_headroom_counts_what_is_to_be_computed() -> None:
    """A preempted request recomputes its output too; a cached prefix needs no blocks."""
    busy = make_replica(free_blocks=80, running=20)
    assert not admits(busy, 160, generated_tokens=1)
    assert admits(busy, 176, cached_tokens=16)


def test_headroom_lets_anything_into_an_empty_replica() -> None:
    """With nothing running the engine alone decides, so that a long prompt is never kept out for ever."""
    assert admits(make_replica(free_blocks=1, running=0), 10_000)


@pytest.mark.parametrize(("name", "ranks"), [("sjf_prompt", [7.0, 4096.0]), ("random_order", [0.25, 0.75])])
def test_orders(name: str, ranks: list[float]) -> None:
    """Shortest prompt first, or by lot: only the named quantity counts."""
    rank = load_policy(name, "scheduling").scheduling["rank"]
    requests = (make_request(7, u=0.25, generated_tokens=9), make_request(4096, u=0.75))
    assert [rank(request, make_replica(), MEMORY) for request in requests] == ranks


@pytest.mark.parametrize(("name", "mode"), [("vllm_v1_fcfs", "vllm_v1"), ("engine_default", None)])
def test_designs_without_hooks(name: str, mode: str | None) -> None:
    """The engine's own scheduler is a design of constants: which engine, or none in particular."""
    policy = load_policy(name, "scheduling")
    assert (policy.scheduling, policy.engine_mode, policy.preemptive, policy.needs_request_rows) == (
        {},
        mode,
        False,
        False,
    )
