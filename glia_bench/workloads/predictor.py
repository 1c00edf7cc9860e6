"""Length predictors: what a task grants its designs as `request.predicted_tokens`.

A real predictor is a small model; here it is its error. `none` grants nothing; `bucket` knows how long outputs are on
average in a class and prompt-length bucket, from a table that a task freezes; `noisy` is the true length times a
lognormal factor of mean 1; `oracle` is the truth, for bounds that are never ranked. The three sigmas are chosen here,
from good to hardly better than the mean; predictors of such a kind: arXiv 2305.13144, arXiv 2306.06000 (S3). Left out:
estimates that sharpen while a request generates.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from glia_bench.case import Trace
from glia_bench.cluster import Ints
from glia_bench.errors import InvalidSpecError
from glia_bench.workloads.quantile_table import UNIT_LOG2, shipped_table
from glia_bench.workloads.streams import Stream

PredictorKind: TypeAlias = Literal["none", "bucket", "noisy", "oracle"]

SIGMA_PERCENTS = (30, 70, 120)
"""Errors of the `noisy` predictor for which a factor table is shipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthPredictor:
    """What a task grants.

    Attributes:
        kind: The error model.
        sigma_percent: Of `noisy`: 100 times the standard deviation of the logarithm.
        edges: Of `bucket`: prompt tokens at which the second, third ... bucket begins, rising.
        means: Of `bucket`: a row per SLO class, mean output tokens in each of the len(edges) + 1 buckets.
    """

    kind: PredictorKind = "none"
    sigma_percent: int = 0
    edges: tuple[int, ...] = ()
    means: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("none", "bucket", "noisy", "oracle"):
            raise InvalidSpecError(
                f"kind of a length predictor must be none, bucket, noisy or oracle (got {self.kind!r})"
            )
        if (self.kind == "noisy") != (self.sigma_percent in SIGMA_PERCENTS):
            raise InvalidSpecError(
                f"sigma_percent must be one of {', '.join(map(str, SIGMA_PERCENTS))} for a noisy predictor and 0 for "
                f"others (got {self.sigma_percent} for {self.kind!r})"
            )
        if (self.kind == "bucket") != bool(self.means):
            raise InvalidSpecError("means belong to a bucket predictor, and it needs them")
        if list(self.edges) != sorted(set(self.edges)):
            raise InvalidSpecError(f"edges of a bucket predictor must rise (got {self.edges})")
        if any(len(row) != len(self.edges) + 1 or min(row) < 1 for row in self.means):
            raise InvalidSpecError(
                f"every row of a bucket predictor's means needs {len(self.edges) + 1} numbers of at least 1, one per "
                f"bucket (got {self.means})"
            )


NO_PREDICTOR = LengthPredictor()


def predict(predictor: LengthPredictor, trace: Trace, task_id: str, seed: int) -> Ints | None:
    """Return the estimates of a trace's output tokens, at least 1; int64, shape (num_requests,); None for no predictor.

    Row i of a (task, seed) always has the same factor.

    Raises:
        InvalidSpecError: If a bucket predictor has no row for an SLO class of the trace.
    """
    if predictor.kind == "none":
        return None
    if predictor.kind == "oracle":
        return trace.output_tokens.copy()
    if predictor.kind == "noisy":
        table = shipped_table(f"lognormal_sigma{predictor.sigma_percent}_factors")
        factor = table.draw(Stream(task_id, seed, "length predictor").bits(len(trace)))
        half = 1 << (UNIT_LOG2 - 1)
        estimate: Ints = (trace.output_tokens * factor + half) >> UNIT_LOG2
        return np.maximum(estimate, 1)
    of_class = np.zeros(len(trace), dtype=np.int64) if trace.slo_class is None else trace.slo_class
    if of_class.max() >= len(predictor.means):
        raise InvalidSpecError(
            f"a bucket predictor needs a row of means for each SLO class (got {len(predictor.means)}, and a request of "
            f"class {of_class.max()})"
        )
    bucket = np.searchsorted(np.array(predictor.edges, dtype=np.int64), trace.prompt_tokens, side="right")
    return np.array(predictor.means, dtype=np.int64)[of_class, bucket]
