"""routing/shift-v0: chat that turns to code at once, back, and slowly to reasoning, on a large model."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "routing/shift-v0"
HORIZON_S = 800
SCENARIO = SCENARIOS["workload_shift"]
POOL = replica_pool("a100-llama3-70b-tp4", num_replicas=4)

TASK = Task(
    id=ID,
    track="routing",
    title="Chat, then code, then reasoning on 4 x 4 A100 with Llama-3-70B",
    why_hard="What a request costs changes under the router: prompts double and outputs shrink to a tenth, then "
    "outputs grow to over a thousand tokens at half the rate. When it happens differs from seed to seed. Constants "
    "tuned to chat are wrong for half of the run.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(POOL,), slo_classes=slo_classes(POOL, "standard")),
    reference_rate_rps=7.92,
    rate_basis=CAPACITY,
    default_loads=(0.7, 0.9),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=900.0,
    naive="round_robin",
    expert="preble-e2-style",
    separation=1.22,
)
