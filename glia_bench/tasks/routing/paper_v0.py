"""routing/paper-v0: the paper's cluster at its operating point, with fresh arrivals and lengths per seed."""

from glia_bench.tasks.routing.paper import (
    CLUSTER,
    DRAIN_S,
    PUBLISHED_MEAN_E2E_S,
    RATE_BASIS,
    RATE_RPS,
    SOURCE,
    fresh_trace,
)
from glia_bench.tasks.task import Task

ID = "routing/paper-v0"

TASK = Task(
    id=ID,
    track="routing",
    title="The Glia paper's experiment with fresh draws: 4 x A10, Llama-3-8B, 7.5 requests/s",
    why_hard="KV memory is short and output lengths are unknown and independent of the prompt. Bursty arrivals (gap CV "
    "7.3) fill replicas faster than they drain, and a preempted request is computed again. Holding requests back at "
    "the router, and choosing which to send first, is what pays. Traces differ: read paired differences over seeds.",
    source=SOURCE + ". The published row is the paper's one trace; these are draws of the same law",
    objective="mean_e2e_s",
    suites=("quick", "paper", "full"),
    cluster=CLUSTER,
    reference_rate_rps=RATE_RPS,
    rate_basis=RATE_BASIS,
    loads=(1.0,),
    default_loads=(1.0,),
    trace=fresh_trace(ID),
    drain_s=DRAIN_S,
    published=PUBLISHED_MEAN_E2E_S,
    expert="spt_hold@de6a18",
    separation=2.05,
)
