"""scheduling/memory-v0: chat on a small GPU whose KV cache is full long before its compute."""

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.predictor import LengthPredictor
from glia_bench.workloads.scenarios import SCENARIOS

ID = "scheduling/memory-v0"
HORIZON_S = 2400
SCENARIO = SCENARIOS["chat_steady"]
POOL = replica_pool("a10-llama3-8b", num_replicas=1)

TASK = Task(
    id=ID,
    track="scheduling",
    title="Chat on one A10 with Llama-3-8B: KV memory is short",
    why_hard="After the weights 6 GiB are left, 50,000 tokens in all: two dozen chats. Admitting one more means "
    "preempting one later and computing it again; admitting fewer leaves the GPU idle. Outputs are unknown; a noisy "
    "predictor is granted (lognormal error, sigma 0.7).",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(POOL,), slo_classes=slo_classes(POOL, "standard")),
    reference_rate_rps=1.71,
    rate_basis=CAPACITY,
    default_loads=(0.9, 1.1),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=600.0,
    naive="vllm_v1_fcfs",
    expert="lens-style@62b9d8",
    separation=2.12,
    predictor=LengthPredictor(kind="noisy", sigma_percent=70),
)
