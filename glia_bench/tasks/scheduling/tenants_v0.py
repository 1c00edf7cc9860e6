"""scheduling/tenants-v0: twelve tenants of three classes share the batch of one replica."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "scheduling/tenants-v0"
HORIZON_S = 300
SCENARIO = SCENARIOS["multi_tenant_slo"]
POOL = replica_pool("h100-llama3-8b", num_replicas=1)

TASK = Task(
    id=ID,
    track="scheduling",
    title="Twelve tenants of three classes on one H100 with Llama-3-8B",
    why_hard="Every request of the batch slows all others, and a burst of one tenant fills it. Half of the requests "
    "want 30 ms a token; a tenth may wait for minutes but bring the longest prompts. First come, first served treats "
    "them alike.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(
        pools=(POOL,), num_tenants=SCENARIO.num_tenants, slo_classes=slo_classes(POOL, *SCENARIO.slo_classes)
    ),
    reference_rate_rps=16.7,
    rate_basis=CAPACITY,
    default_loads=(0.9, 1.0),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="vllm_v1_fcfs",
    expert="sjf-aged-style",
    separation=1.21,
)
