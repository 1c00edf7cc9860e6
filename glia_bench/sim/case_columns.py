"""What a trace and a predictor say of requests beside their lengths, as the columns that hooks' views read."""

import numpy as np

from glia_bench.case import Case
from glia_bench.features import IntArray
from glia_bench.sim import columns as col


def meta_columns(case: Case) -> IntArray:
    """Return the columns META_COLUMNS of a case; int64, shape (num_requests, 6)."""
    columns = np.zeros((len(case.trace), len(col.META_COLUMNS)), dtype=np.int64)
    columns[:, col.M_SESSION] = -1
    for k, name in enumerate(col.META_COLUMNS):
        values = case.predicted_tokens if name == "predicted_tokens" else getattr(case.trace, name)
        if values is not None:
            columns[:, k] = values
    return columns


def has_meta(case: Case) -> bool:
    """Return whether any of META_COLUMNS differs from its default."""
    names = col.META_COLUMNS[:-1]
    return case.predicted_tokens is not None or any(getattr(case.trace, name) is not None for name in names)
