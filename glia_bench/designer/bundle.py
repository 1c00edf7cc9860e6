"""One task as every designer gets it: a weak policy to begin with, the goal, the background, and how to read a result.

Adapters for other designers, and the directories that `export-task` writes, are made from this and nothing else.
"""

from dataclasses import dataclass

from glia_bench.designer.background import background_text, objective_text
from glia_bench.policy import Track
from glia_bench.tasks.catalog import get_task
from glia_bench.tasks.task import Task

START, END = "# EVOLVE-BLOCK-START", "# EVOLVE-BLOCK-END"
"""Marks of the part that designers which edit marked blocks may change; the words are OpenEvolve's and Shinka's."""

_ROUTER = """\
def route(request, replicas, cluster, memory):
    \"\"\"Pick a ready replica at random.\"\"\"
    num_ready = 0
    for i in range(cluster.num_replicas):
        num_ready += replicas.ready[i]
    skip = int(request.u[0] * num_ready)
    for i in range(cluster.num_replicas):
        if replicas.ready[i] == 1:
            if skip == 0:
                return i
            skip -= 1
    return HOLD
"""
_SCHEDULER = """\
def {rank}(request, replica, memory):
    \"\"\"Serve in order of arrival.\"\"\"
    return request.arrival_s
"""
_AUTOSCALER = """\
INTERVAL_S = 15.0


def scale(window, cluster, memory):
    \"\"\"Keep the fleet as it is.\"\"\"
    return int(window.desired[0])
"""
_BODIES: dict[Track, tuple[str, ...]] = {
    "routing": ("from glia_bench import HOLD\n", _ROUTER),
    "scheduling": (_SCHEDULER.format(rank="rank"),),
    "autoscaling": (_AUTOSCALER,),
    "cluster": ("from glia_bench import HOLD\n", _ROUTER, _SCHEDULER.format(rank="schedule_rank"), _AUTOSCALER),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskBundle:
    """A task for designers.

    Attributes:
        task: The task.
        seed_source: A valid, weak policy with one block to change.
        objective_md: What is to be made small.
        background_md: The system, the rules and the interface. No reference design is in it.
    """

    task: Task
    seed_source: str
    objective_md: str
    background_md: str

    @classmethod
    def of(cls, task_id: str) -> "TaskBundle":
        """Return the bundle of a task.

        Raises:
            GliaBenchError: If there is no such task.
        """
        task = get_task(task_id)
        body = "\n\n".join(_BODIES[task.track])
        return cls(
            task=task,
            seed_source=f'"""A weak policy to begin with."""\n\n{START}\n{body}{END}\n',
            objective_md=objective_text(task),
            background_md=background_text(task),
        )
