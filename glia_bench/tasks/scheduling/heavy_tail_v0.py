"""scheduling/heavy-tail-v0: short chats behind prompts of a hundred thousand tokens."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.scenarios import SCENARIOS

ID = "scheduling/heavy-tail-v0"
HORIZON_S = 1200
SCENARIO = SCENARIOS["heavy_tail_mix"]
POOL = replica_pool("h100-llama2-70b-tp4", num_replicas=1)

TASK = Task(
    id=ID,
    track="scheduling",
    title="Chat and code with very long prompts among them on 4 H100 with Llama-2-70B",
    why_hard="A prompt of a hundred thousand tokens takes every chunk of many seconds: whoever came after it waits, "
    "and all who decode get their tokens late. Shares of the budget, the order of admission and the size of chunks "
    "decide who pays.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(POOL,), slo_classes=slo_classes(POOL, *SCENARIO.slo_classes)),
    reference_rate_rps=2.31,
    rate_basis=CAPACITY,
    default_loads=(1.0, 1.1),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="vllm_v1_fcfs",
    expert="sjf_prompt",
    separation=1.23,
)
