"""The catalog: complete, consistent, and helpful when a name is wrong."""

import dataclasses

import numpy as np
import pytest

from glia_bench.cluster import PS_PER_S
from glia_bench.errors import UnknownTaskError
from glia_bench.loading import load_policy
from glia_bench.policy import TRACKS
from glia_bench.scoring.metrics import OBJECTIVES
from glia_bench.scoring.unloaded import unloaded_ps
from glia_bench.tasks.catalog import SUITE_NUM_SEEDS, SUITES, TASKS, get_suite, get_task
from glia_bench.tasks.task import Task


def test_every_track_has_a_task_and_the_quick_suite_is_the_papers() -> None:
    """The three tasks of the paper are there, `next` has one task of each track, and `quick` runs the paper's."""
    assert {"routing/paper-v0", "routing/paper-sweep-v0", "routing/paper-exact-v0"} < set(TASKS)
    assert sorted(TASKS[task].track for task in get_suite("next")) == sorted(TRACKS)
    assert get_suite("quick") == ("routing/paper-v0",)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.id)
def test_every_task_states_what_a_reader_needs(task: Task) -> None:
    """Id, reason, source, objective, references, loads and seeds are all given and fit together."""
    assert task.id.startswith(f"{task.track}/")
    assert task.id.endswith("-v0")
    assert min(len(task.title), len(task.why_hard), len(task.source), len(task.rate_basis)) > 20
    assert task.objective in OBJECTIVES
    assert (task.objective == "gpu_seconds_slo") == (task.gpu_seconds_per_request > 0)
    assert {load_policy(name, task.track).kind for name in (task.naive, task.expert)} == {"human"}
    assert task.dev_seeds == tuple(range(10))
    assert set(task.default_loads) <= set(task.loads)
    assert list(task.loads) == sorted(set(task.loads))
    assert task.needs_lengths == bool(task.lengths_hint)
    assert set(task.suites) <= set(SUITES)


@pytest.mark.parametrize("task", [TASKS[task] for task in get_suite("next")], ids=lambda task: task.id)
def test_lone_requests_meet_their_objectives(task: Task) -> None:
    """At least 99 % of a task's requests, each alone on an empty replica, meet the limits of their class."""
    case = task.case(1.0, 0)
    trace, (slo,) = case.trace, task.cluster.slo_classes
    first_token = dataclasses.replace(trace, output_tokens=np.ones(len(trace), dtype=np.int64))
    ttft_s = unloaded_ps(dataclasses.replace(case, trace=first_token)) / PS_PER_S
    decode_s = unloaded_ps(case) / PS_PER_S - ttft_s
    is_met = ttft_s <= slo.ttft_s + slo.ttft_per_prompt_token_s * trace.prompt_tokens
    is_met &= decode_s <= slo.tpot_s * (trace.output_tokens - 1)
    assert is_met.mean() >= 0.99


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
    """Quick is one task that needs no file; paper and full have all three of the paper."""
    assert get_suite("quick") == ("routing/paper-v0",)
    assert not any(get_task(task_id).needs_lengths for task_id in get_suite("quick"))
    assert set(get_suite("paper")) == set(get_suite("full")) == {task for task in TASKS if "/paper-" in task}
    assert set(SUITE_NUM_SEEDS) == set(SUITES)
    assert all(1 <= count <= 10 for count in SUITE_NUM_SEEDS.values())


def test_wrong_names_are_met_with_the_right_ones() -> None:
    """A misspelt id gets the closest one, a strange one the list; likewise for suites."""
    with pytest.raises(UnknownTaskError, match=r"no task 'routing/paper-v1'; did you mean 'routing/paper-v0'\?"):
        get_task("routing/paper-v1")
    with pytest.raises(UnknownTaskError, match=r"no task 'zzz' \(known: routing/paper-v0, "):
        get_task("zzz")
    with pytest.raises(
        UnknownTaskError, match=r"no suite 'qick' \(known: quick, next, paper, full\); did you mean 'quick'\?"
    ):
        get_suite("qick")
