"""One replica of the reference simulator: continuous batching, token by token, in plain Python.

Models what docs/simulator.md says of one replica and its scheduler: waiting queue, running list, KV blocks that grow
with every decode, preemption by recompute, prefill whole or in chunks, shared prefixes. Every iteration loops over the
whole batch. It is the oracle of the fast kernel, so it shares no code with it and uses no trick.
"""

from dataclasses import dataclass

from glia_bench.cluster import PoolSpec
from glia_bench.sim import messages
from glia_bench.sim.reference_iteration import IterationRow, batch_ps
from glia_bench.sim.reference_prefix import BlockStore
from glia_bench.sim.reference_request import RequestState
from glia_bench.sim.reference_scheduler import Scheduler
from glia_bench.sim.reference_world import World, bad_decision, to_ps
from glia_bench.types import EXPIRED, FINISHED, NEVER_PS

GONE, REQUESTED, LOADING, READY, DRAINING = 0, 1, 2, 3, 4
"""Values of `replicas.state`."""

STALL_RETRY_PS = 10 * 10**9
STALL_LIMIT_S = 60.0


@dataclass(slots=True, kw_only=True)
class StepOutcome:
    """What happened in one step: first tokens ever, requests that ended here, tokens, and whether one was preempted.

    Both lists are in request order; those that ended have finished or expired.
    """

    first_tokens: list[RequestState]
    ended: list[RequestState]
    num_generated: int
    has_preempted: bool


class ReplicaState:
    """A replica: its queues, its blocks and the batch of the iteration in progress.

    `next_ps` is when its next step is due: the end of the iteration in progress, the end of a pause after a stall, or
    now if a dispatch has just woken it; None while it is idle.
    """

    def __init__(self, world: World, index: int, pool_index: int, pool: PoolSpec, log: list[IterationRow]) -> None:
        self.world = world
        self.index = index
        self.pool_index = pool_index
        self.pool = pool
        self.spec = pool.engine
        self.log = log
        self.scheduler = Scheduler(world, self)
        self.state = GONE
        self.slow_factor, self.slow_until_ps = 1000, 0
        self.waiting: list[RequestState] = []
        self.running: list[RequestState] = []
        self.iteration: IterationRow | None = None
        self.begin_life()

    def begin_life(self) -> None:
        """Start with nothing: no request, no cache, no preemption counted."""
        self.preemptions = 0
        self.lose_everything()

    def lose_everything(self) -> list[RequestState]:
        """Drop requests, blocks and the iteration in progress; return the requests in request order."""
        lost = sorted(self.waiting + self.running, key=lambda request: request.id)
        for request in lost:
            request.blocks = []
        self.waiting, self.running = [], []
        delay_ps = to_ps(self.world.case.cluster.prefix_delay_s)
        self.store = BlockStore(self.spec.num_blocks, self.spec.block_size_tokens, lambda: self.world.now_ps, delay_ps)
        self.decodes: list[RequestState] = []
        self.last_decodes: list[RequestState] = []
        self.chunks: list[tuple[RequestState, int]] = []
        self.token_budget, self.max_running = self.spec.token_budget, self.spec.max_running
        self.may_continue = False
        self.stalled_since_ps: int | None = None
        self.next_ps: int | None = None
        if self.iteration is not None:
            self.iteration.end_ps = min(self.iteration.end_ps, self.world.now_ps)
            self.iteration = None
        return lost

    @property
    def num_free(self) -> int:
        """Blocks that nobody references."""
        return len(self.store.free)

    @property
    def outstanding(self) -> int:
        """Requests that are here and have not ended."""
        return len(self.waiting) + len(self.running)

    def hit_blocks(self, request: RequestState) -> int:
        """Return the blocks that an admission would find in the cache."""
        return self.store.hit_blocks(request.block_ids, request.prefill_tokens)

    def admission_blocks(self, request: RequestState) -> int:
        """Return the blocks that an admission gives to a request, cached ones included."""
        if self.spec.reserve_output:
            return self.store.blocks_for(request.prompt_tokens + request.max_tokens)
        return self.store.blocks_for(request.prefill_tokens)

    def dispatch(self, request: RequestState) -> None:
        """Put a request into the waiting queue; wake the replica if it is idle or stalls."""
        request.prefill_tokens = request.known_tokens
        request.computed_tokens = 0
        if self.scheduler.has("rank"):
            request.engine_rank = self.scheduler.rank(request)
        self.waiting.append(request)
        self._sort_waiting()
        self.may_continue = False
        if self.next_ps is None or self.stalled_since_ps is not None:
            self.next_ps = self.world.now_ps

    def step(self) -> StepOutcome:
        """End the iteration in progress, if there is one, and start the next, if there is work."""
        num_generated, first_tokens, finished = self._end_iteration()
        preemptions_before = self.preemptions
        expired: list[RequestState] = []
        self.next_ps = None
        if self.running or self.waiting:
            if self._continues():
                self._continue()
            else:
                expired = self._scheduling_point()
        return StepOutcome(
            first_tokens=sorted(first_tokens, key=lambda request: request.id),
            ended=sorted(finished + expired, key=lambda request: request.id),
            num_generated=num_generated,
            has_preempted=self.preemptions > preemptions_before,
        )

    # The end of an iteration

    def _end_iteration(self) -> tuple[int, list[RequestState], list[RequestState]]:
        """Give each decode and each completed prefill its token; free who has all output tokens."""
        generating = list(self.decodes)
        for request, chunk in self.chunks:
            before = request.computed_tokens
            request.computed_tokens += chunk
            self.store.enter_computed(request.blocks, request.block_ids, before, request.computed_tokens)
            if not request.is_prefilling:
                generating.append(request)
        first_tokens, finished = [], []
        for request in generating:
            request.generated_tokens += 1
            if request.first_token_ps == NEVER_PS:
                request.first_token_ps = self.world.now_ps
                first_tokens.append(request)
            if request.generated_tokens == request.output_tokens:
                request.outcome = FINISHED
                request.finished_ps = self.world.now_ps
                self._release(request)
                finished.append(request)
                self.may_continue = False
        self.last_decodes, self.decodes, self.chunks = self.decodes, [], []
        return len(generating), first_tokens, finished

    # The start of an iteration

    def _continues(self) -> bool:
        """Return whether the coming iteration merely continues the one that has just ended."""
        if not self.may_continue:
            return False
        needed = sum(self._blocks_needed(request) for request in self.last_decodes)
        return self.num_free >= needed + self.spec.spare_block

    def _continue(self) -> None:
        """Give the same decodes another token."""
        self.decodes = self.last_decodes
        for request in self.decodes:
            request.blocks += [self.store.take() for _ in range(self._blocks_needed(request))]
        self._run_batch(num_preempted=0)

    def _scheduling_point(self) -> list[RequestState]:
        """Ask the scheduler, form a batch and run it; return the requests whose clients had given up."""
        expired = [request for request in self.waiting if self.world.has_given_up(request)]
        for request in expired:
            request.outcome = EXPIRED
            self.waiting.remove(request)
        if not self.waiting and not self.running:
            self.stalled_since_ps = None
            return expired
        self.scheduler.on_step()
        self.token_budget, self.max_running = self.scheduler.plan()
        if self.world.policy.dynamic_rank and self.scheduler.has("rank"):
            for request in [*self.waiting, *self.running]:
                request.engine_rank = self.scheduler.rank(request)
            self._sort_waiting()
        preemptions_before = self.preemptions
        self._form_batch()
        if self.decodes or self.chunks:
            self._run_batch(num_preempted=self.preemptions - preemptions_before)
        else:
            self._stall()
        return expired

    def _form_batch(self) -> None:
        preemptions_before = self.preemptions
        if self.spec.prefill_first:
            self._admit()
            if not self.chunks:
                self._take_decodes()
                self._take_partial_prefills()
            return
        self._take_decodes()
        is_short = self.preemptions > preemptions_before
        self._take_partial_prefills()
        if not is_short or self.spec.admit_after_preemption:
            self._admit()

    def _stall(self) -> None:
        """Pause, since the scheduler gave nobody a token."""
        now_ps = self.world.now_ps
        if self.stalled_since_ps is None:
            self.stalled_since_ps = now_ps
        if now_ps - self.stalled_since_ps >= to_ps(STALL_LIMIT_S):
            counts = len(self.waiting), len(self.running)
            raise bad_decision(messages.stalled(self.index, STALL_LIMIT_S, *counts))
        self.next_ps = now_ps + STALL_RETRY_PS
        self.may_continue = False

    def _run_batch(self, *, num_preempted: int) -> None:
        """Start the iteration of the batch."""
        assert self.num_free + len({id(b) for r in self.running for b in r.blocks}) == self.spec.num_blocks
        self.stalled_since_ps = None
        self.may_continue = not self.chunks and num_preempted == 0
        duration_ps = batch_ps(self.pool.latency, self._slow_thousandths(), self.decodes, self.chunks)
        self.next_ps = self.world.now_ps + duration_ps
        self.iteration = IterationRow(
            replica=self.index,
            start_ps=self.world.now_ps,
            end_ps=self.next_ps,
            count=1,
            prefill_tokens=sum(chunk for _, chunk in self.chunks),
            num_chunks=len(self.chunks),
            num_decodes=len(self.decodes),
            context_tokens=sum(request.known_tokens for request in self.decodes),
            allocated_blocks=self.spec.num_blocks - self.num_free,
            waiting=len(self.waiting),
            running=len(self.running),
            preempted=num_preempted,
        )
        self.log.append(self.iteration)

    def _slow_thousandths(self) -> int:
        return self.slow_factor if self.world.now_ps < self.slow_until_ps else 1000

    # The batch

    def _left(self) -> int:
        """Return the budget left: what is planned less the tokens given so far."""
        return self.token_budget - len(self.decodes) - sum(chunk for _, chunk in self.chunks)

    def _blocks_needed(self, request: RequestState) -> int:
        return max(0, self.store.blocks_for(request.known_tokens) - len(request.blocks))

    def _take_decodes(self) -> None:
        """Walk the running list and give each decode its token and its block, preempting where none is free."""
        for request in list(self.running):
            if request not in self.running or request.is_prefilling or self._left() == 0:
                continue
            if self.scheduler.tokens(request, self._left()) == 0:
                continue
            needed = self._blocks_needed(request)
            while request in self.running and (needed > 0 or self.spec.spare_block) and self.num_free == 0:
                self._preempt(self._victim())
            if request in self.running:
                request.blocks += [self.store.take() for _ in range(needed)]
                self.decodes.append(request)
            elif not self.scheduler.has("evict_rank"):
                return

    def _victim(self) -> RequestState:
        """Return who is preempted because a block is short: the last of the list, or whom the scheduler names."""
        if not self.scheduler.has("evict_rank"):
            return self.running[-1]
        ranks = [self.scheduler.evict_rank(request) for request in self.running]
        return max(zip(ranks, range(len(ranks)), self.running, strict=True), key=lambda entry: entry[:2])[2]

    def _preempt(self, victim: RequestState) -> None:
        """Take a running request's blocks and its tokens of this iteration; it waits, to be recomputed."""
        self.decodes = [request for request in self.decodes if request is not victim]
        self.chunks = [(request, chunk) for request, chunk in self.chunks if request is not victim]
        self._release(victim)
        victim.forget_computed()
        self.preemptions += 1
        self.waiting.insert(0, victim)
        self._sort_waiting()

    def _take_partial_prefills(self) -> None:
        """Go on with prompts that have been begun."""
        for request in [request for request in self.running if request.is_prefilling]:
            left = self._left()
            if left == 0:
                return
            chunk = self._chunk(request, request.prefill_tokens - request.computed_tokens, left)
            if chunk > 0:
                self.chunks.append((request, chunk))

    def _chunk(self, request: RequestState, rest: int, left: int) -> int:
        """Return the tokens that a prefill gets: at most the rest and the budget left; whole prompts are not cut."""
        allowed = self.scheduler.tokens(request, left)
        if not self.spec.chunked_prefill:
            return rest if allowed > 0 else 0
        return min(allowed, rest, left)

    def _admit(self) -> None:
        """Admit from the head of the waiting queue until one may not or does not fit."""
        admitted: list[RequestState] = []
        asked: RequestState | None = None
        while self.waiting and self._left() > 0:
            head = self.waiting[0]
            has_place = len(self.running) < self.max_running
            if not has_place and not self.scheduler.is_preemptive:
                return
            if asked is not head:
                asked = head
                if not self.scheduler.admits(head):
                    return
            hit = self.hit_blocks(head)
            rest = head.prefill_tokens - hit * self.spec.block_size_tokens
            if not self._fits_budget(rest):
                return
            if not has_place or not self._has_room(head, hit):
                if not self.scheduler.is_preemptive or not self._make_way(head, admitted):
                    return
                continue
            chunk = self._chunk(head, rest, self._left())
            if chunk == 0:
                return
            self._let_in(head, hit)
            self.chunks.append((head, chunk))
            admitted.append(head)

    def _fits_budget(self, rest: int) -> bool:
        """Return whether a prefill of so many tokens fits the budget left; one that may be cut always does."""
        if self.spec.chunked_prefill:
            return True
        if self.spec.padded_budget:
            longest = max([rest, *(chunk for _, chunk in self.chunks)])
            return (len(self.chunks) + 1) * longest <= self.token_budget - len(self.decodes)
        return rest <= self._left()

    def _has_room(self, request: RequestState, hit: int) -> bool:
        new = self.admission_blocks(request) - hit
        unreferenced = self.store.num_unreferenced(request.block_ids[:hit])
        return self.num_free - unreferenced - new >= self.spec.watermark_blocks

    def _make_way(self, head: RequestState, admitted: list[RequestState]) -> bool:
        """Preempt the running request of the highest rank, if it is above the head's; tell whether it was."""
        if not self.running:
            return False
        victim = max(self.running, key=lambda request: (request.engine_rank, request.id))
        if victim.engine_rank <= head.engine_rank or victim in admitted:
            return False
        self._preempt(victim)
        return True

    def _let_in(self, request: RequestState, hit: int) -> None:
        """Move the head of the queue to the running list, with its cached blocks and new ones."""
        new = self.admission_blocks(request) - hit
        self.waiting.remove(request)
        request.blocks = [self.store.reference(cache_id) for cache_id in request.block_ids[:hit]]
        request.blocks += [self.store.take() for _ in range(new)]
        request.computed_tokens = hit * self.spec.block_size_tokens
        self.running.append(request)
        if self.spec.order == "arrival":
            self.running.sort(key=lambda running: running.id)
        if request.scheduled_ps == NEVER_PS:
            request.scheduled_ps = self.world.now_ps
            request.cached_tokens = request.computed_tokens
        if self.world.policy.scheduling:
            self.world.fold(request.id, -(self.index + 3), self.world.now_ps)

    def _sort_waiting(self) -> None:
        if self.scheduler.has("rank"):
            self.waiting.sort(key=lambda request: (request.engine_rank, request.id))

    def _release(self, request: RequestState) -> None:
        """Take a request off the running list and free its blocks."""
        self.running.remove(request)
        stored = request.computed_tokens if request.is_prefilling else request.known_tokens - 1
        self.store.release(request.blocks, request.block_ids, stored)
