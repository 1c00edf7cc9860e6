"""Diagnostics beside the headline, by rliable's definitions: IQM, optimality gap, improvement, profiles, bootstrap.

Scores are numbers of which more is better, such as log-gains: one array per task with its seeds along the last axis,
which may differ in number. Further axes in front, such as replicates, pass through. The bootstrap resamples seeds
within each task and keeps all tasks; its percentile intervals are too narrow for claims over few seeds, for which there
is `intervals`.

Source:
    Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, NeurIPS 2021; rliable 1.2.0,
    with which tests compare every definition.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from glia_bench.scoring.intervals import CONFIDENCE

Floats: TypeAlias = npt.NDArray[np.float64]
Scores: TypeAlias = Sequence[Floats]

PAGE_REPLICATES = 2_000
RELEASE_REPLICATES = 50_000
_AT_ONCE = 1_000


def iqm(scores: Scores) -> Floats:
    """Return the interquartile mean: of all cells, without the lowest and the highest quarter of them."""
    cells = np.sort(np.concatenate(scores, axis=-1), axis=-1)
    cut = cells.shape[-1] // 4
    return _mean(cells[..., cut : cells.shape[-1] - cut])


def optimality_gap(scores: Scores, target: float) -> Floats:
    """Return how far the cells are from a target on average, those above it counting as there.

    Args:
        scores: Scores.
        target: 0 for log-gains, the expert's own level.
    """
    return target - _mean(np.minimum(np.concatenate(scores, axis=-1), target))


def probability_of_improvement(ours: Scores, theirs: Scores) -> Floats:
    """Return how often a cell of ours beats one of theirs, draws counting one half; averaged over tasks.

    Within a task every seed meets every other, as in the source; `score.share_better` pairs equal seeds.
    """
    wins = [
        0.5 + 0.5 * _mean(_mean(np.sign(mine[..., :, None] - other[..., None, :])))
        for mine, other in zip(ours, theirs, strict=True)
    ]
    return _mean(np.stack(wins, axis=-1))


def performance_profile(scores: Scores, levels: Floats) -> Floats:
    """Return the share of cells above each level; levels along the last axis."""
    cells = np.concatenate(scores, axis=-1)
    return _mean(cells[..., None, :] > levels[:, None])


def bootstrap(
    statistic: Callable[[Scores], Floats], scores: Scores, *, seed: int = 0, replicates: int = PAGE_REPLICATES
) -> tuple[Floats, Floats]:
    """Return the ends of the 95 % percentile interval of a statistic.

    Args:
        statistic: One of the above, with all but the scores fixed.
        scores: What to resample.
        seed: Of the resampling: the same seed gives the same interval.
        replicates: Resamples: 2,000 for a page, 50,000 for a release.
    """
    stream = np.random.Generator(np.random.PCG64(seed))
    found = []
    for start in range(0, replicates, _AT_ONCE):
        count = min(_AT_ONCE, replicates - start)
        drawn = [task[stream.integers(0, len(task), (count, len(task)))] for task in scores]
        found.append(statistic(drawn))
    tail = 0.5 - 0.5 * CONFIDENCE
    low, high = np.quantile(np.concatenate(found), (tail, 1.0 - tail), axis=0)
    return np.asarray(low), np.asarray(high)


def describe(gains: Scores) -> dict[str, float]:
    """Return the diagnostics of a policy from its log-gains: what a row over tasks shows.

    `iqm` and its interval are ratios like `expert_ratio`, `optimality_gap` is in log-gains below the expert's level,
    `improvement` the probability of improving on the expert.
    """
    low, high = bootstrap(iqm, gains)
    return {
        "iqm": math.exp(iqm(gains)),
        "iqm_low": math.exp(low),
        "iqm_high": math.exp(high),
        "optimality_gap": float(optimality_gap(gains, 0.0)),
        "improvement": float(probability_of_improvement(gains, [np.zeros_like(task) for task in gains])),
    }


def _mean(values: npt.NDArray[np.float64] | npt.NDArray[np.bool_]) -> Floats:
    return np.asarray(np.mean(values, axis=-1), dtype=np.float64)
