"""What the parts of the reference simulator share: case, clock, replicas, the design with its memory and its hash.

A part never calls another directly but through the world, so that each can be read alone.
"""

import functools
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S, Latency
from glia_bench.features import Cluster, Inflight, Memory, Perf, Request
from glia_bench.policy import Policy
from glia_bench.sim import messages, modes
from glia_bench.sim.latency import linear_perf
from glia_bench.sim.reference_request import GOLDEN, MASK, RequestState, mix, uniforms
from glia_bench.types import Status

if TYPE_CHECKING:
    from glia_bench.sim.reference_engine import ReplicaState
    from glia_bench.sim.reference_router import RouterState

SCHEDULERS = "schedulers"
AUTOSCALER = "autoscaler"
ROWS = 1024

perf_of = functools.cache(linear_perf)


def to_ps(seconds: float) -> int:
    """Return a setting in seconds as picoseconds."""
    return round(seconds * PS_PER_S)


def read_only(values: Any, dtype: type) -> Any:
    """Return an array that nobody can change."""
    array: Any = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


class RunFailedError(Exception):
    """The design broke the run; the message is for its author."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


def bad_decision(message: str) -> RunFailedError:
    """Return the end of a run by an answer that breaks a rule."""
    return RunFailedError("bad_decision", message)


def is_integer(answer: Any) -> bool:
    """Return whether a hook answered an integer; bools are none."""
    return isinstance(answer, int | np.integer) and not isinstance(answer, bool)


class World:
    """One run's common state.

    Attributes:
        case: The input, with the engine mode that the design chose.
        requests: By row of the trace.
        replicas: By row of the replica arrays; filled by the run.
        routers: Likewise.
        idle_hold_since_ps: Since when the whole cluster has been idle although requests are held; None if it is not so.
    """

    def __init__(self, case: Case, policy: Policy) -> None:
        if policy.engine_mode is not None:
            pools = tuple(replace(p, engine=modes.with_mode(p.engine, policy.engine_mode)) for p in case.cluster.pools)
            case = replace(case, cluster=replace(case.cluster, pools=pools))
        self.case = case
        self.policy = policy
        self.now_ps = 0
        self.num_decisions = 0
        self.decision_hash = 0
        self.idle_hold_since_ps: int | None = None
        self.requests = _requests(case)
        self.replicas: list[ReplicaState] = []
        self.routers: list[RouterState] = []

        cluster, widths = case.cluster, policy.memory
        self.has_request_rows = policy.needs_request_rows
        num_slots = ROWS if self.has_request_rows else 1
        self.request_table = np.zeros((num_slots, widths.get("request", 0)))
        self.tag = np.zeros(num_slots)
        self.num_slots_used = 0
        self.released_slots: list[int] = []
        owners: Iterable[int | str] = [*range(cluster.num_routers), SCHEDULERS, AUTOSCALER]
        self.tables = {
            owner: {
                "shared": np.zeros(widths.get("shared", 0)),
                "replica": np.zeros((cluster.num_replicas, widths.get("replica", 0))),
                "tenant": np.zeros((cluster.num_tenants, widths.get("tenant", 0))),
                "session": np.zeros((ROWS, widths.get("session", 0))),
            }
            for owner in owners
        }

    # Hooks

    def call(self, track: str, hook: str, subject: str, *arguments: Any) -> Any:
        """Call a hook; whatever it raises ends the run."""
        try:
            with np.errstate(divide="raise", invalid="raise", over="ignore", under="ignore"):
                return getattr(self.policy, track)[hook](*arguments)
        except Exception as error:
            raise RunFailedError("policy_error", messages.raised(hook, subject, error)) from error

    def call_rank(self, track: str, hook: str, subject: str, *arguments: Any) -> float:
        """Call a hook that answers a rank: a finite number."""
        answer = self.call(track, hook, subject, *arguments)
        is_number = isinstance(answer, int | float | np.integer | np.floating) and not isinstance(answer, bool)
        if not is_number or not np.isfinite(float(answer)):
            raise bad_decision(messages.bad_rank(hook, subject, answer))
        return float(answer)

    def fold(self, *numbers: int) -> None:
        """Fold numbers into the decision hash."""
        for x in numbers:
            self.decision_hash = mix(((self.decision_hash + GOLDEN) & MASK) ^ (x & MASK))

    # Memory

    def memory(self, owner: int | str) -> Memory:
        """Return the memory of a router (by number), of the schedulers or of the autoscaler."""
        return Memory(**self.tables[owner], request=self.request_table, tag=self.tag)

    def make_rows(self, request: RequestState) -> None:
        """Give an arriving request its row of memory.request, and room to its session."""
        for table in self.tables.values():
            while request.session >= len(table["session"]):
                table["session"] = np.concatenate([table["session"], 0.0 * table["session"]])
        if not self.has_request_rows:
            return
        if self.released_slots:
            request.slot = self.released_slots.pop()
        else:
            request.slot = self.num_slots_used
            self.num_slots_used += 1
            if request.slot == len(self.tag):
                self.request_table, self.tag = (np.concatenate([t, 0.0 * t]) for t in (self.request_table, self.tag))
        self.request_table[request.slot] = 0.0
        self.tag[request.slot] = 0.0

    def release_row(self, request: RequestState) -> None:
        """Take back the row of a request that has ended."""
        if self.has_request_rows:
            self.released_slots.append(request.slot)

    def zero_replica_rows(self, replica: int) -> None:
        """Zero all rows of memory.replica of a replica that begins a life."""
        for table in self.tables.values():
            table["replica"][replica] = 0.0

    # Views

    def clock_s(self, time_ps: int) -> float:
        """Return an instant on the policy's clock."""
        return float(time_ps + self.case.clock_offset_ps) * 1e-12

    def perf(self, latency: Latency) -> Perf:
        """Return the straight line through iteration times that policies are granted."""
        return perf_of(latency)

    def request_view(self, request: RequestState, replica: "ReplicaState | None" = None) -> Request:
        """Return a request as routers see it, or as the scheduler of its replica does."""
        slo = self.case.cluster.slo_classes[request.slo_class]
        computed, cached = 0, 0
        if replica is not None:
            computed = request.computed_tokens
            cached = replica.hit_blocks(request) * replica.spec.block_size_tokens
        return Request(
            id=request.id,
            slot=request.slot,
            tenant=request.tenant,
            session=request.session,
            turn=request.turn,
            prompt_tokens=request.prompt_tokens,
            max_tokens=request.max_tokens,
            priority=request.priority,
            slo_class=request.slo_class,
            generated_tokens=request.generated_tokens,
            restarts=request.restarts,
            computed_tokens=computed,
            cached_tokens=cached,
            predicted_tokens=request.predicted_tokens,
            ttft_slo_s=slo.ttft_s + slo.ttft_per_prompt_token_s * request.prompt_tokens,
            tpot_slo_s=slo.tpot_s,
            arrival_s=self.clock_s(request.arrival_ps),
            tag=float(self.tag[request.slot]),
            u=uniforms(self.case.policy_seed, request.id),
        )

    def cluster_view(self, router: int, num_held: int, ledger: list[RequestState]) -> Cluster:
        """Return the cluster as a router sees it, or the autoscaler: router -1 with an empty ledger."""
        cluster = self.case.cluster
        never = float("inf")
        first_s = [never if r.generated_tokens == 0 else self.clock_s(r.first_token_ps) for r in ledger]
        return Cluster(
            now_s=self.clock_s(self.now_ps),
            num_replicas=cluster.num_replicas,
            num_held=num_held,
            num_routers=cluster.num_routers,
            router=router,
            block_size_tokens=cluster.block_size_tokens,
            metrics_interval_s=cluster.metrics_interval_s,
            perf=self.perf(cluster.pools[0].latency),
            inflight=Inflight(
                replica=read_only([r.replica for r in ledger], np.int64),
                prompt_tokens=read_only([r.prompt_tokens for r in ledger], np.int64),
                streamed_tokens=read_only([r.generated_tokens for r in ledger], np.int64),
                dispatch_s=read_only([self.clock_s(r.last_dispatch_ps) for r in ledger], np.float64),
                first_token_s=read_only(first_s, np.float64),
            ),
        )

    @property
    def num_held(self) -> int:
        """Requests in all held queues."""
        return sum(len(router.held) for router in self.routers)

    # Clients

    def has_given_up(self, request: RequestState) -> bool:
        """Return whether the client of a request that no engine has ever admitted has lost patience."""
        patience_s = self.case.cluster.slo_classes[request.slo_class].patience_s
        if request.scheduled_ps >= 0 or patience_s == float("inf"):
            return False
        return self.now_ps - request.arrival_ps >= to_ps(patience_s)


def _requests(case: Case) -> list[RequestState]:
    """Return one request per row of the trace."""
    trace = case.trace
    num = len(trace)

    def column(name: str, absent: int = 0) -> list[int]:
        values = getattr(trace, name)
        return [absent] * num if values is None else [int(x) for x in values]

    names = ("prompt_tokens", "output_tokens", "max_tokens", "tenant", "turn", "think_ps", "priority", "slo_class")
    columns = {name: column(name) for name in names} | {"session": column("session", -1)}
    next_row = [int(row) for row in trace.next_row]
    ids: list[tuple[int, ...]] = [()] * num
    if trace.block_start is not None and trace.block_ids is not None and case.cluster.has_prefix_cache:
        starts = [int(x) for x in trace.block_start]
        ids = [tuple(int(x) for x in trace.block_ids[starts[row] : starts[row + 1]]) for row in range(num)]
    predicted = [0.0] * num if case.predicted_tokens is None else [float(x) for x in case.predicted_tokens]
    return [
        RequestState(
            row=row,
            block_ids=ids[row],
            next_row=next_row[row],
            predicted_tokens=predicted[row],
            **{name: values[row] for name, values in columns.items()},  # type: ignore[arg-type]
        )
        for row in range(num)
    ]
