"""The catalog: complete, consistent, and helpful when a name is wrong."""

import pytest

from glia_bench.errors import UnknownTaskError
from glia_bench.tasks.catalog import SUITE_NUM_SEEDS, SUITES, TASKS, get_suite, get_task
from glia_bench.tasks.task import Task


def test_the_paper_tasks_are_there() -> None:
    """This version has the three routing tasks of the paper."""
    assert set(TASKS) == {"routing/paper-v0", "routing/paper-sweep-v0", "routing/paper-exact-v0"}


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.id)
def test_every_task_states_what_a_reader_needs(task: Task) -> None:
    """Id, reason, source, objective, references, loads and seeds are all given and fit together."""
    assert task.id.startswith(f"{task.track}/")
    assert task.id.endswith("-v0")
    assert min(len(task.title), len(task.why_hard), len(task.source), len(task.rate_basis)) > 20
    assert task.objective == "mean_e2e_s"
    assert (task.naive, task.expert) == ("round_robin", "expert")
    assert task.dev_seeds == tuple(range(10))
    assert set(task.default_loads) <= set(task.loads)
    assert list(task.loads) == sorted(set(task.loads))
    assert task.needs_lengths == bool(task.lengths_hint)
    assert set(task.suites) <= set(SUITES)


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
    """Quick is one task that needs no file; paper and full have all three."""
    assert get_suite("quick") == ("routing/paper-v0",)
    assert not any(get_task(task_id).needs_lengths for task_id in get_suite("quick"))
    assert set(get_suite("paper")) == set(get_suite("full")) == set(TASKS)
    assert set(SUITE_NUM_SEEDS) == set(SUITES)
    assert all(1 <= count <= 10 for count in SUITE_NUM_SEEDS.values())


def test_wrong_names_are_met_with_the_right_ones() -> None:
    """A misspelt id gets the closest one, a strange one the list; likewise for suites."""
    with pytest.raises(UnknownTaskError, match=r"no task 'routing/paper-v1'; did you mean 'routing/paper-v0'\?"):
        get_task("routing/paper-v1")
    with pytest.raises(UnknownTaskError, match=r"no task 'zzz' \(known: routing/paper-v0, "):
        get_task("zzz")
    with pytest.raises(
        UnknownTaskError, match=r"no suite 'qick' \(known: quick, paper, full\); did you mean 'quick'\?"
    ):
        get_suite("qick")
