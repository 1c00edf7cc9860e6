"""The latency models of a cluster's pools as the arrays that kernels read: one row per pool, grids end to end."""

from typing import NamedTuple

import numpy as np

from glia_bench.cluster import ClusterSpec, Ints, LatencyGrid, LatencyTable
from glia_bench.features import FloatArray
from glia_bench.sim.latency import linear_perf


class LatencyArrays(NamedTuple):
    """Tables by pool.

    `token_ps[pool, n]`, `decode_ps[pool, D]`, `context_ps[pool, D]` (all 0 for D = 0), `batch_ps[pool]` = (per chunk,
    per pair); all grids in one array; `perf[pool]` = the fields of `features.Perf`.
    """

    token_ps: Ints
    decode_ps: Ints
    context_ps: Ints
    batch_ps: Ints
    grids: Ints
    perf: FloatArray


def grid_offsets(cluster: ClusterSpec) -> list[int]:
    """Return where each pool's grids begin in `LatencyArrays.grids`; -1 for pools with a table."""
    offsets, at = [], 0
    for pool in cluster.pools:
        if isinstance(pool.latency, LatencyGrid):
            offsets.append(at)
            at += len(pool.latency.packed)
        else:
            offsets.append(-1)
    return offsets


def latency_arrays(cluster: ClusterSpec) -> LatencyArrays:
    """Return the arrays of a cluster's latency models."""
    budget = max(pool.engine.token_budget for pool in cluster.pools)
    decodes = max(pool.engine.max_running for pool in cluster.pools)
    num = len(cluster.pools)
    arrays = LatencyArrays(
        token_ps=np.zeros((num, budget + 1), dtype=np.int64),
        decode_ps=np.zeros((num, decodes + 1), dtype=np.int64),
        context_ps=np.zeros((num, decodes + 1), dtype=np.int64),
        batch_ps=np.zeros((num, 2), dtype=np.int64),
        grids=np.concatenate(
            [pool.latency.packed for pool in cluster.pools if isinstance(pool.latency, LatencyGrid)]
            or [np.zeros(1, dtype=np.int64)]
        ),
        perf=np.array([linear_perf(pool.latency) for pool in cluster.pools]),
    )
    for k, pool in enumerate(cluster.pools):
        if isinstance(pool.latency, LatencyTable):
            _fill(arrays, k, pool.latency)
    return arrays


def _fill(arrays: LatencyArrays, k: int, latency: LatencyTable) -> None:
    """Write one table into row k."""
    reach = min(len(latency.token_ps), arrays.token_ps.shape[1])
    arrays.token_ps[k, :reach] = latency.token_ps[:reach]
    for name in ("decode_ps", "context_ps"):
        row, values = getattr(arrays, name)[k], getattr(latency, name)
        row[: len(values)] = values[: len(row)]
        row[len(values) :] = values[-1]
        row[0] = 0
    arrays.batch_ps[k] = (latency.chunk_ps, latency.pair_ps)
