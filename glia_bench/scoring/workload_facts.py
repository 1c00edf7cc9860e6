"""What a workload looks like in numbers: its rate over time, unevenness of arrivals, lengths, shares, common prefixes.

All of it is of one draw (task, load, seed), by nominal arrival times: those of follow-up turns as if service took no
time. Nothing is simulated. Left out: how prompt and output lengths depend on each other, and drift of the lengths.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glia_bench.case import Case, Trace
from glia_bench.cluster import PS_PER_S, Ints
from glia_bench.tasks.task import Task

IOD_WINDOWS_S = (1, 10, 60)
"""Windows of the indices of dispersion."""

_NUM_WINDOWS = 120
_SMOOTH_WINDOWS = 5
_ONSET, _CALM = 1.5, 1.2
_SIGMAS = 3.0
_MEDIAN_OF_SQUARES = 0.455
"""Median of a squared standard normal number, whose mean is 1."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorkloadFacts:
    """One draw of a workload.

    Attributes:
        seed: Its seed.
        num_requests: Requests.
        span_s: From 0 to the last arrival.
        window_s: Width of the windows of `rate_rps`.
        rate_rps: Arrivals per second in each window; shape (num_windows,).
        onsets_s: When the rate, smoothed over five windows, rises above 1.5 times its median and above chance.
        prompt_tokens, output_tokens: Sorted; shape (num_requests,).
        gap_cv: Standard deviation of the gaps between arrivals over their mean; NaN if undefined.
        dispersion: Variance over mean of the counts in windows of `IOD_WINDOWS_S`; NaN where fewer than ten fit.
        class_shares, tenant_shares: Share of the requests by number of class or tenant; empty where there is only one.
        common_shares: Sorted, of each request: share of its prompt that an earlier request began with, in whole blocks;
            empty where nothing is shared.
        common_tokens: Share of all prompt tokens that are so; what an endless prefix cache would save.
    """

    seed: int
    num_requests: int
    span_s: float
    window_s: float
    rate_rps: Floats
    onsets_s: tuple[float, ...]
    prompt_tokens: Ints
    output_tokens: Ints
    gap_cv: float
    dispersion: tuple[float, ...]
    class_shares: Floats
    tenant_shares: Floats
    common_shares: Floats
    common_tokens: float

    @property
    def mean_rate_rps(self) -> float:
        """Requests over the span."""
        return self.num_requests / self.span_s


def workload_facts(task: Task, load: float, seed: int) -> WorkloadFacts:
    """Return the numbers of one draw.

    Raises:
        GliaBenchError: If the task has no such case.
    """
    case = task.case(load, seed)
    trace = case.trace
    times_s = np.sort(trace.arrival_ps) / PS_PER_S
    span_s = max(float(times_s[-1]), 1e-6)
    window_s = _round_up(span_s / _NUM_WINDOWS)
    rate_rps = _counts(times_s, span_s, window_s) / window_s
    gaps = np.diff(times_s)
    common = _common_tokens(case)
    return WorkloadFacts(
        seed=seed,
        num_requests=len(trace),
        span_s=span_s,
        window_s=window_s,
        rate_rps=rate_rps,
        onsets_s=_onsets(rate_rps, window_s),
        prompt_tokens=np.sort(trace.prompt_tokens),
        output_tokens=np.sort(trace.output_tokens),
        gap_cv=float(gaps.std() / gaps.mean()) if len(gaps) and gaps.mean() > 0 else float("nan"),
        dispersion=tuple(_dispersion(times_s, span_s, window) for window in IOD_WINDOWS_S),
        class_shares=_shares(trace.slo_class, len(case.cluster.slo_classes)),
        tenant_shares=_shares(trace.tenant, case.cluster.num_tenants),
        common_shares=np.sort(common / trace.prompt_tokens) if len(common) else np.zeros(0),
        common_tokens=float(common.sum() / trace.prompt_tokens.sum()),
    )


def _round_up(value: float) -> float:
    """Return 1, 2 or 5 times a power of ten, no less than a value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.999))


def _counts(times_s: Floats, span_s: float, window_s: float) -> Floats:
    """Return arrivals in the whole windows of a span; in its one part of a window if there is no whole one."""
    number = max(int(span_s / window_s), 1)
    return np.bincount((times_s / window_s).astype(np.int64), minlength=number)[:number].astype(np.float64)


def _dispersion(times_s: Floats, span_s: float, window_s: float) -> float:
    if span_s < 10 * window_s:
        return float("nan")
    counts = _counts(times_s, span_s, window_s)
    return float(counts.var(ddof=1) / counts.mean())


def _onsets(rate_rps: Floats, window_s: float) -> tuple[float, ...]:
    """Return when the rate rises for a while: see `WorkloadFacts.onsets_s`; again only after it has calmed down."""
    if len(rate_rps) < 2 * _SMOOTH_WINDOWS:
        return ()
    smooth = np.convolve(rate_rps, np.ones(_SMOOTH_WINDOWS) / _SMOOTH_WINDOWS, mode="valid")
    usual = float(np.median(smooth))
    # what neighbouring windows differ by is chance too, and in bursty arrivals more than Poisson's
    noise = max(max(usual, 1e-9) / window_s, float(np.median(np.diff(rate_rps) ** 2)) / _MEDIAN_OF_SQUARES / 2)
    chance = _SIGMAS * np.sqrt(noise / _SMOOTH_WINDOWS)
    onsets, is_armed = [], bool(smooth[0] < _CALM * usual)
    for place, rate in enumerate(smooth):
        if is_armed and rate > max(_ONSET * usual, usual + chance):
            first = place + int(np.argmax(rate_rps[place : place + _SMOOTH_WINDOWS] > _CALM * usual))
            onsets.append(first * window_s)
            is_armed = False
        is_armed = is_armed or bool(rate < _CALM * usual)
    return tuple(onsets)


def _shares(column: Ints | None, number: int) -> Floats:
    return np.zeros(0) if column is None or number < 2 else np.bincount(column, minlength=number) / len(column)


def _common_tokens(case: Case) -> Ints:
    """Return for each request the prompt tokens, in whole blocks, that an earlier one began with; empty without any."""
    trace = case.trace
    if trace.block_start is None or trace.block_ids is None or not len(trace.block_ids):
        return np.zeros(0, dtype=np.int64)
    rank = np.empty(len(trace), dtype=np.int64)
    rank[np.argsort(trace.arrival_ps, kind="stable")] = np.arange(len(trace))
    sizes = np.diff(trace.block_start)
    row = np.repeat(np.arange(len(trace)), sizes)
    _, number = np.unique(trace.block_ids, return_inverse=True)
    first = np.full(int(number.max()) + 1, len(trace), dtype=np.int64)
    np.minimum.at(first, number, rank[row])
    place = np.arange(len(row)) - trace.block_start[row]
    # the first block that nobody had before ends what is common
    leading = sizes.copy()
    is_new = first[number] >= rank[row]
    np.minimum.at(leading, row[is_new], place[is_new])
    size = case.cluster.block_size_tokens
    return np.minimum(leading, _prompt_blocks(trace, size)) * size


def _prompt_blocks(trace: Trace, block_size_tokens: int) -> Ints:
    return trace.prompt_tokens // block_size_tokens
