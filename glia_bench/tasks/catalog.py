"""The tasks by id, and the suites of them. A new task is one file and one line here."""

from collections.abc import Mapping
from types import MappingProxyType

from glia_bench.errors import UnknownTaskError, did_you_mean
from glia_bench.tasks.autoscaling import burst_v0, crowd_v0, diurnal_90x_v0
from glia_bench.tasks.autoscaling import code_v0 as autoscaling_code_v0
from glia_bench.tasks.autoscaling import shift_v0 as autoscaling_shift_v0
from glia_bench.tasks.cluster import sessions_v0 as cluster_sessions_v0
from glia_bench.tasks.cluster import tenants_v0 as cluster_tenants_v0
from glia_bench.tasks.recorded import TRACE_MARK, described
from glia_bench.tasks.routing import (
    agents_v0,
    failures_v0,
    heavy_tail_v0,
    hetero_v0,
    paper_exact_v0,
    paper_sweep_v0,
    paper_v0,
    sessions_v0,
    shift_v0,
    stale_routers_v0,
    stale_v0,
    stragglers_v0,
    tenants_v0,
    tools_v0,
)
from glia_bench.tasks.scheduling import chat_v0, code_v0, memory_v0, reasoning_v0
from glia_bench.tasks.scheduling import heavy_tail_v0 as scheduling_heavy_tail_v0
from glia_bench.tasks.scheduling import tenants_v0 as scheduling_tenants_v0
from glia_bench.tasks.task import Task

_MODULES = (
    *(paper_v0, paper_sweep_v0, paper_exact_v0, sessions_v0, hetero_v0, stale_v0, stale_routers_v0, failures_v0),
    *(stragglers_v0, shift_v0, tenants_v0, heavy_tail_v0, agents_v0, tools_v0),
    *(chat_v0, scheduling_tenants_v0, reasoning_v0, scheduling_heavy_tail_v0, code_v0, memory_v0),
    *(burst_v0, crowd_v0, diurnal_90x_v0, autoscaling_shift_v0, autoscaling_code_v0),
    *(cluster_sessions_v0, cluster_tenants_v0),
)

TASKS: Mapping[str, Task] = MappingProxyType({module.TASK.id: module.TASK for module in _MODULES})
"""Every task by id, in the order of tables."""

SUITE_NUM_SEEDS: Mapping[str, int] = MappingProxyType({"quick": 3, "core": 3, "paper": 10, "full": 10})
"""Suites, smallest first, with the number of development seeds that each runs."""

SUITES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {suite: tuple(task.id for task in TASKS.values() if suite in task.suites) for suite in SUITE_NUM_SEEDS}
)
"""Task ids of each suite. Those that need a lengths file run only where one is given."""


def find_task(task_id: str) -> Task | None:
    """Return what is known of a task by its id alone: of one made from a file of requests, all but its workload."""
    base_id, mark, digits = task_id.partition(TRACE_MARK)
    base = TASKS.get(base_id)
    return described(base, digits) if base and mark else base


def get_task(task_id: str) -> Task:
    """Return a task of the catalog.

    Raises:
        UnknownTaskError: If no task has this id, or only with a file of recorded requests.
    """
    if (recorded := find_task(task_id)) and task_id not in TASKS:
        base_id = task_id.partition(TRACE_MARK)[0]
        raise UnknownTaskError(f"{recorded.id} is made from a file: pass --task {base_id} --trace FILE")
    if task_id not in TASKS:
        hint = did_you_mean(task_id, TASKS) or f" (known: {', '.join(TASKS)})"
        raise UnknownTaskError(f"no task {task_id!r}{hint}")
    return TASKS[task_id]


def get_suite(name: str) -> tuple[str, ...]:
    """Return the task ids of a suite.

    Raises:
        UnknownTaskError: If no suite has this name.
    """
    if name not in SUITES:
        raise UnknownTaskError(f"no suite {name!r} (known: {', '.join(SUITES)}){did_you_mean(name, SUITES)}")
    return SUITES[name]
