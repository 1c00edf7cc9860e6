"""Decisions of autoscalers that keep spares, smooth, or forecast by a model, checked on paper."""

from typing import Any

import numpy as np
import pytest
from moments import make_cluster, make_memory, make_window

from glia_bench.loading import load_policy


class Pool:
    """One pool under an autoscaler that is always obeyed, with replicas that are ready at once."""

    def __init__(self, name: str, size: int) -> None:
        policy = load_policy(name, "autoscaling")
        self.hook, self.size = policy.autoscaling["scale"], size
        self.memory = make_memory(policy.memory, 1)

    def tick(self, **fields: Any) -> int:
        """Ask once; return the size that the pool now has. A number stands for all 600 samples."""
        fields = {name: np.array(x)[:, None] if isinstance(x, list) else x for name, x in fields.items()}
        own = {"desired": self.size, "ready": self.size, "min_replicas": 1, "max_replicas": 100, **fields}
        self.size = self.hook(make_window(**own), make_cluster(1), self.memory)
        return self.size


@pytest.mark.parametrize(
    ("used", "queue", "answer"),
    [(0.70, 1.0, 4), (0.705, 1.0, 5), (0.5, 2.5, 5), (0.4, 0.2, 3), (0.55, 0.2, 4)],
    ids=["0.10 spare", "0.095 spare", "2.5 spare", "0.53 on three", "0.73 on three"],
)
def test_wva_keeps_its_spares(used: float, queue: float, answer: int) -> None:
    """0.10 of the memory and 3 of the queue must stay spare, and would still if one replica went."""
    assert Pool("wva_saturation-style", 4).tick(kv_utilisation=used, waiting=4 * queue) == answer


def test_wva_waits_for_what_is_loading() -> None:
    """Short of memory with one replica on its way, nothing more is asked for; with nobody ready nothing is known."""
    assert Pool("wva_saturation-style", 4).tick(kv_utilisation=0.9, ready=3, loading=1) == 4
    assert Pool("wva_saturation-style", 4).tick(kv_utilisation=0.9, ready=0, loading=4) == 4
    assert Pool("wva_saturation-style", 1).tick() == 1


def test_aibrix_steps() -> None:
    """Of 32 each on 4: 192 are 1.5 times, 6; 1280 are 10 times, at most 8; 139 are within 10 %."""
    assert Pool("aibrix_apa", 4).tick(running=192.0) == 6
    assert Pool("aibrix_apa", 4).tick(running=1280.0) == 8
    assert Pool("aibrix_apa", 4).tick(running=139.0) == 4
    pool = Pool("aibrix_apa", 8)
    assert [pool.tick(running=32.0) for _ in range(30)] == [8] * 30, "300 s before it shrinks"
    assert pool.tick(running=32.0) == 4, "to half at most"


def test_holt_winters_follows_a_trend() -> None:
    """Tokens of 2,000, then 4,000 a second: level 3,000, trend 200; 45 s and a tick ahead that is 4,100, over 2,000."""
    pool = Pool("holt_winters", 1)
    assert pool.tick(arrival_tokens=2000.0, cold_start_s=45.0) == 1
    assert pool.tick(arrival_tokens=4000.0, cold_start_s=45.0) == 3


def test_holt_winters_has_a_floor() -> None:
    """11 waiting on 2 ready are more than 5 each: one more than there are, whatever the forecast."""
    assert Pool("holt_winters", 2).tick(waiting=11.0) == 3
    assert Pool("holt_winters", 2).tick(waiting=10.0) == 1


def test_dynamo_sizes_by_the_model() -> None:
    """A replica's rate by the model, 50 ms a token, is checked against the formula; 12 requests/s need that many."""
    # perf: 30 ms an iteration, 0.22 ms a token, 0.3 us a token of context; prompts of 400 tokens, outputs of 200
    per_decode_s = 2.2e-4 + 3e-7 * 500  # 0.37 ms
    batch = 0.02 / per_decode_s  # 54 decodes fit into 50 ms
    rate = 1 / (400 * 2.2e-4 + 200 * 0.05 / batch)  # 0.088 s + 0.185 s: 3.66 requests/s
    assert rate == pytest.approx(3.66, abs=0.01)
    steady: dict[str, Any] = {"arrivals": 12.0, "finished": 12.0, "arrival_tokens": 4800.0, "generated_tokens": 2400.0}
    assert Pool("dynamo_sla-style", 1).tick(**steady) == 4  # 12 / 3.66 = 3.28
    rising = [6.0] * 540 + [12.0] * 60
    assert Pool("dynamo_sla-style", 1).tick(**{**steady, "arrivals": rising}) == 5  # 18 / 3.66 = 4.9


def test_dynamo_reacts_to_lateness() -> None:
    """First tokens after 0.6 s ask for one more, unless one is loading; an idle pool gives one back."""
    assert Pool("dynamo_sla-style", 2).tick(ttft_s=0.6) == 3
    assert Pool("dynamo_sla-style", 3).tick(ttft_s=0.6, ready=2, loading=1) == 3
    assert Pool("dynamo_sla-style", 3).tick(ttft_s=0.1) == 2
    assert Pool("dynamo_sla-style", 3).tick(kv_utilisation=0.6) == 3  # 1.8 replicas full against 0.8 * 2


def test_square_root_staffing() -> None:
    """A request adds 0.0883 s of prefill and 0.074 s of decoding: 0.7 / 0.162 = 4.31 requests/s a replica.

    12 a second are a load of 2.78; with its root of 1.67 that is 4.45, so 5. Where memory holds 10 at a time, a replica
    serves 10 / (200 * 0.03 + 1.62) = 1.31 a second: a load of 9.15 and its root of 3.02, so 13.
    """
    steady: dict[str, Any] = {"arrivals": 12.0, "finished": 12.0, "arrival_tokens": 4800.0, "generated_tokens": 2400.0}
    assert Pool("queueing_sqrt", 2).tick(**steady) == 5
    assert Pool("queueing_sqrt", 2).tick(**steady, running=20.0, kv_utilisation=1.0) == 13


def test_square_root_staffing_without_a_rate() -> None:
    """Nothing came: the smallest pool; something came and nothing has finished: the size stays."""
    assert Pool("queueing_sqrt", 4).tick() == 1
    assert Pool("queueing_sqrt", 4).tick(arrivals=3.0, arrival_tokens=300.0) == 4


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"kv_utilisation": 0.55}, 2),  # one would hold 1.1 of its memory
        ({"kv_utilisation": 0.45}, 1),  # one would hold 0.9
        ({"kv_utilisation": 0.9, "running": 9.0, "waiting": 2.0}, 3),  # 0.9 and 0.2 waiting
        ({"kv_utilisation": 0.9, "running": 10.0, "waiting": 1.0}, 2),  # 0.99 is not above 1
        ({"kv_utilisation": 0.9, "running": 9.0, "waiting": 2.0, "loading": 1, "desired": 3}, 3),
        ({"kv_utilisation": 0.0, "ready": 0, "loading": 2}, 2),
    ],
)
def test_dynamo_load_thresholds(fields: dict[str, Any], answer: int) -> None:
    """Grow above a full memory, queue included, unless one is loading; shrink below 0.6 if the rest has room."""
    assert Pool("dynamo_load", 2).tick(**fields) == answer
