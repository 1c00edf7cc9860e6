"""Samples of the cluster's state during a run: how far apart, and as a table."""

import math
from typing import TYPE_CHECKING, Any

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S
from glia_bench.types import Samples

if TYPE_CHECKING:
    import pandas as pd

NUM_SAMPLES = 500
"""Samples between the first and the last arrival, about."""


def sample_interval_s(case: Case) -> float:
    """Return an interval of 1, 2 or 5 times a power of ten that gives about `NUM_SAMPLES` up to the last arrival."""
    last_ps = int(case.trace.arrival_ps[case.trace.num_clock - 1])
    exact = max(last_ps / PS_PER_S / NUM_SAMPLES, 0.01)
    power = 10.0 ** math.floor(math.log10(exact))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= exact * 0.999)


def sample_frame(samples: Samples) -> "pd.DataFrame":
    """Return samples as a table, one row per instant.

    Columns: time_s, held, and per replica k waiting_k, running_k, allocated_blocks_k.
    """
    import numpy as np
    import pandas as pd

    columns: dict[str, Any] = {
        "time_s": np.arange(len(samples.held)) * samples.interval_s,
        "held": samples.held.astype(np.int32),
    }
    for name in ("waiting", "running", "allocated_blocks"):
        table = getattr(samples, name).astype(np.int32)
        columns |= {f"{name}_{replica}": table[:, replica] for replica in range(table.shape[1])}
    return pd.DataFrame(columns)
