"""autoscaling/code-v0: bursts of seconds between pauses of half a minute."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.cold_starts import WARM
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "autoscaling/code-v0"
HORIZON_S = 1200
RATE_RPS = 6.64
SCENARIO = SCENARIOS["code_bursty"]
POOL = replica_pool("a10-llama3-8b", num_replicas=3, min_replicas=1, max_replicas=5, cold_start=WARM)

TASK = Task(
    id=ID,
    track="autoscaling",
    title="Bursts of code completion on 1 to 5 A10 with a warm start of 45 s",
    why_hard="Bursts come and go faster than any replica starts: chasing them is always late, and scaling down after "
    "each costs the next. What a design can do is to find the standing fleet that pays, with what it knows of the past "
    "minutes.",
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
    expert="holt_winters@65f1ff",
    separation=1.07,
    guard_reason="bursts are shorter than a start, so that following them gains nothing; a design must not lose by it",
    gpu_seconds_per_request=POOL.largest * POOL.gpus_per_replica / RATE_RPS,
)
