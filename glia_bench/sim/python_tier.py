"""Plain-Python hooks around a kernel: its questions about routing are answered here, one by one.

Scheduling hooks are asked from inside the kernel (callbacks.py), the autoscaler's as in every tier (autoscaling.py).
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from glia_bench.features import Cluster, Inflight, Memory, Request
from glia_bench.sim import asides, callbacks, messages, scans
from glia_bench.sim import columns as col
from glia_bench.sim.by_reference import only
from glia_bench.sim.default_hooks import least_outstanding
from glia_bench.sim.hashes import uniform
from glia_bench.sim.jit import plain
from glia_bench.sim.kernel import inflight_of, whole_memory
from glia_bench.sim.queue_columns import queue_view
from glia_bench.sim.replica import memory_of
from glia_bench.sim.signatures import NOBODY, read_only

if TYPE_CHECKING:
    from glia_bench.sim.autoscaling import Scaler
    from glia_bench.sim.engine import Run

__all__ = ["BadAnswerError", "HookError", "PythonHooks", "uniform"]


class BadAnswerError(Exception):
    """A plain-Python hook answered what the kernel cannot even be given; the message says what."""


class HookError(Exception):
    """A plain-Python hook raised; the message names hook, subject, exception and text."""


class PythonHooks:
    """The hooks of a run as plain Python."""

    def __init__(self, run: "Run", scaler: "Scaler") -> None:
        self.of_run = run
        hooks = run.policy.routing
        self.has_route = "route" in hooks or "assign" in hooks
        self.hooks = {"route": least_outstanding, **hooks}
        self.scaler = scaler

    @property
    def ctl(self) -> Any:
        """The run's control row."""
        return self.of_run.state.ctl[0]

    def run(self) -> int:
        """Run to the end."""
        from glia_bench.sim import outside

        run = self.of_run
        asked = callbacks.Callbacks(run.policy.scheduling, run.state)
        answers, codes = np.zeros(1, dtype=np.int64), np.full(1, scans.PAUSE)
        keys = np.array([run.keys], dtype=np.uint64)
        observation = outside.observation_arrays(1, run.case.cluster.num_replicas)
        extra: tuple[Any, ...] = ()
        if run.is_full:
            from glia_bench.sim.outside_full import ENGINE_FIELDS, WAITING_FIELDS, run_outside_full

            agent = (
                np.zeros((1, 1, len(WAITING_FIELDS)), dtype=np.float32),
                np.zeros((1, len(ENGINE_FIELDS)), dtype=np.float32),
            )
            extra = (*agent, int(self.has_route), *callbacks.first_class(run.policy.scheduling))
        kernel: Any = run_outside_full if run.is_full else outside.run_outside
        callbacks.enter(asked)
        try:
            while True:
                kernel(
                    only(run.reference), keys, answers, codes, run.next_pause(), *observation, *extra, *run.services[:3]
                )
                why = int(codes[0])
                if asked.failure is not None:
                    status, message = asked.failure
                    raise (BadAnswerError if status == "bad_decision" else HookError)(message)
                if why == scans.ASK_ROUTE:
                    answers[0] = self._route()
                elif why == scans.ASK_RANK:
                    run.state.reals[0, 0] = self._rank()
                elif why == scans.ASK_ASSIGN:
                    self._assign()
                elif why == scans.TELL_DISPATCH:
                    self._dispatched()
                elif why == scans.TELL_EVENTS:
                    self._events()
                elif why == scans.ASK_SCALE:
                    self.scaler.ask()
                elif why == scans.ROOM:
                    run.make_room()
                    asked.ctl = run.state.ctl
                elif why == scans.PAUSE:
                    run.paused()
                else:
                    return why
        finally:
            callbacks.leave()

    def _memory(self, router: int) -> Memory:
        state = self.of_run.state
        if self.of_run.is_full:
            return plain(memory_of)(state, router)
        return plain(whole_memory)(state)

    def _request(self, slot: int, generated: int | None = None) -> Request:
        from glia_bench.sim.outside import request_of

        run = self.of_run
        if generated is None:
            generated = int(run.state.slots[slot, col.S_GENERATED]) if run.is_full else 0
        return request_of(run.reference, run.keys[0], slot, generated)

    def _cluster(self) -> Cluster:
        state = self.of_run.state
        inflight = NOBODY
        if state.params[col.P_INFLIGHT]:
            inflight = Inflight(*(read_only(column) for column in plain(inflight_of)(state, 0)))
        return asides.cluster_of(self.of_run.reference, inflight)

    def _call(self, name: str, subject: str, *arguments: Any) -> Any:
        try:
            return self.hooks[name](*arguments)
        except Exception as error:
            raise HookError(messages.raised(name, subject, error)) from error

    def _route(self) -> int:
        request = self._request(int(self.ctl[col.C_SLOT]))
        memory = self._memory(int(self.ctl[col.C_ROUTER]))
        subject = f"request {request.id}"
        answer = self._call("route", subject, request, self.of_run.replicas, self._cluster(), memory)
        if isinstance(answer, bool | np.bool_) or not isinstance(answer, int | np.integer):
            num = self.of_run.case.cluster.num_replicas
            raise BadAnswerError(messages.bad_route("route", request.id, answer, num))
        return min(max(int(answer), -(2**62)), 2**62)

    def _rank(self) -> float:
        request = self._request(int(self.ctl[col.C_SLOT]))
        subject = f"request {request.id}"
        memory = self._memory(int(self.ctl[col.C_ROUTER]))
        value = self._call("rank", subject, request, self._cluster(), memory)
        if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
            raise BadAnswerError(messages.bad_rank("rank", subject, value))
        return float(value)

    def _assign(self) -> None:
        run = self.of_run
        router = int(self.ctl[col.C_ROUTER])
        num = int(run.state.held_meta[router, col.Q_LENGTH])
        out = run.buffers.out[:num].copy()
        queue = plain(queue_view)(run.buffers, num)
        self._call("assign", "", queue, run.replicas, self._cluster(), self._memory(router), out)
        run.buffers.out[:num] = out

    def _dispatched(self) -> None:
        request = self._request(int(self.ctl[col.C_SLOT]))
        where = int(self.ctl[col.C_REPLICA])
        self._call("on_dispatch", f"request {request.id}", request, where, self._memory(int(self.ctl[col.C_ROUTER])))

    def _events(self) -> None:
        run = self.of_run
        slots = run.state.slots
        for kind, slot in run.state.events[0, : self.ctl[col.C_EVENTS]]:
            is_finish = kind == col.EVENT_FINISH
            generated = 1
            if is_finish:
                made = (
                    slots[slot, col.S_GENERATED]
                    if run.is_full
                    else slots[slot, col.S_TOTAL] - slots[slot, col.S_PROMPT]
                )
                generated = int(made)
            name = "on_finish" if is_finish else "on_first_token"
            if name in self.hooks:
                request = self._request(int(slot), generated)
                where = int(slots[slot, col.S_REPLICA])
                memory = self._memory(int(slots[slot, col.S_ROUTER]))
                self._call(name, f"request {request.id}", request, where, memory)
