"""autoscaling/burst-v0: flash crowds on an elastic pool whose replicas take three quarters of a minute to come."""

from glia_bench.case import Trace
from glia_bench.cluster import ClusterSpec, PoolSpec, SloClass
from glia_bench.sim.latency import latency_table
from glia_bench.sim.modes import engine
from glia_bench.tasks.cold_starts import WARM
from glia_bench.tasks.perturbed import perturbed_gaps, perturbed_levels
from glia_bench.tasks.task import CAPACITY, Task, open_loop_trace
from glia_bench.workloads.arrivals import US_PER_S, modulated_arrivals_us
from glia_bench.workloads.lengths import sharegpt_lengths
from glia_bench.workloads.lengths_file import Lengths
from glia_bench.workloads.rate_curves import Bursts, burst_levels
from glia_bench.workloads.streams import Stream
from glia_bench.workloads.variation import Variation

ID = "autoscaling/burst-v0"
HORIZON_S = 870
RATE_RPS = 9.84
BURSTS = Bursts(span_s=HORIZON_S, count=2, lowest=3000, highest=5000, ramp_s=30, hold_s=120, decay_s=60)
STANDARD = SloClass(name="standard", ttft_s=2.0, tpot_s=0.1)
"""MLPerf inference's limits for Llama-3.1-8B, server scenario (mlperf.conf)."""

CLUSTER = ClusterSpec(
    pools=(
        PoolSpec(
            num_replicas=3,
            min_replicas=1,
            max_replicas=6,
            # KV memory as in the Glia paper's experiment: tasks/routing/paper.py
            engine=engine("vllm_v1", token_budget=2048, max_running=128, num_blocks=2240),
            latency=latency_table("a10-llama3-8b", token_budget=2048),
            cold_start=WARM,
        ),
    ),
    window_lag_s=5,
    slo_classes=(STANDARD,),
)


def _trace(rate_urps: int, seed: int, lengths: Lengths | None, variation: Variation) -> Trace:
    arrivals_us = modulated_arrivals_us(
        Stream(ID, seed, "arrival gaps"),
        perturbed_gaps("exponential_gaps", 1000, variation),
        rate_urps=rate_urps,
        levels=perturbed_levels(burst_levels(BURSTS, Stream(ID, seed, "bursts")), variation),
        step_us=US_PER_S,
    )
    return open_loop_trace(arrivals_us, *sharegpt_lengths(ID, seed, len(arrivals_us)), variation)


TASK = Task(
    id=ID,
    track="autoscaling",
    title="Two flash crowds on 1 to 6 A10 replicas with a warm start of 45 s",
    why_hard="A burst is three to five times the base rate and over in three and a half minutes; a replica takes 45 s "
    "to come, and metrics are 5 s old. Whoever waits for queues pays in missed first tokens, whoever keeps spare "
    "replicas pays for them all the time; onset and height of the bursts differ from seed to seed.",
    source="lengths: github.com/pouyahmdn/vidur (MIT), ShareGPT as in the Glia paper; burst shape chosen here",
    objective="gpu_seconds_slo",
    suites=("core", "full"),
    cluster=CLUSTER,
    reference_rate_rps=RATE_RPS,
    rate_basis=CAPACITY,
    default_loads=(0.5, 0.7),
    trace=_trace,
    drain_s=300.0,
    naive="fixed",
    expert="hpa_inflight@abc3b6",
    separation=3.61,
    gpu_seconds_per_request=CLUSTER.num_replicas / RATE_RPS,
)
