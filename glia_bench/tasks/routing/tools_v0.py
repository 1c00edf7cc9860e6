"""routing/tools-v0: tools that share 64 prompts of thousands of tokens, a few of them very popular."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "routing/tools-v0"
HORIZON_S = 240
SCENARIO = SCENARIOS["toolagent_shared_prompts"]
POOL = replica_pool("h100-llama3-8b", num_replicas=4, prefix_caching=True, block_size_tokens=SCENARIO.block_size_tokens)

TASK = Task(
    id=ID,
    track="routing",
    title="Tools with 64 shared prompts on 4 x H100 with prefix caches",
    why_hard="More than half of all prompt tokens are one of 64 prompts, and popularity is steep: a replica that sees "
    "a tool often prefills it once. Keeping a tool on one replica saves compute, and makes a hot spot of the replica "
    "with the most popular one.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(POOL,), metrics_interval_s=0.05, slo_classes=slo_classes(POOL, *SCENARIO.slo_classes)),
    reference_rate_rps=17.5,
    rate_basis=CAPACITY,
    default_loads=(0.7, 0.9),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="round_robin",
    expert="lmetric",
    separation=1.46,
)
