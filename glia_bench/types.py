"""Frozen records that cross module borders: what a run is given and what it gives back.

Times are int64 picoseconds in traces, records and the simulators (`_ps`); float64 seconds in metrics and features.
Tokens are never below 1. What is refused here is refused once; the simulators trust it.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from glia_bench.errors import InvalidSpecError, InvalidTraceError

Ints: TypeAlias = npt.NDArray[np.int64]
Order: TypeAlias = Literal["admission", "arrival"]
Trigger: TypeAlias = Literal["arrival", "completion", "restart", "tick"]

PS_PER_S = 1_000_000_000_000
MAX_TIME_PS = 2**62
MAX_DRAIN_S = 1e6
NEVER_PS = -1
"""In a record: this never happened."""

FINISHED, UNFINISHED, REJECTED = 0, 1, 2
"""Values of `Records.outcome`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """Continuous-batching engine of one replica: its rules (a row of the mode table) and its sizes.

    Attributes:
        mode: Name of the rule set, for records and messages.
        order: Order of running requests: the last in it is preempted first. By admission or by original arrival.
        watermark: Share of the KV blocks that an admission must leave free (floor).
        admit_after_preemption: Whether an iteration that preempted may still admit.
        spare_block: Whether every decode requires one free block, needed or not (Vidur's code).
        token_budget: Most tokens in one iteration.
        max_running: Most requests that hold blocks.
        num_blocks: KV blocks of the replica.
        block_size_tokens: Tokens per block; a power of two.
    """

    mode: str
    order: Order
    watermark: float
    admit_after_preemption: bool
    spare_block: bool
    token_budget: int
    max_running: int
    num_blocks: int
    block_size_tokens: int = 16

    def __post_init__(self) -> None:
        if self.order not in ("admission", "arrival"):
            raise InvalidSpecError(f"order must be 'admission' or 'arrival' (got {self.order!r})")
        if self.block_size_tokens < 1 or self.block_size_tokens & (self.block_size_tokens - 1):
            raise InvalidSpecError(f"block_size_tokens must be a positive power of two (got {self.block_size_tokens})")
        if not 0 <= self.watermark < 1:
            raise InvalidSpecError(f"watermark must be in [0, 1) (got {self.watermark})")
        if self.max_running < 1:
            raise InvalidSpecError(f"max_running must be at least 1 (got {self.max_running})")
        if self.token_budget <= self.max_running:
            raise InvalidSpecError(
                f"token_budget must exceed max_running, so that every decode gets its token "
                f"(got {self.token_budget} and {self.max_running})"
            )
        if self.num_blocks < 1:
            raise InvalidSpecError(f"num_blocks must be at least 1 (got {self.num_blocks})")

    @property
    def watermark_blocks(self) -> int:
        """Blocks that an admission must leave free."""
        return int(self.watermark * self.num_blocks)

    @property
    def max_request_tokens(self) -> int:
        """Longest prompt plus output that an empty replica can always finish."""
        return (self.num_blocks - self.watermark_blocks - self.spare_block) * self.block_size_tokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatencyTable:
    """Iteration time in integers: token_ps[n] + context_ps * K + pair_ps * 2S picoseconds.

    Attributes:
        name: GPU, model and source, for records.
        token_ps: Cost of n tokens in the batch, n = 0..token_budget; int64.
        context_ps: Per context token read by decodes (K = sum of decode contexts).
        pair_ps: Per unit of 2S = sum over prefill chunks of 2*chunk*cached + chunk^2.
    """

    name: str
    token_ps: Ints
    context_ps: int
    pair_ps: int

    def __post_init__(self) -> None:
        if self.token_ps.ndim != 1 or self.token_ps.dtype != np.int64 or len(self.token_ps) < 2:
            raise InvalidSpecError(f"token_ps of {self.name!r} must be a one-dimensional int64 array of at least 2")
        if np.any(self.token_ps[1:] <= 0):
            raise InvalidSpecError(f"token_ps of {self.name!r} must be positive")
        if self.context_ps < 0 or self.pair_ps < 0:
            raise InvalidSpecError(f"context_ps and pair_ps of {self.name!r} must not be negative")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LatencyTable):
            return NotImplemented
        mine, others = ((t.name, t.context_ps, t.pair_ps) for t in (self, other))
        return mine == others and np.array_equal(self.token_ps, other.token_ps)

    def __hash__(self) -> int:
        return hash((self.name, self.context_ps, self.pair_ps, len(self.token_ps)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """Equal replicas behind one router.

    Attributes:
        num_replicas: How many.
        engine: The engine of each.
        latency: Their iteration times; reaches at least the engine's token budget.
        triggers: What starts a scan of the held queue; "tick" lets a design's TICK_S act.
        idle_hold_limit_s: An idle cluster with everything held for this long is a `bad_decision`.
    """

    num_replicas: int
    engine: EngineSpec
    latency: LatencyTable
    triggers: tuple[Trigger, ...] = ("arrival", "completion")
    idle_hold_limit_s: float = 60.0

    def __post_init__(self) -> None:
        if self.num_replicas < 1:
            raise InvalidSpecError(f"num_replicas must be at least 1 (got {self.num_replicas})")
        if len(self.latency.token_ps) <= self.engine.token_budget:
            raise InvalidSpecError(
                f"latency table {self.latency.name!r} must reach the token budget {self.engine.token_budget} "
                f"(got {len(self.latency.token_ps) - 1})"
            )
        if "arrival" not in self.triggers:
            raise InvalidSpecError("triggers must include 'arrival', or nothing would ever be routed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Requests in arrival order; the row number is the request id.

    Attributes:
        arrival_ps: When each arrives, from 0, not decreasing; int64, shape (num_requests,).
        prompt_tokens: int64, shape (num_requests,), at least 1.
        output_tokens: int64, shape (num_requests,), at least 1. No policy ever sees it.
        max_tokens: Most output tokens the client allows; int64, shape (num_requests,).
    """

    arrival_ps: Ints
    prompt_tokens: Ints
    output_tokens: Ints
    max_tokens: Ints

    def __post_init__(self) -> None:
        num = len(self.arrival_ps)
        for name in ("arrival_ps", "prompt_tokens", "output_tokens", "max_tokens"):
            column = getattr(self, name)
            if column.dtype != np.int64 or column.shape != (num,):
                raise InvalidTraceError(f"{name} must be int64 of shape ({num},) (got {column.dtype}, {column.shape})")
        if num == 0:
            raise InvalidTraceError("a trace needs at least one request (got none)")
        if self.arrival_ps[0] < 0 or np.any(np.diff(self.arrival_ps) < 0):
            raise InvalidTraceError("arrival_ps must start at 0 or later and must not decrease")
        for name in ("prompt_tokens", "output_tokens"):
            if getattr(self, name).min() < 1:
                row = int(getattr(self, name).argmin())
                raise InvalidTraceError(f"{name} must be at least 1 (row {row} has {getattr(self, name)[row]})")

    def __len__(self) -> int:
        return len(self.arrival_ps)

    @property
    def sha256(self) -> str:
        """Hash of all columns, little-endian: the identity of the workload in records."""
        digest = hashlib.sha256()
        for column in (self.arrival_ps, self.prompt_tokens, self.output_tokens, self.max_tokens):
            digest.update(column.astype("<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run's input: a cluster, a trace, and what only the evaluator knows.

    Attributes:
        cluster: The system.
        trace: The workload.
        drain_s: The run ends when drained, or this long after the last arrival.
        clock_offset_ps: Origin of the policy's clock, random per seed.
        policy_seed: Key of `request.u`.
    """

    cluster: ClusterSpec
    trace: Trace
    drain_s: float
    clock_offset_ps: int = 0
    policy_seed: int = 0

    def __post_init__(self) -> None:
        longest = int((self.trace.prompt_tokens + self.trace.output_tokens).max())
        limit = self.cluster.engine.max_request_tokens
        if longest > limit:
            row = int((self.trace.prompt_tokens + self.trace.output_tokens).argmax())
            raise InvalidTraceError(
                f"request {row} needs {longest} tokens of KV memory, more than the {limit} that one empty replica "
                f"can give; cut the lengths or give the replicas more blocks"
            )
        if not 0 < self.drain_s <= MAX_DRAIN_S:
            raise InvalidSpecError(f"drain_s must be above 0 and at most {MAX_DRAIN_S:g} (got {self.drain_s})")
        if self.horizon_ps + self.clock_offset_ps > MAX_TIME_PS or self.clock_offset_ps < 0:
            raise InvalidSpecError(
                f"the run must end before {MAX_TIME_PS // PS_PER_S:,} s on the policy's clock, and that clock must not "
                f"start below 0 (got horizon {self.horizon_ps} ps, offset {self.clock_offset_ps} ps)"
            )

    @property
    def horizon_ps(self) -> int:
        """Last arrival plus drain_s: the latest end of a run; rejected and unfinished are charged here."""
        return int(self.trace.arrival_ps[-1]) + round(self.drain_s * PS_PER_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What happened to each request, one row per request id; int64 columns of shape (num_requests,).

    `outcome` is FINISHED, UNFINISHED or REJECTED; times are NEVER_PS where the event did not happen. For a rejected
    request `finished_ps` is NEVER_PS. `replica` is -1 before dispatch. `scheduled_ps` is the first admission,
    `first_token_ps` the first output token (kept over preemptions).
    """

    outcome: Ints
    replica: Ints
    restarts: Ints
    dispatched_ps: Ints
    scheduled_ps: Ints
    first_token_ps: Ints
    finished_ps: Ints

    @property
    def sha256(self) -> str:
        """Hash of all columns, little-endian: two runs agree on everything if and only if it is equal."""
        digest = hashlib.sha256()
        for name in self.__slots__:
            digest.update(getattr(self, name).astype("<i8").tobytes())
        return digest.hexdigest()


Status: TypeAlias = Literal[
    "ok",
    "bad_decision",
    "policy_error",
    "policy_crash",
    "policy_oom",
    "timeout",
    "nondeterministic",
    "infra_error",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """State of the cluster on a regular time grid, for plots; int64.

    Attributes:
        interval_s: Grid step; sample k is taken at k * interval_s.
        held: Requests in the held queue, shape (num_samples,).
        waiting, running, allocated_blocks: Per replica, shape (num_samples, num_replicas).
    """

    interval_s: float
    held: Ints
    waiting: Ints
    running: Ints
    allocated_blocks: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One simulated run.

    Attributes:
        status: "ok", or how the design failed; the message then says what, in words for its author.
        records: Per-request outcome up to the end, also for failed runs.
        end_ps: When the run ended: drained, at the horizon, or at its failure.
        num_decisions: Answers of route or assign that were applied, holds included.
        decision_hash: 64-bit hash over every decision in order (request, answer, time).
        tier: "compiled" or "python": how the hooks ran.
        samples: Present if asked for.
        notes: Remarks for the design's author: why it ran as plain Python, what this task ignores.
    """

    status: Status
    message: str
    records: Records
    end_ps: int
    num_decisions: int
    decision_hash: int
    tier: str
    samples: Samples | None = None
    notes: tuple[str, ...] = ()
