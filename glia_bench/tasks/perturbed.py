"""A task's cluster and workload under a perturbation: more or fewer replicas, KV blocks, tokens, bursts.

Counts are scaled in integers and rounded half up. Left out: what changes the design's contract (classes, triggers,
staleness) and what the latency model says.
"""

from dataclasses import replace

import numpy as np

from glia_bench.cluster import ClusterSpec, PoolSpec
from glia_bench.tasks.perturbation import NONE, Perturbation
from glia_bench.workloads.quantile_table import QuantileTable, shipped_table
from glia_bench.workloads.variation import Variation, gamma_gaps, uneven_gaps, uneven_levels


def scaled(count: int, permille: int) -> int:
    """Return a count times so many thousandths, rounded half up."""
    return (count * permille + 500) // 1000


def perturbed_cluster(cluster: ClusterSpec, perturbation: Perturbation) -> ClusterSpec:
    """Return the cluster with its replicas and their KV blocks scaled; a pool that has replicas keeps at least one."""
    if perturbation == NONE:
        return cluster
    return replace(cluster, pools=tuple(_perturbed_pool(pool, perturbation) for pool in cluster.pools))


def perturbed_workload(perturbation: Perturbation) -> Variation:
    """Return how the workload varies."""
    return Variation(length_permille=perturbation.length_permille, burst_permille=perturbation.burst_permille)


def perturbed_gaps(law: str, cv_permille: int, variation: Variation) -> QuantileTable:
    """Return a shipped law of gaps with its CV scaled.

    Args:
        law: Stem of a table.
        cv_permille: Its CV in thousandths.
        variation: How much less or more even gaps are.
    """
    table = shipped_table(law)
    if variation.burst_permille == 1000:
        return table
    return uneven_gaps(_in_layout_of(gamma_gaps(cv_permille), table), cv_permille, variation)


def _in_layout_of(other: QuantileTable, table: QuantileTable) -> QuantileTable:
    """Return a table's quantiles at the knots of another one."""
    bits = []
    for octave in range(other.octaves):
        width_log2 = 64 - octave - (octave < other.octaves - 1)
        start, step_log2 = (1 << 64) - (1 << (64 - octave)), width_log2 - other.bins_log2
        bits += [start + (number << step_log2) for number in range(1 << other.bins_log2)]
    knots = table.draw(np.array([*bits, (1 << 64) - 1], dtype=np.uint64))
    return QuantileTable(octaves=other.octaves, bins_log2=other.bins_log2, knots=knots)


def perturbed_levels(levels: list[int], variation: Variation) -> list[int]:
    """Return a rate curve of the same mean rate whose levels spread less or more."""
    if variation.burst_permille == 1000:
        return levels
    uneven = uneven_levels(np.array(levels), variation)
    return [int(level) for level in uneven * sum(levels) // int(uneven.sum())]


def _perturbed_pool(pool: PoolSpec, perturbation: Perturbation) -> PoolSpec:
    smallest, start, largest = (
        max(min(count, 1), scaled(count, perturbation.replicas_permille))
        for count in (pool.smallest, pool.num_replicas, pool.largest)
    )
    blocks = max(1, scaled(pool.engine.num_blocks, perturbation.kv_permille))
    return replace(
        pool,
        num_replicas=start,
        min_replicas=smallest,
        max_replicas=largest,
        engine=replace(pool.engine, num_blocks=blocks),
    )
