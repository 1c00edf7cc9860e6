"""Asking a design's autoscaler, and bringing its answer about: the same in every tier, since it is asked rarely."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S
from glia_bench.features import Window
from glia_bench.sim import asides, fleet, messages, replica
from glia_bench.sim import columns as col
from glia_bench.sim.by_reference import reference_to
from glia_bench.sim.growth import grow_lives
from glia_bench.sim.hashes import fold, scenario_draw
from glia_bench.sim.jit import plain
from glia_bench.sim.python_tier import BadAnswerError, HookError
from glia_bench.sim.signatures import NOBODY, read_only
from glia_bench.sim.state import State
from glia_bench.types import NEVER_PS

if TYPE_CHECKING:
    from glia_bench.sim.engine import Run

_STARTING = (col.REQUESTED, col.LOADING)


def start_scaling(state: State, interval_s: float) -> None:
    """Let the kernel keep the window and ask for sizes at every multiple of an interval."""
    interval = round(interval_s * PS_PER_S)
    state.params[col.P_WINDOW] = 1
    state.params[col.P_SCALE] = interval
    state.ctl[:, col.C_SCALE] = interval


class Scaler:
    """The autoscaling hooks of a run."""

    def __init__(self, run: "Run", hooks: Mapping[str, Callable[..., Any]]) -> None:
        self.of_run = run
        self.hooks = hooks
        self.pools = run.case.cluster.pools
        self.desired = np.array([pool.num_replicas for pool in self.pools], dtype=np.int64)

    def ask(self) -> None:
        """Ask for sizes and begin to bring them about."""
        run = self.of_run
        state = run.state
        cluster = asides.cluster_of(run.reference, NOBODY)._replace(router=-1, num_held=int(state.ctl[0, col.C_HELD]))
        answer = self._call("scale", "", self._window(), cluster, self._memory())
        sizes = checked_sizes(answer, self.pools)
        self.desired = np.array(sizes, dtype=np.int64)
        run.state = apply_sizes(state, run.case, sizes, self._drain_rank)
        if run.state is not state:  # references are made anew only when arrays were
            run._point()

    def _memory(self) -> Any:
        return plain(replica.memory_of)(self.of_run.state, self.of_run.case.cluster.num_routers + 1)

    def _call(self, name: str, subject: str, *arguments: Any) -> Any:
        try:
            return self.hooks[name](*arguments)
        except Exception as error:
            raise HookError(messages.raised(name, subject, error)) from error

    def _drain_rank(self, state: State, g: int) -> float:
        if "drain_rank" not in self.hooks:
            return float(outstanding(state, g))
        asides.catch_up(reference_to(state), 0, g, int(state.ctl[0, col.C_NOW]))
        view = plain_replica(state, g)
        answer = self._call("drain_rank", f"replica {g}", view, self._memory())
        is_number = isinstance(answer, int | float | np.integer | np.floating) and not isinstance(answer, bool)
        if not is_number or not np.isfinite(float(answer)):
            raise BadAnswerError(messages.bad_rank("drain_rank", f"replica {g}", answer))
        return float(answer)

    def _window(self) -> Window:
        return window_of(self.of_run.state, 0, self.pools, self.desired)


def window_of(state: State, e: int, pools: Any, desired: Any) -> Window:
    """Return the window as an autoscaler sees it now, newest row last; arrays are copies, read-only."""
    lag = int(state.params[col.P_LAG])
    last = int(state.ctl[e, col.C_SECOND]) // PS_PER_S - 1 - lag  # number of visible seconds
    rows = np.arange(last - col.WINDOW_SECONDS, last)
    table = state.window[e][:, rows % col.WINDOW_SECONDS]
    table[:, rows < 0] = 0.0
    if lag:
        table[:, rows < last + lag - col.WINDOW_SECONDS] = 0.0  # overwritten since
    columns: dict[str, Any] = {
        name: read_only(np.ascontiguousarray(column)) for name, column in zip(Window._fields, table, strict=False)
    }
    return Window(
        **columns,
        min_replicas=read_only(np.array([pool.smallest for pool in pools], dtype=np.int64)),
        max_replicas=read_only(np.array([pool.largest for pool in pools], dtype=np.int64)),
        desired=read_only(desired.copy()),
        gpus_per_replica=read_only(np.array([pool.gpus_per_replica for pool in pools], dtype=np.int64)),
        cold_start_s=read_only(np.array([p.cold_start.provision_s + p.cold_start.load_s for p in pools])),
    )


def plain_replica(state: State, g: int) -> Any:
    """Return a replica as a plain-Python hook sees it."""
    view = plain(replica.replica_of)(state, 0, g)
    ints: dict[str, Any] = {name: int(value) for name, value in view._asdict().items() if isinstance(value, np.integer)}
    return view._replace(**ints)


def _folded(value: int, x: int) -> Any:
    with np.errstate(over="ignore"):
        return plain(fold)(np.uint64(value), x % 2**64)  # two's complement, as an int64 has it


def is_integer(answer: Any) -> bool:
    """Return whether an answer is an integer and no truth value."""
    return isinstance(answer, int | np.integer) and not isinstance(answer, bool | np.bool_)


def checked_sizes(answer: Any, pools: Any) -> list[int]:
    """Return an answer of `scale` as one size per pool, each within its quota."""
    sizes = [answer] if is_integer(answer) else answer
    is_sequence = isinstance(sizes, tuple | list | np.ndarray) and np.ndim(sizes) == 1
    if not is_sequence or len(sizes) != len(pools):
        raise BadAnswerError(messages.bad_scale_shape(answer, len(pools)))
    for pool, size in zip(pools, sizes, strict=True):
        if not is_integer(size) or not pool.smallest <= size <= pool.largest:
            raise BadAnswerError(messages.bad_scale(pool.name, size, pool.smallest, pool.largest))
    return [int(size) for size in sizes]


def apply_sizes(state: State, case: Case, sizes: list[int], drain_rank: Callable[[State, int], float]) -> State:
    """Hash an answer and begin to bring it about in a single run; returns the state, whose lives may have moved."""
    now = int(state.ctl[0, col.C_NOW])
    for pool, size in enumerate(sizes):
        for x in (-(2**40) - pool, size, now):
            state.hash[0] = _folded(int(state.hash[0]), x)
        state = resize(state, 0, case.scenario_seed, pool, size, case.cluster.pools, drain_rank)
    return state


def outstanding(state: State, g: int) -> int:
    """Return the dispatched and unfinished requests of a replica."""
    return int(state.view_int[col.V_WAITING, g] + state.view_int[col.V_RUNNING, g])


def resize(
    state: State,
    e: int,
    scenario_seed: int,
    pool: int,
    size: int,
    pools: Any,
    drain_rank: Callable[[State, int], float],
) -> State:
    """Begin to bring a pool of environment e to a size; returns the state, whose lives may have been moved."""
    num = int(state.params[col.P_REPLICAS])
    mine = [g for g in range(e * num, (e + 1) * num) if state.rep[g, col.R_POOL] == pool]
    states = state.view_int[col.V_STATE]
    starting = [g for g in mine if states[g] in _STARTING]
    ready = [g for g in mine if states[g] == col.READY]
    surplus = len(starting) + len(ready) - size
    if surplus <= 0:
        for g in [g for g in mine if states[g] == col.GONE][: -surplus or 0]:
            state = _request(state, e, g, scenario_seed)
        return state

    def latest_first(g: int) -> tuple[int, int]:
        return -int(state.lives[e, state.rep[g, col.R_LIFE], 1]), -g

    starting.sort(key=latest_first)
    for g in starting[:surplus]:
        plain(fleet.become)(state, e, g, col.GONE)
    num_drains = surplus - len(starting[:surplus])
    if num_drains:
        ranks = {g: drain_rank(state, g) for g in ready}
        ready.sort(key=lambda g: (ranks[g], *latest_first(g)))
        for g in ready[:num_drains]:
            _drain(state, e, g, pools[pool].drain_timeout_s)
    return state


def _request(state: State, e: int, g: int, scenario_seed: int) -> State:
    """Begin to start a replica that is gone."""
    ctl = state.ctl[e]
    if ctl[col.C_LIVES] == state.lives.shape[1]:
        state = grow_lives(state)
    now = int(ctl[col.C_NOW])
    quantile = scenario_draw(scenario_seed, 3, int(ctl[col.C_COLD])) >> 56
    ctl[col.C_COLD] += 1
    factor = int(state.cold[state.rep[g, col.R_POOL], 2 + quantile])
    spans = [plain(fleet.cold_span)(state, g, part, factor) for part in (0, 1)]
    state.rep[g, col.R_LIFE] = ctl[col.C_LIVES]
    num = int(state.params[col.P_REPLICAS])
    state.lives[e, ctl[col.C_LIVES]] = (g - e * num, now, NEVER_PS, NEVER_PS, NEVER_PS)
    ctl[col.C_LIVES] += 1
    state.view_int[col.V_STATE, g] = col.REQUESTED
    state.view_int[col.V_PREEMPTIONS, g] = 0
    state.rep[g, col.R_LIFE_PS] = now + spans[0]
    state.rep[g, col.R_NEXT] = spans[1]
    copies = int(state.params[col.P_ROUTERS]) + 2
    table = state.memory.replica
    table.reshape(copies, num, -1)[:, g - e * num] = 0.0
    return state


def _drain(state: State, e: int, g: int, timeout_s: float) -> None:
    """Send a ready replica nothing more; it goes when it is empty."""
    plain(fleet.become)(state, e, g, col.DRAINING)
    if outstanding(state, g) == 0:
        leave_at_once(state, e, g)
    else:
        state.rep[g, col.R_LIFE_PS] = state.ctl[e, col.C_NOW] + round(timeout_s * PS_PER_S)


def leave_at_once(state: State, e: int, g: int) -> None:
    """Let a draining replica without requests go."""
    plain(fleet.become)(state, e, g, col.GONE)
    asides.forget_cache(reference_to(state), e, g)
