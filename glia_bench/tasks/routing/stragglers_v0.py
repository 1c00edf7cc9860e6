"""routing/stragglers-v0: bursts of code completion on replicas that now and then run at a third of their pace."""

from glia_bench.case import Fault
from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.faults import FaultRate, draw_faults
from glia_bench.workloads.scenarios import SCENARIOS

ID = "routing/stragglers-v0"
HORIZON_S = 600
SCENARIO = SCENARIOS["code_bursty"]
POOL = replica_pool("a40-llama3-8b", num_replicas=6)
SLOW_SPELLS = FaultRate(kind="slow", mean_interval_s=360, duration_s=60.0, factor=3.0)
"""Ten spells in a run: one replica of the six is slow on average."""


def _faults(num_replicas: int, seed: int) -> tuple[Fault, ...]:
    return draw_faults(SLOW_SPELLS, num_replicas=num_replicas, horizon_s=HORIZON_S, task_id=ID, seed=seed)


TASK = Task(
    id=ID,
    track="routing",
    title="Bursts of code completion on 6 x A40, where replicas slow down",
    why_hard="Nobody says which replica is slow: it is ready, its queue may be short, and only its pace differs. A "
    "burst brings dozens of prompts in a second, so that the queue shows the slow one when it is too late for them.",
    source=SCENARIO.source,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=ClusterSpec(pools=(POOL,), slo_classes=slo_classes(POOL, "standard")),
    reference_rate_rps=8.23,
    rate_basis=CAPACITY,
    default_loads=(0.5, 0.7),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    faults=_faults,
    naive="round_robin",
    expert="spt_hold@6dc6e8",
    separation=1.30,
)
