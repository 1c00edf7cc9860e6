"""What the reference simulator asks a design's batch scheduler: the hooks' views, calls and the checks of answers.

`reference_engine` decides when each hook is asked. Only hooks that the design defines are ever called.
"""

from typing import TYPE_CHECKING, Any

from glia_bench.features import Replica
from glia_bench.sim import messages
from glia_bench.sim.reference_request import RequestState
from glia_bench.sim.reference_world import SCHEDULERS, World, bad_decision, is_integer

if TYPE_CHECKING:
    from glia_bench.sim.reference_engine import ReplicaState


class Scheduler:
    """The design's scheduling hooks as one replica's engine asks them."""

    def __init__(self, world: World, replica: "ReplicaState") -> None:
        self.world = world
        self.replica = replica
        self.hooks = world.policy.scheduling
        self.is_preemptive = world.policy.preemptive

    def has(self, hook: str) -> bool:
        """Return whether the design defines a hook."""
        return hook in self.hooks

    def rank(self, request: RequestState) -> float:
        """Return the request's place in the waiting queue, asked now."""
        return self._rank("rank", request)

    def evict_rank(self, request: RequestState) -> float:
        """Return how soon a running request is preempted: the highest is first."""
        return self._rank("evict_rank", request)

    def admits(self, request: RequestState) -> bool:
        """Return whether the head of the queue may be admitted now; without the hook it may."""
        if not self.has("admit"):
            return True
        view = self.world.request_view(request, self.replica)
        answer = self.world.call("scheduling", "admit", _of(request), view, self._view(), self._memory())
        return bool(answer)

    def tokens(self, request: RequestState, left: int) -> int:
        """Return the most tokens that a request may get now; without the hook, all that are left."""
        if not self.has("tokens"):
            return left
        view = self.world.request_view(request, self.replica)
        answer = self.world.call("scheduling", "tokens", _of(request), view, self._view(), left, self._memory())
        if not is_integer(answer) or answer < 0:
            raise bad_decision(messages.bad_tokens(request.id, answer))
        return int(answer)

    def on_step(self) -> None:
        """Tell the design of a scheduling point."""
        if self.has("on_step"):
            self.world.call("scheduling", "on_step", self._of_replica(), self._view(), self._memory())

    def plan(self) -> tuple[int, int]:
        """Return token budget and most running requests from now on; without the hook, the engine's own."""
        spec = self.replica.spec
        if not self.has("plan"):
            return spec.token_budget, spec.max_running
        answer: Any = self.world.call("scheduling", "plan", self._of_replica(), self._view(), self._memory())
        is_pair = isinstance(answer, tuple | list) and len(answer) == 2 and all(is_integer(x) for x in answer)
        if not is_pair or not (1 <= answer[0] <= spec.token_budget and 1 <= answer[1] <= spec.max_running):
            raise bad_decision(messages.bad_plan(self.replica.index, answer, spec.token_budget, spec.max_running))
        return int(answer[0]), int(answer[1])

    def _rank(self, hook: str, request: RequestState) -> float:
        view = self.world.request_view(request, self.replica)
        return self.world.call_rank("scheduling", hook, _of(request), view, self._view(), self._memory())

    def _memory(self) -> Any:
        return self.world.memory(SCHEDULERS)

    def _of_replica(self) -> str:
        return f"replica {self.replica.index}"

    def _view(self) -> Replica:
        return replica_view(self.world, self.replica)


def replica_view(world: World, replica: "ReplicaState") -> Replica:
    """Return a replica as its own scheduler sees it at this moment."""
    decoding = [request for request in replica.running if not request.is_prefilling]
    return Replica(
        id=replica.index,
        now_s=world.clock_s(world.now_ps),
        waiting=len(replica.waiting),
        running=len(replica.running),
        free_blocks=replica.num_free,
        capacity_blocks=replica.spec.num_blocks,
        decode_tokens=len(decoding),
        context_tokens=sum(request.known_tokens for request in decoding),
        token_budget=replica.spec.token_budget,
        max_running=replica.spec.max_running,
        block_size_tokens=replica.spec.block_size_tokens,
        perf=world.perf(replica.pool.latency),
    )


def _of(request: RequestState) -> str:
    return f"request {request.id}"
