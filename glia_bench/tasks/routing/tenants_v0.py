"""routing/tenants-v0: twelve tenants of three classes, some of them in bursts, on small replicas."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "routing/tenants-v0"
HORIZON_S = 270
SCENARIO = SCENARIOS["multi_tenant_slo"]
POOL = replica_pool("a40-llama3-8b", num_replicas=8)

TASK = Task(
    id=ID,
    track="routing",
    title="Twelve tenants of three classes on 8 x A40",
    why_hard="Half of the requests want their first token within two seconds, a tenth only to be done in minutes, and "
    "a burst of one tenant delays all others that share its replica. A router may keep classes apart, hold back the "
    "patient ones, or protect tenants from each other; counting requests does none of it.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(
        pools=(POOL,), num_tenants=SCENARIO.num_tenants, slo_classes=slo_classes(POOL, "standard", "relaxed", "batch")
    ),
    reference_rate_rps=21.8,
    rate_basis=CAPACITY,
    default_loads=(0.9, 1.0),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="round_robin",
    expert="vllm_dp_legacy@fdfb37",
    separation=1.15,
)
