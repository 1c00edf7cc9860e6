"""How replicas of the reference simulator come and go: cold starts, drains, faults, and what it all costs.

Follows the section "Replicas come and go" of docs/simulator.md. What an autoscaler sees is in `reference_autoscaler`.
"""

from dataclasses import dataclass

from glia_bench.case import Fault
from glia_bench.cluster import ColdStart, PoolSpec
from glia_bench.sim.cold_start import cold_start_factors
from glia_bench.sim.reference_engine import DRAINING, GONE, LOADING, READY, REQUESTED, ReplicaState
from glia_bench.sim.reference_request import RequestState, scenario_draw
from glia_bench.sim.reference_router import EngineFields, Publisher, RouterState
from glia_bench.sim.reference_world import World, to_ps
from glia_bench.types import NEVER_PS

US = 10**6
"""One microsecond in picoseconds."""


@dataclass(slots=True, kw_only=True)
class Life:
    """One life of a replica; fields as in `Lifetimes`."""

    replica: int
    requested_ps: int
    ready_ps: int = NEVER_PS
    draining_ps: int = NEVER_PS
    gone_ps: int = NEVER_PS


class Fleet:
    """All replicas' states and the times at which they change by themselves."""

    def __init__(self, world: World, routers: list[RouterState], publishers: list[Publisher]) -> None:
        self.world = world
        self.routers = routers
        self.publishers = publishers
        self.lives: list[Life] = []
        self.current: dict[int, Life] = {}
        self.change_ps: dict[int, int] = {}
        self.load_ps: dict[int, int] = {}
        self.num_cold_starts = 0
        self.faults = sorted(world.case.faults, key=lambda fault: to_ps(fault.time_s))
        started = {pool_index: 0 for pool_index in range(len(world.case.cluster.pools))}
        for replica in world.replicas:
            if started[replica.pool_index] < replica.pool.num_replicas:
                started[replica.pool_index] += 1
                self._begin_life(replica)
                self.current[replica.index].ready_ps = 0
                replica.state = READY

    # Times

    def next_ps(self) -> int | None:
        """Return the next instant at which a fault is due or a replica changes its state by itself."""
        instants = list(self.change_ps.values()) + [to_ps(fault.time_s) for fault in self.faults[:1]]
        return min(instants, default=None)

    def one_event(self) -> bool:
        """Do the first fault or change that is due now; tell whether there was one."""
        now_ps = self.world.now_ps
        if self.faults and to_ps(self.faults[0].time_s) == now_ps:
            self._befall(self.faults.pop(0))
            return True
        for replica in self.world.replicas:
            if self.change_ps.get(replica.index) == now_ps:
                self._change(replica)
                return True
        return False

    def gpu_seconds(self, end_ps: int) -> float:
        """Return the GPU time of all lives, those that last billed to an instant."""
        total = 0
        for life in self.lives:
            until_ps = end_ps if life.gone_ps == NEVER_PS else life.gone_ps
            total += (until_ps - life.requested_ps) * self.world.replicas[life.replica].pool.gpus_per_replica
        return float(total) * 1e-12

    # States

    def request(self, replica: ReplicaState) -> None:
        """Begin to start a replica that is gone."""
        self._begin_life(replica)
        provision_ps, self.load_ps[replica.index] = self._draw_cold_start(replica.pool)
        replica.state = REQUESTED
        self.change_ps[replica.index] = self.world.now_ps + provision_ps

    def give_up(self, replica: ReplicaState) -> None:
        """Let a replica go that is not ready yet."""
        self._end_life(replica)

    def drain(self, replica: ReplicaState) -> None:
        """Send a ready replica nothing more; it goes when it is empty."""
        replica.state = DRAINING
        self.current[replica.index].draining_ps = self.world.now_ps
        self.change_ps[replica.index] = self.world.now_ps + to_ps(replica.pool.drain_timeout_s)
        self.let_go_if_drained(replica)

    def let_go_if_drained(self, replica: ReplicaState) -> None:
        """Let a draining replica go if nothing is left on it."""
        if replica.state == DRAINING and replica.outstanding == 0:
            self._end_life(replica)

    def _begin_life(self, replica: ReplicaState) -> None:
        replica.begin_life()
        self.world.zero_replica_rows(replica.index)
        life = Life(replica=replica.index, requested_ps=self.world.now_ps)
        self.lives.append(life)
        self.current[replica.index] = life

    def _end_life(self, replica: ReplicaState) -> list[RequestState]:
        replica.state = GONE
        self.current.pop(replica.index).gone_ps = self.world.now_ps
        self.change_ps.pop(replica.index, None)
        return self._forget(replica)

    def _forget(self, replica: ReplicaState) -> list[RequestState]:
        """Lose all that a replica holds, and what routers know of its cache."""
        for router in self.routers:
            router.forget_notes(replica)
        return replica.lose_everything()

    def _draw_cold_start(self, pool: PoolSpec) -> tuple[int, int]:
        """Return the two times of the run's next cold start."""
        cold: ColdStart = pool.cold_start
        quantile = scenario_draw(self.world.case.scenario_seed, 3, self.num_cold_starts) >> 56
        self.num_cold_starts += 1
        factor = int(cold_start_factors(cold.sigma_percent)[quantile])
        provision_us, load_us = (round(s * 1_000_000) * factor // 1_000_000 for s in (cold.provision_s, cold.load_s))
        return provision_us * US, load_us * US

    def _change(self, replica: ReplicaState) -> None:
        """Do what is due for one replica: begin to load, become ready, or run out of time to drain."""
        now_ps = self.world.now_ps
        del self.change_ps[replica.index]
        if replica.state == REQUESTED:
            replica.state = LOADING
            self.change_ps[replica.index] = now_ps + self.load_ps[replica.index]
        elif replica.state == LOADING:
            replica.state = READY
            if self.current[replica.index].ready_ps == NEVER_PS:
                self.current[replica.index].ready_ps = now_ps
            publisher = self.publishers[replica.index]
            publisher.fields, publisher.published_ps = EngineFields(), now_ps
            self._capacity_changed()
        else:
            self._give_back(self._end_life(replica))
            self._capacity_changed()

    # Faults

    def _befall(self, fault: Fault) -> None:
        replica = self.world.replicas[fault.replica]
        if fault.kind == "slow":
            replica.slow_factor = round(fault.factor * 1000)
            replica.slow_until_ps = self.world.now_ps + to_ps(fault.duration_s)
        elif replica.state == READY:
            lost = self._forget(replica)
            replica.state = LOADING
            starts_ps = sum(self._draw_cold_start(replica.pool))
            self.change_ps[replica.index] = self.world.now_ps + to_ps(fault.duration_s) + starts_ps
            self._give_back(lost)
            self._capacity_changed()
        elif replica.state == DRAINING:
            self._give_back(self._end_life(replica))
            self._capacity_changed()

    def _give_back(self, requests: list[RequestState]) -> None:
        """Send requests of a lost replica back to their routers."""
        for request in requests:
            self.routers[request.router].ledger.remove(request)
            request.forget_computed()
        for request in requests:
            self.routers[request.router].insert(request)

    def _capacity_changed(self) -> None:
        if "capacity" in self.world.case.cluster.triggers:
            for router in self.routers:
                router.is_scan_pending = True
