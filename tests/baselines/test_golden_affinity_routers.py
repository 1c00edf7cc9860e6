"""Decisions of routers by session and by cached prefix, small enough to check on paper."""

from collections import Counter
from collections.abc import Sequence

import pytest
from moments import Moment, make_request, moment

from glia_bench.evaluation.designs import make_designs
from glia_bench.evaluation.trial import Trial, run_trial
from glia_bench.loading import load_policy
from glia_bench.policy import Policy


def decide(policy: Policy, prompt_tokens: int = 100, u: float = 0.0, **fields: Sequence[float]) -> int:
    """Return the answer of a policy's plain hook at one moment."""
    return int(policy.routing["route"](*moment(policy, prompt_tokens, u, **fields)))


def of_session(policy: Policy, session: int, u: float = 0.0, **fields: Sequence[float]) -> int:
    """Return where a session's request goes."""
    now: Moment = moment(policy, 100, u, **fields)
    request = make_request(100, u, session=session)
    return int(policy.routing["route"](request, now.replicas, now.cluster, now.memory))


def test_llmd_scores() -> None:
    """Queues 0 and 4, memory 0.9 and 0.1 used, no match and half: 1 + 0.1 + 0 = 1.1 against 0 + 0.9 + 1.0 = 1.9."""
    policy = load_policy("llmd_precise")
    fields: dict[str, Sequence[float]] = {
        "waiting": [0, 4],
        "allocated_blocks": [90, 10],
        "capacity_blocks": [100, 100],
        "prefix_hit_tokens": [0, 50],
    }
    assert decide(policy, 100, **fields) == 1
    assert decide(policy, 100, **{**fields, "prefix_hit_tokens": [0, 9]}) == 0  # 1.1 against 0.9 + 0.18 = 1.08


def test_llmd_ties_are_drawn() -> None:
    """Equal queues score 1 for all, so that equal replicas are drawn from, and one that is not ready is not."""
    policy = load_policy("llmd_precise")
    drawn = [decide(policy, u=u, waiting=[3, 3, 3], ready=[1, 0, 1]) for u in (0.0, 0.49, 0.5, 0.99)]
    assert drawn == [0, 0, 2, 2]


def test_aibrix_follows_the_longest_match() -> None:
    """In flight 1, 2, 1 (mean 1.33, sample deviation 0.58): 2 is above 1.91, so its longer match does not count."""
    policy = load_policy("aibrix_prefix_cache")
    assert decide(policy, inflight=[1, 2, 1], prefix_hit_tokens=[16, 64, 32]) == 2
    assert decide(policy, inflight=[2, 2, 1], prefix_hit_tokens=[16, 64, 32]) == 1  # 2 is below 1.67 + 0.58
    assert decide(policy, inflight=[1, 0, 1], prefix_hit_tokens=[16, 16, 16]) == 1, "then the fewest in flight"
    assert [decide(policy, u=u, inflight=[1, 1]) for u in (0.0, 0.6)] == [0, 1], "then the draw"


def test_aibrix_leaves_the_cache_for_balance() -> None:
    """A gap of 8 is not above 8; at 9 only the replica with the fewest is a candidate, whatever the others hold."""
    policy = load_policy("aibrix_prefix_cache")
    fields: dict[str, Sequence[float]] = {"prefix_hit_tokens": [0, 64, 0]}
    assert decide(policy, inflight=[2, 3, 10], **fields) == 1
    assert decide(policy, inflight=[1, 3, 10], **fields) == 0
    assert decide(policy, inflight=[7]) == 0, "one replica has no deviation"


def test_sessions_stay_where_they_are() -> None:
    """A session's place depends on its key alone, and every replica has its share of 400 keys."""
    policy = load_policy("session")
    places = [of_session(policy, key, inflight=[0, 0, 0, 0]) for key in range(400)]
    assert places == [of_session(policy, key, u=0.9, inflight=[0, 0, 0, 0]) for key in range(400)]
    assert min(Counter(places)[i] for i in range(4)) > 50


def test_a_lost_replica_moves_its_own_sessions_only() -> None:
    """What makes the hashing consistent: sessions of the replicas that stay do not move."""
    policy = load_policy("session")
    before = [of_session(policy, key, inflight=[0] * 4) for key in range(200)]
    after = [of_session(policy, key, inflight=[0] * 4, ready=[1, 1, 0, 1]) for key in range(200)]
    assert all(old == new for old, new in zip(before, after, strict=True) if old != 2)
    assert 2 not in after


def test_the_bound_moves_a_session() -> None:
    """Loads 6, 2, 2, 2: the bound is 1.5 * 12 / 4 = 4.5, so no session stays at 6; at 4 each, all stay."""
    policy = load_policy("session")
    home = [of_session(policy, key, inflight=[0] * 4) for key in range(100)]
    moved = [of_session(policy, key, inflight=[6, 2, 2, 2]) for key in range(100)]
    assert 0 in home
    assert 0 not in moved
    assert all(old == new for old, new in zip(home, moved, strict=True) if old != 0)
    assert [of_session(policy, key, inflight=[4] * 4) for key in range(100)] == home


@pytest.mark.parametrize("name", ["llmd_precise", "aibrix_prefix_cache", "session"])
def test_affinity_pays_on_conversations(name: str) -> None:
    """On conversations with caches each costs less than round robin by a quarter at least (seed 0, load 0.9)."""

    def cost(reference: str) -> float:
        (design,) = make_designs([reference], "routing")
        return float(run_trial(Trial(design=design, task="routing/sessions-v0", load=0.9, seed=0))["cost"] or 0.0)

    assert cost(name) < 0.75 * cost("round_robin")
