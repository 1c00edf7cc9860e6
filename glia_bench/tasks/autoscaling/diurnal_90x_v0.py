"""autoscaling/diurnal-90x-v0: a day and a night in sixteen minutes, on nodes that must be booted."""

from dataclasses import replace

from glia_bench.cluster import ClusterSpec
from glia_bench.tasks.cold_starts import COLD_NODE
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.scenario_trace import scenario_trace
from glia_bench.tasks.slo import slo_classes
from glia_bench.tasks.task import CAPACITY, Task
from glia_bench.workloads.open_scenarios import diurnal_day

ID = "autoscaling/diurnal-90x-v0"
HORIZON_S = 960
RATE_RPS = 8.61
SCENARIO = diurnal_day(90)
COLD_NODE_90X = replace(
    COLD_NODE, name="cold_node_90x", provision_s=COLD_NODE.provision_s / 90, load_s=COLD_NODE.load_s / 90
)
"""Hurried like the day; so is the lag of the window, 90 s of the day. Requests and engines are not hurried."""
POOL = replica_pool("a10-llama3-8b", num_replicas=2, min_replicas=1, max_replicas=4, cold_start=COLD_NODE_90X)

TASK = Task(
    id=ID,
    track="autoscaling",
    title="A day in 16 minutes on 1 to 4 A10",
    why_hard="The peak is twice the mean and the trough a sixth of it, but noise of tens of minutes lies on the rhythm "
    "and its phase differs from seed to seed. A replica takes ten minutes of that day to come. Following the load "
    "saves half of the fleet; following it too closely pays in missed first tokens.",
    source=SCENARIO.source,
    objective="gpu_seconds_slo",
    suites=("quick", "core", "full"),
    cluster=ClusterSpec(pools=(POOL,), window_lag_s=1, slo_classes=slo_classes(POOL, "standard", "relaxed")),
    reference_rate_rps=RATE_RPS,
    rate_basis=CAPACITY,
    default_loads=(0.5, 0.7),
    trace=scenario_trace(SCENARIO, ID, horizon_s=HORIZON_S),
    drain_s=300.0,
    naive="fixed",
    expert="queueing_sqrt@118062",
    separation=3.70,
    gpu_seconds_per_request=POOL.largest * POOL.gpus_per_replica / RATE_RPS,
)
