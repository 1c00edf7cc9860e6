"""One router of the reference simulator: its held queue, its ledger, what it sees and what its design answers.

Follows the section "The router" of docs/simulator.md: a held queue sorted anew at each insertion, feature tuples built
afresh for every hook call.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from glia_bench.features import HOLD, REJECT, Queue, Replicas, Request
from glia_bench.sim import messages
from glia_bench.sim.reference_engine import READY, ReplicaState
from glia_bench.sim.reference_prefix import Notes
from glia_bench.sim.reference_request import RequestState
from glia_bench.sim.reference_world import World, bad_decision, is_integer, read_only, to_ps
from glia_bench.types import EXPIRED, NEVER_PS, REJECTED


@dataclass(slots=True, kw_only=True)
class EngineFields:
    """Fields of the replica view that an engine reports."""

    waiting: int = 0
    running: int = 0
    waiting_tokens: int = 0
    waiting_blocks: int = 0
    allocated_blocks: int = 0
    preemptions: int = 0


def engine_fields(replica: ReplicaState) -> EngineFields:
    """Return what a replica would report now."""
    return EngineFields(
        waiting=len(replica.waiting),
        running=len(replica.running),
        waiting_tokens=sum(request.prefill_tokens for request in replica.waiting),
        waiting_blocks=sum(replica.admission_blocks(request) for request in replica.waiting),
        allocated_blocks=replica.spec.num_blocks - replica.num_free,
        preemptions=replica.preemptions,
    )


class Publisher:
    """When one replica publishes its engine fields, and what routers see until it does so again."""

    def __init__(self, interval_ps: int, phase_ps: int) -> None:
        self.interval_ps = interval_ps
        self.next_ps: int | None = phase_ps if interval_ps else None
        self.fields = EngineFields()
        self.published_ps = 0

    def seen(self, replica: ReplicaState, now_ps: int) -> tuple[EngineFields, float]:
        """Return the engine fields that routers see, and their age in seconds."""
        if not self.interval_ps:
            return engine_fields(replica), 0.0
        return self.fields, float(now_ps - self.published_ps) * 1e-12


class RouterState:
    """A router: requests that it holds, and those that it has dispatched and that have not ended, in dispatch order."""

    def __init__(self, world: World, index: int, publishers: list[Publisher]) -> None:
        self.world = world
        self.index = index
        self.publishers = publishers
        self.hooks = world.policy.routing
        self.held: list[RequestState] = []
        self.ledger: list[RequestState] = []
        self.is_scan_pending = False
        self.tick_ps = to_ps(world.policy.tick_s or 0.0) if "tick" in world.case.cluster.triggers else 0
        self.next_tick_ps: int | None = None
        self.notes: list[Notes] = []
        for replica in world.replicas:
            self.notes.append(Notes(replica.spec.num_blocks, replica.spec.block_size_tokens))

    def forget_notes(self, replica: ReplicaState) -> None:
        """Forget what was sent to a replica that has lost its cache."""
        self.notes[replica.index] = Notes(replica.spec.num_blocks, replica.spec.block_size_tokens)

    def insert(self, request: RequestState) -> None:
        """Rank a request and put it into the held queue; its scan is then due."""
        world = self.world
        if "rank" in self.hooks and "assign" not in self.hooks:
            views = (world.request_view(request), self._cluster_view(len(self.held) + 1), self._memory())
            request.held_rank = world.call_rank("routing", "rank", f"request {request.id}", *views)
        if not self.held and self.tick_ps:
            clock_ps = world.now_ps + world.case.clock_offset_ps
            self.next_tick_ps = world.now_ps + self.tick_ps - clock_ps % self.tick_ps
        self.held = sorted([*self.held, request], key=lambda held: (held.held_rank, held.id))
        self.is_scan_pending = True

    def scan(self) -> None:
        """Go through the held queue from its head."""
        for request in [request for request in self.held if self.world.has_given_up(request)]:
            request.outcome = EXPIRED
            self._take_out(request)
            self.world.release_row(request)
        if not self.held:
            return
        if "assign" in self.hooks:
            self._scan_with_assign()
            return
        for request in list(self.held):
            answer = self._route(request)
            self._apply("route", request, answer)
            if answer == HOLD and not self.world.policy.skip_blocked:
                return

    def _route(self, request: RequestState) -> Any:
        world = self.world
        if "route" not in self.hooks:
            ready = [replica.index for replica in world.replicas if replica.state == READY]
            return min(ready, key=lambda index: (sum(r.replica == index for r in self.ledger), index))
        views = (world.request_view(request), self._replicas_view(request), self._cluster_view(len(self.held)))
        return world.call("routing", "route", f"request {request.id}", *views, self._memory())

    def _scan_with_assign(self) -> None:
        world = self.world
        queue = list(self.held)
        rows = [world.request_view(request) for request in queue]
        int_fields = {name for name in Request._fields if isinstance(getattr(rows[0], name), int)}
        columns = {
            name: read_only([getattr(row, name) for row in rows], np.int64 if name in int_fields else np.float64)
            for name in Request._fields
        }
        out = np.full(len(queue), HOLD, dtype=np.int64)
        views = (Queue(**columns), self._replicas_view(None), self._cluster_view(len(queue)))
        world.call("routing", "assign", "", *views, self._memory(), out)
        for request, answer in zip(queue, out, strict=True):
            self._apply("assign", request, answer)

    def _apply(self, hook: str, request: RequestState, answer: Any) -> None:
        """Check one answer, count it, hash it and do it."""
        world = self.world
        replicas = world.replicas
        is_known = is_integer(answer) and (0 <= answer < len(replicas) or answer in (HOLD, REJECT))
        if not is_known or (answer >= 0 and replicas[answer].state != READY):
            raise bad_decision(messages.bad_route(hook, request.id, answer, len(replicas)))
        world.num_decisions += 1
        world.fold(request.id, int(answer) + 2, world.now_ps)
        if answer == HOLD:
            return
        self._take_out(request)
        if answer == REJECT:
            request.outcome = REJECTED
            world.release_row(request)
            return
        world.idle_hold_since_ps = None
        request.replica = int(answer)
        request.last_dispatch_ps = world.now_ps
        if request.dispatched_ps == NEVER_PS:
            request.dispatched_ps = world.now_ps
        self.ledger.append(request)
        self.notes[request.replica].note(request.block_ids, request.prompt_tokens)
        replicas[request.replica].dispatch(request)
        self.tell("on_dispatch", request)

    def _take_out(self, request: RequestState) -> None:
        self.held.remove(request)
        if not self.held:
            self.next_tick_ps = None
        if self.world.num_held == 0:
            self.world.idle_hold_since_ps = None

    def tell(self, hook: str, request: RequestState) -> None:
        """Call an event hook."""
        if hook in self.hooks:
            views = (self.world.request_view(request), request.replica, self._memory())
            self.world.call("routing", hook, f"request {request.id}", *views)

    # What it sees

    def _memory(self) -> Any:
        return self.world.memory(self.index)

    def _cluster_view(self, num_held: int) -> Any:
        return self.world.cluster_view(self.index, num_held, self.ledger)

    def _prefix_hit_tokens(self, replica: ReplicaState, request: RequestState | None) -> int:
        view = self.world.policy.prefix_view
        if view == "none" or request is None:
            return 0
        ids, tokens, store = request.block_ids, request.prompt_tokens, replica.store
        if view == "own":
            hit = self.notes[replica.index].hit_blocks(ids, tokens)
        elif view == "events":
            hit = store.reported_hit_blocks(ids, tokens)
        else:
            hit = store.hit_blocks(ids, tokens)
        return hit * replica.spec.block_size_tokens

    def _replicas_view(self, request: RequestState | None) -> Replicas:
        """Return all replicas as this router sees them when it is asked for a request (None: for the whole queue)."""

        def ints(values: list[int]) -> Any:
            return read_only(values, np.int64)

        replicas = self.world.replicas
        ledgers = [[r for r in self.ledger if r.replica == x.index] for x in replicas]
        seen = [p.seen(x, self.world.now_ps) for p, x in zip(self.publishers, replicas, strict=True)]
        pairs = list(zip(replicas, ledgers, strict=True))
        return Replicas(
            ready=ints([int(x.state == READY) for x in replicas]),
            state=ints([x.state for x in replicas]),
            pool=ints([x.pool_index for x in replicas]),
            waiting=ints([fields.waiting for fields, _ in seen]),
            running=ints([fields.running for fields, _ in seen]),
            waiting_tokens=ints([fields.waiting_tokens for fields, _ in seen]),
            waiting_blocks=ints([fields.waiting_blocks for fields, _ in seen]),
            allocated_blocks=ints([fields.allocated_blocks for fields, _ in seen]),
            capacity_blocks=ints([x.spec.num_blocks for x in replicas]),
            max_running=ints([x.spec.max_running for x in replicas]),
            token_budget=ints([x.spec.token_budget for x in replicas]),
            preemptions=ints([fields.preemptions for fields, _ in seen]),
            inflight=ints([len(ledger) for ledger in ledgers]),
            inflight_prompt_tokens=ints([sum(r.prompt_tokens for r in ledger) for ledger in ledgers]),
            inflight_blocks=ints([sum(x.store.blocks_for(r.prompt_tokens) for r in ledger) for x, ledger in pairs]),
            inflight_tokens=ints([sum(r.known_tokens for r in ledger) for ledger in ledgers]),
            unprefilled_tokens=ints(
                [sum(r.prompt_tokens for r in ledger if r.generated_tokens == 0) for ledger in ledgers]
            ),
            prefix_hit_tokens=ints([self._prefix_hit_tokens(x, request) for x in replicas]),
            speed=read_only([x.pool.speed for x in replicas], np.float64),
            metrics_age_s=read_only([age_s for _, age_s in seen], np.float64),
        )
