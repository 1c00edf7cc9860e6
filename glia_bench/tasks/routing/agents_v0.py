"""routing/agents-v0: coding agents whose context grows over dozens of turns."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "routing/agents-v0"
HORIZON_S = 1200
SCENARIO = SCENARIOS["agentic_coding"]
POOL = replica_pool("h100-llama3-8b", num_replicas=4, prefix_caching=True, block_size_tokens=SCENARIO.block_size_tokens)

TASK = Task(
    id=ID,
    track="routing",
    title="Coding agents on 4 x H100 with prefix caches: dozens of turns over one context",
    why_hard="A turn adds a thousand tokens to a context of tens of thousands. On the replica that holds the context "
    "it costs little, on any other all of it again, seconds of prefill that delay everybody there. A replica holds few "
    "contexts; whoever follows them blindly overloads one, whoever balances pays for it twenty times over.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(POOL,), metrics_interval_s=0.05, slo_classes=slo_classes(POOL, "longctx")),
    reference_rate_rps=2.55,
    rate_basis=CAPACITY,
    default_loads=(0.7, 0.9),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="round_robin",
    expert="dynamo_kv@cbd459",
    separation=5.59,
)
