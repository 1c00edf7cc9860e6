"""Two designs at the same moments: one runs, the other is asked what it would have answered.

A policy is put together whose hooks call both, each with a memory of its own (slices of tables of the summed widths),
and give the answer of the one that runs; it runs as plain Python. What both answered is compared hook by hook:

    place   where a request goes, HOLD and REJECT included
    order   whether two requests queue in the same order: this one against the last 32 asked about, as a share
    admit, tokens, plan, size   the answers; tokens up to what the request still needs

Where the hooks differ in kind, what can be compared is: `assign` is asked about a queue of the one request that `route`
is asked about; `route` is asked about each request that `assign` has placed, in the order of its own ranks, replicas as
they stood before. What a design leaves out is answered as the engine would. Left out: eviction and draining ranks.

The design that is asked never sees its answers carried out: events tell it of the other's dispatches, and if it notes
its own picks while deciding, its memory goes astray. Ticks, intervals, engine rules and re-ranking are those of the
design that runs, prefix views as far as one view can serve both.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from glia_bench.case import Case
from glia_bench.errors import GliaBenchError
from glia_bench.features import HOLD, Memory, Queue, Request
from glia_bench.policy import Policy

MAX_MOMENTS = 2_000
"""Comparisons of one kind."""
MAX_CALLS = 20_000
"""Questions to a pair, whatever their kind."""
WINDOW = 32
"""Requests that one is put in order with."""

_TABLES = ("shared", "replica", "tenant", "session", "request")
_SCHEDULER_DEFAULTS: Mapping[str, Callable[..., Any]] = {
    "rank": lambda request, replica, memory: 0.0,
    "admit": lambda request, replica, memory: True,
    "tokens": lambda request, replica, left, memory: left,
    "plan": lambda replica, memory: (replica.token_budget, replica.max_running),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How often two designs decided alike.

    Attributes:
        by_kind: Share of equal answers of each kind that occurred.
        moments: Comparisons made, over all kinds.
    """

    by_kind: Mapping[str, float]
    moments: int

    @property
    def share(self) -> float:
        """Mean over kinds, so that many tokens do not drown few admissions; 1 if no moment told the two apart."""
        return sum(self.by_kind.values()) / len(self.by_kind) if self.by_kind else 1.0


def side_by_side(asked: Policy, running: Policy, case: Case) -> Agreement:
    """Run one design and ask another at the same moments, up to `MAX_MOMENTS` of a kind or `MAX_CALLS` in all.

    Both run in this process: call it only for designs whose text may be executed here.

    Args:
        asked: Is asked what it would do.
        running: Decides.
        case: On what.

    Raises:
        GliaBenchError: If the design that runs fails.
        InvalidPolicyError: If it asks for what the case does not allow.
    """
    from glia_bench.sim.engine import simulate

    pair = _Pair(asked, running, case)
    result = simulate(case, pair.policy(), tier="python")
    if result.status != "ok" and not pair.is_done:
        raise GliaBenchError(
            f"policy {running.name!r} must run to be compared with {asked.name!r} (got {result.status}): "
            f"{result.message}"
        )
    counts = pair.counts
    return Agreement(
        by_kind={kind: total / count for kind, (total, count) in sorted(counts.items())},
        moments=sum(count for _, count in counts.values()),
    )


class _EnoughError(Exception):
    """Ends a run in which all has been seen."""


class _Side:
    """One of the two: its hooks, and what it sees of what the simulator gives to both."""

    def __init__(self, policy: Policy, before: Mapping[str, int], tag_column: int | None, sees_prefixes: bool) -> None:
        self.policy = policy
        self.slices = {
            table: slice(before.get(table, 0), before.get(table, 0) + policy.memory.get(table, 0)) for table in _TABLES
        }
        self.tag_column = tag_column
        self.sees_prefixes = sees_prefixes

    def memory(self, memory: Memory) -> Memory:
        parts = {table: getattr(memory, table)[..., self.slices[table]] for table in _TABLES}
        tag = memory.tag if self.tag_column is None else memory.request[:, self.tag_column]
        return Memory(**parts, tag=tag)

    def request(self, request: Any, memory: Memory) -> Any:
        """Return a request, or a queue of them, with this design's own tag."""
        if self.tag_column is None:
            return request
        return request._replace(tag=memory.request[request.slot, self.tag_column])

    def replicas(self, replicas: Any) -> Any:
        if self.sees_prefixes:
            return replicas
        return replicas._replace(prefix_hit_tokens=np.zeros_like(replicas.prefix_hit_tokens))

    def rank(self, request: Any, cluster: Any, memory: Memory) -> float:
        hook = self.policy.routing.get("rank")
        return float(hook(self.request(request, memory), cluster, self.memory(memory))) if hook else 0.0

    def place(self, request: Any, replicas: Any, cluster: Any, memory: Memory) -> Any:
        """Return where this design sends one request, as it says it: what is no replica the simulator refuses."""
        if "assign" in self.policy.routing:
            columns = [np.array([value]) for value in request]
            return int(self.assign(Queue(*columns), replicas, cluster, memory)[0])
        hook: Callable[..., Any] = self.policy.routing.get("route", _least_outstanding)
        seen = self.replicas(replicas), cluster, self.memory(memory)
        return hook(self.request(request, memory), *seen)

    def assign(self, queue: Any, replicas: Any, cluster: Any, memory: Memory) -> Any:
        """Return where this design sends each request of a queue."""
        out = np.full(len(queue.id), HOLD, dtype=np.int64)
        if "assign" in self.policy.routing:
            seen = self.replicas(replicas), cluster, self.memory(memory)
            self.policy.routing["assign"](self.request(queue, memory), *seen, out)
            return out
        requests = [Request(*(column[k].tolist() for column in queue)) for k in range(len(out))]
        ranks = [self.rank(request, cluster, memory) for request in requests]
        for k in sorted(range(len(out)), key=lambda k: (ranks[k], k)):
            out[k] = self.place(requests[k], replicas, cluster, memory)
            if out[k] == HOLD and not self.policy.skip_blocked:
                break
        return out

    def schedule(self, name: str, *arguments: Any) -> Any:
        """Return the answer of a scheduling hook; the last argument is the memory."""
        hook = self.policy.scheduling.get(name) or _SCHEDULER_DEFAULTS[name]
        *others, memory = arguments
        seen = [self.request(each, memory) if isinstance(each, Request) else each for each in others]
        return hook(*seen, self.memory(memory))


def _least_outstanding(request: Any, replicas: Any, cluster: Any, memory: Any) -> int:
    ready = np.flatnonzero(replicas.ready)
    return int(ready[np.argmin(replicas.inflight[ready])]) if len(ready) else HOLD


class _Pair:
    """Both designs, and how often they agreed."""

    def __init__(self, asked: Policy, running: Policy, case: Case) -> None:
        views = case.cluster.prefix_views
        has_own = running.prefix_view != "none"
        self.prefix_view = running.prefix_view if has_own else asked.prefix_view
        if not has_own and asked.prefix_view not in views:
            self.prefix_view = "none"
        widths = {table: running.memory.get(table, 0) + asked.memory.get(table, 0) for table in _TABLES}
        self.run = _Side(running, {}, None, has_own)
        self.ask = _Side(asked, running.memory, widths["request"], asked.prefix_view != "none")
        self.widths = {**widths, "request": widths["request"] + 1}  # the last is the other's tag
        self.counts: dict[str, tuple[float, int]] = {}
        self.calls = 0
        self.is_done = False
        self.lately: dict[int, deque[tuple[int, tuple[float, float, int], tuple[float, float, int]]]] = {}
        self.moment: dict[int, float] = {}
        self.num_ranked = 0

    def policy(self) -> Policy:
        """Return the policy that is run."""
        run, ask = self.run.policy, self.ask.policy
        reads = run.fields_read
        if reads is not None:
            reads = None if ask.fields_read is None else reads | ask.fields_read
        return dataclasses.replace(
            run,
            routing=self._routing(),
            scheduling=self._scheduling(),
            autoscaling=self._autoscaling(),
            memory=self.widths,
            prefix_view=self.prefix_view,
            fields_read=reads,
            is_shipped=False,
        )

    def _routing(self) -> dict[str, Callable[..., Any]]:
        run, ask = self.run.policy.routing, self.ask.policy.routing
        if not run and not ask:
            return {}
        hooks: dict[str, Callable[..., Any]] = {
            name: self._telling(name)
            for name in ("on_dispatch", "on_first_token", "on_finish")
            if {*run, *ask} & {name}
        }
        if "assign" in run:
            return hooks | {"assign": self._assign}
        hooks["route"] = self._route
        if "rank" in run or ("rank" in ask and "assign" not in ask):
            hooks["rank"] = self._rank
        return hooks

    def _scheduling(self) -> dict[str, Callable[..., Any]]:
        run, ask = self.run.policy.scheduling, self.ask.policy.scheduling
        hooks = {name: self._alone(hook) for name, hook in run.items() if name not in _SCHEDULER_DEFAULTS}
        if "on_step" in run or "on_step" in ask:
            hooks["on_step"] = self._step
        answering: dict[str, Callable[..., Any]] = {
            "rank": self._order,
            "admit": self._admit,
            "tokens": self._tokens,
            "plan": self._plan,
        }
        return hooks | {name: hook for name, hook in answering.items() if name in run or name in ask}

    def _autoscaling(self) -> dict[str, Callable[..., Any]]:
        run = self.run.policy.autoscaling
        hooks = {name: self._alone(hook) for name, hook in run.items() if name != "scale"}
        return hooks | ({"scale": self._scale} if "scale" in run else {})

    def _route(self, request: Any, replicas: Any, cluster: Any, memory: Memory) -> Any:
        answer = self.run.place(request, replicas, cluster, memory)
        other = self._asked(lambda: self.ask.place(request, replicas, cluster, memory))
        self._count("place", bool(other == answer))
        return answer

    def _assign(self, queue: Any, replicas: Any, cluster: Any, memory: Memory, out: Any) -> None:
        out[:] = self.run.assign(queue, replicas, cluster, memory)
        other = self._asked(lambda: self.ask.assign(queue, replicas, cluster, memory))
        sent = (out != HOLD) if other is None else (out != HOLD) | (other != HOLD)
        if not sent.any():
            self._count("place", other is not None)
        for k in np.flatnonzero(sent).tolist():
            self._count("place", other is not None and bool(other[k] == out[k]))

    def _rank(self, request: Any, cluster: Any, memory: Memory) -> float:
        value = self.run.rank(request, cluster, memory)
        if "assign" not in self.ask.policy.routing:
            other = self._asked(lambda: self.ask.rank(request, cluster, memory))
            self._count_order(-1 - int(cluster.router), request, value, other)  # queues of routers; replicas from 0
        return value

    def _order(self, request: Any, replica: Any, memory: Memory) -> float:
        value = self.run.schedule("rank", request, replica, memory)
        other = self._asked(lambda: float(self.ask.schedule("rank", request, replica, memory)))
        if self.run.policy.dynamic_rank and self.moment.get(replica.id) != replica.now_s:
            self.moment[replica.id] = replica.now_s
            self.lately.pop(replica.id, None)  # ranks of an earlier moment say nothing of this one
        self._count_order(replica.id, request, value, other)
        if "rank" in self.run.policy.scheduling:
            return float(value)
        self.num_ranked += 1
        return float(self.num_ranked)  # as the engine does without a rank

    def _admit(self, request: Any, replica: Any, memory: Memory) -> bool:
        answer = bool(self.run.schedule("admit", request, replica, memory))
        self._count("admit", self._asked(lambda: bool(self.ask.schedule("admit", request, replica, memory))) == answer)
        return answer

    def _tokens(self, request: Any, replica: Any, left: int, memory: Memory) -> int:
        answer: int = self.run.schedule("tokens", request, replica, left, memory)
        other = self._asked(lambda: int(self.ask.schedule("tokens", request, replica, left, memory)))
        most = min(left, max(1, request.prompt_tokens + request.generated_tokens - request.computed_tokens))
        self._count("tokens", other is not None and min(other, most) == min(answer, most))
        return answer

    def _plan(self, replica: Any, memory: Memory) -> Any:
        answer = self.run.schedule("plan", replica, memory)
        other = self._asked(lambda: self.ask.schedule("plan", replica, memory))
        self._count("plan", other is not None and tuple(other) == tuple(answer))
        return answer

    def _step(self, replica: Any, memory: Memory) -> None:
        if hook := self.run.policy.scheduling.get("on_step"):
            hook(replica, self.run.memory(memory))
        if other := self.ask.policy.scheduling.get("on_step"):
            self._asked(lambda: other(replica, self.ask.memory(memory)))

    def _scale(self, window: Any, cluster: Any, memory: Memory) -> Any:
        answer = self.run.policy.autoscaling["scale"](window, cluster, self.run.memory(memory))
        if hook := self.ask.policy.autoscaling.get("scale"):
            other = self._asked(lambda: np.atleast_1d(hook(window, cluster, self.ask.memory(memory))).tolist())
            self._count("size", other == np.atleast_1d(answer).tolist())
        return answer

    def _telling(self, name: str) -> Callable[..., None]:
        def tell(request: Any, replica: int, memory: Memory) -> None:
            if hook := self.run.policy.routing.get(name):
                hook(self.run.request(request, memory), replica, self.run.memory(memory))
            if other := self.ask.policy.routing.get(name):
                self._asked(lambda: other(self.ask.request(request, memory), replica, self.ask.memory(memory)))

        return tell

    def _alone(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Return a hook that only the design that runs is asked for."""
        return lambda *arguments: hook(*arguments[:-1], self.run.memory(arguments[-1]))

    def _asked(self, question: Callable[[], Any]) -> Any:
        """Return an answer of the design that is asked; None where it fails, which is no fault of the other's."""
        try:
            return question()
        except Exception:
            return None

    def _count_order(self, place: int, request: Any, value: float, other: float | None) -> None:
        """Count the share of requests asked about lately that this one comes before, or after, in both orders."""
        lately = self.lately.setdefault(place, deque(maxlen=WINDOW))
        tie = float(request.arrival_s), int(request.id)
        mine, theirs = (float(value), *tie), (float("nan") if other is None else other, *tie)
        before = [entry for entry in lately if entry[0] != request.id]
        if before:
            alike = sum((mine < a) == (theirs < b) for _, a, b in before) if other is not None else 0
            self._count("order", alike / len(before))
        lately.append((int(request.id), mine, theirs))

    def _count(self, kind: str, share: float) -> None:
        total, count = self.counts.get(kind, (0.0, 0))
        if count < MAX_MOMENTS:
            self.counts[kind] = total + share, count + 1
        self.calls += 1
        if self.calls >= MAX_CALLS or all(count >= MAX_MOMENTS for _, count in self.counts.values()):
            self.is_done = True
            raise _EnoughError
