"""routing/hetero-v0: two kinds of GPU behind one router, one of them three times as slow and short of memory."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "routing/hetero-v0"
HORIZON_S = 300
SCENARIO = SCENARIOS["chat_steady"]
FAST = replica_pool("a100-llama3-8b", num_replicas=2)
SLOW = replica_pool("a10-llama3-8b", num_replicas=3, speed=0.3)

TASK = Task(
    id=ID,
    track="routing",
    title="Chat on a mixed fleet: 2 x A100 and 3 x A10",
    why_hard="An A10 prefills at a third of the pace of an A100 and holds a ninth of its KV cache. Equal shares drown "
    "the slow ones while the fast idle; using the fast alone wastes a third of the fleet. How much a request costs "
    "depends on where it runs.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(FAST, SLOW), slo_classes=slo_classes(SLOW, "standard")),
    reference_rate_rps=18.1,
    rate_basis=CAPACITY,
    default_loads=(0.7, 0.9),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="round_robin",
    expert="session_ttl-style@4002d1",
    separation=14.88,
)
