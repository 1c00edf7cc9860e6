"""cluster/sessions-v0: router, schedulers and autoscaler in one design, for conversations that come in bursts."""

from glia_bench.cluster import ClusterSpec, PoolSpec
from glia_bench.tasks.a100 import INTERACTIVE, LATENCY, a100_engine
from glia_bench.tasks.cold_starts import WARM
from glia_bench.tasks.conversations import SOURCE, conversations
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.rate_curves import Bursts

ID = "cluster/sessions-v0"
HORIZON_S = 480
RATE_RPS = 19.8
BURSTS = Bursts(span_s=HORIZON_S, count=2, lowest=2500, highest=4000, ramp_s=20, hold_s=80, decay_s=40)

CLUSTER = ClusterSpec(
    pools=(
        PoolSpec(
            num_replicas=2,
            min_replicas=1,
            max_replicas=4,
            engine=a100_engine(prefix_caching=True),
            latency=LATENCY,
            cold_start=WARM,
        ),
    ),
    triggers=("arrival", "completion", "capacity"),
    metrics_interval_s=0.05,
    window_lag_s=5,
    slo_classes=(INTERACTIVE,),
)

TASK = Task(
    id=ID,
    track="cluster",
    title="Conversations in bursts on 1 to 4 A100 with prefix caches, every hook in one design",
    why_hard="The three decisions pull against each other: a replica that leaves takes the histories of its sessions "
    "with it, one that comes has none, and a router that spreads load to the new one gives up hits on the old. Turns "
    "wait for answers, so a slow minute is paid back as a later burst.",
    source=SOURCE + "; burst shape chosen here",
    objective="gpu_seconds_slo",
    suites=("core", "full"),
    cluster=CLUSTER,
    reference_rate_rps=RATE_RPS,
    rate_basis=CAPACITY,
    default_loads=(0.5, 0.7),
    trace=conversations(ID, horizon_s=HORIZON_S, bursts=BURSTS),
    drain_s=300.0,
    naive="stack_plain",
    expert="stack_careful@fbe73d",
    separation=2.14,
    gpu_seconds_per_request=CLUSTER.num_replicas / RATE_RPS,
)
