"""Decisions of the autoscaling baselines, and of the stack that contains one, checked on paper."""

import inspect
from typing import Any

import pytest
from moments import make_cluster, make_memory, make_replicas, make_request, make_window

from glia_bench.loading import load_policy
from glia_bench.policy import Policy

TARGET = 0.7


class Pool:
    """One pool under an autoscaler that is always obeyed, with replicas that are ready at once."""

    def __init__(self, policy: Policy, size: int) -> None:
        self.hook, self.size = policy.autoscaling["scale"], size
        self.memory = make_memory(policy.memory, 1)

    def tick(self, ratio: float, **fields: Any) -> int:
        """Ask at `ratio` times the target; return the size that the pool now has."""
        window = make_window(
            **{"desired": self.size, "ready": self.size, "kv_utilisation": ratio * TARGET, "min_replicas": 1, **fields}
        )
        self.size = self.hook(window, make_cluster(1), self.memory)
        return self.size


@pytest.fixture(params=["hpa", "stack_plain"])
def hpa(request: pytest.FixtureRequest) -> Policy:
    """The HPA, alone and as a part of the stack."""
    return load_policy(request.param, "autoscaling" if request.param == "hpa" else "cluster")


@pytest.mark.parametrize(
    ("size", "ratio", "answer"),
    [
        (4, 1.5, 6),
        (4, 1.08, 4),  # within the tolerance of 10 %
        (4, 1.2, 5),  # ceil(4.8)
        (1, 20.0, 5),  # at most 4 more, or the double
        (10, 20.0, 20),
    ],
)
def test_hpa_grows_at_once(hpa: Policy, size: int, ratio: float, answer: int) -> None:
    """The recommendation is ceil(ratio * ready), limited to 4 more or the double in one step."""
    assert Pool(hpa, size).tick(ratio) == answer


def test_hpa_shrinks_to_the_highest_of_300_s(hpa: Policy) -> None:
    """A recommendation of 6 is kept for the 19 ticks after it, 285 s; the tick after 300 s is free."""
    pool = Pool(hpa, 4)
    assert pool.tick(1.5) == 6
    assert [pool.tick(0.3) for _ in range(19)] == [6] * 19
    assert pool.tick(0.3) == 2  # ceil(0.3 * 6): what the ticks before have said since


def test_hpa_starts_from_the_fleet_that_it_finds(hpa: Policy) -> None:
    """The starting size counts as the first recommendation: it too is kept for 300 s."""
    pool = Pool(hpa, 8)
    assert [pool.tick(0.25) for _ in range(20)] == [8] * 20
    assert pool.tick(0.25) == 2


def test_hpa_and_loading_replicas(hpa: Policy) -> None:
    """Loading replicas count as idle when growing and as on target when shrinking, which may cancel the change."""
    # 4 ready at 1.5 use 6: with 1 loading 6 / 5 = 1.2, so 6; with 2 loading 6 / 6 = 1, so no change; with 3, fewer
    assert [Pool(hpa, 4 + n).tick(1.5, ready=4, loading=n) for n in (1, 2, 3)] == [6, 6, 7]
    recommendation = inspect.getmodule(hpa.autoscaling["scale"]).recommendation  # type: ignore[union-attr]
    assert recommendation(0.5, 4, 0, 4) == 2
    assert recommendation(0.5, 4, 2, 6) == 4  # 2 used, 2 that might be: 4 / 6 is below 0.9
    assert recommendation(0.8, 4, 8, 12) == 12  # (3.2 + 8) / 12 = 0.93 is within the tolerance
    assert recommendation(3.0, 0, 3, 3) == 3  # nobody has a metric


def test_hpa_stays_within_the_quota(hpa: Policy) -> None:
    """The answer is cut to the quota last."""
    assert Pool(hpa, 4).tick(2.0, max_replicas=7) == 7
    pool = Pool(hpa, 4)
    assert [pool.tick(0.0, min_replicas=3) for _ in range(21)][-1] == 3


def test_fixed_keeps_its_fleet() -> None:
    """Whatever the load, the size stays."""
    pool = Pool(load_policy("fixed", "autoscaling"), 3)
    assert [pool.tick(ratio) for ratio in (0.0, 1.0, 1.4)] == [3, 3, 3]


def test_the_stack_is_made_of_its_parts() -> None:
    """`stack_plain` copies `round_robin` and `hpa` line by line."""
    stack = load_policy("stack_plain", "cluster")
    assert inspect.getsource(stack.routing["route"]) == inspect.getsource(load_policy("round_robin").routing["route"])
    body = load_policy("hpa", "autoscaling").source.split("MEMORY", 1)[1].split("\n\n\n", 1)[1]
    assert stack.source.endswith(body)
    assert stack.interval_s == 15.0
    memory, replicas = make_memory(stack.memory, 3), make_replicas(3)
    turns = [stack.routing["route"](make_request(), replicas, make_cluster(3), memory) for _ in range(4)]
    assert turns == [0, 1, 2, 0]
