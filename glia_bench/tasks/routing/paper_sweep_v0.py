"""routing/paper-sweep-v0: the paper's experiment over loads around the knee, where the paper has one point."""

from glia_bench.tasks.routing.paper import CLUSTER, DRAIN_S, RATE_BASIS, RATE_RPS, SOURCE, fresh_trace
from glia_bench.tasks.task import Task

ID = "routing/paper-sweep-v0"

LOADS = (0.6, 0.8, 0.9, 1.0, 1.1, 1.2)
"""At 0.6 hardly any preemption; between 0.8 and 0.9 counting requests begins to lose; at 1.2 every policy queues."""

TASK = Task(
    id=ID,
    track="routing",
    title="The Glia paper's experiment from light load to past the knee",
    why_hard="At light load there is nothing to hold and holding costs; past the knee memory decides. A design with "
    "constants tuned to one rate must keep its lead over all of them.",
    source=SOURCE + "; loads chosen here",
    objective="mean_e2e_s",
    suites=("paper", "full"),
    cluster=CLUSTER,
    reference_rate_rps=RATE_RPS,
    rate_basis=RATE_BASIS,
    loads=LOADS,
    default_loads=LOADS,
    trace=fresh_trace(ID),
    drain_s=DRAIN_S,
    expert="expert",
    separation=1.66,
)
