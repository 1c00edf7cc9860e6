"""Capacities and separations that task files state, measured again with the tools that found them."""

import importlib

import pytest

from glia_bench.tasks.catalog import TASKS, get_suite
from glia_bench.tasks.task import Task

CORE = [TASKS[task] for task in get_suite("core")]
CHEAP = ("routing/tenants-v0", "scheduling/tenants-v0", "autoscaling/diurnal-90x-v0")
"""Tasks whose capacity is checked in seconds; cluster tasks differ from routing tasks by their full fleet alone."""


def marked(task: Task) -> object:
    """Return a task as a parameter, slow unless it is cheap."""
    return pytest.param(task, id=task.id, marks=() if task.id in CHEAP else pytest.mark.slow)


@pytest.mark.parametrize("task", [marked(task) for task in CORE])
def test_the_backlog_settles_at_capacity_and_grows_above_it(task: Task) -> None:
    """At load 1 the plain policy keeps up over the task's own span, at 1.15 it does not."""
    tool = importlib.import_module("measure_capacity")
    assert tool.keeps_up(task, 1.0)
    assert not tool.keeps_up(task, 1.15)


@pytest.mark.slow
@pytest.mark.parametrize("task", CORE, ids=lambda task: task.id)
def test_references_are_as_far_apart_as_stated(task: Task) -> None:
    """Naive over expert at the core loads is what the file says, to the two digits that it gives."""
    tool = importlib.import_module("measure_separation")
    assert tool.separation(task) == pytest.approx(task.separation, abs=0.006)
