"""routing/paper-exact-v0: the paper's own arrivals and lengths, as far as they are public."""

from glia_bench.case import Trace
from glia_bench.tasks.routing.paper import CLUSTER, DRAIN_S, PUBLISHED_MEAN_E2E_S, RATE_BASIS, RATE_RPS, SOURCE
from glia_bench.tasks.task import Task, open_loop_trace
from glia_bench.workloads.arrivals import paper_exact_arrivals_us
from glia_bench.workloads.lengths import completed_lengths
from glia_bench.workloads.lengths_file import Lengths
from glia_bench.workloads.variation import Variation

ID = "routing/paper-exact-v0"


def _trace(rate_urps: int, seed: int, lengths: Lengths | None, variation: Variation) -> Trace:
    assert lengths is not None
    arrivals_us = paper_exact_arrivals_us()
    return open_loop_trace(arrivals_us, *completed_lengths(lengths, ID, seed, len(arrivals_us)), variation)


TASK = Task(
    id=ID,
    track="routing",
    title="The Glia paper's trace: its 7,859 arrivals, its lengths from your file",
    why_hard="KV memory, not compute, is short: a router that only counts requests overfills replicas, which then "
    "preempt and recompute a quarter of all requests. The point lies on a cliff, so two per cent of speed moves the "
    "count-based policies by many seconds: use it to check the published row, not to rank designs.",
    source=SOURCE + ". Each seed reshuffles the known lengths for the 3,886 requests whose lengths are not public",
    objective="mean_e2e_s",
    suites=("paper", "full"),
    cluster=CLUSTER,
    reference_rate_rps=RATE_RPS,
    rate_basis=RATE_BASIS,
    loads=(1.0,),
    default_loads=(1.0,),
    any_load=False,
    trace=_trace,
    drain_s=DRAIN_S,
    needs_lengths=True,
    lengths_hint="the authors' length file (public: github.com/pouyahmdn/vidur, "
    "data/processed_traces/sharegpt_12.0.csv)",
    published=PUBLISHED_MEAN_E2E_S,
)
