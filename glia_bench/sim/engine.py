"""Running a case: `simulate` for a whole run with a policy's hooks, compiled or plain Python.

Checks and allocates, then drives the kernel; records are written as far as the run came, also when it failed.
"""

from typing import Any, Literal

import numpy as np

from glia_bench.errors import InvalidPolicyError, InvalidSpecError, text_of
from glia_bench.features import HOLD, REJECT, Cluster, IntArray, Memory, Request
from glia_bench.policy import Policy
from glia_bench.sim import kernel as k
from glia_bench.sim import state as st
from glia_bench.sim import views
from glia_bench.sim.hooks import Hooks, compile_hooks
from glia_bench.sim.jit import plain
from glia_bench.sim.latency import linear_perf
from glia_bench.sim.queue_columns import assign_buffers, queue_view
from glia_bench.sim.signatures import replica_view
from glia_bench.types import PS_PER_S, UNFINISHED, Case, Records, RunResult, Samples, Status

Tier = Literal["auto", "compiled", "python"]

_CHUNK_ARRIVALS = 100_000
"""Arrivals between two returns from the kernel, so that Ctrl-C is heard."""
_MAX_SAMPLES = 10_000_000
_compiled_policies: dict[tuple[str, str], Hooks | str] = {}


class _BadAnswerError(Exception):
    """A plain-Python hook answered what the kernel cannot even be given; the message says what."""


def _hooks_of(policy: Policy) -> Hooks | str:
    """Return a policy's compiled hooks or why it has none; each source is compiled once per process."""
    key = (policy.path, policy.sha256)
    if key not in _compiled_policies:
        _compiled_policies[key] = compile_hooks(policy)
    return _compiled_policies[key]


class _Run:
    """One run in progress: its arrays, its policy, and how the hooks are called."""

    def __init__(self, case: Case, policy: Policy, sample_interval_s: float | None) -> None:
        if "route" not in policy.hooks and "assign" not in policy.hooks:
            raise InvalidPolicyError(f"policy {policy.name!r} must define route or assign (it defines neither)")
        self.case = case
        self.policy = policy
        sample_ps = round((sample_interval_s or 0) * PS_PER_S)
        if sample_interval_s is not None and sample_ps < 1:
            raise InvalidSpecError(f"sample_interval_s must be positive (got {sample_interval_s})")
        num_samples = case.horizon_ps // sample_ps + 1 if sample_ps else 0
        if num_samples > _MAX_SAMPLES:
            raise InvalidSpecError(
                f"sample_interval_s must give at most {_MAX_SAMPLES:,} samples up to the horizon (got {num_samples:,})"
            )
        state = st.single_run(case, num_samples=num_samples)
        hooks = policy.hooks
        params = state.params
        params[st.P_SAMPLE] = sample_ps
        params[st.P_HAS_ASSIGN] = "assign" in hooks
        params[st.P_HAS_RANK] = "rank" in hooks and "assign" not in hooks
        params[st.P_HAS_DISPATCH] = "on_dispatch" in hooks
        params[st.P_HAS_FIRST] = "on_first_token" in hooks
        # rows of requests are released in the order of events, so that every tier hands out the same ones
        params[st.P_HAS_FINISH] = "on_finish" in hooks or policy.needs_request_rows
        params[st.P_SKIP] = policy.skip_blocked
        if policy.tick_s is not None and "tick" in case.cluster.triggers:
            params[st.P_TICK] = round(policy.tick_s * PS_PER_S)
        params[st.P_LAZY_FIELDS] = policy.fields_read is None or not st.LAZY_FIELDS.isdisjoint(policy.fields_read)
        params[st.P_READS_U] = policy.fields_read is None or "request.u" in policy.fields_read
        params[st.P_REQUEST_MEMORY] = policy.needs_request_rows
        self.state = state
        capacity = state.free_slots.shape[1]
        rows = capacity if policy.needs_request_rows else 1
        num_replicas = case.cluster.num_replicas
        self.memory: Memory = st.make_memory(policy.memory, num_replicas=num_replicas, request_rows=rows)
        self.buffers = assign_buffers(capacity if "assign" in hooks else 1)
        self.replicas = replica_view(state)
        self.perf = linear_perf(case.cluster.latency)
        self.key = views.mixed_seed(case.policy_seed)

    def _next_pause(self) -> int:
        return int(self.state.ctl[0, st.C_NEXT]) + _CHUNK_ARRIVALS

    def _make_room(self) -> None:
        self.state, self.memory = st.grow(self.state, self.memory)
        if "assign" in self.policy.hooks:
            self.buffers = assign_buffers(self.state.free_slots.shape[1])

    def _services(self) -> tuple[Any, ...]:
        return (self.replicas, self.perf, self.memory, self.buffers, self.key)

    def run_compiled(self, hooks: Hooks) -> int:
        """Run to the end with compiled hooks."""
        from glia_bench.sim.compiled import run_compiled

        while True:
            why = run_compiled(self.state, self._next_pause(), *hooks, *self._services())
            if why == k.ROOM:
                self._make_room()
            elif why != k.PAUSE:
                return why

    def run_python(self) -> int:
        """Run to the end, answering the kernel's questions by calling the hooks."""
        from glia_bench.sim import outside

        self.state.params[st.P_OUTSIDE] = 1
        answers, codes, rewards = np.zeros(1, dtype=np.int64), np.full(1, k.PAUSE), np.zeros(1)
        observation = outside.observation_arrays(1, self.case.cluster.num_replicas)
        with np.errstate(divide="raise", invalid="raise", over="ignore", under="ignore"):
            while True:
                stop = self._next_pause()
                outside.run_outside(self.state, answers, codes, stop, rewards, *observation, *self._services())
                why = int(codes[0])
                if why == k.ASK_ROUTE:
                    answers[0] = self._route()
                elif why == k.ASK_RANK:
                    self.state.reals[0, 0] = self._rank()
                elif why == k.ASK_ASSIGN:
                    self._assign()
                elif why == k.TELL_DISPATCH:
                    self._dispatched()
                elif why == k.TELL_EVENTS:
                    self._events()
                elif why == k.ROOM:
                    self._make_room()
                elif why != k.PAUSE:
                    return why

    def _request(self, slot: int, generated: int = 0) -> Request:
        from glia_bench.sim.outside import request_of

        return request_of(self.state, self.memory.tag, self.key, slot, generated)

    def _cluster(self, num_held: int) -> Cluster:
        view = plain(views.cluster_view)(self.state, self.perf, 0, num_held)
        return view._replace(num_replicas=int(view.num_replicas), block_size_tokens=int(view.block_size_tokens))

    def _call(self, name: str, *arguments: Any, request_id: int | None = None) -> Any:
        try:
            return self.policy.hooks[name](*arguments)
        except Exception as error:
            of = "" if request_id is None else f" for request {request_id}"
            raise _HookError(f"{name} raised {type(error).__name__}{of}: {text_of(error)}") from error

    def _route(self) -> int:
        ctl = self.state.ctl[0]
        request = self._request(int(ctl[st.C_SLOT]))
        cluster = self._cluster(int(ctl[st.C_QLEN]))
        answer = self._call("route", request, self.replicas, cluster, self.memory, request_id=request.id)
        if isinstance(answer, bool | np.bool_) or not isinstance(answer, int | np.integer):
            raise _BadAnswerError(self._expectation("route", repr(answer), request.id))
        return min(max(int(answer), -(2**62)), 2**62)

    def _rank(self) -> float:
        ctl = self.state.ctl[0]
        request = self._request(int(ctl[st.C_SLOT]))
        value = self._call("rank", request, self._cluster(int(ctl[st.C_QLEN]) + 1), self.memory, request_id=request.id)
        if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
            raise _BadAnswerError(f"rank answered {value!r} for request {request.id}; it must be a finite number")
        return float(value)

    def _assign(self) -> None:
        num = int(self.state.ctl[0, st.C_QLEN])
        out = self.buffers.out[:num].copy()
        queue = plain(queue_view)(self.buffers, num)
        self._call("assign", queue, self.replicas, self._cluster(num), self.memory, out)
        self.buffers.out[:num] = out

    def _dispatched(self) -> None:
        ctl = self.state.ctl[0]
        request = self._request(int(ctl[st.C_SLOT]))
        self._call("on_dispatch", request, int(ctl[st.C_REPLICA]), self.memory, request_id=request.id)

    def _events(self) -> None:
        slots = self.state.slots
        for kind, slot in self.state.events[0, : self.state.ctl[0, st.C_EVENTS]]:
            is_finish = kind == st.EVENT_FINISH
            generated = int(slots[slot, st.S_TOTAL] - slots[slot, st.S_PROMPT]) if is_finish else 1
            request = self._request(int(slot), generated)
            name = "on_finish" if is_finish else "on_first_token"
            if name in self.policy.hooks:
                where = int(slots[slot, st.S_REPLICA])
                self._call(name, request, where, self.memory, request_id=request.id)

    def _expectation(self, hook: str, answer: str, request_id: int) -> str:
        last = self.case.cluster.num_replicas - 1
        return (
            f"{hook} answered {answer} for request {request_id}; "
            f"it must be a ready replica's index 0..{last}, HOLD ({HOLD}) or REJECT ({REJECT})"
        )

    def failure(self, why: int) -> tuple[Status, str]:
        """Return status and message for the kernel's last word."""
        ctl = self.state.ctl[0]
        request_id = int(self.state.slots[ctl[st.C_SLOT], st.S_ROW])
        if why == k.DONE:
            return "ok", ""
        if why == k.BAD_ANSWER:
            hook = "assign" if "assign" in self.policy.hooks else "route"
            return "bad_decision", self._expectation(hook, str(ctl[st.C_ANSWER]), request_id)
        if why == k.BAD_RANK:
            value = self.state.reals[0, 0]
            return "bad_decision", f"rank answered {value} for request {request_id}; it must be finite"
        limit = self.case.cluster.idle_hold_limit_s
        return (
            "bad_decision",
            f"the whole cluster was idle for {limit:g} s with {ctl[st.C_QLEN]} requests held; "
            f"an idle replica must be given work (request {self._head_id()} waits at the head)",
        )

    def _head_id(self) -> int:
        slot = self.state.queue_slot[0, self.state.ctl[0, st.C_QHEAD]]
        return int(self.state.slots[slot, st.S_ROW])

    def records(self) -> Records:
        """Return every request's record, live ones as unfinished."""
        records = self.state.records
        slots = self.state.slots[self.state.slots[:, st.S_ROW] >= 0]
        rows = slots[:, st.S_ROW]
        live = records[rows, 0] == UNFINISHED
        slots, rows = slots[live], rows[live]
        columns = (st.S_REPLICA, st.S_RESTARTS, st.S_DISPATCHED, st.S_SCHEDULED, st.S_FIRST)
        for target, source in enumerate(columns, start=1):
            records[rows, target] = slots[:, source]
        return Records(**{name: records[:, i] for i, name in enumerate(st.RECORD_COLUMNS)})

    def samples(self) -> Samples | None:
        """Return the samples taken, if any were asked for."""
        params = self.state.params
        if not params[st.P_SAMPLE]:
            return None
        num = int(self.state.ctl[0, st.C_SAMPLE] // params[st.P_SAMPLE])
        table: IntArray = self.state.samples[:num]
        n = self.case.cluster.num_replicas
        return Samples(
            interval_s=int(params[st.P_SAMPLE]) / PS_PER_S,
            held=table[:, 0].copy(),
            waiting=table[:, 1 : 1 + n].copy(),
            running=table[:, 1 + n : 1 + 2 * n].copy(),
            allocated_blocks=table[:, 1 + 2 * n :].copy(),
        )


class _HookError(Exception):
    """A plain-Python hook raised; the message names hook, request, exception and text."""


def simulate(case: Case, policy: Policy, *, tier: Tier = "auto", sample_interval_s: float | None = None) -> RunResult:
    """Run a policy on a case.

    Args:
        case: The run's input.
        policy: A routing policy.
        tier: "compiled", "python", or "auto": compiled where Numba can, else plain Python with a note.
        sample_interval_s: Grid of `RunResult.samples`; None for no samples.

    Returns:
        What happened; a failing design gives a status and a message, not an exception.

    Raises:
        InvalidPolicyError: If the policy breaks the hook contract before any decision, or cannot be compiled although
            `tier` asks for it.
        InvalidSpecError: If `sample_interval_s` is not positive.
    """
    run = _Run(case, policy, sample_interval_s)
    notes = list(policy.notes)
    if policy.tick_s is not None and "tick" not in case.cluster.triggers:
        notes.append("TICK_S has no effect: this task's scans follow arrivals and completions only")
    hooks: Hooks | str = "" if tier == "python" else _hooks_of(policy)
    if isinstance(hooks, str) and tier == "compiled":
        raise InvalidPolicyError(f"policy {policy.name!r} cannot be compiled: {hooks}")
    if isinstance(hooks, str) and tier == "auto":
        notes.append(f"runs as plain Python, since Numba cannot compile it: {hooks}")
    status: Status
    try:
        why = run.run_python() if isinstance(hooks, str) else run.run_compiled(hooks)
        status, message = run.failure(why)
    except _HookError as error:
        status, message = "policy_error", str(error)
    except _BadAnswerError as error:
        status, message = "bad_decision", str(error)
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(hooks, str):
            raise  # plain-Python hooks are caught where they are called: this is ours
        number = int(run.state.ctl[0, st.C_DECISIONS])
        status, message = "policy_error", f"a hook raised {type(error).__name__} at decision {number}: {text_of(error)}"
    ctl = run.state.ctl[0]
    return RunResult(
        status=status,
        message=message,
        records=run.records(),
        end_ps=int(ctl[st.C_LAST]) if status == "ok" else int(max(ctl[st.C_LAST], ctl[st.C_NOW])),
        num_decisions=int(ctl[st.C_DECISIONS]),
        decision_hash=int(run.state.hash[0]),
        tier="python" if isinstance(hooks, str) else "compiled",
        samples=run.samples(),
        notes=tuple(notes),
    )
