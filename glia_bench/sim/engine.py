"""Running a case: `simulate` for a whole run with a policy's hooks, compiled or plain Python.

Checks and allocates, then drives a kernel: the plain one where the case and the design need no more, else the full one.
Records are written as far as the run came, also when it failed.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S, LatencyTable
from glia_bench.errors import InvalidPolicyError, InvalidSpecError, did_you_mean, text_of
from glia_bench.policy import Policy
from glia_bench.sim import columns as col
from glia_bench.sim import prefix_view, results, scans
from glia_bench.sim.autoscaling import Scaler, start_scaling
from glia_bench.sim.by_reference import reference_to
from glia_bench.sim.growth import single_run, with_room
from glia_bench.sim.hashes import mixed_seed
from glia_bench.sim.hooks import Hooks, compile_hooks
from glia_bench.sim.modes import with_mode
from glia_bench.sim.python_tier import BadAnswerError, HookError, PythonHooks
from glia_bench.sim.queue_columns import assign_buffers
from glia_bench.sim.signatures import NOBODY, replica_view
from glia_bench.sim.state import Needs, make_memory
from glia_bench.types import RunResult, Status

if TYPE_CHECKING:
    from glia_bench.sim.stream import Feed

Tier = Literal["auto", "compiled", "python"]

_CHUNK_ARRIVALS = 100_000
"""Arrivals between two returns from the kernel, so that Ctrl-C is heard."""
_MAX_SAMPLES = 10_000_000
_SESSION_ROWS = 1024
PREFIX_VIEWS = {
    "none": prefix_view.VIEW_NONE,
    "own": prefix_view.VIEW_OWN,
    "events": prefix_view.VIEW_EVENTS,
    "truth": prefix_view.VIEW_TRUTH,
}
_compiled_policies: dict[tuple[str, str, str, bool], Hooks | str] = {}


def _hooks_of(policy: Policy, is_full: bool) -> Hooks | str:
    """Return a policy's compiled hooks or why it has none; compiled once per process, source, track and engine."""
    key = (policy.path, policy.sha256, policy.track, is_full)
    if key not in _compiled_policies:
        _compiled_policies[key] = compile_hooks(policy, is_full=is_full)
    return _compiled_policies[key]


def is_plain(case: Case, policy: Policy) -> bool:
    """Return whether the plain engine can run a design on a case; the full one runs everything."""
    cluster, trace = case.cluster, case.trace
    pool = cluster.pools[0]
    engine = pool.engine
    return (
        len(cluster.pools) == 1
        and not cluster.is_elastic
        and cluster.num_routers == 1
        and cluster.metrics_interval_s == 0
        and engine.chunked_prefill
        and not (engine.reserve_output or engine.prefix_caching)
        and isinstance(pool.latency, LatencyTable)
        and not case.faults
        and all(c.patience_s == float("inf") for c in cluster.slo_classes)
        and trace.num_clock == len(trace)
        and not (policy.scheduling or policy.autoscaling)
        and (policy.fields_read is not None and not any(f.startswith("inflight.") for f in policy.fields_read))
        and policy.memory.get("tenant", 0) + policy.memory.get("session", 0) == 0
    )


class Run:
    """One run in progress: its arrays, its policy, and how the hooks are called."""

    def __init__(
        self,
        case: Case,
        policy: Policy,
        sample_interval_s: float | None,
        log_iterations: bool,
        is_full: bool,
        feed: "Feed | None",
    ) -> None:
        self.feed = feed
        self.is_fetching = False
        self.case = case
        self.policy = policy
        self.is_full = is_full
        sample_ps = round((sample_interval_s or 0) * PS_PER_S)
        if sample_interval_s is not None and sample_ps < 1:
            raise InvalidSpecError(f"sample_interval_s must be positive (got {sample_interval_s})")
        num_samples = case.horizon_ps // sample_ps + 1 if sample_ps else 0
        if num_samples > _MAX_SAMPLES:
            raise InvalidSpecError(
                f"sample_interval_s must give at most {_MAX_SAMPLES:,} samples up to the horizon (got {num_samples:,})"
            )
        read = policy.fields_read
        has_inflight = is_full and (read is None or any(field.startswith("inflight.") for field in read))
        needs = Needs(
            prefix_view=PREFIX_VIEWS[policy.prefix_view],
            has_inflight=has_inflight,
            num_samples=num_samples,
            has_log=log_iterations,
        )
        self.state = single_run(case, is_full=is_full, needs=needs)
        params = self.state.params
        params[col.P_SAMPLE] = sample_ps
        params[col.P_INFLIGHT] = has_inflight
        params[col.P_LOG] = log_iterations
        self._write_hooks()
        if policy.autoscaling and case.cluster.is_elastic:
            start_scaling(self.state, policy.interval_s or 0.0)
        capacity = self.state.free_slots.shape[1]
        cluster = case.cluster
        memory = make_memory(
            policy.memory,
            num_replicas=cluster.num_replicas,
            request_rows=capacity if policy.needs_request_rows else 1,
            num_tenants=cluster.num_tenants,
            session_rows=_SESSION_ROWS if is_full else 1,
            copies=cluster.num_routers + 2 if is_full else 1,
        )
        self.state = self.state._replace(memory=memory)
        self.buffers = assign_buffers(capacity if "assign" in policy.routing else 1)
        self.replicas = replica_view(self.state)
        self.keys = (mixed_seed(case.policy_seed), mixed_seed(case.scenario_seed))
        if feed is not None:
            feed.start(self)
        self._point()

    def _write_hooks(self) -> None:
        """Write which hooks exist and what they may read."""
        policy, params = self.policy, self.state.params
        router, scheduler, read = policy.routing, policy.scheduling, policy.fields_read
        params[col.P_HAS_ASSIGN] = "assign" in router
        params[col.P_HAS_RANK] = "rank" in router and "assign" not in router
        params[col.P_HAS_DISPATCH] = "on_dispatch" in router
        params[col.P_HAS_FIRST] = "on_first_token" in router
        # rows of requests are released in the order of events, so that every tier hands out the same ones
        params[col.P_HAS_FINISH] = "on_finish" in router or policy.needs_request_rows
        params[col.P_SKIP] = policy.skip_blocked
        if policy.tick_s is not None and "tick" in self.case.cluster.triggers:
            params[col.P_TICK] = round(policy.tick_s * PS_PER_S)
        params[col.P_LAZY_FIELDS] = read is None or not col.LAZY_FIELDS.isdisjoint(read)
        params[col.P_READS_U] = read is None or "request.u" in read
        params[col.P_READS_CACHED] = read is None or "request.cached_tokens" in read
        params[col.P_REQUEST_MEMORY] = policy.needs_request_rows
        params[col.P_VIEW] = self.case.cluster.has_prefix_cache and policy.prefix_view != "none"
        params[col.P_SCHEDULER] = len(scheduler) > 0
        params[col.P_S_RANK] = "rank" in scheduler
        params[col.P_S_ADMIT] = "admit" in scheduler
        params[col.P_S_EVICT] = "evict_rank" in scheduler
        params[col.P_S_TOKENS] = "tokens" in scheduler
        params[col.P_S_PLAN] = "plan" in scheduler
        params[col.P_S_STEP] = "on_step" in scheduler
        params[col.P_PREEMPTIVE] = policy.preemptive and "rank" in scheduler
        params[col.P_DYNAMIC] = policy.dynamic_rank and "rank" in scheduler

    def _point(self) -> None:
        """Take references to the arrays, after any of them was replaced."""
        self.reference = reference_to(self.state)
        self.services = (self.replicas, self.buffers, NOBODY, *self.keys)

    def next_pause(self) -> int:
        """Return after how many arrivals the kernel should come back."""
        soon = int(self.state.ctl[0, col.C_NUMBER]) + _CHUNK_ARRIVALS
        return soon if self.feed is None else min(soon, self.feed.pause_at)

    def paused(self) -> None:
        """Fetch what comes next of a trace in pieces, when all but the last arrival has been taken."""
        if self.feed is not None and self.state.ctl[0, col.C_NUMBER] >= self.feed.pause_at:
            self.is_fetching = True
            self.feed.refill(self)
            self.is_fetching = False
            self._point()

    def make_room(self) -> None:
        """Double what the kernel has run out of."""
        self.state = with_room(self.state)
        if "assign" in self.policy.routing:
            self.buffers = assign_buffers(self.state.free_slots.shape[1])
        self._point()

    def run_compiled(self, hooks: Hooks) -> int:
        """Run to the end with compiled hooks."""
        if self.is_full:
            from glia_bench.sim.compiled_full import run_full

            run, functions = cast("Any", run_full), (*hooks.router, *hooks.scheduler)
        else:
            from glia_bench.sim.compiled import run_plain

            run, functions = cast("Any", run_plain), hooks.router
        scaler = Scaler(self, hooks.scaler)
        while True:
            why = run(self.reference, self.next_pause(), *functions, *self.services)
            if why == scans.ROOM:
                self.make_room()
            elif why == scans.ASK_SCALE:
                scaler.ask()
            elif why == scans.PAUSE:
                self.paused()
            else:
                return why

    def run_python(self) -> int:
        """Run to the end, answering the kernel's questions by calling the hooks."""
        self.state.params[col.P_OUTSIDE] = 1
        with np.errstate(divide="raise", invalid="raise", over="ignore", under="ignore"):
            return PythonHooks(self, Scaler(self, self.policy.autoscaling)).run()


def simulate(
    case: Case,
    policy: Policy,
    *,
    tier: Tier = "auto",
    sample_interval_s: float | None = None,
    log_iterations: bool = False,
    engine: Literal["auto", "full"] = "auto",
) -> RunResult:
    """Run a policy on a case.

    Args:
        case: The run's input.
        policy: A design of any track; what it leaves out is as the default does.
        tier: "compiled", "python", or "auto": compiled where Numba can, else plain Python with a note.
        sample_interval_s: Grid of `RunResult.samples`; None for no samples.
        log_iterations: Whether to return every iteration, as `RunResult.iterations`.
        engine: "full" forces the full engine where the plain one, which gives the same, would do.

    Returns:
        What happened; a failing design gives a status and a message, not an exception.

    Raises:
        InvalidPolicyError: If the policy breaks the hook contract before any decision, asks for what the cluster does
            not allow, or cannot be compiled although `tier` asks for it.
        InvalidSpecError: If `sample_interval_s` is not positive.
    """
    run, status, message, used, notes = run_case(
        case, policy, tier=tier, sample_interval_s=sample_interval_s, log_iterations=log_iterations, engine=engine
    )
    return results.result(run.state, run.case, status, message, tier=used, notes=tuple(notes))


def run_case(
    case: Case,
    policy: Policy,
    *,
    tier: Tier = "auto",
    sample_interval_s: float | None = None,
    log_iterations: bool = False,
    engine: Literal["auto", "full"] = "auto",
    feed: "Feed | None" = None,
) -> tuple[Run, Status, str, str, list[str]]:
    """Run a policy on a case as `simulate` does; return the run at its end, status, message, tier and notes.

    Args:
        case: As all that follow but the last as `simulate` takes them.
        policy: See there.
        tier: See there.
        sample_interval_s: See there.
        log_iterations: See there.
        engine: See there.
        feed: More of the trace, if the case's is only its first piece.
    """
    case, notes = _allowed(case, policy)
    is_full = engine == "full" or log_iterations or not is_plain(case, policy)
    run = Run(case, policy, sample_interval_s, log_iterations, is_full, feed)
    hooks: Hooks | str = "" if tier == "python" else _hooks_of(policy, is_full)
    if isinstance(hooks, str) and tier == "compiled":
        raise InvalidPolicyError(f"policy {policy.name!r} cannot be compiled: {hooks}")
    if isinstance(hooks, str) and tier == "auto":
        notes.append(f"runs as plain Python, since Numba cannot compile it: {hooks}")
    status: Status
    try:
        why = run.run_python() if isinstance(hooks, str) else run.run_compiled(hooks)
        status, message = results.failure(run.state, case, policy, why)
    except HookError as error:
        status, message = "policy_error", str(error)
    except BadAnswerError as error:
        status, message = "bad_decision", str(error)
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(hooks, str) or run.is_fetching:
            raise  # plain-Python hooks are caught where they are called: this is ours, or the trace's
        number = int(run.state.ctl[0, col.C_DECISIONS])
        status, message = "policy_error", f"a hook raised {type(error).__name__} at decision {number}: {text_of(error)}"
    return run, status, message, "python" if isinstance(hooks, str) else "compiled", notes


def _allowed(case: Case, policy: Policy) -> tuple[Case, list[str]]:
    """Return the case with the engine mode that a design chooses, and remarks; refuse what is not allowed."""
    cluster = case.cluster
    notes = list(policy.notes)
    if policy.tick_s is not None and "tick" not in cluster.triggers:
        notes.append("TICK_S has no effect: this task's scans follow arrivals and completions only")
    if policy.prefix_view != "none" and policy.prefix_view not in cluster.prefix_views:
        allowed = ", ".join(cluster.prefix_views) or "none"
        raise InvalidPolicyError(
            f"policy {policy.name!r}: PREFIX_VIEW {policy.prefix_view!r} is not granted here (granted: {allowed})"
        )
    if policy.prefix_view != "none" and not cluster.has_prefix_cache:
        notes.append("PREFIX_VIEW has no effect: this task's engines have no prefix cache")
    if policy.autoscaling and not cluster.is_elastic:
        notes.append("scale is never asked: the size of this task's cluster is fixed")
    mode = policy.engine_mode
    if mode is None or all(pool.engine.mode == mode for pool in cluster.pools):
        return case, notes
    if mode not in cluster.engine_modes:
        allowed = ", ".join(cluster.engine_modes) or "none but the task's own"
        hint = did_you_mean(mode, cluster.engine_modes)
        raise InvalidPolicyError(
            f"policy {policy.name!r}: ENGINE_MODE {mode!r} is not allowed here (allowed: {allowed}){hint}"
        )
    pools = tuple(dataclasses.replace(pool, engine=with_mode(pool.engine, mode)) for pool in cluster.pools)
    return dataclasses.replace(case, cluster=dataclasses.replace(cluster, pools=pools)), notes
