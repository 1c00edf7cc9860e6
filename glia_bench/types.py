"""What a run gives back: frozen records that cross module borders.

Times are int64 picoseconds in records and the simulators (`_ps`), float64 seconds in metrics and features.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, TypeAlias

from glia_bench.cluster import Ints

MAX_TIME_PS = 2**62
MAX_DRAIN_S = 1e6
NEVER_PS = -1
"""In a record: this never happened."""

FINISHED, UNFINISHED, REJECTED, EXPIRED = 0, 1, 2, 3
"""Values of `Records.outcome`; EXPIRED: its client gave up before any engine admitted it."""


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
class Lifetimes:
    """When replicas came and went, one row per life in order of request; int64.

    Attributes:
        replica: Row of the replica arrays.
        requested_ps, ready_ps, draining_ps, gone_ps: Times; NEVER_PS where it did not happen. Replicas of the start are
            requested and ready at 0.
    """

    replica: Ints
    requested_ps: Ints
    ready_ps: Ints
    draining_ps: Ints
    gone_ps: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Iterations:
    """What every replica computed, one row per run of equal iterations in order of their start; int64.

    Attributes:
        replica: Row of the replica arrays.
        start_ps, end_ps: The span; if cut short by a failure, when that was.
        count: Iterations in it: 1, or more of pure decode.
        prefill_tokens, num_chunks: Of each iteration.
        num_decodes: Of each iteration.
        context_tokens: Context that the decodes of the first one read.
        allocated_blocks: Referenced when the first one started.
        waiting, running: Requests then.
        preempted: Requests preempted when it was formed.
    """

    replica: Ints
    start_ps: Ints
    end_ps: Ints
    count: Ints
    prefill_tokens: Ints
    num_chunks: Ints
    num_decodes: Ints
    context_tokens: Ints
    allocated_blocks: Ints
    waiting: Ints
    running: Ints
    preempted: Ints


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
        arrival_ps: When each request arrived: the trace's column, but for follow-up turns; those that never arrived
            are charged from the arrival of the turn before them. int64, shape (num_requests,).
        cached_tokens: Tokens that each request's first admission found in the prefix cache; int64.
        gpu_seconds: GPU time from request to gone; what is not gone is billed to `end_ps`, in an elastic cluster to
            the horizon.
        lifetimes: When replicas came and went.
        iterations: Present if asked for.
        notes: Remarks for the design's author: why it ran as plain Python, what this task ignores.
    """

    status: Status
    message: str
    records: Records
    end_ps: int
    num_decisions: int
    decision_hash: int
    tier: str
    arrival_ps: Ints
    cached_tokens: Ints
    gpu_seconds: float
    lifetimes: Lifetimes
    samples: Samples | None = None
    iterations: Iterations | None = None
    notes: tuple[str, ...] = ()
