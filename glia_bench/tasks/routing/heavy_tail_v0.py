"""routing/heavy-tail-v0: a few requests a hundred times as large as the rest."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "routing/heavy-tail-v0"
HORIZON_S = 300
SCENARIO = SCENARIOS["heavy_tail_mix"]
POOL = replica_pool("h100-llama3-8b", num_replicas=3)

TASK = Task(
    id=ID,
    track="routing",
    title="Chat and code with prompts of up to 130,000 tokens among them on 3 x H100",
    why_hard="One request in eight brings a prompt of tens of thousands of tokens and keeps its replica busy for "
    "seconds; one in a hundred holds a fifth of all tokens. A short request behind a long one waits many times its own "
    "service. The prompt is known on arrival, the output is not.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(POOL,), slo_classes=slo_classes(POOL, *SCENARIO.slo_classes)),
    reference_rate_rps=21.0,
    rate_basis=CAPACITY,
    default_loads=(0.7, 0.9),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="round_robin",
    expert="spt_hold@ed851b",
    separation=2.69,
)
