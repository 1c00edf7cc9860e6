"""Running a trace that never lies in memory as a whole: it comes in pieces, and records leave as requests end.

The run is that of `simulate` on the pieces put together, bit for bit. Between two pieces the kernel's arrays keep the
rows from the oldest live request on; those before are handed out. Only the requests of a piece and those that are alive
take memory. A design that fails ends the run before later pieces are asked for. Left out: closed-loop sessions, whose
later turns need the whole trace, length predictors, samples and iteration logs.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from glia_bench.case import MAX_TIME_PS, OPTIONAL_COLUMNS, Case, Fault, Trace
from glia_bench.cluster import ClusterSpec
from glia_bench.errors import InvalidTraceError
from glia_bench.features import IntArray
from glia_bench.policy import Policy
from glia_bench.sim import columns as col
from glia_bench.sim import engine, results
from glia_bench.sim.case_columns import meta_columns
from glia_bench.sim.state import State
from glia_bench.types import NEVER_PS, UNFINISHED, Records, Status

_NEVER_PS = MAX_TIME_PS
"""Later than anything that happens, and more than any count of requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPart:
    """Requests whose fate is settled, in order of arrival, together with those that came before them.

    Attributes:
        first: Number of the first of them.
        arrival_ps, prompt_tokens, output_tokens: As in `Trace`.
        records: As in `RunResult`.
        cached_tokens: As in `RunResult`.
    """

    first: int
    arrival_ps: IntArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    records: Records
    cached_tokens: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamResult:
    """How a streamed run ended; fields as in `RunResult`.

    Attributes:
        status, message, end_ps, num_decisions, decision_hash, tier, gpu_seconds, notes: As in `RunResult`.
        num_requests: Requests that were handed out.
    """

    status: Status
    message: str
    end_ps: int
    num_decisions: int
    decision_hash: int
    tier: str
    gpu_seconds: float
    notes: tuple[str, ...]
    num_requests: int


def simulate_stream(
    cluster: ClusterSpec,
    pieces: Iterable[Trace],
    policy: Policy,
    sink: Callable[[StreamPart], None],
    *,
    drain_s: float,
    clock_offset_ps: int = 0,
    policy_seed: int = 0,
    scenario_seed: int = 0,
    faults: tuple[Fault, ...] = (),
    tier: Literal["auto", "compiled", "python"] = "auto",
) -> StreamResult:
    """Run a policy on a trace that comes in pieces, and hand out records as requests end.

    Args:
        cluster: The system.
        pieces: Consecutive pieces of one trace: times go on from piece to piece, optional columns are the same.
        policy: A design of any track.
        sink: Gets every request once, in order of arrival.
        drain_s: As all that follow but the last in `Case`.
        clock_offset_ps: See there.
        policy_seed: See there.
        scenario_seed: See there.
        faults: See there.
        tier: As in `engine.simulate`.

    Returns:
        How the run ended; records that the sink has not got by then, it got before this returns.

    Raises:
        InvalidTraceError: If there is no piece, one of them breaks a rule of `Trace`, does not go on where the last
            one ended, has other columns, or holds sessions.
        InvalidPolicyError: As `engine.simulate`.
    """
    feed = Feed(pieces, sink)
    case = Case(
        cluster=cluster,
        trace=feed.first_piece(),
        drain_s=drain_s,
        clock_offset_ps=clock_offset_ps,
        policy_seed=policy_seed,
        scenario_seed=scenario_seed,
        faults=faults,
    )
    run, status, message, used, notes = engine.run_case(case, policy, tier=tier, feed=feed)
    ctl = run.state.ctl[0]
    end_ps = results.end_of(ctl, status)
    lifetimes = results.lifetimes_of(run.state, cluster.num_replicas)
    feed.hand_out(run.state, results.records_of(run.state), int(ctl[col.C_REQUESTS]))
    return StreamResult(
        status=status,
        message=message,
        end_ps=end_ps,
        num_decisions=int(ctl[col.C_DECISIONS]),
        decision_hash=int(run.state.hash[0]),
        tier=used,
        gpu_seconds=results.gpu_seconds(lifetimes, run.case, end_ps),
        notes=tuple(notes),
        num_requests=feed.num_out,
    )


class Feed:
    """The pieces yet to come and the records on their way out."""

    def __init__(self, pieces: Iterable[Trace], sink: Callable[[StreamPart], None]) -> None:
        self.pieces: Iterator[Trace] = iter(pieces)
        self.sink = sink
        self.num_in = 0
        self.num_out = 0
        self.following: Trace | None = None
        self.last_ps = 0
        self.columns: tuple[bool, ...] | None = None

    def first_piece(self) -> Trace:
        """Return the first piece; the next one is fetched ahead, since the last one ends the run."""
        piece = self._fetch()
        if piece is None:
            raise InvalidTraceError("a streamed trace needs at least one piece (got none)")
        self.num_in = len(piece)
        self.following = self._fetch()
        return piece

    def _fetch(self) -> Trace | None:
        piece = next(self.pieces, None)
        if piece is None:
            return None
        if piece.session is not None:
            raise InvalidTraceError("a streamed trace must not hold sessions: their later turns need the whole trace")
        columns = tuple(getattr(piece, name) is not None for name in (*OPTIONAL_COLUMNS, "block_ids"))
        if self.columns not in (None, columns):
            raise InvalidTraceError("the pieces of a streamed trace must all have the same optional columns")
        if piece.arrival_ps[0] < self.last_ps:
            raise InvalidTraceError(
                f"pieces of a streamed trace must go on where the last one ended, at {self.last_ps} ps (got a first "
                f"arrival at {piece.arrival_ps[0]} ps)"
            )
        self.columns, self.last_ps = columns, int(piece.arrival_ps[-1])
        return piece

    @property
    def pause_at(self) -> int:
        """After how many arrivals the kernel must come back for the next piece: one before it has none left."""
        return self.num_in - 1 if self.following is not None else _NEVER_PS

    def start(self, run: "engine.Run") -> None:
        """Set the end of a run that has just been made."""
        if self.following is not None:
            run.state.ctl[0, col.C_HORIZON] = _NEVER_PS

    def refill(self, run: "engine.Run") -> None:
        """Hand out the rows before the oldest live request, and let the next piece follow the others."""
        piece = self.following
        assert piece is not None
        run.case = replace(run.case, trace=piece)  # checked as any case's trace
        state, ctl = run.state, run.state.ctl[0]
        live = state.slots[:, col.S_ROW] >= 0
        keep = min(int(ctl[col.C_NEXT]), int(state.slots[live, col.S_ROW].min(initial=_NEVER_PS)))
        self.hand_out(state, results.record_columns(state), keep)
        run.state = _shifted(state, run.case, keep)
        run.state.slots[live, col.S_ROW] -= keep
        ctl[col.C_NEXT] -= keep
        ctl[col.C_REQUESTS] = run.state.arrival_ps.shape[1]
        self.num_in += len(piece)
        self.following = self._fetch()
        if self.following is None:
            ctl[col.C_HORIZON] = run.case.horizon_ps

    def hand_out(self, state: State, records: Records, count: int) -> None:
        """Give the sink the first rows."""
        if count == 0:
            return
        is_full = state.params[col.P_FULL] != 0
        part = StreamPart(
            first=self.num_out,
            arrival_ps=state.arrival_ps[0, :count].copy(),
            prompt_tokens=state.prompt_tokens[0, :count].copy(),
            output_tokens=state.output_tokens[0, :count].copy(),
            records=Records(**{name: getattr(records, name)[:count].copy() for name in col.RECORD_COLUMNS}),
            cached_tokens=state.extra[:count, 1].copy() if is_full else np.zeros(count, dtype=np.int64),
        )
        self.num_out += count
        self.sink(part)


def _shifted(state: State, case: Case, keep: int) -> State:
    """Return the state with the first rows gone and those of a case's trace added."""
    trace, num = case.trace, len(case.trace)

    def joined(old: IntArray, new: IntArray) -> IntArray:
        return np.concatenate([old, new])

    columns: dict[str, Any] = {
        name: joined(getattr(state, name)[0, keep:], getattr(trace, name))[None] for name in col.TRACE_COLUMNS
    }
    fresh = np.full((num, len(col.RECORD_COLUMNS)), NEVER_PS, dtype=np.int64)
    fresh[:, 0], fresh[:, 2] = UNFINISHED, 0
    columns["records"] = joined(state.records[keep:], fresh)
    if state.params[col.P_META] or state.params[col.P_FULL]:
        columns["meta"] = joined(state.meta[0, keep:], meta_columns(case))[None]
    if state.params[col.P_FULL]:
        extra = np.zeros((num, len(col.EXTRA_COLUMNS)), dtype=np.int64)
        extra[:, 0] = trace.arrival_ps
        columns["extra"] = joined(state.extra[keep:], extra)
        rows = columns["arrival_ps"].shape
        columns |= {name: np.zeros(rows, dtype=np.int64) for name in ("think_ps", "came", "ended")}
        columns["next_row"] = np.full(rows, -1, dtype=np.int64)
        columns |= _shifted_blocks(state, trace, keep)
    return state._replace(**columns)


def _shifted_blocks(state: State, trace: Trace, keep: int) -> dict[str, Any]:
    """Return the block ids of the rows that stay and of those that come."""
    starts = state.block_start[0, keep:]
    if trace.block_start is None or trace.block_ids is None:
        return {"block_start": np.zeros((1, len(starts) + len(trace)), dtype=np.int64)}
    first, last = int(starts[0]), int(starts[-1])
    ids = np.concatenate([state.block_ids[0, first:last], trace.block_ids])
    nodes = np.zeros(max(len(ids), 1), dtype=np.int32)
    nodes[: last - first] = state.block_nodes[0, first:last]
    return {
        "block_start": np.concatenate([starts - first, trace.block_start[1:] + (last - first)])[None],
        "block_ids": (ids if len(ids) else np.zeros(1, dtype=np.int64))[None],
        "block_nodes": nodes[None],
    }
