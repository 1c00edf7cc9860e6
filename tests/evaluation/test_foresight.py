"""What oracles are told, and that nobody else is."""

from dataclasses import replace

import numpy as np
import pytest

from glia_bench.evaluation.designs import Design, make_designs
from glia_bench.evaluation.foresight import foreseen, schedule, trailing_mean
from glia_bench.evaluation.trial import Trial, run_trial
from glia_bench.loading import load_policy
from glia_bench.policy import Track
from glia_bench.tasks.catalog import get_task

SCALING = "autoscaling/burst-v0"


def cost_of(name: str, task: str, load: float, track: Track = "routing") -> float:
    """Return the cost of a shipped design on seed 0."""
    (design,) = make_designs([name], track, task)
    record = run_trial(Trial(design=design, task=task, load=load, seed=0))
    assert record["status"] == "ok", record["message"]
    return float(record["cost"] or 0.0)


def test_trailing_mean() -> None:
    """Each value and the two before it, zeros before the first: (0+0+3)/3, (0+3+6)/3, (3+6+9)/3, (6+9+0)/3."""
    assert trailing_mean(np.array([3.0, 6.0, 9.0, 0.0]), 3).tolist() == [1.0, 3.0, 6.0, 5.0]


def test_a_schedule_is_ahead_by_a_cold_start() -> None:
    """It has one size for every tick, rises before the load does, and is never above the largest need."""
    task, policy = get_task(SCALING), load_policy("oracle_schedule", "autoscaling")
    case = task.case(1.0, 0)
    sizes = schedule(policy, case, task)
    assert policy.interval_s is not None
    assert len(sizes) >= case.horizon_ps / 1e12 / policy.interval_s
    slow = replace(
        case.cluster.pools[0], cold_start=replace(case.cluster.pools[0].cold_start, load_s=0.0, provision_s=0.0)
    )
    late = schedule(policy, replace(case, cluster=replace(case.cluster, pools=(slow,))), task)
    peak = max(sizes)
    assert peak == max(late) > min(sizes) >= 1
    assert sizes.index(peak) < late.index(peak)
    assert all(ahead >= now for ahead, now in zip(sizes, late, strict=True))


def test_oracles_know_lengths_and_caches() -> None:
    """The case that they run on tells true output lengths and grants the true view of caches; the trace is the same."""
    task = get_task("routing/paper-v0")
    case = task.case(0.05, 0)
    _, told = foreseen(load_policy("oracle_jsw"), case, task)
    assert told.predicted_tokens is not None
    assert told.predicted_tokens.tolist() == case.trace.output_tokens.tolist()
    assert "truth" in told.cluster.prefix_views
    assert told.trace is case.trace


def test_only_shipped_oracles_are_told() -> None:
    """A file that says it is a bound reads zeros: who it is decides, not what a record calls it."""
    source = "def route(request, replicas, cluster, memory):\n    return 0 if request.predicted_tokens == 0.0 else 99\n"
    mine = Design(name="mine", track="routing", kind="bound", sha256="0" * 64, path="mine.py", source=source)
    assert run_trial(Trial(design=mine, task="routing/paper-v0", load=0.01, seed=0))["status"] == "ok"


@pytest.mark.parametrize(
    ("oracle", "other", "task", "load"),
    [
        ("oracle_jsw", "lor", "routing/sessions-v0", 0.9),
        ("srpt_oracle", "vllm_v1_fcfs", "scheduling/reasoning-v0", 0.9),
        ("oracle_schedule", "fixed", SCALING, 0.7),
    ],
)
def test_knowing_helps(oracle: str, other: str, task: str, load: float) -> None:
    """Each oracle beats the plain design of its track where what it knows matters."""
    track = get_task(task).track
    assert cost_of(oracle, task, load, track) < cost_of(other, task, load, track)
