"""routing/stale-v0: one router that sees its engines as they were up to five seconds ago."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "routing/stale-v0"
HORIZON_S = 450
SCENARIO = SCENARIOS["heavy_tail_mix"]
POOL = replica_pool("a100-llama3-8b", num_replicas=6)

TASK = Task(
    id=ID,
    track="routing",
    title="Chat, code and very long prompts on 6 x A100 with metrics up to 5 s old",
    why_hard="Engines publish every 5 s, each at its own phase: what a replica reports as idle may have had a dozen "
    "requests since. Who follows the reports sends them all to the same one. The router's own ledger is exact, for it "
    "alone sends requests; but a request weighs from a few tokens to a hundred thousand, and outputs are unknown.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(POOL,), metrics_interval_s=5.0, slo_classes=slo_classes(POOL, *SCENARIO.slo_classes)),
    reference_rate_rps=11.7,
    rate_basis=CAPACITY,
    default_loads=(0.7, 0.9),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="round_robin",
    expert="ttft_min-style@2272f6",
    separation=2.41,
)
