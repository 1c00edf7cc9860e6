"""A run's input: requests, what befalls replicas, and the case that joins them to a cluster.

Times are int64 picoseconds from the first instant of the trace. Tokens are never below 1. What is refused here is
refused once; the simulators trust it.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from glia_bench.cluster import PS_PER_S, ClusterSpec, Ints
from glia_bench.errors import InvalidSpecError, InvalidTraceError

MAX_TIME_PS = 2**62
MAX_DRAIN_S = 1e6

OPTIONAL_COLUMNS = ("tenant", "session", "turn", "think_ps", "priority", "slo_class")
"""Columns of a trace that may be absent; absent means 0, and -1 for `session`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """Requests: first those that arrive by the clock, in arrival order, then the follow-up turns of sessions.

    A follow-up turn (turn >= 1) arrives `think_ps` after the turn before it has finished; if that one never finishes,
    it never arrives, and is charged as if it had arrived together with it.

    Attributes:
        arrival_ps: When each arrives, from 0, not decreasing over the clock rows; of a follow-up turn, when it would
            arrive if service took no time; int64, shape (num_requests,).
        prompt_tokens: int64, shape (num_requests,), at least 1; of a follow-up turn, history included.
        output_tokens: int64, shape (num_requests,), at least 1. No policy ever sees it.
        max_tokens: Most output tokens the client allows; int64, shape (num_requests,).
        tenant, priority, slo_class: int64, shape (num_requests,), or None for all 0. Lower priority is sooner.
        session: Session number, in order of their first arrivals from 0, -1 outside; or None for no sessions.
        turn: Turn within the session, from 0 without gaps; or None for all 0.
        think_ps: Delay of a follow-up turn; int64, or None for all 0.
        block_start: Prefix content: row i's blocks are block_ids[block_start[i]:block_start[i + 1]]; int64, shape
            (num_requests + 1,); or None: no block is ever shared.
        block_ids: Identities of the leading blocks of prompt plus output, whole blocks only, at least 0. Two equal ids
            at the same place after equal ids are the same content. Further blocks are shared with nobody.
    """

    arrival_ps: Ints
    prompt_tokens: Ints
    output_tokens: Ints
    max_tokens: Ints
    tenant: Ints | None = None
    session: Ints | None = None
    turn: Ints | None = None
    think_ps: Ints | None = None
    priority: Ints | None = None
    slo_class: Ints | None = None
    block_start: Ints | None = None
    block_ids: Ints | None = None

    def __post_init__(self) -> None:
        num = len(self.arrival_ps)
        for name in ("arrival_ps", "prompt_tokens", "output_tokens", "max_tokens", *OPTIONAL_COLUMNS):
            column = getattr(self, name)
            if name in OPTIONAL_COLUMNS and column is None:
                continue
            if column.dtype != np.int64 or column.shape != (num,):
                raise InvalidTraceError(f"{name} must be int64 of shape ({num},) (got {column.dtype}, {column.shape})")
        if num == 0:
            raise InvalidTraceError("a trace needs at least one request (got none)")
        clock = self.arrival_ps[: self.num_clock]
        if len(clock) == 0 or clock[0] < 0 or np.any(np.diff(clock) < 0):
            raise InvalidTraceError("arrival_ps must start at 0 or later and must not decrease")
        for name in ("prompt_tokens", "output_tokens"):
            if getattr(self, name).min() < 1:
                row = int(getattr(self, name).argmin())
                raise InvalidTraceError(f"{name} must be at least 1 (row {row} has {getattr(self, name)[row]})")
        for name in ("tenant", "turn", "think_ps", "slo_class"):
            column = getattr(self, name)
            if column is not None and column.min() < 0:
                raise InvalidTraceError(f"{name} must be at least 0 (row {int(column.argmin())} has {column.min()})")
        self._check_sessions()
        self._check_blocks()

    def _check_sessions(self) -> None:
        num = self.num_clock
        if self.turn is not None and (np.any(self.turn[:num] != 0) or np.any(self.turn[num:] == 0)):
            raise InvalidTraceError("rows of turn 0 must come first, follow-up turns (turn >= 1) after all of them")
        if self.session is None:
            if num < len(self):
                raise InvalidTraceError("follow-up turns need a session column")
            return
        first = self.session[:num]
        numbers = first[first >= 0]
        if self.session.min() < -1 or not np.array_equal(numbers, np.arange(len(numbers))):
            raise InvalidTraceError(
                "session must number sessions 0, 1, ... in order of their first arrivals, else be -1"
            )
        if num < len(self):
            rows = self.next_row
            reached = int((rows >= 0).sum())
            if reached != len(self) - num:
                raise InvalidTraceError(
                    f"every follow-up turn must follow the turn before it in its session "
                    f"({len(self) - num - reached} of {len(self) - num} do not)"
                )

    def _check_blocks(self) -> None:
        if (self.block_start is None) != (self.block_ids is None):
            raise InvalidTraceError("block_start and block_ids belong together: give both or neither")
        if self.block_start is None or self.block_ids is None:
            return
        starts, ids = self.block_start, self.block_ids
        if starts.dtype != np.int64 or starts.shape != (len(self) + 1,) or ids.dtype != np.int64 or ids.ndim != 1:
            raise InvalidTraceError(f"block_start must be int64 of shape ({len(self) + 1},) and block_ids int64")
        if starts[0] != 0 or starts[-1] != len(ids) or np.any(np.diff(starts) < 0):
            raise InvalidTraceError(f"block_start must rise from 0 to the number of block_ids, {len(ids)}")
        if len(ids) and ids.min() < 0:
            raise InvalidTraceError(f"block_ids must be at least 0 (got {ids.min()})")
        rises = np.diff(ids) > 0
        inner = starts[1:-1]
        rises[inner[(inner > 0) & (inner < len(ids))] - 1] = True
        if rises.all():  # ids that rise within every row do not repeat: no need to sort them
            return
        rows = np.repeat(np.arange(len(self)), np.diff(starts))
        order = np.lexsort((ids, rows))
        is_repeated = (np.diff(ids[order]) == 0) & (np.diff(rows[order]) == 0)
        if is_repeated.any():
            row = int(rows[order][1:][is_repeated][0])
            raise InvalidTraceError(f"block_ids of one request must differ from each other (row {row} repeats one)")

    def __len__(self) -> int:
        return len(self.arrival_ps)

    @property
    def num_clock(self) -> int:
        """Requests that arrive by the clock; the rest are follow-up turns."""
        return len(self) if self.turn is None else int((self.turn == 0).sum())

    @property
    def next_row(self) -> Ints:
        """Row of the turn that follows each row's, -1 if there is none; int64, shape (num_requests,)."""
        rows = np.full(len(self), -1, dtype=np.int64)
        num = self.num_clock
        if num == len(self) or self.session is None or self.turn is None:
            return rows
        at = {(int(s), int(t)): row for row, (s, t) in enumerate(zip(self.session, self.turn, strict=True)) if s >= 0}
        for row in range(num, len(self)):
            before = at.get((int(self.session[row]), int(self.turn[row]) - 1), -1)
            if before >= 0 and rows[before] < 0:
                rows[before] = row
        return rows

    @property
    def sha256(self) -> str:
        """Hash of all columns, little-endian: the identity of the workload in records."""
        digest = hashlib.sha256()
        for column in (self.arrival_ps, self.prompt_tokens, self.output_tokens, self.max_tokens):
            digest.update(column.astype("<i8").tobytes())
        for name in (*OPTIONAL_COLUMNS, "block_start", "block_ids"):
            column = getattr(self, name)
            if column is not None:
                digest.update(name.encode() + column.astype("<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that befalls a replica of the run.

    Attributes:
        time_s: When.
        replica: Its row.
        kind: "fail": it loses its requests and its cache, and comes back after duration_s and a cold start. "slow":
            its iterations that start within duration_s take `factor` times as long.
        duration_s: Time of repair, or how long it is slow.
        factor: Of "slow", used to the nearest thousandth.
    """

    time_s: float
    replica: int
    kind: Literal["fail", "slow"]
    duration_s: float
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.time_s <= 1e9 or not 0 <= self.duration_s <= 1e9:
            raise InvalidSpecError(f"time_s and duration_s of a fault must be between 0 and 1e9 s (got {self})")
        if self.kind not in ("fail", "slow"):
            raise InvalidSpecError(f"kind of a fault must be 'fail' or 'slow' (got {self.kind!r})")
        if not 0.01 <= self.factor <= 100:
            raise InvalidSpecError(f"factor of a fault must be between 0.01 and 100 (got {self.factor})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run's input: a cluster, a trace, and what only the evaluator knows.

    Attributes:
        cluster: The system.
        trace: The workload.
        drain_s: The run ends when drained (an elastic cluster's: never before), or this long after the last arrival
            by the clock.
        clock_offset_ps: Origin of the policy's clock, random per seed.
        policy_seed: Key of `request.u`.
        scenario_seed: Key of what the scenario draws during a run: publication phases, routers, cold starts.
        faults: What befalls replicas.
        predicted_tokens: A length predictor's estimate per row, at least 0; int64, or None for none.
    """

    cluster: ClusterSpec
    trace: Trace
    drain_s: float
    clock_offset_ps: int = 0
    policy_seed: int = 0
    scenario_seed: int = 0
    faults: tuple[Fault, ...] = ()
    predicted_tokens: Ints | None = None

    def __post_init__(self) -> None:
        totals = self.trace.prompt_tokens + self.trace.output_tokens
        longest, limit = int(totals.max()), self.cluster.max_request_tokens
        if longest > limit:
            raise InvalidTraceError(
                f"request {int(totals.argmax())} needs {longest} tokens of KV memory, more than the {limit} that one "
                f"empty replica can give; cut the lengths or give the replicas more blocks"
            )
        if any(pool.engine.reserve_output for pool in self.cluster.pools):
            self._check_reservations(limit)
        if not 0 < self.drain_s <= MAX_DRAIN_S:
            raise InvalidSpecError(f"drain_s must be above 0 and at most {MAX_DRAIN_S:g} (got {self.drain_s})")
        if self.horizon_ps + self.clock_offset_ps > MAX_TIME_PS or self.clock_offset_ps < 0:
            raise InvalidSpecError(
                f"the run must end before {MAX_TIME_PS // PS_PER_S:,} s on the policy's clock, and that clock must not "
                f"start below 0 (got horizon {self.horizon_ps} ps, offset {self.clock_offset_ps} ps)"
            )
        self._check_columns()

    def _check_reservations(self, limit: int) -> None:
        trace = self.trace
        if np.any(trace.output_tokens > trace.max_tokens):
            row = int((trace.output_tokens > trace.max_tokens).argmax())
            raise InvalidTraceError(
                f"request {row} has more output tokens than the max_tokens that are reserved for it"
            )
        reserved = trace.prompt_tokens + trace.max_tokens
        if reserved.max() > limit:
            raise InvalidTraceError(
                f"request {int(reserved.argmax())} reserves {reserved.max()} tokens (prompt plus max_tokens), more "
                f"than the {limit} that one empty replica can give; lower max_tokens or give the replicas more blocks"
            )

    def _check_columns(self) -> None:
        trace, cluster = self.trace, self.cluster
        for column, limit, what in (
            (trace.tenant, cluster.num_tenants, "tenants"),
            (trace.slo_class, len(cluster.slo_classes), "SLO classes"),
        ):
            if column is not None and column.max() >= limit:
                raise InvalidTraceError(
                    f"the cluster has {limit} {what}, but row {int(column.argmax())} names {column.max()}"
                )
        for fault in self.faults:
            if not 0 <= fault.replica < cluster.num_replicas:
                raise InvalidSpecError(
                    f"a fault names replica {fault.replica}, but replicas are 0..{cluster.num_replicas - 1}"
                )
        predicted = self.predicted_tokens
        if predicted is not None and (
            predicted.dtype != np.int64 or predicted.shape != (len(trace),) or predicted.min() < 0
        ):
            raise InvalidTraceError(f"predicted_tokens must be int64 of shape ({len(trace)},), none below 0")

    @property
    def horizon_ps(self) -> int:
        """Last arrival by the clock plus drain_s: the latest end of a run; rejected and unfinished are charged here."""
        return int(self.trace.arrival_ps[self.trace.num_clock - 1]) + round(self.drain_s * PS_PER_S)
