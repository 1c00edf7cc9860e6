"""Decisions of the autoscalers that follow spare capacity, forecasts or a model of the engine, checked on paper."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from moments import PERF, compiled, make_cluster, make_memory, make_window

from glia_bench.features import Cluster, Memory, Window
from glia_bench.loading import load_policy, with_other_constants
from glia_bench.policy import Policy

NAMES = (
    "wva_saturation-style",
    "aibrix_apa",
    "dynamo_load",
    "queueing_sqrt",
    "holt_winters",
    "dynamo_sla-style",
    "sageserve-style",
)
PERF_OF_1 = PERF._replace(fixed_s=0.03, token_s=0.0, context_token_s=0.0, prefill_pair_s=0.0)
"""Only the iteration itself takes time: 30 ms."""


class Asked(NamedTuple):
    """A policy with the memory that it keeps between the questions of a test."""

    policy: Policy
    memory: Memory

    def __call__(self, cluster: Cluster | None = None, **fields: Any) -> int:
        """Ask in a pool of four, all ready, of a quota from 1 to 20, unless told otherwise."""
        given = {"desired": 4, "ready": 4, "min_replicas": 1, "max_replicas": 20, **fields}
        return int(self.policy.autoscaling["scale"](make_window(**given), cluster or make_cluster(1), self.memory))


def asked(name: str, **constants: float) -> Asked:
    """Return a policy, with other constants if given, and fresh memory."""
    policy = load_policy(name, "autoscaling")
    policy = with_other_constants(policy, constants) if constants else policy
    return Asked(policy, make_memory(policy.memory, 8))


def at(now_s: float) -> Cluster:
    """Return a cluster at a time."""
    return make_cluster(1, now_s=now_s)


def column(*values: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a field of 600 s whose last seconds have these values, 0 before."""
    rows = np.zeros((600, 1))
    rows[600 - len(values) :, 0] = values
    return rows


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"kv_utilisation": (0.65 + 0.75) / 2, "waiting": 2, "ready": 2}, 4),  # spare 0.10, 4: enough; for one not
        ({"kv_utilisation": (0.66 + 0.75) / 2, "waiting": 2, "ready": 2}, 5),  # spare 0.095
        ({"kv_utilisation": 0.65, "waiting": 8}, 4),  # spare 3 of the queue is not below 3; 8 / 3 for three is
        ({"kv_utilisation": 0.65, "waiting": 9}, 5),
        ({"kv_utilisation": 0.8}, 5),  # all are saturated
        ({"waiting": 20}, 5),
        ({"waiting": 20, "loading": 1}, 4),  # one is to come
        ({"kv_utilisation": 0.52}, 3),  # three at 0.693
        ({"kv_utilisation": 0.53}, 4),  # three at 0.707 had 0.093 left
        ({"waiting": 6}, 3),  # three have 2 each
        ({"waiting": 7}, 4),
        ({"ready": 1, "desired": 1}, 1),
        ({"ready": 0, "loading": 4, "kv_utilisation": 0.0}, 4),
        ({"waiting": 20, "max_replicas": 4}, 4),
        ({"min_replicas": 4}, 4),
    ],
)
def test_wva_keeps_spare_memory_and_queue(fields: dict[str, Any], answer: int) -> None:
    """One more with less than 0.10 or 3 to the limits 0.80 and 5, one fewer where the rest would keep both."""
    assert asked("wva_saturation-style")(**fields) == answer


def test_wva_sees_the_peak_of_a_minute() -> None:
    """What was 60 s ago counts no more, what was 59 s ago does; seconds without a ready replica do not."""
    ask = asked("wva_saturation-style")
    assert ask(kv_utilisation=column(0.9, *[0.0] * 59)) == 5
    assert ask(kv_utilisation=column(0.9, *[0.0] * 60)) == 3
    assert ask(kv_utilisation=column(0.9, *[0.0] * 59), ready=column(0, *[4] * 59)) == 3
    exact = asked("wva_saturation-style", KV_LIMIT=0.75, KV_SPARE=0.25)
    assert exact(kv_utilisation=0.5) == 4  # a spare of just 0.25 will do
    assert (
        asked("wva_saturation-style", KV_LIMIT=0.75, KV_SPARE=0.0)(kv_utilisation=0.75) == 5
    )  # saturated all the same


@pytest.mark.parametrize(
    ("utilisation", "answer"),
    [
        (0.5, 4),
        (0.549, 4),  # ratio 1.098 is within the tolerance
        (0.56, 5),  # ceil(4 * 1.12)
        (0.9, 8),  # ceil(7.2)
        (0.0, 4),  # the fleet that it found
    ],
)
def test_apa_follows_the_mean_of_its_window(utilisation: float, answer: int) -> None:
    """Above 1.1 times the target of 0.5 the size grows in proportion, at most to the double."""
    assert asked("aibrix_apa")(kv_utilisation=utilisation) == answer


def test_apa_rates_window_and_replicas_to_come() -> None:
    """At most the double; half a window of 1 is a mean of 0.5; the ratio is of all replicas, loading ones too."""
    assert asked("aibrix_apa", TARGET=0.2)(kv_utilisation=0.9) == 8
    assert asked("aibrix_apa")(kv_utilisation=column(*[1.0] * 90)) == 4
    assert asked("aibrix_apa")(kv_utilisation=column(*[1.0] * 90), ready=column(*[4] * 90)) == 8
    assert asked("aibrix_apa")(kv_utilisation=0.9, ready=2, loading=2) == 8
    assert asked("aibrix_apa")(ready=0, loading=4) == 4
    assert asked("aibrix_apa")(kv_utilisation=0.9, max_replicas=6) == 6


def test_apa_shrinks_after_its_cooldown_by_half() -> None:
    """The first size is kept for 300 s, 30 ticks; then it is half of it: floor(4 / 2), more than ceil(0)."""
    ask = asked("aibrix_apa")
    assert [ask() for _ in range(30)] == [4] * 30
    assert ask() == 2
    once = asked("aibrix_apa", COOLDOWN_S=10.0)
    assert [once(kv_utilisation=0.35), once(kv_utilisation=0.35)] == [4, 3]  # ceil(4 * 0.7)


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"ready": 2, "desired": 2, "kv_utilisation": 0.55}, 2),  # one would hold 1.1
        ({"ready": 2, "desired": 2, "kv_utilisation": 0.45}, 1),
        ({"ready": 2, "desired": 2, "kv_utilisation": 0.5}, 2),  # 1.0 is refused too
        ({"kv_utilisation": 0.59}, 3),
        ({"kv_utilisation": 0.6}, 4),  # not below 0.6
        ({"kv_utilisation": 1.0, "running": 40}, 4),  # not above 1
        ({"kv_utilisation": 0.9, "running": 40, "waiting": 5}, 5),  # 0.9 * 45 / 40 = 1.0125
        ({"kv_utilisation": 0.9, "running": 40, "waiting": 4}, 4),  # 0.99
        ({"kv_utilisation": 0.9, "running": 40, "waiting": 9, "loading": 1}, 4),
        ({"ready": 1, "desired": 1}, 1),
        ({"ready": 0, "loading": 4}, 4),
        ({"kv_utilisation": 0.9, "running": 1, "waiting": 9, "max_replicas": 4}, 4),
    ],
)
def test_dynamo_load_keeps_memory_and_queue_between_two_thresholds(fields: dict[str, Any], answer: int) -> None:
    """Above 1 one more, below 0.6 one fewer, unless one fewer would be full; what waits counts like what runs."""
    assert asked("dynamo_load")(**fields) == answer


def test_square_root_staffing() -> None:
    """Two requests a second of 0.6 s each are rho = 1.2: ceil(1.2 + sqrt(1.2)) = ceil(2.30) = 3, without BETA 2."""
    load = {"arrivals": 2.0, "arrival_tokens": 200.0, "finished": 1.0, "generated_tokens": 640.0}
    cluster = make_cluster(1)._replace(perf=PERF_OF_1)  # 640 tokens * 30 ms / 32
    assert asked("queueing_sqrt")(cluster, **load) == 3
    assert asked("queueing_sqrt", BETA=0.0)(cluster, **load) == 2
    assert asked("queueing_sqrt", BATCH=8.0)(cluster, **load) == 7  # rho = 4.8, and 2.19
    prefill = PERF_OF_1._replace(fixed_s=0.0, token_s=0.001, prefill_pair_s=0.0001)
    ask = asked("queueing_sqrt", BETA=0.0)
    # 100 + 640 tokens take 0.74 s, 100 * 100 / 2 pairs 0.5 s: rho = 2.48
    assert ask(make_cluster(1)._replace(perf=prefill), **load) == 3
    half = asked("queueing_sqrt", BETA=0.0, COMPUTED=0.5)  # 0.69 s and 0.25 s: 1.88
    assert half(make_cluster(1)._replace(perf=prefill), **load) == 2


def test_square_root_staffing_without_a_past() -> None:
    """Seconds before the start do not dilute the rate; without a finished request the size stays; quotas hold."""
    cluster = make_cluster(1)._replace(perf=PERF_OF_1)
    load = {"arrivals": column(2.0, 2.0), "arrival_tokens": column(200.0, 200.0), "ready": column(4, 4)}
    done = {"finished": column(0.0, 1.0), "generated_tokens": column(0.0, 640.0)}
    assert asked("queueing_sqrt")(cluster, **load, **done) == 3
    assert asked("queueing_sqrt")(cluster, **load) == 4
    assert asked("queueing_sqrt")(cluster) == 4
    assert asked("queueing_sqrt")(cluster, **load, **done, max_replicas=2) == 2
    assert asked("queueing_sqrt")(cluster, finished=1.0, generated_tokens=9.0, min_replicas=2) == 2  # nobody comes


def test_holt_carries_a_trend_on() -> None:
    """Bins of 100, 200 and 300 tokens a second with ALPHA and BETA 1: 300 and 100 more a bin; 60 s on, 400.

    With a cold start of 45 s and a tick of 15 s that is one bin on. A request of 100 tokens with 640 of output takes
    0.6 s of a replica: 4 a second are 2.4 replicas, 3 at 0.8 of each.
    """
    smooth = {"ALPHA": 1.0, "BETA": 1.0, "KEEP_S": 1.0}
    tokens = np.repeat([100.0, 200.0, 300.0], 60)
    load = {
        "arrival_tokens": column(*tokens),
        "arrivals": column(*tokens / 100),
        "ready": column(*[1.0] * 180),
        "finished": column(1.0),
        "generated_tokens": column(640.0),
        "cold_start_s": 45.0,
        "desired": 1,
    }
    cluster = make_cluster(1)._replace(perf=PERF_OF_1)
    assert asked("holt_winters", **smooth)(cluster, **load) == 3
    assert asked("holt_winters", **smooth)(cluster, **{**load, "cold_start_s": 105.0}) == 4  # 500 tokens: 3 / 0.8
    assert asked("holt_winters", **{**smooth, "FILL": 1.3})(cluster, **load) == 2  # 2.4 / 1.3
    # BETA 0: no trend, and ALPHA 0.5: 100, 150, 225 tokens: 1.35 / 0.8
    assert asked("holt_winters", ALPHA=0.5, BETA=0.0, KEEP_S=1.0)(cluster, **load) == 2
    # ALPHA 0.5, BETA 1: levels 100, 150, 250 and trends 0, 50, 100, so 350: 2.1 replicas / 0.65 = 3.2 and / 0.55 = 3.8
    for fill in (0.65, 0.55):
        assert asked("holt_winters", ALPHA=0.5, BETA=1.0, KEEP_S=1.0, FILL=fill)(cluster, **load) == 4
    falling = {**load, "arrival_tokens": column(*tokens[::-1]), "arrivals": column(*tokens[::-1] / 100)}
    ask = asked("holt_winters", **smooth)
    assert [ask(cluster, **falling) for _ in range(2)] == [1, 1]  # 100 - 100 a bin: never below 0


def test_holt_is_at_least_an_hpa() -> None:
    """Without arrivals the utilisation over 0.7 decides, with a tolerance of 10 %; the first size is kept for 300 s."""
    assert asked("holt_winters")(kv_utilisation=1.0) == 6  # ceil(4 / 0.7)
    assert asked("holt_winters")(kv_utilisation=0.76) == 4
    assert asked("holt_winters")(kv_utilisation=1.0, ready=4, loading=3, desired=7) == 7
    ask = asked("holt_winters")
    assert [ask(kv_utilisation=0.3) for _ in range(21)] == [4] * 20 + [2]
    loading = asked("holt_winters", KEEP_S=1.0)
    assert [loading(kv_utilisation=0.3, ready=2, loading=2) for _ in range(2)] == [4, 3]  # ceil(0.86 + 2)
    assert asked("holt_winters")(ready=0, loading=4) == 4


SLA_LOAD = {"arrivals": 1.0, "arrival_tokens": 100.0, "finished": 1.0, "generated_tokens": 100.0}
"""Requests of 100 and 100 tokens, one a second."""


def sla_cluster(**terms: float) -> Cluster:
    """Return a cluster whose iterations take 30 ms and what the given terms add."""
    return make_cluster(1)._replace(perf=PERF_OF_1._replace(**terms))


def test_dynamo_sla_moves_by_its_estimates() -> None:
    """A prompt of 100 tokens at 1 ms each takes 130 ms; with 4 waiting per replica 530 ms, more than 500."""
    slow = sla_cluster(token_s=0.001)
    assert asked("dynamo_sla-style")(slow, **SLA_LOAD, waiting=16) == 5
    assert asked("dynamo_sla-style")(slow, **SLA_LOAD, waiting=16, loading=1) == 4
    # 10 waiting: on three replicas 3.33 each, 333 ms of queue beside 130 ms of its own, not below 0.8 * 370 = 296
    assert asked("dynamo_sla-style")(slow, **SLA_LOAD, waiting=10) == 4
    # 8 waiting: 267 ms of queue; an iteration of 1 + 2.67 decodes takes 33.7 ms, below 40
    assert asked("dynamo_sla-style")(slow, **SLA_LOAD, waiting=8) == 3
    # 8 running each: an iteration with one more and as many prompt tokens takes 30 + 8 + 9 = 47 ms; 12 each: 55 ms
    assert asked("dynamo_sla-style")(slow, **SLA_LOAD, running=32, kv_utilisation=0.1) == 4
    assert asked("dynamo_sla-style")(slow, **SLA_LOAD, running=48, kv_utilisation=0.1) == 5
    assert asked("dynamo_sla-style")(slow, **SLA_LOAD, running=39, kv_utilisation=0.1) == 5  # 30 + 9.75 + 10.75 ms
    # 3 running and 2 waiting each: on three replicas 5 / 0.75 + 1 decodes beside 3 prompt tokens take 40.7 ms
    assert asked("dynamo_sla-style")(slow, **SLA_LOAD, running=12, waiting=8, kv_utilisation=0.1) == 4
    # half of a prompt in a cache: 4 waiting cost 280 ms, and three replicas would have 267 ms of queue below 336
    assert asked("dynamo_sla-style", HIT_RATE=0.5)(slow, **SLA_LOAD, waiting=16) == 3
    # 32,900 tokens are 17 iterations, 510 ms; 32,700 are 16
    assert [asked("dynamo_sla-style")(sla_cluster(), **SLA_LOAD, waiting=4 * n) for n in (328, 326)] == [5, 4]
    # fast enough, but three would need 1.04 of their memory
    assert asked("dynamo_sla-style")(sla_cluster(), **SLA_LOAD, running=4, kv_utilisation=0.78) == 4
    assert asked("dynamo_sla-style")(sla_cluster(), **SLA_LOAD, running=4, kv_utilisation=0.74) == 3
    assert asked("dynamo_sla-style")(sla_cluster(), **SLA_LOAD, running=1, ready=1, desired=1) == 1
    assert asked("dynamo_sla-style")(slow, waiting=99) == 4  # nothing has finished
    assert asked("dynamo_sla-style")(slow, **SLA_LOAD, ready=0, loading=4) == 4


def test_dynamo_sla_floor() -> None:
    """Ten requests a second; n decodes take 30 + n ms, 50 at 20: 20 / (100 * 50 ms) = 4 a second, so 3 replicas.

    The floor comes at the 36th question, 180 s; before it the pool shrinks by one each time, after it it cannot.
    """
    load = {name: 10 * value for name, value in SLA_LOAD.items()}
    busy = sla_cluster(token_s=0.0005)  # n decodes and n prompt tokens of 0.5 ms
    ask = asked("dynamo_sla-style", SENSITIVITY=0.99)
    assert [ask(busy, **load, desired=2, ready=2) for _ in range(36)] == [1] * 35 + [3]
    assert ask(busy, **load, desired=3, ready=3) == 3
    assert asked("dynamo_sla-style", THROUGHPUT_S=5, ITL_S=0.1)(busy, **load, desired=1, ready=1) == 2  # 70: 7 a second
    # 80 + n ms to a first token, below 90.5 at 10: 10 / (100 * 40 ms) = 2.5 a second
    assert asked("dynamo_sla-style", THROUGHPUT_S=5, TTFT_S=0.0905)(busy, **load, desired=1, ready=1) == 4
    # not even one keeps 20 ms: 1 / (100 * 31 ms) = 0.32 a second, 31 replicas
    assert asked("dynamo_sla-style", THROUGHPUT_S=5, ITL_S=0.02)(busy, **load, max_replicas=99) == 31
    # memory for 8 decodes a replica: 8 / (100 * 38 ms) = 2.1 a second
    full = {"desired": 1, "ready": 1, "running": 4.0, "kv_utilisation": 0.5}
    assert asked("dynamo_sla-style", THROUGHPUT_S=5)(busy, **load, **full) == 5


def test_dynamo_sla_filter() -> None:
    """A first value is foretold as it is; then P = (2001, 1000; 1000, 1000.1) gains 2001 / 2011 of the error.

    1000 + 1000 + 1 of the level is 2001: from 100 to 120 the level is 119.90, the trend 20 * 1000 / 2011 = 9.95.
    """
    policy = load_policy("dynamo_sla-style", "autoscaling")
    foretell = policy.autoscaling["scale"].__globals__["foretell"]
    memory = make_memory(policy.memory, 1)
    foretell(memory, 100.0, 50.0, 7.0)
    assert memory.shared[:9].tolist() == [100.0, 50.0, 7.0, 0.0, 0.0, 0.0, 2001.0, 1000.0, 1000.1]
    foretell(memory, 120.0, 50.0, 7.0)
    assert memory.shared[:3].tolist() == pytest.approx([100 + 20 * 3001 / 2011, 50.0, 7.0])
    assert memory.shared[3] == pytest.approx(20 * 1000 / 2011)
    trend = 1000.1 - 1000**2 / 2011
    assert memory.shared[6:9].tolist() == pytest.approx(
        [(2001 + 2 * 1000) * 10 / 2011 + trend + 1, 1000 * 10 / 2011 + trend, trend + 0.1]
    )


def test_sageserve_moves_and_waits() -> None:
    """Above 0.5 one more and a lock of 155 s; below 0.25 one fewer and no lock; both thresholds are exclusive."""
    ask = asked("sageserve-style")
    assert [ask(at(5.0), kv_utilisation=u) for u in (0.5, 0.25)] == [4, 4]
    assert ask(at(10.0), kv_utilisation=0.51) == 5
    assert [ask(at(now), kv_utilisation=u) for now, u in ((11.0, 0.9), (164.9, 0.1))] == [4, 4]
    assert [ask(at(now), kv_utilisation=0.24) for now in (165.0, 166.0)] == [3, 3]


def test_sageserve_edges() -> None:
    """A clock that begins below 0 locks nothing; at the quota's ends no lock begins; without replicas nothing moves."""
    ask = asked("sageserve-style")
    assert ask(at(-500.0), kv_utilisation=0.9) == 5
    full = asked("sageserve-style", DOWN_LOCK_S=100.0)
    assert full(at(5.0), kv_utilisation=0.9, max_replicas=4) == 4
    assert full(at(6.0), kv_utilisation=0.1) == 3
    assert asked("sageserve-style")(at(5.0), ready=1, desired=1) == 1
    assert asked("sageserve-style")(at(5.0), ready=0, loading=4, kv_utilisation=0.0) == 4


def walk(policy: Policy, seed: int, *, compile_hooks: bool) -> tuple[list[int], bytes]:
    """Ask 300 times in random traffic that comes in waves, each answer obeyed; return sizes and bits of memory."""
    rng, memory = np.random.default_rng(seed), make_memory(policy.memory, 8)
    hook = policy.autoscaling["scale"]
    scale = compiled(hook) if compile_hooks else hook
    sizes = [4]
    for number in range(300):
        wave = 1 + float(np.sin(number / 20))
        loading = min(sizes[-1], int(rng.integers(0, 3)))
        window: Window = make_window(
            desired=sizes[-1],
            ready=sizes[-1] - loading,
            loading=loading,
            kv_utilisation=0.5 * wave * rng.random(),
            arrivals=3 * wave * rng.random(),
            arrival_tokens=900 * wave * rng.random(),
            finished=3 * wave * rng.random(),
            generated_tokens=600 * wave * rng.random(),
            waiting=wave * rng.integers(0, 20),
            running=wave * rng.integers(0, 60),
            cold_start_s=45.0,
            min_replicas=1,
            max_replicas=8,
        )
        sizes.append(scale(window, make_cluster(8, now_s=5.0 * number - 500.0), memory))
    return sizes, memory.shared.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_compiled_equals_plain_in_traffic(name: str) -> None:
    """In traffic, which the general walk has none of, both tiers give the same sizes, ints, and bits of memory."""
    policy = load_policy(name, "autoscaling")
    plain = walk(policy, 7, compile_hooks=False)
    assert walk(policy, 7, compile_hooks=True) == plain
    assert {type(size) for size in plain[0]} == {int}
    assert len(set(plain[0])) > 2


@pytest.mark.parametrize("name", NAMES)
def test_every_combination_of_constants_is_valid(name: str) -> None:
    """All constants at their lowest, all at their highest, and mixtures of ends: every answer is within the quota."""
    policy = load_policy(name, "autoscaling")
    rng = np.random.default_rng(8)
    for number in range(10):
        ends = rng.integers(0, 2, len(policy.tunable)) if number > 1 else [number] * len(policy.tunable)
        constants = {t.name: t.high if end else t.low for t, end in zip(policy.tunable, ends, strict=True)}
        sizes, _ = walk(with_other_constants(policy, constants), number, compile_hooks=False)
        assert 1 <= min(sizes) <= max(sizes) <= 8
