"""cluster/tenants-v0: router, schedulers and autoscaler in one design, for twelve tenants of three classes."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.cold_starts import WARM
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "cluster/tenants-v0"
HORIZON_S = 300
RATE_RPS = 26.5
SCENARIO = SCENARIOS["multi_tenant_slo"]
POOL = replica_pool("a100-llama3-8b", num_replicas=2, min_replicas=1, max_replicas=4, cold_start=WARM)

TASK = Task(
    id=ID,
    track="cluster",
    title="Twelve tenants of three classes on 1 to 4 A100, every hook in one design",
    why_hard="Batch requests can wait for quiet seconds, and so save a replica that interactive ones would need at the "
    "peak of a burst: if router, schedulers and autoscaler agree on it. Each alone only sees its part.",
    source=SCENARIO.source,
    objective="gpu_seconds_slo",
    suites=("quick", "core", "full"),
    cluster=ClusterSpec(
        pools=(POOL,),
        triggers=("arrival", "completion", "capacity"),
        window_lag_s=5,
        num_tenants=SCENARIO.num_tenants,
        slo_classes=slo_classes(POOL, *SCENARIO.slo_classes),
    ),
    reference_rate_rps=RATE_RPS,
    rate_basis=CAPACITY,
    default_loads=(0.5, 0.7),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="stack_plain",
    expert="stack_careful@779bbe",
    separation=1.55,
    gpu_seconds_per_request=POOL.largest * POOL.gpus_per_replica / RATE_RPS,
)
