"""The reference simulator: a whole cluster in slow, obvious Python, the oracle of the fast kernel.

Follows docs/simulator.md word for word. This module is the event loop, what starts and ends a run, and what leaves it:
it looks at everyone's next time, and does the first thing that is due. The parts: `reference_engine` (a replica),
`reference_scheduler` (what its design is asked), `reference_prefix` (KV blocks), `reference_router`, `reference_fleet`
(replicas that come and go), `reference_autoscaler`, and `reference_world`, which they share.
"""

from typing import Any

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S
from glia_bench.policy import Policy
from glia_bench.sim import messages
from glia_bench.sim.reference_autoscaler import Autoscaler
from glia_bench.sim.reference_engine import DRAINING, READY, ReplicaState
from glia_bench.sim.reference_fleet import Fleet, Life
from glia_bench.sim.reference_iteration import IterationRow
from glia_bench.sim.reference_request import RequestState, mix, scenario_draw, uniforms
from glia_bench.sim.reference_router import Publisher, RouterState, engine_fields
from glia_bench.sim.reference_world import RunFailedError, World, bad_decision, to_ps
from glia_bench.types import FINISHED, NEVER_PS, Iterations, Lifetimes, Records, RunResult, Samples, Status

__all__ = ["mix", "simulate", "uniforms"]


def simulate(
    case: Case, policy: Policy, *, sample_interval_s: float | None = None, log_iterations: bool = False
) -> RunResult:
    """Run one policy on one case, slowly.

    Args:
        case: Cluster, trace and what only the evaluator knows.
        policy: The design; its hooks run as plain Python.
        sample_interval_s: If given, the state of the cluster is sampled on this grid.
        log_iterations: Whether to return every single iteration.

    Returns:
        Records, status and decision hash, equal bit for bit to those of `engine.simulate`.
    """
    run = Run(case, policy, sample_interval_s)
    status: Status = "ok"
    message = ""
    try:
        run.until_over()
    except RunFailedError as failure:
        status, message = failure.status, str(failure)
    return run.result(status, message, log_iterations=log_iterations)


class Run:
    """One run: the world with its parts, and what arrives when."""

    def __init__(self, case: Case, policy: Policy, sample_interval_s: float | None) -> None:
        world = World(case, policy)
        case = world.case
        cluster = case.cluster
        self.case = case
        self.world = world
        self.triggers = cluster.triggers
        self.log: list[IterationRow] = []
        for index, pool_index in enumerate(cluster.pool_of):
            pool = cluster.pools[pool_index]
            world.replicas.append(ReplicaState(world, index, pool_index, pool, self.log))
        self.publishers = []
        interval_ps = to_ps(cluster.metrics_interval_s)
        for index in range(cluster.num_replicas):
            phase_ps = scenario_draw(case.scenario_seed, 1, index) % interval_ps if interval_ps else 0
            self.publishers.append(Publisher(interval_ps, phase_ps))
        for index in range(cluster.num_routers):
            world.routers.append(RouterState(world, index, self.publishers))
        self.fleet = Fleet(world, world.routers, self.publishers)
        self.autoscaler = Autoscaler(world, self.fleet)

        self.clock_rows = list(range(case.trace.num_clock))
        self.clock_ps = [int(x) for x in case.trace.arrival_ps]
        self.follow_ups: dict[int, int] = {}
        self.num_arrived = 0
        self.horizon_ps = case.horizon_ps
        self.sample_interval_s = sample_interval_s
        self.next_sample_ps = None if sample_interval_s is None else 0
        self.sampled: list[tuple[int, list[int], list[int], list[int]]] = []

    # The event loop

    def until_over(self) -> None:
        """Go from instant to instant until the run is over."""
        while True:
            self.world.now_ps = self._next_instant_ps()
            while self._one_event():
                pass
            self._watch_idle_hold()
            if self.world.now_ps >= self.horizon_ps or self._is_drained():
                return

    def _next_instant_ps(self) -> int:
        instants: list[int | None] = [self.horizon_ps, self.next_sample_ps, self.fleet.next_ps()]
        instants += [replica.next_ps for replica in self.world.replicas]
        instants += [publisher.next_ps for publisher in self.publishers]
        instants += [self.autoscaler.next_second_ps, self.autoscaler.next_ask_ps]
        instants += [router.next_tick_ps for router in self.world.routers]
        instants += [self.clock_ps[row] for row in self.clock_rows[:1]]
        instants += self.follow_ups.values()
        if self.world.idle_hold_since_ps is not None:
            instants.append(self.world.idle_hold_since_ps + to_ps(self.case.cluster.idle_hold_limit_s))
        return min(instant for instant in instants if instant is not None)

    def _one_event(self) -> bool:
        """Do the first thing that is due now, in the order of docs/simulator.md; tell whether there was one."""
        now_ps = self.world.now_ps
        for replica in self.world.replicas:
            if replica.next_ps == now_ps:
                self._step(replica)
                return True
        if self.fleet.one_event():
            return True
        if any(replica.state == READY for replica in self.world.replicas):
            for router in self.world.routers:
                if router.is_scan_pending:
                    router.is_scan_pending = False
                    router.scan()
                    return True
        if self.next_sample_ps == now_ps:
            self._sample()
            return True
        for replica, publisher in zip(self.world.replicas, self.publishers, strict=True):
            if publisher.next_ps == now_ps:
                self._publish(replica, publisher)
                return True
        if self.autoscaler.next_second_ps == now_ps:
            self.autoscaler.end_second()
            return True
        if self.autoscaler.next_ask_ps == now_ps:
            self.autoscaler.ask()
            return True
        for router in self.world.routers:
            if router.next_tick_ps == now_ps:
                router.next_tick_ps += router.tick_ps
                router.is_scan_pending = True
                return True
        if self.clock_rows and self.clock_ps[self.clock_rows[0]] == now_ps:
            self._arrive(self.world.requests[self.clock_rows.pop(0)])
            return True
        for row in sorted(self.follow_ups):
            if self.follow_ups[row] == now_ps:
                del self.follow_ups[row]
                self._arrive(self.world.requests[row])
                return True
        return False

    def _is_drained(self) -> bool:
        has_arrivals = bool(self.clock_rows or self.follow_ups)
        return not (self.case.cluster.is_elastic or has_arrivals or self.world.num_held) and self._is_cluster_idle()

    def _is_cluster_idle(self) -> bool:
        return all(replica.next_ps is None for replica in self.world.replicas)

    def _watch_idle_hold(self) -> None:
        """Fail a design that holds requests before an idle cluster for too long."""
        world = self.world
        is_ready = any(replica.state == READY for replica in world.replicas)
        if not world.num_held or not is_ready or not self._is_cluster_idle():
            world.idle_hold_since_ps = None
            return
        if world.idle_hold_since_ps is None:
            world.idle_hold_since_ps = world.now_ps
        limit_s = self.case.cluster.idle_hold_limit_s
        if world.now_ps - world.idle_hold_since_ps >= to_ps(limit_s):
            head = next(router.held[0] for router in world.routers if router.held)
            raise bad_decision(messages.held_too_long(limit_s, world.num_held, head.id))

    # Events

    def _scan_at_all_routers(self) -> None:
        for router in self.world.routers:
            router.is_scan_pending = True

    def _arrive(self, request: RequestState) -> None:
        request.id = self.num_arrived
        self.num_arrived += 1
        request.arrival_ps = self.world.now_ps
        request.router = scenario_draw(self.case.scenario_seed, 2, request.id) % self.case.cluster.num_routers
        self.world.make_rows(request)
        self.autoscaler.saw_arrival(request)
        self.world.routers[request.router].insert(request)

    def _step(self, replica: ReplicaState) -> None:
        outcome = replica.step()
        if outcome.ended and "completion" in self.triggers:
            self._scan_at_all_routers()
        if outcome.has_preempted and "restart" in self.triggers:
            self._scan_at_all_routers()
        self.autoscaler.saw_tokens(replica, outcome.num_generated)
        for request in outcome.first_tokens:
            self.autoscaler.saw_first_token(replica, request)
        for request in outcome.ended:
            self.world.routers[request.router].ledger.remove(request)
            if request.outcome == FINISHED:
                self.autoscaler.saw_finish(replica, request)
                if request.next_row >= 0:
                    self.follow_ups[request.next_row] = (
                        self.world.now_ps + self.world.requests[request.next_row].think_ps
                    )
        self.fleet.let_go_if_drained(replica)
        for request in outcome.first_tokens:
            self.world.routers[request.router].tell("on_first_token", request)
        for request in outcome.ended:
            self.world.routers[request.router].tell("on_finish", request)
            self.world.release_row(request)

    def _publish(self, replica: ReplicaState, publisher: Publisher) -> None:
        assert publisher.next_ps is not None
        publisher.next_ps += publisher.interval_ps
        if replica.state in (READY, DRAINING):
            publisher.fields = engine_fields(replica)
            publisher.published_ps = self.world.now_ps
            if "publication" in self.triggers:
                self._scan_at_all_routers()

    def _sample(self) -> None:
        assert self.sample_interval_s is not None
        replicas = self.world.replicas
        waiting = [len(replica.waiting) for replica in replicas]
        running = [len(replica.running) for replica in replicas]
        allocated = [replica.spec.num_blocks - replica.num_free for replica in replicas]
        self.sampled.append((self.world.num_held, waiting, running, allocated))
        self.next_sample_ps = len(self.sampled) * to_ps(self.sample_interval_s)

    # What leaves the run

    def result(self, status: Status, message: str, *, log_iterations: bool) -> RunResult:
        """Return everything, one row per request of the trace."""
        end_ps = self.world.now_ps
        records = {name: [getattr(request, name) for request in self.world.requests] for name in Records.__slots__}
        lives = {name: [getattr(life, name) for life in self.fleet.lives] for name in Life.__slots__}
        rows = {name: [getattr(row, name) for row in self.log] for name in IterationRow.__slots__}
        return RunResult(
            status=status,
            message=message,
            records=Records(**_columns(records)),
            end_ps=end_ps,
            num_decisions=self.world.num_decisions,
            decision_hash=self.world.decision_hash,
            tier="python",
            arrival_ps=self._arrival_ps(),
            cached_tokens=_column([request.cached_tokens for request in self.world.requests]),
            gpu_seconds=self.fleet.gpu_seconds(self.horizon_ps if self.case.cluster.is_elastic else end_ps),
            lifetimes=Lifetimes(**_columns(lives)),
            samples=self._samples(),
            iterations=Iterations(**_columns(rows)) if log_iterations else None,
        )

    def _arrival_ps(self) -> Any:
        """Return when each request arrived; a turn that never did counts from the one before it."""
        arrival_ps = list(self.clock_ps)
        for request in self.world.requests:
            if request.turn > 0:
                arrival_ps[request.row] = request.arrival_ps
        for request in sorted(self.world.requests, key=lambda request: request.turn):
            row = request.next_row
            if row >= 0 and self.world.requests[row].arrival_ps == NEVER_PS:
                arrival_ps[row] = arrival_ps[request.row]
        return _column(arrival_ps)

    def _samples(self) -> Samples | None:
        if self.sample_interval_s is None:
            return None
        names = ("held", "waiting", "running", "allocated_blocks")
        columns = (_column(column) for column in zip(*self.sampled, strict=True))
        interval_s = to_ps(self.sample_interval_s) / PS_PER_S
        return Samples(interval_s=interval_s, **dict(zip(names, columns, strict=True)))


def _column(values: Any) -> Any:
    return np.array(values, dtype=np.int64)


def _columns(lists: dict[str, list[int]]) -> dict[str, Any]:
    return {name: _column(values) for name, values in lists.items()}
