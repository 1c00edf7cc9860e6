"""scheduling/reasoning-v0: short prompts whose outputs run to ten thousand tokens and fill the KV cache."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.predictor import LengthPredictor
from glia_bench.workloads.scenarios import SCENARIOS

ID = "scheduling/reasoning-v0"
HORIZON_S = 1500
SCENARIO = SCENARIOS["reasoning_long_output"]
POOL = replica_pool("h100-llama3-8b", num_replicas=1)

TASK = Task(
    id=ID,
    track="scheduling",
    title="Reasoning on one H100 with Llama-3-8B: outputs of thousands of tokens",
    why_hard="A request is admitted for the few blocks of its prompt and then grows for a minute. Admit by what fits "
    "now, and the cache overflows: whoever is preempted computes thousands of tokens again. A noisy predictor of the "
    "output is granted (lognormal error, sigma 0.7).",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(POOL,), slo_classes=slo_classes(POOL, *SCENARIO.slo_classes)),
    reference_rate_rps=2.34,
    rate_basis=CAPACITY,
    default_loads=(0.9, 1.1),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=900.0,
    naive="vllm_v1_fcfs",
    expert="ltr-style@2a89d3",
    separation=2.06,
    predictor=LengthPredictor(kind="noisy", sigma_percent=70),
)
