"""What there is to run, as plain data: tasks, suites, policies, and one task in full; `list` and `info` print it."""

import math
from typing import Any

import numpy as np

from glia_bench.loading import facts_of, shipped_policies
from glia_bench.scoring.metrics import METRICS
from glia_bench.scoring.summary import PLAIN_REFERENCE
from glia_bench.tasks.catalog import SUITE_NUM_SEEDS, SUITES, TASKS, get_task
from glia_bench.tasks.task import Task
from glia_bench.types import PS_PER_S, Ints

OBJECTIVES = {"mean_e2e_s": METRICS["e2e_mean_s"]}
"""Objective of a task, in words."""


def everything() -> dict[str, Any]:
    """Return all tasks, suites, policies and designers of this version."""
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
                "path": policy.path,
                "sha256": policy.sha256,
            }
            for policy, facts in policies
        ],
        "designers": [],
    }


def task_facts(task_id: str) -> dict[str, Any]:
    """Return one task in full.

    Raises:
        UnknownTaskError: If no task has this id.
    """
    task = get_task(task_id)
    cluster, engine = task.cluster, task.cluster.engine
    return {
        "id": task.id,
        "track": task.track,
        "title": task.title,
        "why_hard": task.why_hard,
        "source": task.source,
        "suites": list(task.suites),
        "objective": {"name": task.objective, "meaning": OBJECTIVES[task.objective]},
        "cluster": {
            "num_replicas": cluster.num_replicas,
            "latency": cluster.latency.name,
            "engine_mode": engine.mode,
            "token_budget": engine.token_budget,
            "max_running": engine.max_running,
            "num_blocks": engine.num_blocks,
            "block_size_tokens": engine.block_size_tokens,
            "watermark_blocks": engine.watermark_blocks,
            "triggers": list(cluster.triggers),
        },
        "workload": _workload(task),
        "reference_rate_rps": task.reference_rate_rps,
        "rate_basis": task.rate_basis,
        "loads": list(task.loads),
        "default_loads": list(task.default_loads),
        "dev_seeds": list(task.dev_seeds),
        "drain_s": task.drain_s,
        "slo": None if task.slo is None else {"ttft_s": _limit(task.slo.ttft_s), "tpot_s": _limit(task.slo.tpot_s)},
        "naive": task.naive,
        "expert": task.expert,
        "reference": PLAIN_REFERENCE.get(task.track),
        "published_mean_e2e_s": dict(task.published) if task.published else None,
        "needs_lengths": task.needs_lengths,
        "lengths_hint": task.lengths_hint,
        "command": f"glia-bench run --task {task.id}" + (" --lengths FILE" if task.needs_lengths else ""),
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
        "last_arrival_s": int(trace.arrival_ps[-1]) / PS_PER_S,
        "prompt_tokens": _spread(trace.prompt_tokens),
        "output_tokens": _spread(trace.output_tokens),
        "gap_cv": _coefficient_of_variation(np.diff(trace.arrival_ps)),
    }


def _spread(tokens: Ints) -> dict[str, float]:
    p50, p99 = np.quantile(tokens, (0.5, 0.99), method="inverted_cdf")
    return {"mean": float(tokens.mean()), "p50": int(p50), "p99": int(p99), "max": int(tokens.max())}


def _coefficient_of_variation(values: Ints) -> float | None:
    return float(values.std() / values.mean()) if len(values) > 1 and values.mean() > 0 else None


def _limit(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
