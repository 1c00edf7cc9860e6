"""Per-request records to metrics: every definition, once.

A request's times are differences of the int64 picoseconds of `Records`; sums of times are exact integers and are
divided once, sums of ratios use `math.fsum`, so a metric has the same bits on every machine and in any order.

Who did not finish is charged, never dropped: where an event of a request did not happen (first token, completion ...)
it is taken to happen at the horizon, `Case.horizon_ps`, however early the run drained. So an unfinished or rejected
request has the latency horizon - arrival and stands in every mean and percentile: rejecting never pays.

Percentiles are order statistics without interpolation: p of n values is the ceil(p * n)-th smallest (NumPy calls the
rule "inverted_cdf"). Inter-token latencies, fairness and cost per class are not modelled here.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from glia_bench.types import FINISHED, NEVER_PS, PS_PER_S, REJECTED, UNFINISHED, Case, Ints, RunResult

if TYPE_CHECKING:
    import pandas as pd

    from glia_bench.tasks.task import Task

OUTCOMES: dict[int, str] = {FINISHED: "finished", UNFINISHED: "unfinished", REJECTED: "rejected"}
"""Words for `Records.outcome`, as they stand in request tables."""

METRICS: dict[str, str] = {
    "e2e_mean_s": "mean end-to-end latency: completion - arrival",
    "e2e_p50_s": "median end-to-end latency",
    "e2e_p90_s": "90th percentile of end-to-end latency",
    "e2e_p99_s": "99th percentile of end-to-end latency",
    "e2e_p999_s": "99.9th percentile of end-to-end latency",
    "e2e_max_s": "largest end-to-end latency",
    "ttft_mean_s": "mean time to first token: first output token - arrival, time in the held queue included",
    "ttft_p50_s": "median TTFT",
    "ttft_p90_s": "90th percentile of TTFT",
    "ttft_p99_s": "99th percentile of TTFT",
    "tpot_mean_s": "mean over requests with more than one output token of (completion - first token) / (output - 1)",
    "tpot_p99_s": "99th percentile of the same",
    "queueing_mean_s": "mean queueing delay: first admission to a batch - arrival",
    "held_mean_s": "mean time in the router's held queue: first dispatch - arrival",
    "slowdown_mean": "mean of end-to-end latency over that of the same request alone on an empty replica",
    "throughput_rps": "finished requests per second of the run",
    "goodput_rps": "finished requests that met all their SLOs, per second; all finished ones where there is no SLO",
    "slo_attainment": "share of all requests that finished within all their SLOs; 1 where the task has no SLO",
    "preemptions": "preemptions by recompute, summed over requests",
    "restarted_fraction": "share of requests preempted at least once",
    "rejected_fraction": "share of requests rejected by the router",
    "unfinished_fraction": "share of requests unfinished when the run ended",
    "gpu_hours": "hours of GPU time: replicas * duration of the run",
    "num_requests": "requests in the trace, the denominator of every share and mean",
}
"""Name to one-line definition of every metric of a trial, in the order of reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTimes:
    """Times of each request in int64 picoseconds since its arrival, charged at the horizon.

    Attributes:
        held: Until the first dispatch.
        queueing: Until the first admission to a batch.
        ttft: Until the first output token.
        e2e: Until completion.
        decode: From first token to completion; from arrival where there was no first token.
        unloaded: End-to-end latency of the same request alone on an empty replica.
    """

    held: Ints
    queueing: Ints
    ttft: Ints
    e2e: Ints
    decode: Ints
    unloaded: Ints


def request_times(case: Case, result: RunResult) -> RequestTimes:
    """Return the charged times of every request of a run."""
    arrival = case.trace.arrival_ps
    records = result.records

    def charged(event_ps: Ints) -> Ints:
        return np.where(event_ps == NEVER_PS, case.horizon_ps, event_ps) - arrival

    e2e = charged(records.finished_ps)
    ttft = charged(records.first_token_ps)
    return RequestTimes(
        held=charged(records.dispatched_ps),
        queueing=charged(records.scheduled_ps),
        ttft=ttft,
        e2e=e2e,
        decode=np.where(records.first_token_ps == NEVER_PS, e2e, e2e - ttft),
        unloaded=unloaded_ps(case),
    )


def unloaded_ps(case: Case) -> Ints:
    """Return each request's end-to-end latency alone on an empty replica, in picoseconds.

    With prompt P, output O and token budget B: prefill in chunks of B, each `token_ps[n] + pair_ps * (2 * n * done +
    n^2)` for n tokens after `done`; the last chunk yields the first token. Then O - 1 decodes of one token each, over
    contexts P + 1 ... P + O - 1: `(O - 1) * token_ps[1] + context_ps * ((O - 1) * P + (O - 1) * O / 2)`.
    """
    latency = case.cluster.latency
    budget = case.cluster.engine.token_budget
    prompt, output = case.trace.prompt_tokens, case.trace.output_tokens
    total = (output - 1) * int(latency.token_ps[1])
    total += latency.context_ps * ((output - 1) * prompt + (output - 1) * output // 2)
    for done in range(0, int(prompt.max()), budget):
        chunk = np.clip(prompt - done, 0, budget)
        iteration = latency.token_ps[chunk] + latency.pair_ps * (2 * chunk * done + chunk * chunk)
        total += np.where(chunk > 0, iteration, 0)
    return total


def cost(case: Case, result: RunResult, task: "Task") -> float:
    """Return the task's objective for one run; lower is better.

    `mean_e2e_s`: mean end-to-end latency in seconds, equal to the metric `e2e_mean_s`.

    Raises:
        ValueError: If the task names an objective that this version does not define.
    """
    if task.objective != "mean_e2e_s":
        raise ValueError(f"objective of {task.id!r} must be 'mean_e2e_s' in this version (got {task.objective!r})")
    return _mean_s(request_times(case, result).e2e)


def trial_metrics(case: Case, result: RunResult, task: "Task") -> dict[str, float]:
    """Return every metric of `METRICS` for one run; counts are integers, all values finite.

    Without requests of more than one output token, TPOT is 0.

    Args:
        case: What was run.
        result: What came of it.
        task: The task; it says whether there are latency objectives.
    """
    times = request_times(case, result)
    records = result.records
    num = len(case.trace)
    finished = records.outcome == FINISHED
    num_finished = int(np.count_nonzero(finished))
    num_good = int(np.count_nonzero(finished & _is_within_slo(times, case, task)))
    e2e, ttft = np.sort(times.e2e), np.sort(times.ttft)
    several = case.trace.output_tokens > 1
    tpot = np.sort(times.decode[several] / (case.trace.output_tokens[several] - 1) / PS_PER_S)
    return {
        "e2e_mean_s": _mean_s(times.e2e),
        "e2e_p50_s": _percentile_s(e2e, 500),
        "e2e_p90_s": _percentile_s(e2e, 900),
        "e2e_p99_s": _percentile_s(e2e, 990),
        "e2e_p999_s": _percentile_s(e2e, 999),
        "e2e_max_s": _percentile_s(e2e, 1000),
        "ttft_mean_s": _mean_s(times.ttft),
        "ttft_p50_s": _percentile_s(ttft, 500),
        "ttft_p90_s": _percentile_s(ttft, 900),
        "ttft_p99_s": _percentile_s(ttft, 990),
        "tpot_mean_s": math.fsum(tpot) / len(tpot) if len(tpot) else 0.0,
        "tpot_p99_s": float(tpot[_rank(len(tpot), 990)]) if len(tpot) else 0.0,
        "queueing_mean_s": _mean_s(times.queueing),
        "held_mean_s": _mean_s(times.held),
        "slowdown_mean": math.fsum(times.e2e / times.unloaded) / num,
        "throughput_rps": _per_second(num_finished, result.end_ps),
        "goodput_rps": _per_second(num_good, result.end_ps),
        "slo_attainment": num_good / num if task.slo else 1.0,
        "preemptions": int(records.restarts.sum()),
        "restarted_fraction": int(np.count_nonzero(records.restarts)) / num,
        "rejected_fraction": int(np.count_nonzero(records.outcome == REJECTED)) / num,
        "unfinished_fraction": int(np.count_nonzero(records.outcome == UNFINISHED)) / num,
        "gpu_hours": case.cluster.num_replicas * result.end_ps / (3600 * PS_PER_S),
        "num_requests": num,
    }


def request_frame(case: Case, result: RunResult) -> "pd.DataFrame":
    """Return one row per request, in arrival order: what it asked for and what became of it.

    Columns: arrival_s, prompt_tokens, output_tokens, outcome ("finished", "unfinished" or "rejected"), replica (-1
    before dispatch), restarts, held_s, queueing_s, ttft_s, tpot_s (NaN for one output token), e2e_s, unloaded_s.
    Times are seconds, charged at the horizon where the event did not happen.
    """
    import pandas as pd

    times = request_times(case, result)
    trace, records = case.trace, result.records
    gaps = trace.output_tokens - 1
    names = pd.Index([OUTCOMES[code] for code in sorted(OUTCOMES)])
    return pd.DataFrame(
        {
            "arrival_s": _seconds(trace.arrival_ps),
            "prompt_tokens": trace.prompt_tokens.astype(np.int32),
            "output_tokens": trace.output_tokens.astype(np.int32),
            "outcome": pd.Categorical.from_codes(records.outcome, categories=names),
            "replica": records.replica.astype(np.int32),
            "restarts": records.restarts.astype(np.int32),
            "held_s": _seconds(times.held),
            "queueing_s": _seconds(times.queueing),
            "ttft_s": _seconds(times.ttft),
            "tpot_s": np.where(gaps > 0, _seconds(times.decode) / np.maximum(gaps, 1), np.nan),
            "e2e_s": _seconds(times.e2e),
            "unloaded_s": _seconds(times.unloaded),
        },
        index=pd.RangeIndex(len(trace), name="request_id"),
    )


def _is_within_slo(times: RequestTimes, case: Case, task: "Task") -> npt.NDArray[np.bool_]:
    """Which requests met both objectives; all, if the task has none. One output token has no TPOT to miss."""
    if task.slo is None:
        return np.ones(len(case.trace), dtype=np.bool_)
    gaps = case.trace.output_tokens - 1
    is_soon = _seconds(times.ttft) <= task.slo.ttft_s
    is_smooth = (gaps == 0) | (_seconds(times.decode) <= task.slo.tpot_s * gaps)
    within: npt.NDArray[np.bool_] = is_soon & is_smooth
    return within


def _seconds(time_ps: Ints) -> npt.NDArray[np.float64]:
    return time_ps / PS_PER_S


def _mean_s(time_ps: Ints) -> float:
    """Exact mean in seconds: a sum of a million latencies of hours does not fit an int64, Python's integers take it."""
    total: int = sum(time_ps.tolist())
    return total / (len(time_ps) * PS_PER_S)


def _rank(count: int, per_mille: int) -> int:
    """Index of a percentile among `count` sorted values: ceil(p * n) - 1, in integers."""
    return max(0, -(-count * per_mille // 1000) - 1)


def _percentile_s(sorted_ps: Ints, per_mille: int) -> float:
    return int(sorted_ps[_rank(len(sorted_ps), per_mille)]) / PS_PER_S


def _per_second(count: int, duration_ps: int) -> float:
    return count * PS_PER_S / duration_ps if duration_ps > 0 else 0.0
