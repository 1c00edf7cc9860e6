"""vLLM's priority scheduling: the most urgent waits first, and the least urgent is preempted when a block is short.

Waiting requests go by (priority, class, arrival), and the greatest of these among those that run gives up its blocks,
also one that has its token already. Nobody who runs is preempted for somebody who waits. A client sets the priority in
vLLM; where a task sets none its class stands in, the classes of a task being listed from the most urgent on.

Source: vLLM 0.33.0, the scheduler of its V1 engine with the policy priority.
Loses: there is no ageing, so the last class starves under sustained load; and with one class it is first come, first
served.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "vllm-project/vllm 0.33.0, vllm/v1/core/sched/{scheduler,request_queue}.py"
ENGINE_MODE = "vllm_v1"
CLASSES = 1e3  # more than a task has
SPAN_S = 1e8  # longer than any clock runs


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Order by priority, then by class, then by arrival."""
    return (request.priority * CLASSES + request.slo_class) * SPAN_S + request.arrival_s


def evict_rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Preempt the last in the same order."""
    return (request.priority * CLASSES + request.slo_class) * SPAN_S + request.arrival_s
