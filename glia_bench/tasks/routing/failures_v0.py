"""routing/failures-v0: replicas of a large model that fail, lose what they hold and come back late."""

from glia_bench.case import Fault
from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.cold_starts import WARM
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.faults import FaultRate, draw_faults
from glia_bench.workloads.scenarios import SCENARIOS

ID = "routing/failures-v0"
HORIZON_S = 900
SCENARIO = SCENARIOS["heavy_tail_mix"]
POOL = replica_pool("a100-llama3-70b-tp4", num_replicas=5, cold_start=WARM)
FAILURES = FaultRate(kind="fail", mean_interval_s=900, duration_s=30.0)
"""Five failures in a run; a replica is back after 75 s. Real ones fail far more rarely, but runs are short."""


def _faults(num_replicas: int, seed: int) -> tuple[Fault, ...]:
    return draw_faults(FAILURES, num_replicas=num_replicas, horizon_s=HORIZON_S, task_id=ID, seed=seed)


TASK = Task(
    id=ID,
    track="routing",
    title="Chat, code and very long prompts with Llama-3-70B on 5 x 4 A100, where replicas fail",
    why_hard="A failure takes a fifth of the fleet for over a minute and sends all that it held back to the router at "
    "once, to be computed anew, prompts of a hundred thousand tokens among it. The replica that comes back is empty "
    "and looks best to everybody. Queues that were short before a failure are the only reserve.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(
        pools=(POOL,),
        triggers=("arrival", "completion", "capacity"),
        slo_classes=slo_classes(POOL, *SCENARIO.slo_classes),
    ),
    reference_rate_rps=4.5,
    rate_basis=CAPACITY,
    default_loads=(0.7, 0.9),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    faults=_faults,
    naive="round_robin",
    expert="vllm_dp_legacy@503c7f",
    separation=1.49,
)
