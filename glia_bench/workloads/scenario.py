"""What a scenario is, and the frame that scenarios of independent requests share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from glia_bench.case import Trace
from glia_bench.cluster import Ints
from glia_bench.errors import InvalidSpecError
from glia_bench.workloads.arrivals import PS_PER_US
from glia_bench.workloads.services import Lengths, fitted, service_lengths
from glia_bench.workloads.shared_content import Content
from glia_bench.workloads.streams import Stream
from glia_bench.workloads.variation import PLAIN, Variation


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a trace is ordered with.

    Attributes:
        key: Key of all draws, with the seed.
        seed: Seed.
        rate_urps: Mean rate of requests (turns) over the horizon, per 1,000,000 s.
        horizon_s: Requests arrive before it.
        variation: Scales of lengths and of unevenness.
    """

    key: str
    seed: int
    rate_urps: int
    horizon_s: int
    variation: Variation

    def stream(self, purpose: str) -> Stream:
        """Return the stream of a purpose."""
        return Stream(self.key, self.seed, purpose)

    def purpose(self, part: str) -> Callable[[str], Stream]:
        """Return what gives the streams of a part of the scenario."""
        return lambda purpose: self.stream(f"{part}: {purpose}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A named workload.

    Attributes:
        name: As in task files and tables.
        title: One line.
        covers: What kind of service it stands for, in a word or two.
        source: Where its laws come from, with licences.
        weaker: What of it is chosen or assumed rather than measured.
        nominal_rate_rps: Mean rate of the source; tasks state their own.
        nominal_horizon_s: Length of the scenario as it is described; tasks state their own.
        max_request_tokens: Context: prompt plus output of every request are at most this.
        slo_classes: Names of the classes that `slo_class` of its traces numbers.
        draw: Makes a trace to order.
        block_size_tokens: Of its shared content: a cluster with a prefix cache must have blocks of this size; 0 where
            no content is shared.
        num_tenants: Of its traces.
    """

    name: str
    title: str
    covers: str
    source: str
    weaker: str
    nominal_rate_rps: float
    nominal_horizon_s: int
    max_request_tokens: int
    slo_classes: tuple[str, ...]
    draw: Callable[[Order], Trace]
    block_size_tokens: int = 0
    num_tenants: int = 1

    def trace(self, key: str, seed: int, *, rate_urps: int, horizon_s: int, variation: Variation = PLAIN) -> Trace:
        """Return a trace; equal arguments give equal traces on every machine.

        Args:
            key: Key of all draws, with the seed: a task's id. Two scenarios of one key share no draws.
            seed: Seed.
            rate_urps: Mean rate of requests (turns) over the horizon, per 1,000,000 s.
            horizon_s: Requests arrive before it; whole seconds.
            variation: Scales of lengths and of unevenness.

        Raises:
            InvalidSpecError: If fewer than one request is expected.
        """
        if rate_urps < 1 or horizon_s < 1 or rate_urps * horizon_s < 1_000_000:
            raise InvalidSpecError(
                f"a trace of {self.name} needs a horizon of at least 1 s and a rate at which at least one request is "
                f"expected in it (got {rate_urps} per 1,000,000 s over {horizon_s} s)"
            )
        return self.draw(
            Order(key=f"{key}\n{self.name}", seed=seed, rate_urps=rate_urps, horizon_s=horizon_s, variation=variation)
        )


def open_trace(
    order: Order,
    arrivals_us: Ints,
    services: Sequence[str],
    max_request_tokens: int,
    *,
    service: Ints | None = None,
    slo_class: Ints | None = None,
) -> Trace:
    """Return independent requests with the lengths of services as a trace.

    Args:
        order: What was ordered.
        arrivals_us: Microseconds, not decreasing; int64, shape (num_requests,).
        services: Whose lengths they have.
        max_request_tokens: Context.
        service: Place of each request's service in `services`, or None for the first.
        slo_class: Of each, or None for the first.
    """
    if service is None:
        service = np.zeros(len(arrivals_us), dtype=np.int64)
    lengths = service_lengths(service, services, order.stream)
    return with_lengths(order, arrivals_us, lengths, max_request_tokens, slo_class=slo_class)


def with_lengths(
    order: Order,
    arrivals_us: Ints,
    lengths: Lengths,
    max_request_tokens: int,
    *,
    tenant: Ints | None = None,
    slo_class: Ints | None = None,
    content: Content | None = None,
) -> Trace:
    """Return independent requests as a trace, their lengths varied and cut; clients allow what the context leaves.

    Raises:
        InvalidSpecError: If there are none.
    """
    if len(arrivals_us) == 0:
        raise InvalidSpecError(f"no request arrives within {order.horizon_s} s; lengthen the horizon or raise the rate")
    lengths = fitted(lengths, order.variation, max_request_tokens)
    return Trace(
        arrival_ps=arrivals_us * np.int64(PS_PER_US),
        prompt_tokens=lengths.prompt,
        output_tokens=lengths.output,
        max_tokens=max_request_tokens - lengths.prompt,
        tenant=tenant,
        slo_class=slo_class,
        block_start=content[0] if content else None,
        block_ids=content[1] if content else None,
    )
