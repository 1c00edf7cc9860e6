"""routing/stale-routers-v0: four routers that know nothing of each other, and engines seen five seconds late."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "routing/stale-routers-v0"
HORIZON_S = 270
SCENARIO = SCENARIOS["chat_steady"]
POOL = replica_pool("a40-llama3-8b", num_replicas=8)

TASK = Task(
    id=ID,
    track="routing",
    title="Chat on 8 x A40, four routers, metrics up to 5 s old",
    why_hard="Each router sees a quarter of the arrivals, and its ledger only what it has sent itself. The engines' "
    "metrics know of all, but five seconds late: the four of them chase the same idle replica. Neither source is to be "
    "trusted alone.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(POOL,), metrics_interval_s=5.0, num_routers=4, slo_classes=slo_classes(POOL, "standard")),
    reference_rate_rps=22.9,
    rate_basis=CAPACITY,
    default_loads=(0.7, 0.9),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="round_robin",
    expert="lor",
)
