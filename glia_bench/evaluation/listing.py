"""What there is to run, as plain data: tasks, suites, policies, and one task in full; `list` and `info` print it."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from glia_bench.cluster import PS_PER_S, ClusterSpec, Ints, PoolSpec, SloClass
from glia_bench.evaluation.designs import make_designs
from glia_bench.loading import facts_of, shipped_policies
from glia_bench.scoring.metrics import OBJECTIVES, metric_names
from glia_bench.scoring.starvation import PLAIN_REFERENCE
from glia_bench.tasks.catalog import SUITE_NUM_SEEDS, SUITES, TASKS, get_task
from glia_bench.tasks.recorded import TRACE_MARK, recorded_task
from glia_bench.tasks.task import Task
from glia_bench.tunables import Number


def everything() -> dict[str, Any]:
    """Return all tasks, suites and policies of this version."""
    policies = [(policy, facts_of(policy)) for policy in shipped_policies()]
    return {
        "tasks": [
            {
                "id": task.id,
                "track": task.track,
                "suites": list(task.suites),
                "title": task.title,
                "loads": list(task.loads),
                "needs_lengths": task.needs_lengths,
            }
            for task in TASKS.values()
        ],
        "suites": [
            {"name": name, "tasks": list(task_ids), "num_seeds": SUITE_NUM_SEEDS[name]}
            for name, task_ids in SUITES.items()
        ],
        "policies": [
            {
                "name": policy.name,
                "track": policy.track,
                "kind": policy.kind,
                "source": facts.public_source,
                "idea": facts.idea,
                "tunable": [asdict(tunable) for tunable in facts.tunable],
                "path": policy.path,
                "sha256": policy.sha256,
            }
            for policy, facts in policies
        ],
    }


def task_to_show(task_id: str, trace: Path | None = None, *, skip_unfit: bool = False) -> Task:
    """Return a task of the catalog, with a file of recorded requests as its workload if there is one.

    Raises:
        GliaBenchError: If no task has this id, or the file cannot be used.
    """
    task = get_task(task_id)
    return recorded_task(task, trace, skip_unfit=skip_unfit)[0] if trace else task


def task_facts(task: Task) -> dict[str, Any]:
    """Return one task in full."""
    return {
        "id": task.id,
        "track": task.track,
        "title": task.title,
        "why_hard": task.why_hard,
        "source": task.source,
        "suites": list(task.suites),
        "objective": {"name": task.objective, "meaning": OBJECTIVES[task.objective].formula},
        "metrics": metric_names(task),
        "cluster": _cluster(task.cluster),
        "predictor": asdict(task.predictor),
        "gpu_seconds_per_request": task.gpu_seconds_per_request,
        "workload": _workload(task),
        "reference_rate_rps": task.reference_rate_rps,
        "rate_basis": task.rate_basis,
        "loads": list(task.loads),
        "default_loads": list(task.default_loads),
        "dev_seeds": list(task.dev_seeds),
        "drain_s": task.drain_s,
        "slo_classes": [_slo(slo) for slo in task.cluster.slo_classes],
        "naive": task.naive,
        "expert": task.expert,
        "expert_constants": _constants(task),
        "reference": PLAIN_REFERENCE.get(task.track),
        "published_mean_e2e_s": dict(task.published) if task.published else None,
        "needs_lengths": task.needs_lengths,
        "lengths_hint": task.lengths_hint,
        "command": _command(task),
    }


def _constants(task: Task) -> dict[str, Number]:
    """Return the constants in which the expert differs from the shipped policy that its name begins with."""
    (design,) = make_designs([task.expert], task.track, task.id)
    return dict(design.constants)


def _command(task: Task) -> str:
    base_id, mark, _ = task.id.partition(TRACE_MARK)
    return f"glia-bench run --task {base_id}" + (" --trace FILE" if mark else " --lengths FILE" * task.needs_lengths)


def _cluster(cluster: ClusterSpec) -> dict[str, Any]:
    return {
        "num_replicas": cluster.num_replicas,
        "is_elastic": cluster.is_elastic,
        "pools": [_pool(pool) for pool in cluster.pools],
        "triggers": list(cluster.triggers),
        "metrics_interval_s": cluster.metrics_interval_s,
        "num_routers": cluster.num_routers,
        "prefix_views": list(cluster.prefix_views) if cluster.has_prefix_cache else [],
        "prefix_delay_s": cluster.prefix_delay_s,
        "window_lag_s": cluster.window_lag_s,
        "num_tenants": cluster.num_tenants,
        "engine_modes": list(cluster.engine_modes),
    }


def _pool(pool: PoolSpec) -> dict[str, Any]:
    engine = pool.engine
    return {
        "name": pool.name,
        "num_replicas": pool.num_replicas,
        "min_replicas": pool.smallest,
        "max_replicas": pool.largest,
        "gpus_per_replica": pool.gpus_per_replica,
        "cold_start": asdict(pool.cold_start),
        "drain_timeout_s": pool.drain_timeout_s,
        "latency": pool.latency.name,
        "engine_mode": engine.mode,
        "chunked_prefill": engine.chunked_prefill,
        "prefix_caching": engine.prefix_caching,
        "token_budget": engine.token_budget,
        "max_running": engine.max_running,
        "num_blocks": engine.num_blocks,
        "block_size_tokens": engine.block_size_tokens,
        "watermark_blocks": engine.watermark_blocks,
    }


def _slo(slo: SloClass) -> dict[str, Any]:
    return {
        "name": slo.name,
        "ttft_s": _limit(slo.ttft_s),
        "ttft_per_prompt_token_s": slo.ttft_per_prompt_token_s,
        "tpot_s": _limit(slo.tpot_s),
        "patience_s": _limit(slo.patience_s),
    }


def _workload(task: Task) -> dict[str, Any] | None:
    """Return what seed 0 holds at the first default load; None where the user must bring the lengths."""
    if task.needs_lengths:
        return None
    load = task.default_loads[0]
    trace = task.case(load, task.dev_seeds[0]).trace
    return {
        "load": load,
        "seed": task.dev_seeds[0],
        "num_requests": len(trace),
        "num_sessions": trace.num_clock if trace.num_clock < len(trace) else 0,
        "last_arrival_s": int(trace.arrival_ps[trace.num_clock - 1]) / PS_PER_S,
        "prompt_tokens": _spread(trace.prompt_tokens),
        "output_tokens": _spread(trace.output_tokens),
        "gap_cv": _coefficient_of_variation(np.diff(trace.arrival_ps[: trace.num_clock])),
    }


def _spread(tokens: Ints) -> dict[str, float]:
    p50, p99 = np.quantile(tokens, (0.5, 0.99), method="inverted_cdf")
    return {"mean": float(tokens.mean()), "p50": int(p50), "p99": int(p99), "max": int(tokens.max())}


def _coefficient_of_variation(values: Ints) -> float | None:
    return float(values.std() / values.mean()) if len(values) > 1 and values.mean() > 0 else None


def _limit(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
