"""scheduling/chat-v0: one replica, conversations of unknown length, a little more than it can serve smoothly."""

from glia_bench.case import Trace
from glia_bench.cluster import ClusterSpec, PoolSpec
from glia_bench.tasks.a100 import INTERACTIVE, LATENCY, a100_engine
from glia_bench.tasks.perturbed import perturbed_gaps
from glia_bench.tasks.task import CAPACITY, Task, open_loop_trace
from glia_bench.workloads.arrivals import US_PER_S, renewal_arrivals_us
from glia_bench.workloads.lengths import sharegpt_lengths
from glia_bench.workloads.lengths_file import Lengths
from glia_bench.workloads.predictor import LengthPredictor
from glia_bench.workloads.streams import Stream
from glia_bench.workloads.variation import Variation

ID = "scheduling/chat-v0"
HORIZON_S = 400
RATE_RPS = 13.3

CLUSTER = ClusterSpec(
    pools=(PoolSpec(num_replicas=1, engine=a100_engine(), latency=LATENCY),), slo_classes=(INTERACTIVE,)
)


def _trace(rate_urps: int, seed: int, lengths: Lengths | None, variation: Variation) -> Trace:
    arrivals_us = renewal_arrivals_us(
        Stream(ID, seed, "arrival gaps"),
        perturbed_gaps("exponential_gaps", 1000, variation),
        rate_urps=rate_urps,
        horizon_us=HORIZON_S * US_PER_S,
    )
    return open_loop_trace(arrivals_us, *sharegpt_lengths(ID, seed, len(arrivals_us)), variation)


TASK = Task(
    id=ID,
    track="scheduling",
    title="One A100 with Llama-3-8B: chat at the edge of what it can serve",
    why_hard="Every running request slows all others, and outputs are unknown: a short answer behind a long one waits "
    "many times its own service. Admitting everybody keeps first tokens quick and makes every token late; holding "
    "requests back does the reverse. A predictor of the output with a lognormal error of sigma 0.7 is granted.",
    source="lengths: github.com/pouyahmdn/vidur (MIT), ShareGPT as in the Glia paper; arrivals: Poisson",
    objective="slowdown_slo",
    suites=("quick", "core", "full"),
    cluster=CLUSTER,
    reference_rate_rps=RATE_RPS,
    rate_basis=CAPACITY,
    default_loads=(1.0, 1.1),
    trace=_trace,
    drain_s=600.0,
    naive="vllm_v1_fcfs",
    expert="trail-style@bfcfd2",
    separation=1.44,
    predictor=LengthPredictor(kind="noisy", sigma_percent=70),
)
