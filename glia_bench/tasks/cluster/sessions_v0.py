"""cluster/sessions-v0: router, schedulers and autoscaler in one design, for conversations that come in bursts."""

from glia_bench.cluster import ClusterSpec, PoolSpec
from glia_bench.tasks.a100 import INTERACTIVE, LATENCY, a100_engine
from glia_bench.tasks.cold_starts import WARM
from glia_bench.tasks.conversations import CHAT, SOURCE, conversations
from glia_bench.tasks.task import Task
from glia_bench.workloads.rate_curves import Bursts

ID = "cluster/sessions-v0"
RATE_RPS = 18.0
CAPACITY_RPS = 5.5
"""Of one replica, as measured for routing/sessions-v0."""

BURSTS = Bursts(span_s=CHAT.horizon_s, count=2, lowest=2500, highest=4000, ramp_s=20, hold_s=80, decay_s=40)

CLUSTER = ClusterSpec(
    pools=(
        PoolSpec(
            num_replicas=2,
            min_replicas=1,
            max_replicas=8,
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
    title="Conversations in bursts on 1 to 8 A100 with prefix caches, every hook in one design",
    why_hard="The three decisions pull against each other: a replica that leaves takes the histories of its sessions "
    "with it, one that comes has none, and a router that spreads load to the new one gives up hits on the old. Turns "
    "wait for answers, so a slow minute is paid back as a later burst.",
    source=SOURCE + "; burst shape chosen here",
    objective="gpu_seconds_slo",
    suites=("next",),
    cluster=CLUSTER,
    reference_rate_rps=RATE_RPS,
    rate_basis="chosen here: at load 1 a burst needs about five replicas, at 5.5 requests/s each, and the time between "
    "them two",
    loads=(0.5, 0.7, 0.9, 1.0, 1.1),
    default_loads=(1.0,),
    trace=conversations(ID, BURSTS),
    drain_s=300.0,
    naive="stack_plain",
    expert="stack_plain",
    gpu_seconds_per_request=1 / CAPACITY_RPS,
)
