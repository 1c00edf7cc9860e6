"""The reference simulator: a router and its replicas in slow, obvious Python, the oracle of the fast kernel.

Follows docs/simulator.md word for word: an event loop that looks at every replica's next time, a held queue sorted anew
at each insertion, feature tuples built afresh for every hook call. Replicas are in `reference_engine`.
"""

from typing import Any

import numpy as np

from glia_bench.features import HOLD, REJECT, Cluster, Memory, Queue, Replicas, Request
from glia_bench.policy import Policy
from glia_bench.sim.latency import linear_perf
from glia_bench.sim.reference_engine import ReplicaState, RequestState
from glia_bench.types import PS_PER_S, REJECTED, Case, Records, RunResult, Samples, Status, Trigger

GOLDEN = 0x9E3779B97F4A7C15
MASK = 2**64 - 1


def simulate(case: Case, policy: Policy, *, sample_interval_s: float | None = None) -> RunResult:
    """Run one policy on one case, slowly.

    Args:
        case: Cluster, trace and what only the evaluator knows.
        policy: The design; its hooks run as plain Python.
        sample_interval_s: If given, the state of the cluster is sampled on this grid.

    Returns:
        Records, status and decision hash, equal bit for bit to those of `engine.simulate`.
    """
    run = _Run(case, policy, sample_interval_s)
    status: Status = "ok"
    message = ""
    try:
        run.until_over()
    except _RunFailedError as failure:
        status, message = failure.status, str(failure)
    return RunResult(
        status=status,
        message=message,
        records=run.records(),
        end_ps=run.now_ps,
        num_decisions=run.num_decisions,
        decision_hash=run.decision_hash,
        tier="python",
        samples=run.samples(),
    )


def mix(x: int) -> int:
    """Return the finaliser of SplitMix64 of x modulo 2^64."""
    x &= MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def uniforms(policy_seed: int, request_id: int) -> tuple[float, float, float, float]:
    """Return `request.u`: four uniforms in [0, 1) keyed by policy seed and request id."""
    a, b, c, d = ((mix(mix(policy_seed) + (4 * request_id + k + 1) * GOLDEN) >> 11) * 2.0**-53 for k in range(4))
    return a, b, c, d


def _to_ps(seconds: float) -> int:
    return round(seconds * PS_PER_S)


def _read_only(values: Any, dtype: type) -> Any:
    array: Any = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


class _RunFailedError(Exception):
    """The design broke the run; the message is for its author."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Run:
    """The state of one run: clock, held queue, replicas, the design's memory."""

    def __init__(self, case: Case, policy: Policy, sample_interval_s: float | None) -> None:
        cluster, trace = case.cluster, case.trace
        self.case = case
        self.policy = policy
        self.perf = linear_perf(cluster.latency)
        columns = ("arrival_ps", "prompt_tokens", "output_tokens", "max_tokens")
        self.requests = [
            RequestState(id=i, **{column: int(getattr(trace, column)[i]) for column in columns})
            for i in range(len(trace))
        ]
        self.replicas = [
            ReplicaState(spec=cluster.engine, latency=cluster.latency, free_blocks=cluster.engine.num_blocks)
            for _ in range(cluster.num_replicas)
        ]
        self.now_ps = 0
        self.num_arrived = 0
        self.held: list[RequestState] = []
        self.is_scan_pending = False
        self.next_tick_ps: int | None = None
        self.horizon_ps = case.horizon_ps
        self.idle_hold_since_ps: int | None = None
        self.num_decisions = 0
        self.decision_hash = 0

        widths = policy.memory
        self.has_request_memory = policy.needs_request_rows
        num_slots = 1024 if self.has_request_memory else 1
        self.memory = Memory(
            shared=np.zeros(widths.get("shared", 0)),
            replica=np.zeros((cluster.num_replicas, widths.get("replica", 0))),
            tenant=np.zeros((1, widths.get("tenant", 0))),
            session=np.zeros((1, widths.get("session", 0))),
            request=np.zeros((num_slots, widths.get("request", 0))),
            tag=np.zeros(num_slots),
        )
        self.released_slots: list[int] = []
        self.tick_ps = _to_ps(policy.tick_s or 0.0)
        self.num_slots_used = 0

        self.sample_interval_s = sample_interval_s
        self.next_sample_ps = None if sample_interval_s is None else 0
        self.sampled: list[tuple[int, list[int], list[int], list[int]]] = []

    # The event loop

    def until_over(self) -> None:
        """Go from instant to instant until the run is over."""
        while True:
            self.now_ps = self._next_instant_ps()
            while self._one_event():
                pass
            self._watch_idle_hold()
            has_all = self.num_arrived == len(self.requests)
            if (has_all and not self.held and self._is_cluster_idle()) or self.now_ps >= self.horizon_ps:
                return

    def _next_instant_ps(self) -> int:
        instants = [self.horizon_ps]
        instants += [replica.next_ps for replica in self.replicas if replica.next_ps is not None]
        if self.num_arrived < len(self.requests):
            instants.append(self.requests[self.num_arrived].arrival_ps)
        if self.next_sample_ps is not None:
            instants.append(self.next_sample_ps)
        if self.next_tick_ps is not None:
            instants.append(self.next_tick_ps)
        if self.idle_hold_since_ps is not None:
            instants.append(self.idle_hold_since_ps + _to_ps(self.case.cluster.idle_hold_limit_s))
        return min(instants)

    def _one_event(self) -> bool:
        """Do the first thing that is due now, in the order of docs/simulator.md; tell whether there was one."""
        for index, replica in enumerate(self.replicas):
            if replica.next_ps == self.now_ps:
                self._step(index)
                return True
        if self.is_scan_pending:
            self.is_scan_pending = False
            self._scan()
            return True
        if self.next_sample_ps == self.now_ps:
            self._sample()
            return True
        if self.next_tick_ps == self.now_ps:
            self.next_tick_ps += self.tick_ps
            self._scan()
            return True
        if self.num_arrived < len(self.requests) and self.requests[self.num_arrived].arrival_ps == self.now_ps:
            self._arrive(self.requests[self.num_arrived])
            return True
        return False

    def _is_cluster_idle(self) -> bool:
        return all(replica.next_ps is None for replica in self.replicas)

    def _watch_idle_hold(self) -> None:
        """Fail a design that holds requests before an idle cluster for too long."""
        if not self.held or not self._is_cluster_idle():
            self.idle_hold_since_ps = None
            return
        if self.idle_hold_since_ps is None:
            self.idle_hold_since_ps = self.now_ps
        limit_s = self.case.cluster.idle_hold_limit_s
        if self.now_ps - self.idle_hold_since_ps >= _to_ps(limit_s):
            raise _RunFailedError(
                "bad_decision",
                f"{len(self.held)} requests (first: request {self.held[0].id}) were held for {limit_s:g} s while the "
                f"whole cluster was idle; a held request must be dispatched or rejected at a later trigger",
            )

    def _sample(self) -> None:
        assert self.sample_interval_s is not None
        waiting = [len(replica.waiting) for replica in self.replicas]
        running = [len(replica.running) for replica in self.replicas]
        allocated = [replica.spec.num_blocks - replica.free_blocks for replica in self.replicas]
        self.sampled.append((len(self.held), waiting, running, allocated))
        self.next_sample_ps = len(self.sampled) * _to_ps(self.sample_interval_s)

    def _step(self, index: int) -> None:
        outcome = self.replicas[index].step(self.now_ps)
        triggers: tuple[Trigger, ...] = self.case.cluster.triggers
        if (outcome.finished and "completion" in triggers) or (outcome.has_preempted and "restart" in triggers):
            self.is_scan_pending = True
        for request in outcome.first_tokens:
            self._call_event("on_first_token", request)
        for request in outcome.finished:
            self._call_event("on_finish", request)
            self._release_slot(request)

    # The router

    def _arrive(self, request: RequestState) -> None:
        self.num_arrived += 1
        if self.has_request_memory:
            self._give_slot(request)
        if "rank" in self.policy.hooks and "assign" not in self.policy.hooks:
            views = (self._request_view(request), self._cluster_view(len(self.held) + 1), self.memory)
            rank = self._call("rank", f"request {request.id}", *views)
            if not isinstance(rank, (int, float, np.integer, np.floating)) or not np.isfinite(float(rank)):
                rule = f"rank answered {rank!r} for request {request.id}; it must be a finite number"
                raise _RunFailedError("bad_decision", rule)
            request.rank = float(rank)
        if not self.held and self.policy.tick_s is not None and "tick" in self.case.cluster.triggers:
            now_ps = self.now_ps + self.case.clock_offset_ps  # on the policy's clock
            self.next_tick_ps = self.now_ps + self.tick_ps - now_ps % self.tick_ps
        self.held = sorted([*self.held, request], key=lambda held: (held.rank, held.id))
        self._scan()

    def _scan(self) -> None:
        """Go through the held queue from its head."""
        if not self.held:
            return
        if "assign" in self.policy.hooks:
            self._scan_with_assign()
            return
        for request in list(self.held):
            views = (self._request_view(request), self._replicas_view(), self._cluster_view(len(self.held)))
            answer = self._call("route", f"request {request.id}", *views, self.memory)
            self._apply("route", request, answer)
            if answer == HOLD and not self.policy.skip_blocked:
                return

    def _scan_with_assign(self) -> None:
        queue = list(self.held)
        rows = [self._request_view(request) for request in queue]
        int_fields = {name for name in Request._fields if isinstance(getattr(rows[0], name), int)}
        columns = {
            name: _read_only([getattr(row, name) for row in rows], np.int64 if name in int_fields else np.float64)
            for name in Request._fields
        }
        out = np.full(len(queue), HOLD, dtype=np.int64)
        subject = f"{len(queue)} requests (first: request {queue[0].id})"
        views = (Queue(**columns), self._replicas_view(), self._cluster_view(len(queue)))
        self._call("assign", subject, *views, self.memory, out)
        for request, answer in zip(queue, out, strict=True):
            self._apply("assign", request, answer)

    def _apply(self, hook: str, request: RequestState, answer: Any) -> None:
        """Check one answer, count it, hash it and do it."""
        last = len(self.replicas) - 1
        is_int = isinstance(answer, (int, np.integer)) and not isinstance(answer, bool)
        if not is_int or not (0 <= answer <= last or answer in (HOLD, REJECT)):
            raise _RunFailedError(
                "bad_decision",
                f"{hook} answered {answer if is_int else repr(answer)} for request {request.id}; "
                f"it must be a ready replica's index 0..{last}, HOLD ({HOLD}) or REJECT ({REJECT})",
            )
        self.num_decisions += 1
        for x in (request.id, int(answer) + 2, self.now_ps):
            self.decision_hash = mix(((self.decision_hash + GOLDEN) & MASK) ^ x)
        if answer == HOLD:
            return
        self.held.remove(request)
        if not self.held:
            self.idle_hold_since_ps = None
            self.next_tick_ps = None
        if answer == REJECT:
            request.outcome = REJECTED
            self._release_slot(request)
            return
        request.replica = int(answer)
        request.dispatched_ps = self.now_ps
        self.replicas[request.replica].dispatch(request, self.now_ps)
        self._call_event("on_dispatch", request)

    # The design: its memory, its hooks and what they see

    def _give_slot(self, request: RequestState) -> None:
        if self.released_slots:
            request.slot = self.released_slots.pop()
        else:
            request.slot = self.num_slots_used
            self.num_slots_used += 1
            if request.slot == len(self.memory.tag):
                request_table, tag = (np.concatenate([t, 0.0 * t]) for t in (self.memory.request, self.memory.tag))
                self.memory = self.memory._replace(request=request_table, tag=tag)
        self.memory.request[request.slot] = 0.0
        self.memory.tag[request.slot] = 0.0

    def _release_slot(self, request: RequestState) -> None:
        if self.has_request_memory:
            self.released_slots.append(request.slot)

    def _call(self, hook: str, subject: str, *arguments: Any) -> Any:
        try:
            with np.errstate(divide="raise", invalid="raise", over="ignore", under="ignore"):
                return self.policy.hooks[hook](*arguments)
        except Exception as error:
            message = f"{hook} raised {type(error).__name__} for {subject}: {error}"
            raise _RunFailedError("policy_error", message) from error

    def _call_event(self, hook: str, request: RequestState) -> None:
        if hook in self.policy.hooks:
            self._call(hook, f"request {request.id}", self._request_view(request), request.replica, self.memory)

    def _clock_s(self, time_ps: int) -> float:
        return float(time_ps + self.case.clock_offset_ps) * 1e-12

    def _request_view(self, request: RequestState) -> Request:
        return Request(
            id=request.id,
            slot=request.slot,
            tenant=0,
            session=-1,
            turn=0,
            prompt_tokens=request.prompt_tokens,
            max_tokens=request.max_tokens,
            priority=0,
            slo_class=0,
            generated_tokens=request.generated_tokens,
            restarts=request.restarts,
            predicted_tokens=0.0,
            ttft_slo_s=float("inf"),
            tpot_slo_s=float("inf"),
            arrival_s=self._clock_s(request.arrival_ps),
            tag=float(self.memory.tag[request.slot]),
            u=uniforms(self.case.policy_seed, request.id),
        )

    def _replicas_view(self) -> Replicas:
        def ints(values: list[int]) -> Any:
            return _read_only(values, np.int64)

        replicas = self.replicas
        num = len(replicas)
        return Replicas(
            ready=ints([1] * num),
            pool=ints([0] * num),
            waiting=ints([len(x.waiting) for x in replicas]),
            running=ints([len(x.running) for x in replicas]),
            waiting_tokens=ints([sum(r.prefill_tokens for r in x.waiting) for x in replicas]),
            waiting_blocks=ints([sum(x.blocks_for(r.prefill_tokens) for r in x.waiting) for x in replicas]),
            allocated_blocks=ints([sum(r.blocks for r in x.running) for x in replicas]),
            capacity_blocks=ints([x.spec.num_blocks for x in replicas]),
            max_running=ints([x.spec.max_running for x in replicas]),
            token_budget=ints([x.spec.token_budget for x in replicas]),
            preemptions=ints([x.preemptions for x in replicas]),
            inflight=ints([len(x.ledger) for x in replicas]),
            inflight_prompt_tokens=ints([sum(r.prompt_tokens for r in x.ledger) for x in replicas]),
            inflight_blocks=ints([sum(x.blocks_for(r.prompt_tokens) for r in x.ledger) for x in replicas]),
            inflight_tokens=ints([sum(r.known_tokens for r in x.ledger) for x in replicas]),
            unprefilled_tokens=ints(
                [sum(r.prompt_tokens for r in x.ledger if r.generated_tokens == 0) for x in replicas]
            ),
            prefix_hit_tokens=ints([0] * num),
            speed=_read_only([1.0] * num, np.float64),
            metrics_age_s=_read_only([0.0] * num, np.float64),
        )

    def _cluster_view(self, num_held: int) -> Cluster:
        return Cluster(
            now_s=self._clock_s(self.now_ps),
            num_replicas=len(self.replicas),
            num_held=num_held,
            num_routers=1,
            block_size_tokens=self.case.cluster.engine.block_size_tokens,
            metrics_interval_s=0.0,
            perf=self.perf,
        )

    # What leaves the run

    def records(self) -> Records:
        """Return one row per request."""
        columns = {name: [getattr(request, name) for request in self.requests] for name in Records.__slots__}
        return Records(**{name: np.array(column, dtype=np.int64) for name, column in columns.items()})

    def samples(self) -> Samples | None:
        """Return the samples, if they were asked for."""
        if self.sample_interval_s is None:
            return None
        names = ("held", "waiting", "running", "allocated_blocks")
        columns = (np.array(column, dtype=np.int64) for column in zip(*self.sampled, strict=True))
        interval_s = _to_ps(self.sample_interval_s) / PS_PER_S
        return Samples(interval_s=interval_s, **dict(zip(names, columns, strict=True)))
