"""routing/sessions-v0: conversations on replicas with prefix caches, seen through metrics that are 50 ms old."""

from glia_bench.cluster import ClusterSpec, PoolSpec
from glia_bench.tasks.a100 import INTERACTIVE, LATENCY, a100_engine
from glia_bench.tasks.conversations import SOURCE, conversations
from glia_bench.tasks.task import CAPACITY, Task

ID = "routing/sessions-v0"
HORIZON_S = 250

CLUSTER = ClusterSpec(
    pools=(PoolSpec(num_replicas=4, engine=a100_engine(prefix_caching=True), latency=LATENCY),),
    metrics_interval_s=0.05,
    slo_classes=(INTERACTIVE,),
)

TASK = Task(
    id=ID,
    track="routing",
    title="Conversations on 4 x A100 with prefix caches and metrics 50 ms old",
    why_hard="A turn that returns to the replica of the last one finds its history there and prefills a tenth of the "
    "prompt; one that goes elsewhere pays in full and pushes another's history out. But a router that only follows "
    "histories piles sessions up, and metrics that lag let several arrivals chase the same idle replica.",
    source=SOURCE,
    objective="slowdown_slo",
    suites=("core", "full"),
    cluster=CLUSTER,
    reference_rate_rps=25.0,
    rate_basis=CAPACITY,
    default_loads=(0.7, 0.9),
    trace=conversations(ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="round_robin",
    expert="ttft_min-style@3953fb",
    separation=2.62,
)
