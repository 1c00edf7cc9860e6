"""autoscaling/shift-v0: the cost of a request changes while the rate falls."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.cold_starts import WARM
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "autoscaling/shift-v0"
HORIZON_S = 750
RATE_RPS = 10.5
SCENARIO = SCENARIOS["workload_shift"]
POOL = replica_pool("a40-llama3-8b", num_replicas=2, min_replicas=1, max_replicas=4, cold_start=WARM)

TASK = Task(
    id=ID,
    track="autoscaling",
    title="Chat, then code, then reasoning on 1 to 4 A40",
    why_hard="The rate falls to less than half while outputs grow sixfold: who scales by requests takes replicas away "
    "when they are needed most. When the phases begin differs from seed to seed, and a replica takes 45 s to come.",
    source=SCENARIO.source,
    objective="gpu_seconds_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(POOL,), window_lag_s=5, slo_classes=slo_classes(POOL, *SCENARIO.slo_classes)),
    reference_rate_rps=RATE_RPS,
    rate_basis=CAPACITY,
    default_loads=(0.5, 0.7),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=900.0,
    naive="fixed",
    expert="queueing_sqrt",
    separation=2.71,
    gpu_seconds_per_request=POOL.largest * POOL.gpus_per_replica / RATE_RPS,
)
