"""One iteration of the reference simulator: how long its batch takes, on a slow replica too, and its row of the log."""

from dataclasses import dataclass, replace

import numpy as np

from glia_bench.cluster import Latency, LatencyTable
from glia_bench.sim.reference_latency import iteration_ps
from glia_bench.sim.reference_request import RequestState


@dataclass(slots=True, kw_only=True)
class IterationRow:
    """One row of the log of iterations; fields as in `Iterations`."""

    replica: int
    start_ps: int
    end_ps: int
    count: int
    prefill_tokens: int
    num_chunks: int
    num_decodes: int
    context_tokens: int
    allocated_blocks: int
    waiting: int
    running: int
    preempted: int


def batch_ps(
    latency: Latency, thousandths: int, decodes: list[RequestState], chunks: list[tuple[RequestState, int]]
) -> int:
    """Return how long a batch takes on a replica that is slowed by a factor in thousandths.

    Args:
        latency: The replica's iteration times.
        thousandths: 1000 for a replica that is not slow.
        decodes: Requests that get one token each.
        chunks: Requests that prefill, each with its tokens in this iteration.
    """
    is_table = isinstance(latency, LatencyTable)
    cached = [request.computed_tokens for request, _ in chunks]
    sizes = [chunk for _, chunk in chunks]
    duration_ps = iteration_ps(
        _slowed(latency, thousandths) if isinstance(latency, LatencyTable) else latency,
        tokens=len(decodes) + sum(sizes),
        decodes=len(decodes),
        context=sum(request.known_tokens for request in decodes),
        chunks=len(sizes),
        sum_chunk=sum(sizes),
        sum_chunk2=sum(size * size for size in sizes),
        sum_cached=sum(cached),
        sum_cached64=sum(-(-tokens // 64) * 64 for tokens in cached),
        pairs=sum(2 * size * tokens + size * size for size, tokens in zip(sizes, cached, strict=True)),
    )
    return duration_ps if is_table else max(1, (duration_ps * thousandths + 500) // 1000)


_SLOWED: dict[tuple[LatencyTable, int], LatencyTable] = {}


def _slowed(latency: LatencyTable, thousandths: int) -> LatencyTable:
    """Return a table with every coefficient times a factor, rounded; no batch becomes free."""
    if thousandths == 1000:
        return latency
    if (latency, thousandths) not in _SLOWED:

        def scaled(value: int) -> int:
            return (value * thousandths + 500) // 1000

        _SLOWED[latency, thousandths] = replace(
            latency,
            token_ps=np.array([0, *(max(1, scaled(int(x))) for x in latency.token_ps[1:])], dtype=np.int64),
            context_ps=np.array([scaled(int(x)) for x in latency.context_ps], dtype=np.int64),
            decode_ps=np.array([scaled(int(x)) for x in latency.decode_ps], dtype=np.int64),
            pair_ps=scaled(latency.pair_ps),
            chunk_ps=scaled(latency.chunk_ps),
        )
    return _SLOWED[latency, thousandths]
