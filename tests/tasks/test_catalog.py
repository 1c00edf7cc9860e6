"""The catalog: complete, consistent, and helpful when a name is wrong."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from glia_bench.cluster import PS_PER_S
from glia_bench.errors import UnknownTaskError
from glia_bench.evaluation.designs import make_designs
from glia_bench.policy import TRACKS
from glia_bench.scoring.metrics import OBJECTIVES
from glia_bench.scoring.unloaded import unloaded_ps
from glia_bench.tasks.catalog import SUITE_NUM_SEEDS, SUITES, TASKS, get_suite, get_task
from glia_bench.tasks.task import CAPACITY, LOADS, Task

CORE = [TASKS[task] for task in get_suite("core")]


def names(tasks: Sequence[Task], track: str) -> list[str]:
    """Return the ids of the tasks of a track."""
    return [task.id for task in tasks if task.track == track]


def test_the_core_suite_has_every_task_but_the_papers() -> None:
    """Core is all tasks but the paper's: at least 6 of routing, 5 of scheduling, 4 of autoscaling, 2 of clusters."""
    assert {task.id for task in CORE} == {task for task in TASKS if "/paper-" not in task}
    for track, fewest in zip(TRACKS, (6, 5, 4, 2), strict=True):
        assert len(names(CORE, track)) >= fewest
    assert len({pool.latency.name for task in CORE for pool in task.cluster.pools}) >= 6


def test_core_tasks_are_run_at_fractions_of_capacity() -> None:
    """All have the same five loads, two of them in core, a measured capacity, and a price that follows from it."""
    for task in CORE:
        assert task.loads == LOADS
        assert len(task.default_loads) == 2
        assert task.rate_basis == CAPACITY
        if task.objective == "gpu_seconds_slo":
            gpus = sum(pool.largest * pool.gpus_per_replica for pool in task.cluster.pools)
            assert task.gpu_seconds_per_request == gpus / task.reference_rate_rps


@pytest.mark.parametrize("task", CORE, ids=lambda task: task.id)
def test_core_trials_are_small(task: Task) -> None:
    """No seed of the core suite has more than 6,500 requests, nor the mean of its seeds more than 6,000."""
    num_requests = [len(task.case(task.default_loads[-1], seed).trace) for seed in range(SUITE_NUM_SEEDS["core"])]
    assert max(num_requests) <= 6500
    assert np.mean(num_requests) <= 6000


@pytest.mark.parametrize("task", CORE, ids=lambda task: task.id)
def test_a_task_separates_its_references_or_is_a_guard(task: Task) -> None:
    """The naive reference costs at least 1.1 times as much as the expert, or the task says why it is a guard."""
    assert task.separation is not None
    assert task.is_guard == bool(task.guard_reason) == (task.separation < 1.10)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.id)
def test_every_task_states_what_a_reader_needs(task: Task) -> None:
    """Id, reason, source, objective, references, loads and seeds are all given and fit together."""
    assert task.id.startswith(f"{task.track}/")
    assert task.id.endswith("-v0")
    assert min(len(task.title), len(task.why_hard), len(task.source), len(task.rate_basis)) > 20
    assert task.objective in OBJECTIVES
    assert (task.objective == "gpu_seconds_slo") == (task.gpu_seconds_per_request > 0)
    references = make_designs([task.naive, task.expert], task.track, task.id)
    assert (references[0].name, references[-1].name) == (task.naive, task.expert)
    assert {design.kind for design in references} == {"human"}
    assert task.dev_seeds == tuple(range(10))
    assert set(task.default_loads) <= set(task.loads)
    assert list(task.loads) == sorted(set(task.loads))
    assert task.needs_lengths == bool(task.lengths_hint)
    assert set(task.suites) <= set(SUITES)


@pytest.mark.parametrize("task", CORE, ids=lambda task: task.id)
def test_lone_requests_meet_their_objectives(task: Task) -> None:
    """At least 99 % of each class's requests, each alone on an empty replica, meet the limits of their class."""
    case = task.case(1.0, 0)
    trace = case.trace
    first_token = dataclasses.replace(trace, output_tokens=np.ones(len(trace), dtype=np.int64))
    ttft_s = unloaded_ps(dataclasses.replace(case, trace=first_token)) / PS_PER_S
    decode_s = unloaded_ps(case) / PS_PER_S - ttft_s
    classes = np.zeros(len(trace), dtype=np.int64) if trace.slo_class is None else trace.slo_class
    assert len({slo.name for slo in task.cluster.slo_classes}) == len(task.cluster.slo_classes)
    for number, slo in enumerate(task.cluster.slo_classes):
        is_met = ttft_s <= slo.ttft_s + slo.ttft_per_prompt_token_s * trace.prompt_tokens
        is_met &= decode_s <= slo.tpot_s * (trace.output_tokens - 1)
        assert is_met[classes == number].mean() >= 0.99


def test_published_row_is_the_papers() -> None:
    """The published means stand beside the exact and the distributional task, not beside the sweep."""
    row = get_task("routing/paper-exact-v0").published
    assert row == get_task("routing/paper-v0").published
    assert row is not None
    # the paper reports scores of 20 / mean
    assert row["llq"] == pytest.approx(20 / 0.36604, abs=0.005)
    assert row["expert"] == pytest.approx(20 / 0.78091, abs=0.005)
    assert list(row.values()) == sorted(row.values(), reverse=True)
    assert get_task("routing/paper-sweep-v0").published is None


def test_suites_hold_known_tasks_and_seeds() -> None:
    """Quick is the paper's task and one of each other track; paper has the paper's three, full has everything."""
    quick = get_suite("quick")
    assert quick[0] == "routing/paper-v0"
    assert [get_task(task).track for task in quick] == list(TRACKS)
    assert not any(get_task(task_id).needs_lengths for task_id in quick)
    assert set(get_suite("paper")) == {task for task in TASKS if "/paper-" in task}
    assert set(get_suite("full")) == set(TASKS)
    assert set(SUITE_NUM_SEEDS) == set(SUITES)
    assert all(1 <= count <= 10 for count in SUITE_NUM_SEEDS.values())


def test_wrong_names_are_met_with_the_right_ones() -> None:
    """A misspelt id gets the closest one, a strange one the list; likewise for suites."""
    with pytest.raises(UnknownTaskError, match=r"no task 'routing/paper-v1'; did you mean 'routing/paper-v0'\?"):
        get_task("routing/paper-v1")
    with pytest.raises(UnknownTaskError, match=r"no task 'zzz' \(known: routing/paper-v0, "):
        get_task("zzz")
    with pytest.raises(
        UnknownTaskError, match=r"no suite 'qick' \(known: quick, core, paper, full\); did you mean 'quick'\?"
    ):
        get_suite("qick")
