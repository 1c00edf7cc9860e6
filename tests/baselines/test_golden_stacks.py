"""Decisions of the stacks for whole clusters, small enough to check on paper, and that they are made of their parts."""

from typing import Any

import numpy as np
import pytest
from moments import (
    make_cluster,
    make_memory,
    make_replica,
    make_request,
    make_window,
    moment,
    random_replicas,
    random_request,
)

from glia_bench import HOLD
from glia_bench.loading import load_policy
from glia_bench.policy import Policy


@pytest.fixture
def careful() -> Policy:
    """The careful stack."""
    return load_policy("stack_careful", "cluster")


class Pool:
    """A pool under the careful stack's autoscaler, which is always obeyed; replicas are ready at once."""

    def __init__(self, policy: Policy, size: int) -> None:
        self.hook, self.size = policy.autoscaling["scale"], size
        self.memory = make_memory(policy.memory, 1)

    def tick(self, **fields: Any) -> int:
        """Ask over 600 equal seconds; return the size that the pool now has."""
        steady = {name: np.reshape(value, (-1, 1)) if np.ndim(value) else value for name, value in fields.items()}
        window = make_window(**{"desired": self.size, "ready": self.size, "min_replicas": 1, **steady})
        self.size = self.hook(window, make_cluster(1), self.memory)
        return self.size


def test_scores_of_the_careful_router(careful: Policy) -> None:
    """Queues (0, 4), memory used (0.9, 0.1), match (0, 0.5): 2 + 0.2 + 0 = 2.2 against 0 + 1.8 + 1.5 = 3.3."""
    now = moment(
        careful,
        128,
        waiting=[0, 4],
        capacity_blocks=[100, 100],
        allocated_blocks=[90, 10],
        prefix_hit_tokens=[0, 64],
    )
    assert careful.routing["route"](*now) == 1
    without = now._replace(replicas=now.replicas._replace(prefix_hit_tokens=np.array([0, 0])))
    assert careful.routing["route"](*without) == 0, "2.2 against 1.8"


def test_the_careful_router_is_llmd_default(careful: Policy) -> None:
    """Over 500 random moments it decides as `llmd_default`, ties and nobody ready included."""
    rng, plain = np.random.default_rng(7), load_policy("llmd_default")
    answers = []
    for number in range(500):
        replicas, request = random_replicas(rng, 4), random_request(rng, number, number % 64)
        replicas = replicas._replace(prefix_hit_tokens=rng.integers(0, 3, 4) * 64)
        if number % 50 == 0:
            replicas = replicas._replace(ready=np.zeros(4, dtype=np.int64))
        memory, cluster = make_memory({}, 4), make_cluster(4)
        answers.append(careful.routing["route"](request, replicas, cluster, memory))
        assert answers[-1] == plain.routing["route"](request, replicas, cluster, memory)
    assert set(answers) == {HOLD, 0, 1, 2, 3}


def test_the_class_is_the_tag(careful: Policy) -> None:
    """The router tags with the class; the scheduler sets class 2 back by 20 s against class 0, by arrival within."""
    now = moment(careful, waiting=[0])
    careful.routing["route"](now.request._replace(slo_class=2, slot=5), *now[1:])
    assert now.memory.tag[5] == 2.0
    rank = careful.scheduling["rank"]
    early = make_request(arrival_s=100.0, tag=2.0)
    ranks = [
        rank(early._replace(arrival_s=at, tag=tag), make_replica(), now.memory) for at, tag in ((119, 0), (121, 0))
    ]
    assert ranks[0] < rank(early, make_replica(), now.memory) == 120.0 < ranks[1]


def test_careful_head_room(careful: Policy) -> None:
    """160 tokens need 10 blocks; 5 % of 1000 and one for each of 10 running must stay: 70 free are enough, 69 not."""
    admit, memory = careful.scheduling["admit"], make_memory({}, 1)
    request = make_request(160)
    assert admit(request, make_replica(free_blocks=70, running=10), memory)
    assert not admit(request, make_replica(free_blocks=69, running=10), memory)
    assert admit(request._replace(cached_tokens=16), make_replica(free_blocks=69, running=10), memory)
    assert admit(request, make_replica(free_blocks=10, running=0), memory), "or nothing would ever run"


def test_careful_head_room_is_headroom(careful: Policy) -> None:
    """Over 500 random moments it admits as `headroom`."""
    rng, memory, plain = np.random.default_rng(8), make_memory({}, 1), load_policy("headroom", "scheduling")
    answers = []
    for number in range(500):
        replica = make_replica(free_blocks=int(rng.integers(0, 120)), running=int(rng.integers(0, 20)))
        request = random_request(rng, number, 0)._replace(generated_tokens=int(rng.integers(0, 50)))
        answers.append(bool(careful.scheduling["admit"](request, replica, memory)))
        assert answers[-1] == bool(plain.scheduling["admit"](request, replica, memory))
    assert set(answers) == {True, False}


STEADY: dict[str, Any] = {"arrivals": 9.0, "finished": 9.0, "arrival_tokens": 3600.0, "generated_tokens": 1800.0}
"""Prompts of 400 tokens, outputs of 200. A decode takes 0.22 ms and 500 of context 0.15 ms, so 54 fit into the 20 ms
that an iteration of 50 ms leaves; 0.088 s of prefill and 200 * 0.05 / 54 = 0.185 s make 3.66 requests/s a replica,
2.93 at a utilisation of 0.8."""


def test_careful_floor(careful: Policy) -> None:
    """9 requests/s over 2.93 are 3.07 replicas: 4. Twice as many in the last minute as before are 13.5: 4.6, so 5."""
    assert Pool(careful, 1).tick(**STEADY) == 4
    rising = [4.5] * 540 + [9.0] * 60
    assert Pool(careful, 1).tick(**{**STEADY, "arrivals": rising}) == 5
    assert Pool(careful, 1).tick(**{**STEADY, "arrivals": rising}, max_replicas=3) == 3
    assert Pool(careful, 2).tick() == 2, "no arrivals, no floor"


def test_the_careful_floor_is_kept_between_forecasts(careful: Policy) -> None:
    """The forecast is made at every sixth tick: of ticks 0 to 6 those between keep what the first one said."""
    pool = Pool(careful, 1)
    assert [pool.tick(**STEADY)] + [pool.tick(**{**STEADY, "arrivals": 18.0}) for _ in range(5)] == [4] * 6
    twice = {name: 2.0 * value for name, value in STEADY.items()}
    assert pool.tick(**twice) == 7, "18 over 2.93 are 6.1"


def test_careful_growth(careful: Policy) -> None:
    """First tokens after 0.6 s, or more than 2 waiting for each replica, ask for one more, unless one is loading."""
    assert Pool(careful, 2).tick(ttft_s=0.6) == 3
    assert Pool(careful, 2).tick(ttft_s=0.5) == 2
    assert Pool(careful, 2).tick(waiting=5.0) == 3
    assert Pool(careful, 2).tick(waiting=4.0) == 2
    assert Pool(careful, 2).tick(waiting=3.0, held=2.0) == 3
    assert Pool(careful, 3).tick(ttft_s=0.6, ready=2, loading=1) == 3


def test_careful_patience(careful: Policy) -> None:
    """It gives one back at the twelfth calm tick in a row; one tick that is not calm starts the count anew."""
    pool = Pool(careful, 3)
    assert [pool.tick() for _ in range(12)] == [3] * 11 + [2]
    assert [pool.tick() for _ in range(12)] == [2] * 11 + [1]
    pool = Pool(careful, 3)
    assert [pool.tick() for _ in range(11)] == [3] * 11
    assert pool.tick(kv_utilisation=0.6) == 3, "1.8 replicas full against 0.8 * 2"
    assert [pool.tick() for _ in range(12)] == [3] * 11 + [2]


def test_a_lone_careful_replica_stays(careful: Policy) -> None:
    """The last replica is never given back: nothing would be well without it."""
    pool = Pool(careful, 1)
    assert {pool.tick() for _ in range(40)} == {1}
