"""One replica of the reference simulator: continuous batching, token by token, in plain Python.

Models what docs/simulator.md says of one replica: waiting queue, running list, KV blocks that grow with every decode,
preemption by recompute, chunked prefill, head-of-line admission. Every iteration loops over the whole batch. It is the
oracle of the fast kernel, so it shares no code with it and uses no trick. The router and its clock are in `reference`.
"""

from dataclasses import dataclass, field

from glia_bench.types import FINISHED, NEVER_PS, UNFINISHED, EngineSpec, LatencyTable


@dataclass(slots=True, eq=False, kw_only=True)
class RequestState:
    """One request on its way: what the trace says of it, where it stands, what its record will say.

    `prefill_tokens` is P of docs/simulator.md, `computed_tokens` how much of P has been computed. Two requests are
    never equal, so `in` and `remove` look for the object itself.
    """

    id: int
    arrival_ps: int
    prompt_tokens: int
    output_tokens: int
    max_tokens: int
    slot: int = 0
    rank: float = 0.0
    prefill_tokens: int = 0
    computed_tokens: int = 0
    generated_tokens: int = 0
    blocks: int = 0
    outcome: int = UNFINISHED
    replica: int = -1
    restarts: int = 0
    dispatched_ps: int = NEVER_PS
    scheduled_ps: int = NEVER_PS
    first_token_ps: int = NEVER_PS
    finished_ps: int = NEVER_PS

    @property
    def known_tokens(self) -> int:
        """Prompt plus tokens generated so far."""
        return self.prompt_tokens + self.generated_tokens

    @property
    def is_prefilling(self) -> bool:
        """Whether tokens must still be computed before it can generate."""
        return self.computed_tokens < self.prefill_tokens


@dataclass(slots=True, kw_only=True)
class StepOutcome:
    """What happened in one step: requests that got their first token ever, that finished, and whether one was evicted.

    Both lists are in request order.
    """

    first_tokens: list[RequestState]
    finished: list[RequestState]
    has_preempted: bool


@dataclass(slots=True, kw_only=True)
class ReplicaState:
    """A replica: its queues, its free blocks and the batch of the iteration in progress.

    `next_ps` is when its next step is due: the end of the iteration in progress, or now if a dispatch has just woken
    it; None while it is idle. `ledger` holds its dispatched and unfinished requests in dispatch order.
    """

    spec: EngineSpec
    latency: LatencyTable
    free_blocks: int
    next_ps: int | None = None
    preemptions: int = 0
    ledger: list[RequestState] = field(default_factory=list)
    waiting: list[RequestState] = field(default_factory=list)
    running: list[RequestState] = field(default_factory=list)
    decodes: list[RequestState] = field(default_factory=list)
    chunks: list[tuple[RequestState, int]] = field(default_factory=list)

    def blocks_for(self, tokens: int) -> int:
        """Return the KV blocks that hold this many tokens."""
        return -(-tokens // self.spec.block_size_tokens)

    def dispatch(self, request: RequestState, now_ps: int) -> None:
        """Put a request at the tail of the waiting queue and wake the replica if it is idle."""
        request.prefill_tokens = request.prompt_tokens
        self.waiting.append(request)
        self.ledger.append(request)
        if self.next_ps is None:
            self.next_ps = now_ps

    def step(self, now_ps: int) -> StepOutcome:
        """End the iteration in progress, if there is one, and start the next, if there is work."""
        first_tokens, finished = self._end_iteration(now_ps)
        preemptions_before = self.preemptions
        self.next_ps = self._start_iteration(now_ps) if self.running or self.waiting else None
        return StepOutcome(
            first_tokens=sorted(first_tokens, key=lambda request: request.id),
            finished=sorted(finished, key=lambda request: request.id),
            has_preempted=self.preemptions > preemptions_before,
        )

    def _end_iteration(self, now_ps: int) -> tuple[list[RequestState], list[RequestState]]:
        """Give each decode and each completed prefill its token; free who has all output tokens."""
        generating = list(self.decodes)
        for request, chunk in self.chunks:
            request.computed_tokens += chunk
            if not request.is_prefilling:
                generating.append(request)
        self.decodes, self.chunks = [], []
        first_tokens, finished = [], []
        for request in generating:
            request.generated_tokens += 1
            if request.first_token_ps == NEVER_PS:
                request.first_token_ps = now_ps
                first_tokens.append(request)
            if request.generated_tokens == request.output_tokens:
                request.outcome = FINISHED
                request.finished_ps = now_ps
                self._release_blocks(request)
                self.ledger.remove(request)
                finished.append(request)
        return first_tokens, finished

    def _start_iteration(self, now_ps: int) -> int:
        """Form the next batch and return the instant at which its iteration ends."""
        preemptions_before = self.preemptions
        self._take_decodes()
        budget = self.spec.token_budget - len(self.decodes)
        prefilling = [request for request in self.running if request.is_prefilling]
        assert len(prefilling) <= 1, "more than one partial prefill"
        for request in prefilling:
            chunk = min(request.prefill_tokens - request.computed_tokens, budget)
            self.chunks.append((request, chunk))
            budget -= chunk
        if self.preemptions == preemptions_before or self.spec.admit_after_preemption:
            self._admit(now_ps, budget)

        tokens = len(self.decodes) + sum(chunk for _, chunk in self.chunks)
        context = sum(request.known_tokens for request in self.decodes)
        pairs = sum(2 * chunk * request.computed_tokens + chunk * chunk for request, chunk in self.chunks)
        assert tokens >= 1, "an iteration without tokens"
        assert self.free_blocks == self.spec.num_blocks - sum(request.blocks for request in self.running) >= 0
        duration_ps = int(self.latency.token_ps[tokens])
        duration_ps += self.latency.context_ps * context + self.latency.pair_ps * pairs
        return now_ps + duration_ps

    def _take_decodes(self) -> None:
        """Walk the running list and give each decode its block, preempting from the list's end where none is free."""
        for request in list(self.running):
            if request not in self.running or request.is_prefilling:
                continue
            blocks_needed = self.blocks_for(request.known_tokens) - request.blocks
            while (blocks_needed > 0 or self.spec.spare_block) and self.free_blocks == 0:
                victim = self.running[-1]
                self._preempt(victim)
                if victim is request:
                    return
            request.blocks += blocks_needed
            self.free_blocks -= blocks_needed
            self.decodes.append(request)

    def _preempt(self, victim: RequestState) -> None:
        """Take all blocks of a running request and put it at the head of the waiting queue, to be recomputed."""
        self._release_blocks(victim)
        victim.prefill_tokens = victim.known_tokens
        victim.computed_tokens = 0
        victim.restarts += 1
        self.preemptions += 1
        self.waiting.insert(0, victim)

    def _admit(self, now_ps: int, budget: int) -> None:
        """Admit from the head of the waiting queue until one does not fit."""
        while self.waiting and len(self.running) < self.spec.max_running and budget > 0:
            request = self.waiting[0]
            blocks = self.blocks_for(request.prefill_tokens)
            if self.free_blocks - blocks < self.spec.watermark_blocks:
                return
            self.waiting.pop(0)
            request.blocks = blocks
            self.free_blocks -= blocks
            self.running.append(request)
            if self.spec.order == "arrival":
                self.running.sort(key=lambda running: running.id)
            if request.scheduled_ps == NEVER_PS:
                request.scheduled_ps = now_ps
            chunk = min(request.prefill_tokens, budget)
            self.chunks.append((request, chunk))
            budget -= chunk

    def _release_blocks(self, request: RequestState) -> None:
        """Take a request off the running list and free its blocks."""
        self.running.remove(request)
        self.free_blocks += request.blocks
        request.blocks = 0
