"""What a task is: a cluster, a workload per (load, seed), an objective and its references; and from these, a case.

Nothing here draws a number or simulates: workloads do the one, the simulator the other.
"""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from glia_bench.case import Case, Fault, Trace
from glia_bench.cluster import PS_PER_S, ClusterSpec, Ints
from glia_bench.errors import InvalidSpecError, InvalidTraceError
from glia_bench.policy import Track
from glia_bench.tasks.perturbation import NONE, Perturbation
from glia_bench.tasks.perturbed import perturbed_cluster, perturbed_workload, scaled
from glia_bench.workloads.arrivals import PS_PER_US
from glia_bench.workloads.lengths import MAX_REQUEST_TOKENS
from glia_bench.workloads.lengths_file import Lengths
from glia_bench.workloads.predictor import NO_PREDICTOR, LengthPredictor, predict
from glia_bench.workloads.streams import Stream
from glia_bench.workloads.variation import Variation

LOADS = (0.5, 0.7, 0.9, 1.0, 1.1)
"""Fractions of capacity that tasks are run at."""

CAPACITY = "capacity: the highest rate without growing backlog over the case's own duration (tools/measure_capacity.py)"

MIN_LOAD, MAX_LOAD = 0.01, 10.0
CLOCK_OFFSET_LIMIT_S = 1_000_000

TraceMaker: TypeAlias = Callable[[int, int, Lengths | None, Variation], Trace]
"""(rate in requests per 1,000,000 s, seed, lengths from the user or None, how the workload varies) -> trace."""

FaultMaker: TypeAlias = Callable[[int, int], tuple[Fault, ...]]
"""(number of replicas, seed) -> what befalls them."""


def no_faults(num_replicas: int, seed: int) -> tuple[Fault, ...]:
    """Return the faults of a run in which nothing fails."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One task of the catalog.

    Attributes:
        id: "track/name-vN"; anything that changes a cost changes it.
        track: What is designed.
        title: One line for tables.
        why_hard: What a design must get right, in a few sentences.
        source: Where the setting comes from.
        objective: Name of the cost in scoring/metrics.py; lower is better.
        suites: Suites that it belongs to.
        cluster: The system; its classes are the task's latency objectives.
        reference_rate_rps: Mean arrival rate at load 1.
        rate_basis: What that rate is: a capacity as tools/measure_capacity.py finds it, or a source's nominal rate.
        loads: Fractions of that rate that the full suite runs.
        default_loads: Those that a plain run uses.
        dev_seeds: Public development seeds.
        trace: Makes the workload.
        drain_s: A run ends when drained, or this long after its last arrival.
        naive: Plain reference policy.
        expert: Human expert reference policy.
        any_load: Whether loads other than `loads` make sense.
        needs_lengths: Whether the user must give a lengths file.
        lengths_hint: Where to get it, for the error message.
        predictor: Length predictor granted to designs.
        faults: Draws what befalls replicas.
        gpu_seconds_per_request: GPU time of a request at capacity: w in objectives that price GPU time, else 0.
        separation: Naive reference's cost over the expert's at the default loads, geometric mean over the development
            seeds, as tools/measure_separation.py finds it; None where it was not measured.
        guard_reason: Why the task is only a guard, on which designs must not fail but cannot gain; empty: it is none.
        published: Published mean end-to-end latency in seconds by policy, or None.
    """

    id: str
    track: Track
    title: str
    why_hard: str
    source: str
    objective: str
    suites: tuple[str, ...]
    cluster: ClusterSpec
    reference_rate_rps: float
    rate_basis: str
    default_loads: tuple[float, ...]
    trace: TraceMaker
    drain_s: float
    loads: tuple[float, ...] = LOADS
    dev_seeds: tuple[int, ...] = tuple(range(10))
    naive: str = "round_robin"
    expert: str = "expert"
    any_load: bool = True
    needs_lengths: bool = False
    lengths_hint: str = ""
    predictor: LengthPredictor = NO_PREDICTOR
    faults: FaultMaker = no_faults
    gpu_seconds_per_request: float = 0.0
    separation: float | None = None
    guard_reason: str = ""
    published: Mapping[str, float] | None = None

    @property
    def is_guard(self) -> bool:
        """Whether the references are too close to tell designs apart by it."""
        return bool(self.guard_reason)

    def case(self, load: float, seed: int, lengths: Lengths | None = None, perturbation: Perturbation = NONE) -> Case:
        """Return one run's input; equal arguments give equal cases on every machine.

        Args:
            load: Fraction of the reference rate, used to the nearest millionth of a request per second.
            seed: 0 or above. A seed's requests and gaps are the same at every load but for the time scale.
            lengths: Known requests, for tasks that need them; others ignore them.
            perturbation: How cluster and workload differ from the task's own.

        Raises:
            InvalidSpecError: If the load, the seed or the perturbation is outside what the task allows.
            InvalidTraceError: If the task needs lengths and has none.
        """
        load = self._checked_load(load)
        seed = _checked_seed(seed)
        if self.needs_lengths and lengths is None:
            raise InvalidTraceError(f"{self.id} needs {self.lengths_hint}: pass --lengths FILE")
        if perturbation != NONE and not self.any_load:
            raise InvalidSpecError(
                f"{self.id} has one fixed trace: it must not be perturbed (got {perturbation}); use another task"
            )
        cluster = perturbed_cluster(self.cluster, perturbation)
        rate_urps = scaled(round(self.reference_rate_rps * load * 1_000_000), perturbation.load_permille)
        trace = self.trace(rate_urps, seed, lengths, perturbed_workload(perturbation))
        return Case(
            cluster=cluster,
            trace=trace,
            drain_s=self.drain_s,
            clock_offset_ps=Stream(self.id, seed, "clock offset").below(CLOCK_OFFSET_LIMIT_S * PS_PER_S),
            policy_seed=Stream(self.id, seed, "policy seed").below(1 << 63),
            scenario_seed=Stream(self.id, seed, "scenario seed").below(1 << 63),
            faults=self.faults(cluster.num_replicas, seed),
            predicted_tokens=predict(self.predictor, trace, self.id, seed),
        )

    def _checked_load(self, load: float) -> float:
        known = ", ".join(f"{known:g}" for known in self.loads)
        try:
            value = float(load)
        except (TypeError, ValueError):
            value = math.nan
        if not self.any_load and value not in self.loads:
            raise InvalidSpecError(f"{self.id} has one fixed trace: its load must be {known} (got {load})")
        if not MIN_LOAD <= value <= MAX_LOAD:
            raise InvalidSpecError(
                f"load of {self.id} must be a number between {MIN_LOAD:g} and {MAX_LOAD:g}, a fraction of its "
                f"{self.reference_rate_rps:g} requests/s (got {load}); its own loads are {known}"
            )
        return value


def _checked_seed(seed: int) -> int:
    try:
        value = operator.index(seed)
    except TypeError:
        value = -1
    if value < 0 or isinstance(seed, bool):
        raise InvalidSpecError(f"seed must be a whole number, at least 0 (got {seed!r})")
    return value


def open_loop_trace(arrivals_us: Ints, prompt_tokens: Ints, output_tokens: Ints, variation: Variation) -> Trace:
    """Return independent requests as a trace; clients allow what the context of MAX_REQUEST_TOKENS leaves."""
    prompt = np.minimum(variation.tokens(prompt_tokens), MAX_REQUEST_TOKENS - 1)
    return Trace(
        arrival_ps=arrivals_us * np.int64(PS_PER_US),
        prompt_tokens=prompt,
        output_tokens=np.minimum(variation.tokens(output_tokens), MAX_REQUEST_TOKENS - prompt),
        max_tokens=MAX_REQUEST_TOKENS - prompt,
    )
