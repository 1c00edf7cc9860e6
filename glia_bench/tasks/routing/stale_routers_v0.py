"""routing/stale-routers-v0: four routers that know nothing of each other, and engines seen five seconds late."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "routing/stale-routers-v0"
HORIZON_S = 450
SCENARIO = SCENARIOS["heavy_tail_mix"]
POOL = replica_pool("a100-llama3-8b", num_replicas=6)

TASK = Task(
    id=ID,
    track="routing",
    title="Chat, code and very long prompts on 6 x A100, four routers, metrics up to 5 s old",
    why_hard="Each router sees a quarter of the arrivals, and its ledger only what it has sent itself. The engines' "
    "metrics know of all, but five seconds late: the four of them chase the same idle replica. Neither source is to be "
    "trusted alone.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(
        pools=(POOL,), metrics_interval_s=5.0, num_routers=4, slo_classes=slo_classes(POOL, *SCENARIO.slo_classes)
    ),
    reference_rate_rps=13.9,
    rate_basis=CAPACITY,
    default_loads=(0.7, 0.9),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="round_robin",
    expert="ttft_min-style@6b71e0",
    separation=2.16,
)
