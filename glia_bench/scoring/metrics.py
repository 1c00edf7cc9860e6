"""Per-request records to metrics and costs: every definition, once.

A request's times are differences of int64 picoseconds since its arrival, which in a closed loop is the run's own, not
the trace's. Sums of times are exact integers and are divided once, sums of ratios use `math.fsum`, so a metric has the
same bits on every machine and in any order.

Who did not finish is charged, never dropped: where an event of a request did not happen (first token, completion ...)
it is taken to happen at the horizon, `Case.horizon_ps`, however early the run drained. So an unfinished, rejected or
expired request has the latency horizon - arrival and stands in every mean and percentile: rejecting never pays.

Percentiles are order statistics without interpolation: p of n values is the ceil(p * n)-th smallest (NumPy calls the
rule "inverted_cdf"). Inter-token latencies and fairness indices are not modelled here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S, ClusterSpec, Ints
from glia_bench.scoring.unloaded import unloaded_ps
from glia_bench.types import EXPIRED, FINISHED, NEVER_PS, REJECTED, UNFINISHED, RunResult

if TYPE_CHECKING:
    import pandas as pd

    from glia_bench.tasks.task import Task

Mask = npt.NDArray[np.bool_]

OUTCOMES: dict[int, str] = {
    FINISHED: "finished",
    UNFINISHED: "unfinished",
    REJECTED: "rejected",
    EXPIRED: "expired",
}
"""Words for `Records.outcome`, as they stand in request tables."""

SLO_MISS_PRICE = 10
"""What a missed SLO costs in the objectives that have a price for it: p in their formulas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A cost; lower is better, additive over requests.

    Attributes:
        title: What pages call it.
        head: The same, short enough for the head of a column.
        unit: Its unit, or empty.
        formula: Its definition in words.
    """

    title: str
    head: str
    unit: str
    formula: str


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "mean_e2e_s": Objective(
            title="mean E2E latency", head="mean E2E", unit="s", formula="mean end-to-end latency: completion - arrival"
        ),
        "slowdown_slo": Objective(
            title="slowdown and SLO misses",
            head="slow+miss",
            unit="",
            formula=f"mean slowdown + {SLO_MISS_PRICE} * share of requests that miss their SLO",
        ),
        "gpu_seconds_slo": Objective(
            title="GPU time and SLO misses per request",
            head="GPU+miss",
            unit="GPU-s",
            formula=f"(GPU-seconds + {SLO_MISS_PRICE} * w * SLO misses) / requests, with w the GPU-seconds per request "
            "at capacity",
        ),
    }
)
"""Name of a task's objective to what it is; `cost` computes it."""

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
    "slo_attainment": "share of all requests that finished within their class's SLOs; 1 where the task has no SLO",
    "preemptions": "preemptions by recompute, summed over requests",
    "restarted_fraction": "share of requests preempted at least once",
    "rejected_fraction": "share of requests rejected by the router",
    "unfinished_fraction": "share of requests unfinished when the run ended",
    "expired_fraction": "share of requests that their clients gave up before any engine admitted them",
    "cached_token_fraction": "share of prompt tokens that the first admission found in the prefix cache",
    "gpu_hours": "hours of GPU time: from request to gone, replica by replica, times the GPUs of each",
    "replicas_started": "replicas that an autoscaler requested during the run",
    "cost_p3": "the objective with 3 rather than 10 as the price of a missed SLO",
    "cost_p30": "the objective with 30 as that price",
    "num_requests": "requests in the trace, the denominator of every share and mean",
}
"""Name to one-line definition of every metric of a trial, in the order of reports; not every task has every one."""


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


def metric_names(task: "Task") -> list[str]:
    """Return the metrics of a task's trials: those of `METRICS` that mean something for it, in their order."""
    cluster, has_price = task.cluster, task.objective == "gpu_seconds_slo"
    applies = {
        "expired_fraction": any(slo.patience_s < math.inf for slo in cluster.slo_classes),
        "cached_token_fraction": cluster.has_prefix_cache,
        "replicas_started": cluster.is_elastic,
        "cost_p3": has_price,
        "cost_p30": has_price,
    }
    return [name for name in METRICS if applies.get(name, True)]


def request_times(case: Case, result: RunResult) -> RequestTimes:
    """Return the charged times of every request of a run."""
    arrival = result.arrival_ps
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


def gpu_time_ps(case: Case, result: RunResult) -> int:
    """Return the GPU time of a run in exact picoseconds; `RunResult.gpu_seconds` is the same, rounded once.

    Each life of a replica counts from request to gone, times its GPUs; what is not gone counts to the end of the run,
    in an elastic cluster to the horizon.
    """
    lives = result.lifetimes
    gpus = [case.cluster.pools[pool].gpus_per_replica for pool in case.cluster.pool_of]
    end_ps = case.horizon_ps if case.cluster.is_elastic else result.end_ps
    spans = zip(lives.replica.tolist(), lives.requested_ps.tolist(), lives.gone_ps.tolist(), strict=True)
    return sum(gpus[row] * ((end_ps if gone == NEVER_PS else gone) - requested) for row, requested, gone in spans)


def slo_met(case: Case, result: RunResult, times: RequestTimes) -> Mask:
    """Return which requests finished within both objectives of their class; one output token has no TPOT to miss."""
    classes = case.cluster.slo_classes
    of_request = case.trace.slo_class if case.trace.slo_class is not None else np.zeros(len(case.trace), dtype=np.int64)
    limits = np.array([(slo.ttft_s, slo.ttft_per_prompt_token_s, slo.tpot_s) for slo in classes])
    ttft_s, ttft_per_token_s, tpot_s = limits[of_request].T
    gaps = case.trace.output_tokens - 1
    is_soon = _seconds(times.ttft) <= ttft_s + ttft_per_token_s * case.trace.prompt_tokens
    # an infinite limit times no gap is not a number, and no miss
    is_smooth = (gaps == 0) | (_seconds(times.decode) <= tpot_s * np.maximum(gaps, 1))
    met: Mask = (result.records.outcome == FINISHED) & is_soon & is_smooth
    return met


def cost(case: Case, result: RunResult, task: "Task") -> float:
    """Return the task's objective for one run, as `OBJECTIVES` defines it; lower is better.

    `mean_e2e_s` equals the metric `e2e_mean_s`.

    Raises:
        ValueError: If the task names an objective that this version does not define.
    """
    times = request_times(case, result)
    if task.objective == "mean_e2e_s":
        return _mean_s(times.e2e)
    num_missed = len(case.trace) - int(np.count_nonzero(slo_met(case, result, times)))
    if task.objective == "slowdown_slo":
        return math.fsum([*_slowdowns(times), SLO_MISS_PRICE * num_missed]) / len(case.trace)
    if task.objective == "gpu_seconds_slo":
        return _gpu_cost(case, result, task, num_missed, SLO_MISS_PRICE)
    raise ValueError(f"objective of {task.id!r} must be one of {', '.join(OBJECTIVES)} (got {task.objective!r})")


def _gpu_cost(case: Case, result: RunResult, task: "Task", num_missed: int, price: int) -> float:
    gpu_s = gpu_time_ps(case, result) / PS_PER_S
    return (gpu_s + price * num_missed * task.gpu_seconds_per_request) / len(case.trace)


def trial_metrics(case: Case, result: RunResult, task: "Task") -> dict[str, float]:
    """Return the metrics of one run that `metric_names` lists; counts are integers, all values finite.

    Without requests of more than one output token, TPOT is 0.

    Args:
        case: What was run.
        result: What came of it.
        task: The task; it says which metrics there are.
    """
    times = request_times(case, result)
    records, trace = result.records, case.trace
    num = len(trace)
    num_finished = _count(records.outcome == FINISHED)
    has_slo = _has_slo(case.cluster)
    num_met = _count(slo_met(case, result, times))
    e2e, ttft = np.sort(times.e2e), np.sort(times.ttft)
    several = trace.output_tokens > 1
    tpot = np.sort(times.decode[several] / (trace.output_tokens[several] - 1) / PS_PER_S)
    values: dict[str, float] = {
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
        "slowdown_mean": math.fsum(_slowdowns(times)) / num,
        "throughput_rps": _per_second(num_finished, result.end_ps),
        "goodput_rps": _per_second(num_met, result.end_ps),
        "slo_attainment": num_met / num if has_slo else 1.0,
        "preemptions": int(records.restarts.sum()),
        "restarted_fraction": _count(records.restarts > 0) / num,
        "rejected_fraction": _count(records.outcome == REJECTED) / num,
        "unfinished_fraction": _count(records.outcome == UNFINISHED) / num,
        "expired_fraction": _count(records.outcome == EXPIRED) / num,
        "cached_token_fraction": int(result.cached_tokens.sum()) / int(trace.prompt_tokens.sum()),
        "gpu_hours": gpu_time_ps(case, result) / (3600 * PS_PER_S),
        "replicas_started": len(result.lifetimes.replica) - sum(pool.num_replicas for pool in case.cluster.pools),
        "cost_p3": _gpu_cost(case, result, task, num - num_met, 3),
        "cost_p30": _gpu_cost(case, result, task, num - num_met, 30),
        "num_requests": num,
    }
    return {name: values[name] for name in metric_names(task)}


def group_metrics(case: Case, result: RunResult) -> dict[str, dict[str, dict[str, float]]]:
    """Return how requests of each prompt-length decile fared, and of each SLO class and tenant where there are several.

    Decile k holds the prompts longer than the (k - 1)-th tenth and at most as long as the k-th; equal prompts stay
    together, so with few distinct lengths there are fewer groups.

    Returns:
        "prompt_decile" to number from 1, "slo_class" to name and "tenant" to number, each to num_requests,
        slo_attainment, and the means of e2e_s, ttft_s and slowdown; groups without requests are left out.
    """
    trace, times = case.trace, request_times(case, result)
    met, slowdowns = slo_met(case, result, times), _slowdowns(times)
    ends = [_rank(len(trace), 100 * tenth) for tenth in range(1, 11)]
    edges = np.unique(np.sort(trace.prompt_tokens)[ends])
    deciles = [str(number) for number in range(1, len(edges) + 1)]
    classes = [slo.name for slo in case.cluster.slo_classes]
    tenants = [str(tenant) for tenant in range(case.cluster.num_tenants)]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for kind, names, column in (
        ("prompt_decile", deciles, np.searchsorted(edges, trace.prompt_tokens)),
        ("slo_class", classes, trace.slo_class),
        ("tenant", tenants, trace.tenant),
    ):
        if len(names) > 1 and column is not None:
            rows = {name: np.flatnonzero(column == number) for number, name in enumerate(names)}
            found[kind] = {
                name: {
                    "num_requests": len(here),
                    "slo_attainment": _count(met[here]) / len(here),
                    "e2e_mean_s": _mean_s(times.e2e[here]),
                    "ttft_mean_s": _mean_s(times.ttft[here]),
                    "slowdown_mean": math.fsum(slowdowns[here]) / len(here),
                }
                for name, here in rows.items()
                if len(here)
            }
    return found


def request_frame(case: Case, result: RunResult) -> "pd.DataFrame":
    """Return one row per row of the trace: what it asked for and what became of it.

    Columns: arrival_s, prompt_tokens, output_tokens, tenant, slo_class (its name), session (-1 outside), turn, outcome
    (a word of `OUTCOMES`), replica (-1 before dispatch), restarts, cached_tokens, held_s, queueing_s, ttft_s, tpot_s
    (NaN for one output token), e2e_s, unloaded_s, slo_met. Times are seconds, charged at the horizon where the event
    did not happen.
    """
    import pandas as pd

    times = request_times(case, result)
    trace, records = case.trace, result.records
    gaps = trace.output_tokens - 1
    names = pd.Index([OUTCOMES[code] for code in sorted(OUTCOMES)])
    classes = pd.Index([slo.name for slo in case.cluster.slo_classes])

    def column(values: Ints | None, absent: int = 0) -> Any:
        return np.full(len(trace), absent, dtype=np.int32) if values is None else values.astype(np.int32)

    return pd.DataFrame(
        {
            "arrival_s": _seconds(result.arrival_ps),
            "prompt_tokens": trace.prompt_tokens.astype(np.int32),
            "output_tokens": trace.output_tokens.astype(np.int32),
            "tenant": column(trace.tenant),
            "slo_class": pd.Categorical.from_codes(column(trace.slo_class), categories=classes),
            "session": column(trace.session, absent=-1),
            "turn": column(trace.turn),
            "outcome": pd.Categorical.from_codes(records.outcome, categories=names),
            "replica": records.replica.astype(np.int32),
            "restarts": records.restarts.astype(np.int32),
            "cached_tokens": result.cached_tokens.astype(np.int32),
            "held_s": _seconds(times.held),
            "queueing_s": _seconds(times.queueing),
            "ttft_s": _seconds(times.ttft),
            "tpot_s": np.where(gaps > 0, _seconds(times.decode) / np.maximum(gaps, 1), np.nan),
            "e2e_s": _seconds(times.e2e),
            "unloaded_s": _seconds(times.unloaded),
            "slo_met": slo_met(case, result, times),
        },
        index=pd.RangeIndex(len(trace), name="request_id"),
    )


def _has_slo(cluster: ClusterSpec) -> bool:
    return any(min(slo.ttft_s, slo.tpot_s) < math.inf for slo in cluster.slo_classes)


def _slowdowns(times: RequestTimes) -> npt.NDArray[np.float64]:
    return times.e2e / times.unloaded


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))


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
