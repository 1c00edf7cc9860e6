"""A task's workload taken from a scenario: the task gives key, rate and horizon."""

from glia_bench.case import Trace
from glia_bench.tasks.task import TraceMaker
from glia_bench.workloads.lengths_file import Lengths
from glia_bench.workloads.scenario import Scenario
from glia_bench.workloads.variation import Variation


def scenario_trace(scenario: Scenario, task_id: str, *, horizon_s: int) -> TraceMaker:
    """Return a maker of a scenario's traces for a task."""

    def make(rate_urps: int, seed: int, lengths: Lengths | None, variation: Variation) -> Trace:
        return scenario.trace(task_id, seed, rate_urps=rate_urps, horizon_s=horizon_s, variation=variation)

    return make
