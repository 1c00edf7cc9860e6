"""autoscaling/crowd-v0: one crowd of eight times the rate, on replicas that take 45 s to come."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.cold_starts import WARM
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "autoscaling/crowd-v0"
HORIZON_S = 900
RATE_RPS = 7.35
SCENARIO = SCENARIOS["flash_crowd"]
POOL = replica_pool(
    "a40-llama3-8b",
    num_replicas=2,
    min_replicas=1,
    max_replicas=8,
    prefix_caching=True,
    block_size_tokens=SCENARIO.block_size_tokens,
    cold_start=WARM,
)

TASK = Task(
    id=ID,
    track="autoscaling",
    title="One crowd of eight times the rate on 1 to 8 A40",
    why_hard="The crowd comes within seconds, stays for less than a minute and never again in the run; when, differs "
    "from seed to seed. Four fifths of it ask about one topic and share a prompt. A reserve for the crowd is dear for "
    "all the time that nothing happens.",
    source=SCENARIO.source,
    objective="gpu_seconds_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(POOL,), window_lag_s=5, slo_classes=slo_classes(POOL, "standard")),
    reference_rate_rps=RATE_RPS,
    rate_basis=CAPACITY,
    default_loads=(0.5, 0.7),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="fixed",
    expert="ray_serve@964347",
    separation=2.92,
    gpu_seconds_per_request=POOL.largest * POOL.gpus_per_replica / RATE_RPS,
)
