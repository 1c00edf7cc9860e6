"""What an autoscaler of the reference simulator sees and does: one row of the window per second, sizes per pool.

Follows "The window" and "The autoscaler" of docs/simulator.md. Rows are kept for the whole run and cut when asked for.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glia_bench.cluster import PS_PER_S
from glia_bench.features import Window
from glia_bench.sim import messages
from glia_bench.sim.reference_engine import DRAINING, GONE, LOADING, READY, REQUESTED, ReplicaState
from glia_bench.sim.reference_fleet import Fleet
from glia_bench.sim.reference_request import RequestState
from glia_bench.sim.reference_scheduler import replica_view
from glia_bench.sim.reference_world import AUTOSCALER, World, bad_decision, is_integer, read_only, to_ps

WINDOW_ROWS = 600
FIXED_FIELDS = ("min_replicas", "max_replicas", "desired", "gpus_per_replica", "cold_start_s")
ROW_FIELDS = tuple(name for name in Window._fields if name not in FIXED_FIELDS)


@dataclass(slots=True, kw_only=True)
class PoolSecond:
    """What has happened in one pool since the last whole second."""

    finished: int = 0
    generated_tokens: int = 0
    ttfts_ps: list[int] = field(default_factory=list)
    tpots_ps: list[int] = field(default_factory=list)


class Autoscaler:
    """The design's autoscaling hooks, when they are asked, and what they are shown."""

    def __init__(self, world: World, fleet: Fleet) -> None:
        self.world = world
        self.fleet = fleet
        self.pools = world.case.cluster.pools
        interval_ps = to_ps(world.policy.interval_s or 0.0)
        is_asked = "scale" in world.policy.autoscaling and world.case.cluster.is_elastic and interval_ps > 0
        self.interval_ps = interval_ps
        self.next_second_ps: int | None = PS_PER_S if is_asked else None
        self.next_ask_ps: int | None = interval_ps if is_asked else None
        self.desired = [pool.num_replicas for pool in self.pools]
        self.rows: list[dict[str, list[float]]] = []
        self._begin_second()

    def _begin_second(self) -> None:
        self.arrivals = 0
        self.arrival_tokens = 0
        self.seconds = [PoolSecond() for _ in self.pools]

    # What it is told

    def saw_arrival(self, request: RequestState) -> None:
        """Count an arrival."""
        self.arrivals += 1
        self.arrival_tokens += request.prompt_tokens

    def saw_tokens(self, replica: ReplicaState, count: int) -> None:
        """Count output tokens."""
        self.seconds[replica.pool_index].generated_tokens += count

    def saw_first_token(self, replica: ReplicaState, request: RequestState) -> None:
        """Note a TTFT."""
        self.seconds[replica.pool_index].ttfts_ps.append(request.first_token_ps - request.arrival_ps)

    def saw_finish(self, replica: ReplicaState, request: RequestState) -> None:
        """Count a completion and note its TPOT."""
        second = self.seconds[replica.pool_index]
        second.finished += 1
        if request.output_tokens > 1:
            duration_ps = request.finished_ps - request.first_token_ps
            second.tpots_ps.append(duration_ps // (request.output_tokens - 1))

    def end_second(self) -> None:
        """Write the row of the second that ends now."""
        assert self.next_second_ps is not None
        self.next_second_ps += PS_PER_S
        row: dict[str, list[float]] = {name: [] for name in ROW_FIELDS}
        for pool_index, second in enumerate(self.seconds):
            of_pool = [replica for replica in self.world.replicas if replica.pool_index == pool_index]
            ready = [replica for replica in of_pool if replica.state == READY]
            capacity = sum(replica.spec.num_blocks for replica in ready)
            allocated = capacity - sum(replica.num_free for replica in ready)
            values = {
                "arrivals": self.arrivals,
                "arrival_tokens": self.arrival_tokens,
                "finished": second.finished,
                "generated_tokens": second.generated_tokens,
                "held": self.world.num_held,
                "waiting": sum(len(replica.waiting) for replica in ready),
                "running": sum(len(replica.running) for replica in ready),
                "kv_utilisation": float(allocated) / float(capacity) if ready else 0.0,
                "ttft_s": _mean_s(second.ttfts_ps),
                "tpot_s": _mean_s(second.tpots_ps),
                "ready": len(ready),
                "loading": sum(replica.state in (REQUESTED, LOADING) for replica in of_pool),
                "draining": sum(replica.state == DRAINING for replica in of_pool),
            }
            for name, value in values.items():
                row[name].append(float(value))
        self.rows.append(row)
        self._begin_second()

    def _window(self) -> Window:
        lag = self.world.case.cluster.window_lag_s
        rows = self.rows[: max(0, len(self.rows) - lag)][-WINDOW_ROWS:]
        num_pools = len(self.pools)
        columns: dict[str, Any] = {}
        for name in ROW_FIELDS:
            table = np.zeros((WINDOW_ROWS, num_pools))
            for k, row in enumerate(rows, start=WINDOW_ROWS - len(rows)):
                table[k] = row[name]
            columns[name] = read_only(table, np.float64)
        return Window(
            **columns,
            min_replicas=read_only([pool.smallest for pool in self.pools], np.int64),
            max_replicas=read_only([pool.largest for pool in self.pools], np.int64),
            desired=read_only(self.desired, np.int64),
            gpus_per_replica=read_only([pool.gpus_per_replica for pool in self.pools], np.int64),
            cold_start_s=read_only([p.cold_start.provision_s + p.cold_start.load_s for p in self.pools], np.float64),
        )

    # What it does

    def ask(self) -> None:
        """Ask the design for sizes and begin to bring them about."""
        assert self.next_ask_ps is not None
        self.next_ask_ps += self.interval_ps
        world = self.world
        cluster = world.cluster_view(-1, world.num_held, [])
        answer = world.call("autoscaling", "scale", "", self._window(), cluster, world.memory(AUTOSCALER))
        sizes = self._checked(answer)
        self.desired = sizes
        for pool_index, size in enumerate(sizes):
            world.fold(-(2**40) - pool_index, size, world.now_ps)
            self._resize(pool_index, size)

    def _checked(self, answer: Any) -> list[int]:
        sizes = [answer] if is_integer(answer) else answer
        is_sequence = isinstance(sizes, tuple | list | np.ndarray) and np.ndim(sizes) == 1
        if not is_sequence or len(sizes) != len(self.pools):
            raise bad_decision(messages.bad_scale_shape(answer, len(self.pools)))
        for pool, size in zip(self.pools, sizes, strict=True):
            if not is_integer(size) or not pool.smallest <= size <= pool.largest:
                raise bad_decision(messages.bad_scale(pool.name, size, pool.smallest, pool.largest))
        return [int(size) for size in sizes]

    def _resize(self, pool_index: int, size: int) -> None:
        of_pool = [replica for replica in self.world.replicas if replica.pool_index == pool_index]
        starting = [replica for replica in of_pool if replica.state in (REQUESTED, LOADING)]
        ready = [replica for replica in of_pool if replica.state == READY]
        surplus = len(starting) + len(ready) - size
        if surplus <= 0:
            for replica in [replica for replica in of_pool if replica.state == GONE][: -surplus or 0]:
                self.fleet.request(replica)
            return
        starting.sort(key=self._latest_first)
        for replica in starting[:surplus]:
            self.fleet.give_up(replica)
        num_drains = surplus - len(starting[:surplus])
        if num_drains == 0:
            return
        ranks = {replica.index: self._drain_rank(replica) for replica in ready}
        ready.sort(key=lambda replica: (ranks[replica.index], *self._latest_first(replica)))
        for replica in ready[:num_drains]:
            self.fleet.drain(replica)

    def _latest_first(self, replica: ReplicaState) -> tuple[int, int]:
        return -self.fleet.current[replica.index].requested_ps, -replica.index

    def _drain_rank(self, replica: ReplicaState) -> float:
        if "drain_rank" not in self.world.policy.autoscaling:
            return float(replica.outstanding)
        views = (replica_view(self.world, replica), self.world.memory(AUTOSCALER))
        return self.world.call_rank("autoscaling", "drain_rank", f"replica {replica.index}", *views)


def _mean_s(times_ps: list[int]) -> float:
    """Return the mean in whole picoseconds, rounded down, as seconds; 0 if there is none."""
    return float(sum(times_ps) // len(times_ps)) * 1e-12 if times_ps else 0.0
