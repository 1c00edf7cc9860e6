"""The routing experiment of the Glia paper, shared by its three tasks: the cluster, the workload, the published row.

Source: Glia, arXiv 2510.27176: four A10 replicas of Llama-3-8B in Vidur's simulator with the Sarathi scheduler;
settings and lengths from github.com/pouyahmdn/vidur (MIT). Left out, as there: LM head, CPU overhead, network.
"""

from collections.abc import Mapping
from types import MappingProxyType

from glia_bench.case import Trace
from glia_bench.cluster import uniform_cluster
from glia_bench.sim.latency import latency_table
from glia_bench.sim.modes import engine
from glia_bench.tasks.perturbed import perturbed_gaps
from glia_bench.tasks.task import TraceMaker, open_loop_trace
from glia_bench.workloads.arrivals import US_PER_S, renewal_arrivals_us
from glia_bench.workloads.lengths import sharegpt_lengths
from glia_bench.workloads.lengths_file import Lengths
from glia_bench.workloads.streams import Stream
from glia_bench.workloads.variation import Variation

A10_TIME_SCALE = 1.07
"""The one fitted number: a common factor on all iteration times, chosen so that five published means are met."""

SOURCE = "Glia, arXiv 2510.27176 (routing experiment); traces and A10 profile: github.com/pouyahmdn/vidur (MIT)"

RATE_RPS = 7.5
RATE_BASIS = "nominal rate of the paper's experiment, which it places at the knee"
GAP_CV_PERMILLE = 7321
HORIZON_S = 1000
DRAIN_S = 3600.0

PUBLISHED_MEAN_E2E_S: Mapping[str, float] = MappingProxyType(
    {
        "random": 65.51,
        "round_robin": 63.34,
        "lor_vidur": 59.57,
        "llq": 54.64,
        "funsearch_fig13": 32.5,
        "expert": 25.61,
        "hra": 24.1,
    }
)
"""Mean response times of the paper's 7.5-rps trace; funsearch_fig13's is a mean of the best of ten designer runs."""

CLUSTER = uniform_cluster(
    num_replicas=4,
    # 2240 blocks of 16 tokens: (23 GiB x (1 - 0.2445) - 13.96e9 B of weights) / 131,072 B per token
    engine=engine("sarathi", token_budget=8192, max_running=128, num_blocks=2240, block_size_tokens=16),
    latency=latency_table("a10-llama3-8b", token_budget=8192, time_scale=A10_TIME_SCALE),
)


def fresh_trace(task_id: str) -> TraceMaker:
    """Return a maker of fresh draws of the paper's workload for a task: lognormal gaps, ShareGPT lengths, 1000 s."""

    def make(rate_urps: int, seed: int, lengths: Lengths | None, variation: Variation) -> Trace:
        arrivals_us = renewal_arrivals_us(
            Stream(task_id, seed, "arrival gaps"),
            perturbed_gaps("lognormal_sigma2_gaps", GAP_CV_PERMILLE, variation),
            rate_urps=rate_urps,
            horizon_us=HORIZON_S * US_PER_S,
        )
        return open_loop_trace(arrivals_us, *sharegpt_lengths(task_id, seed, len(arrivals_us)), variation)

    return make
