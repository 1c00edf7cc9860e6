"""Decisions of the autoscalers that react to queues, requests in flight and rates, checked on paper."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from moments import compiled, make_cluster, make_memory, make_window

from glia_bench.loading import load_policy, with_other_constants
from glia_bench.policy import Policy

NAMES = ("hpa", "hpa_inflight", "keda_queue", "kpa", "ray_serve", "skyserve", "fixed_share")


class Pool:
    """One pool under an autoscaler that is always obeyed, with replicas that are ready at once."""

    def __init__(self, name: str, size: int, **constants: float) -> None:
        policy = load_policy(name, "autoscaling")
        self.policy = with_other_constants(policy, constants) if constants else policy
        self.size = size
        self.memory = make_memory(self.policy.memory, 1)

    def tick(self, **fields: Any) -> int:
        """Ask, with these fields in every second of the window; return the size that the pool now has."""
        window = make_window(**{"desired": self.size, "ready": self.size, "min_replicas": 1, **fields})
        self.size = self.policy.autoscaling["scale"](window, make_cluster(1), self.memory)
        return self.size

    def ticks(self, num: int, **fields: Any) -> list[int]:
        """Ask so many times; return all answers."""
        return [self.tick(**fields) for _ in range(num)]


def newest(value: float, seconds: int, before: float = 0.0) -> npt.NDArray[np.float64]:
    """Return a window's column with `value` in its newest seconds and `before` in all others."""
    column = np.full((600, 1), before)
    column[600 - seconds :] = value
    return column


@pytest.mark.parametrize(
    ("size", "running", "waiting", "answer"),
    [
        (4, 120.0, 0.0, 6),  # 30 each, 1.5 times the target of 20
        (4, 60.0, 60.0, 6),  # who waits counts as much
        (4, 86.4, 0.0, 4),  # 1.08 times: within the tolerance of 10 %
        (4, 96.0, 0.0, 5),  # ceil(4.8)
        (1, 400.0, 0.0, 5),  # 20 times: at most 4 more, or the double
        (10, 4000.0, 0.0, 20),
    ],
)
def test_hpa_inflight_grows_at_once(size: int, running: float, waiting: float, answer: int) -> None:
    """The recommendation is ceil(ratio * ready) of requests in flight per ready replica, limited in one step."""
    assert Pool("hpa_inflight", size).tick(running=running, waiting=waiting) == answer


def test_hpa_inflight_leaves_out_held_requests() -> None:
    """What the router holds is no replica's metric."""
    assert Pool("hpa_inflight", 4).tick(running=80.0, held=1000.0) == 4


@pytest.mark.parametrize("name", ["hpa_inflight", "keda_queue"])
def test_the_horizontal_autoscaler_keeps_what_it_said(name: str) -> None:
    """A recommendation of 6 holds for the 19 ticks after it, 285 s; then the pool shrinks to the smallest size."""
    pool = Pool(name, 4)
    load = {"running": 120.0} if name == "hpa_inflight" else {"waiting": 30.0}
    assert pool.tick(**load) == 6
    assert pool.ticks(19) == [6] * 19
    assert pool.tick() == 1


def test_hpa_inflight_and_loading_replicas() -> None:
    """Loading replicas count as idle when growing, on target when shrinking; with nobody ready nothing changes."""
    # 4 ready at 1.5 use 6: with 1 loading 6 / 5 = 1.2, so 6; with 2 loading 6 / 6 = 1, so no change
    answers = [Pool("hpa_inflight", 4 + n).tick(running=120.0, ready=4, loading=n) for n in (1, 2)]
    assert answers == [6, 6]
    # 4 ready at 0.5 use 2, and 2 loading might use 2: 4 of 6, not 2
    assert Pool("hpa_inflight", 6, KEPT=1).ticks(2, running=40.0, ready=4, loading=2) == [6, 4]
    assert Pool("hpa_inflight", 3).tick(ready=0, loading=3, held=500.0) == 3


@pytest.mark.parametrize(
    ("size", "waiting", "answer"),
    [
        (2, 16.0, 4),  # ceil(16 / 5)
        (4, 21.0, 4),  # 21 / (5 * 4) = 1.05: within the tolerance
        (4, 23.0, 5),  # 1.15: ceil(4.6)
        (1, 100.0, 5),  # 20 replicas: at most 4 more
        (6, 100.0, 12),  # or the double
    ],
)
def test_keda_counts_the_queue_in_replicas(size: int, waiting: float, answer: int) -> None:
    """The recommendation is ceil(waiting / 5), unless waiting / (5 * size) is within 10 % of 1."""
    assert Pool("keda_queue", size).tick(waiting=waiting) == answer


def test_keda_counts_loading_replicas_as_replicas() -> None:
    """A queue of 20 asks for 4; while 3 of the 4 load, 20 / (5 * 4) = 1 asks for no more, and 28 for 6, not 24."""
    pool = Pool("keda_queue", 1)
    assert pool.tick(waiting=20.0) == 4
    assert pool.tick(waiting=20.0, ready=1, loading=3) == 4
    assert pool.tick(waiting=28.0, ready=1, loading=3) == 6


def test_keda_sends_a_busy_fleet_away() -> None:
    """Without a queue nothing is recommended, however much runs; the first tick holds the starting size."""
    assert Pool("keda_queue", 4).ticks(21, running=400.0) == [4] * 20 + [1]


def test_kpa_panics_and_calms_down() -> None:
    """With 2 ready, means of 120 over 60 s and 400 over 6 s ask for 2 and 6: 6 / 2 >= 2 is panic, held for 60 s."""
    pool = Pool("kpa", 2)
    # 54 s of x and 6 s of 400 with a mean of 120: x = (7200 - 2400) / 54
    burst = newest(400.0, 6, 4800 / 54)
    assert pool.tick(running=burst) == 6
    # 30 calm ticks, the last 60 s after the panic's last: no way down; the next, at 62 s, is free: ceil(70 / 70) = 1,
    # but at least half of the 6
    assert pool.ticks(30, running=70.0) == [6] * 30
    assert pool.ticks(3, running=70.0) == [3, 1, 1]


def test_kpa_is_not_in_panic_below_its_threshold() -> None:
    """With 4 ready, 490 in flight ask for 7: 7 / 4 < 2; after the first minute's panic the pool may shrink again."""
    pool = Pool("kpa", 4)
    assert pool.tick(running=490.0, ready=4) == 7  # it starts in panic, which here changes nothing
    assert pool.ticks(29, running=490.0, ready=4) == [7] * 29
    assert pool.tick(running=280.0, ready=4) == 4  # the first tick after 60 s
    assert pool.tick(running=490.0, ready=4) == 7
    assert pool.tick(running=280.0, ready=4) == 4  # no panic since, so down at once


def test_kpa_starts_in_panic() -> None:
    """It does not fall below the size that it finds before 60 s have passed; a pool of one has nothing to hold."""
    assert Pool("kpa", 3).ticks(32) == [3] * 30 + [1, 1]
    calm = Pool("kpa", 1)
    assert calm.tick(running=210.0, ready=3) == 3  # 3 / 3 < 2: no panic
    assert calm.tick() == 1
    panicked = Pool("kpa", 1)
    assert panicked.tick(running=140.0) == 2  # 2 / 1 >= 2: panic, at the threshold itself
    assert panicked.tick() == 2


def test_kpa_looks_at_ready_replicas_only() -> None:
    """While replicas load, 6 wanted of 2 ready are still a panic; with 6 ready they are none."""
    pool = Pool("kpa", 6)
    assert pool.ticks(40, running=400.0, ready=2, loading=4) == [6] * 40
    assert pool.tick(ready=2, loading=4) == 6
    settled = Pool("kpa", 6)
    assert settled.ticks(40, running=400.0) == [6] * 40
    assert settled.tick() == 3


def test_kpa_averages_what_there_is() -> None:
    """With 3 s of samples the means are of those 3; without any, nothing changes; held requests are in flight too."""
    pool = Pool("kpa", 1)
    assert pool.tick(ready=0) == 1
    assert pool.tick(running=newest(100.0, 3), waiting=newest(50.0, 3), held=newest(50.0, 3), ready=newest(1.0, 3)) == 3


def test_kpa_delays_the_way_down() -> None:
    """With a delay of 20 s the highest of 10 decisions holds; without, 4 become 2, half of them, and then 1."""
    pool = Pool("kpa", 4, DELAY_S=20)
    pool.ticks(31, running=280.0)
    assert pool.ticks(20, running=70.0) == [4] * 9 + [2] * 10 + [1]
    pool = Pool("kpa", 4)
    pool.ticks(31, running=280.0)
    assert pool.ticks(2, running=70.0) == [2, 1]


def test_ray_waits_for_30_s() -> None:
    """With 3 replicas, 9 requests and a target of 2, ceil(4.5) = 5 is wanted; it comes 30 s after the first tick."""
    pool = Pool("ray_serve", 3)
    assert pool.ticks(31, running=9.0) == [3] * 30 + [5]


def test_ray_starts_anew_when_the_direction_changes() -> None:
    """A tick that wants the size as it is, or less, takes the count back."""
    pool = Pool("ray_serve", 3)
    pool.ticks(30, running=9.0)
    assert pool.tick(running=6.0) == 3
    assert pool.ticks(31, running=9.0) == [3] * 30 + [5]
    pool = Pool("ray_serve", 3)
    pool.ticks(30, running=9.0)
    assert pool.tick(running=1.0) == 3
    assert pool.ticks(31, running=9.0) == [3] * 30 + [5]


def test_ray_shrinks_after_600_s() -> None:
    """3 requests want ceil(1.5) = 2 of 5; the 601st tick brings it about; nobody ready counts for nothing."""
    pool = Pool("ray_serve", 5)
    assert pool.tick(ready=0, loading=5) == 5
    assert pool.ticks(601, running=3.0) == [5] * 600 + [2]


def test_ray_averages_30_s() -> None:
    """15 s of 12 running and 6 waiting or held in a look-back of 30 s are 9 on average; of 15 samples, 18."""
    pool = Pool("ray_serve", 3, UPSCALE_DELAY_S=0.5)
    load = {"running": newest(12.0, 15), "waiting": newest(4.0, 15), "held": newest(2.0, 15)}
    assert pool.tick(**load) == 5
    pool = Pool("ray_serve", 3, UPSCALE_DELAY_S=0.5)
    assert pool.tick(**load, ready=newest(3.0, 15)) == 9


def test_ray_and_its_factors() -> None:
    """A factor of 0.5 goes half of the way, rounded up; downwards by one where that would be no step at all."""
    up = {"UPSCALE_DELAY_S": 0.5, "UPSCALING_FACTOR": 0.5}
    assert Pool("ray_serve", 3, **up).tick(running=14.0) == 5  # 7 wanted: 3 + 0.5 * 4
    down = {"DOWNSCALE_DELAY_S": 0.5, "DOWNSCALING_FACTOR": 0.5}
    assert Pool("ray_serve", 8, **down).tick(running=8.0) == 6  # 4 wanted
    assert Pool("ray_serve", 3, **down).tick(running=4.0) == 2  # 2 wanted: ceil(2.5) is 3, so one less


def test_sky_waits_for_300_s() -> None:
    """7.6 requests a second at 2.5 each want ceil(3.04) = 4; 15 ticks of 20 s in a row bring it about."""
    pool = Pool("skyserve", 2)
    assert pool.ticks(15, arrivals=7.6) == [2] * 14 + [4]
    assert Pool("skyserve", 2).ticks(15, arrivals=5.0) == [2] * 15  # exactly 2


def test_sky_starts_anew_when_the_direction_changes() -> None:
    """A tick that wants no change takes both counts back."""
    pool = Pool("skyserve", 2)
    pool.ticks(14, arrivals=7.6)
    assert pool.tick(arrivals=5.0) == 2
    assert pool.ticks(15, arrivals=7.6) == [2] * 14 + [4]


def test_sky_shrinks_after_1200_s() -> None:
    """60 ticks in a row bring a smaller pool; a minute that has only begun counts as a whole one."""
    assert Pool("skyserve", 4).ticks(60, arrivals=2.6) == [4] * 59 + [2]
    pool = Pool("skyserve", 4, UPSCALE_DELAY_S=20.0, DOWNSCALE_DELAY_S=20.0)
    assert pool.tick(arrivals=newest(30.0, 20)) == 4  # 600 in a minute are 10 a second
    assert pool.tick(arrivals=newest(30.0, 10)) == 2  # 5 a second


@pytest.mark.parametrize(("share", "size"), [(1.0, 6), (0.75, 5), (0.5, 3), (0.05, 1)])
def test_fixed_share_asks_for_its_share(share: float, size: int) -> None:
    """A share of 6 replicas is rounded, halves up, to at least the smallest size: 0.75 of them are 5."""
    pool = Pool("fixed_share", 3, SHARE=share)
    assert [pool.tick(max_replicas=6, running=running) for running in (0.0, 1000.0)] == [size, size]


@pytest.mark.parametrize("name", NAMES)
def test_within_the_quota(name: str) -> None:
    """Whatever the load, the answer is within 2 and 5 replicas: at most 5 in a flood, 2 in the end without load."""
    pool = Pool(name, 3)
    flood = {"running": 900.0, "waiting": 900.0, "arrivals": 900.0, "kv_utilisation": 1.0}
    assert set(pool.ticks(40, **flood, min_replicas=2, max_replicas=5)) <= {3, 5}
    assert pool.size == 5
    if name != "fixed_share":
        assert pool.ticks(700, min_replicas=2, max_replicas=5)[-1] == 2


@pytest.mark.parametrize("name", NAMES)
def test_ends_of_the_tunable_ranges(name: str) -> None:
    """With every constant at its low or its high end, sizes stay ints within the quota."""
    tunable = load_policy(name, "autoscaling").tunable
    assert tunable
    for end in ("low", "high"):
        pool = Pool(name, 3, **{constant.name: getattr(constant, end) for constant in tunable})
        assert set(walk(pool.policy, compile_hooks=False, moments=150)) <= set(range(1, 9))


@pytest.mark.parametrize("name", NAMES)
def test_compiled_equals_plain_under_load(name: str) -> None:
    """Over 900 decisions in a load that rises and falls, both tiers answer alike, and not always the same."""
    policy = load_policy(name, "autoscaling")
    plain = walk(policy, compile_hooks=False, moments=900)
    assert walk(policy, compile_hooks=True, moments=900) == plain
    assert len(set(plain)) > 1
    assert {type(size) for size in plain} == {int}


def walk(policy: Policy, *, compile_hooks: bool, moments: int) -> list[int]:
    """Ask an autoscaler again and again in windows of random history, each answer obeyed; return the answers."""
    rng, memory = np.random.default_rng(23), make_memory(policy.memory, 8)
    hook = policy.autoscaling["scale"]
    scale = compiled(hook) if compile_hooks else hook
    sizes = [4]
    for number in range(moments):
        loading = min(sizes[-1], int(rng.integers(0, 3)))
        level = 1.02 + np.sin(number / 110) + 0.2 * rng.random((600, 1))
        window = make_window(
            desired=sizes[-1],
            ready=newest(sizes[-1] - loading, min(600, number)),
            loading=newest(loading, min(600, number)),
            running=np.floor(120 * level),
            waiting=np.floor(15 * level),
            held=np.floor(level),
            arrivals=np.floor(8 * level),
            kv_utilisation=level / 2.3,
            min_replicas=1,
            max_replicas=8,
        )
        sizes.append(scale(window, make_cluster(8), memory))
    return sizes
