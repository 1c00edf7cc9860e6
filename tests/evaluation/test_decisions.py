"""Decision logs: every hook's answers come back from the file, and what is no log is refused."""

from pathlib import Path

import pandas as pd
import pytest

from glia_bench.errors import GliaBenchError
from glia_bench.evaluation.decisions import replaying, tier_of, write_log
from glia_bench.loading import load_policy, policy_from_source
from glia_bench.policy import Policy, Track
from glia_bench.sim.engine import Tier, simulate
from glia_bench.tasks.catalog import TASKS, get_task
from glia_bench.types import RunResult

ASSIGNS = '''"""Decides for the whole queue."""


def assign(queue, replicas, cluster, memory, out):
    for k in range(len(out)):
        out[k] = queue.id[k] % cluster.num_replicas
'''

SCHEDULES = '''"""All hooks of a batch scheduler."""

PREEMPTIVE = True
DYNAMIC_RANK = True


def rank(request, replica, memory):
    return request.prompt_tokens + 0.1 * request.u[0]


def evict_rank(request, replica, memory):
    return request.arrival_s


def admit(request, replica, memory):
    return replica.running < 40 or request.prompt_tokens < 700


def tokens(request, replica, left, memory):
    return min(left, 256)


def plan(replica, memory):
    return 1024, 64
'''


def task_of(track: Track) -> str:
    """Return a task of a track."""
    return next(task.id for task in TASKS.values() if task.track == track and not task.needs_lengths)


def replayed(
    policy: Policy, task_id: str, load: float, folder: Path, tier: Tier = "auto"
) -> tuple[RunResult, RunResult, pd.DataFrame]:
    """Run a policy, log and replay it; return both results and the log."""
    case = get_task(task_id).case(load, 0)
    result = simulate(case, policy, tier=tier)
    assert result.status == "ok"
    path = folder / "logs" / "log.parquet"
    assert len(write_log(path, case, policy, result)) == 64
    other = replaying(path, policy.name, policy.track)
    return result, simulate(case, other, tier=tier_of(other)), pd.read_parquet(path)


@pytest.mark.parametrize(
    ("name", "track", "load", "hooks"),
    [
        ("hra", "routing", 0.05, {"routing.route", "routing.rank"}),
        ("vllm_v1_fcfs", "scheduling", 0.05, set()),
        ("headroom", "scheduling", 0.05, {"scheduling.admit"}),
        ("hpa", "autoscaling", 0.1, {"autoscaling.scale"}),
        ("stack_plain", "cluster", 0.1, {"routing.route", "autoscaling.scale"}),
    ],
)
def test_shipped_designs_are_replayed(name: str, track: Track, load: float, hooks: set[str], tmp_path: Path) -> None:
    """Decisions and records of a compiled run come again from its log, which holds the answers of the right hooks."""
    first, second, log = replayed(load_policy(name, track), task_of(track), load, tmp_path)
    assert (second.decision_hash, second.records.sha256) == (first.decision_hash, first.records.sha256)
    assert second.num_decisions == first.num_decisions
    assert set(log["hook"]) == hooks


@pytest.mark.parametrize(
    ("source", "track", "hooks"),
    [
        (ASSIGNS, "routing", {"routing.assign"}),
        (SCHEDULES, "scheduling", {f"scheduling.{hook}" for hook in ("rank", "evict_rank", "admit", "tokens", "plan")}),
    ],
)
def test_every_other_hook_is_replayed(source: str, track: Track, hooks: set[str], tmp_path: Path) -> None:
    """Whole-queue assignment, ranks, chunk sizes, budgets and truth values come back as they were."""
    policy = policy_from_source(source, name="mine", path="mine.py", track=track)
    first, second, log = replayed(policy, task_of(track), 0.2, tmp_path, tier="python")
    assert (second.decision_hash, second.records.sha256) == (first.decision_hash, first.records.sha256)
    assert set(log["hook"]) <= hooks
    assert hooks - set(log["hook"]) <= {"scheduling.evict_rank"}  # asked only where blocks are short


def test_no_log_of_a_design_that_decides_otherwise_as_plain_python(tmp_path: Path) -> None:
    """If the run that listens is not the one that was recorded, nothing is written."""
    case = get_task(task_of("routing")).case(0.01, 0)
    result = simulate(case, load_policy("round_robin"))
    assert write_log(tmp_path / "log.parquet", case, load_policy("random"), result) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_log_of_another_case_fails(tmp_path: Path) -> None:
    """A log that runs out of answers, or answers another hook, ends the run with a reason."""
    task = get_task(task_of("routing"))
    policy = load_policy("hra")
    path = tmp_path / "log.parquet"
    write_log(path, task.case(0.01, 0), policy, simulate(task.case(0.01, 0), policy))
    other = simulate(task.case(0.02, 0), replaying(path, "hra", "routing"), tier="python")
    assert other.status == "policy_error"
    assert "the log answers" in other.message


@pytest.mark.parametrize("content", [None, b"not parquet"])
def test_what_is_no_log_is_refused(content: bytes | None, tmp_path: Path) -> None:
    """Absent and foreign files; a table without our metadata."""
    path = tmp_path / "log.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GliaBenchError, match="must be a decision log"):
        replaying(path, "x", "routing")
    pd.DataFrame({"hook": ["routing.route"], "answer": [[1.0]]}).to_parquet(path)
    with pytest.raises(GliaBenchError, match="must be a decision log"):
        replaying(path, "x", "routing")
