"""scheduling/code-v0: bursts of code completion, prefills of thousands of tokens for a dozen of output."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "scheduling/code-v0"
HORIZON_S = 1800
SCENARIO = SCENARIOS["code_bursty"]
POOL = replica_pool("a40-llama3-8b", num_replicas=1)

TASK = Task(
    id=ID,
    track="scheduling",
    title="Bursts of code completion on one A40 with Llama-3-8B",
    why_hard="A burst brings dozens of prompts of two thousand tokens in a second or two, a minute of prefill in all, "
    "for answers of a dozen tokens. Who goes first decides the mean; decodes that wait behind prefills decide the "
    "pace.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(POOL,), slo_classes=slo_classes(POOL, "standard")),
    reference_rate_rps=2.38,
    rate_basis=CAPACITY,
    default_loads=(0.5, 0.7),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="vllm_v1_fcfs",
    expert="qlm_lite@40ba8d",
    separation=1.58,
)
