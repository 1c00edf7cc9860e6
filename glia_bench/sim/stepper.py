"""Runs that stop at every question to an agent: what the Gymnasium environments are made of.

Each run has a state of its own, made anew with its case; one kernel call advances them all. What an agent is not asked
about, the simulator's defaults do: requests go to the replica with the fewest outstanding ones, the engine admits in
the order of its queue, and pools keep their sizes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import PrefixView
from glia_bench.errors import InvalidSpecError
from glia_bench.features import FloatArray, IntArray, schema
from glia_bench.policy import Policy
from glia_bench.sim import columns as col
from glia_bench.sim import results, scans, tally
from glia_bench.sim import state as st
from glia_bench.sim.autoscaling import apply_sizes, outstanding, start_scaling, window_of
from glia_bench.sim.bound_hooks import bound
from glia_bench.sim.by_reference import References
from glia_bench.sim.default_hooks import SCHEDULER
from glia_bench.sim.engine import PREFIX_VIEWS, is_plain
from glia_bench.sim.growth import single_run, with_room
from glia_bench.sim.hashes import mixed_seed
from glia_bench.sim.outside import CLUSTER_FIELDS, REPLICA_FIELDS, REQUEST_FIELDS, Floats32, run_outside
from glia_bench.sim.outside_full import ENGINE_FIELDS, WAITING_FIELDS, WAITING_SLOTS, run_outside_full
from glia_bench.sim.queue_columns import assign_buffers
from glia_bench.sim.scans import ASK_ADMIT, ASK_ROUTE, ASK_SCALE
from glia_bench.sim.signatures import NOBODY, SCHEDULER_TYPES, replica_view
from glia_bench.sim.tally import Goal
from glia_bench.types import RunResult, Status

__all__ = [
    "ASK_ADMIT",
    "ASK_ROUTE",
    "ASK_SCALE",
    "CLUSTER_FIELDS",
    "ENGINE_FIELDS",
    "POOL_FIELDS",
    "REPLICA_FIELDS",
    "REQUEST_FIELDS",
    "WAITING_FIELDS",
    "WAITING_SLOTS",
    "WINDOW_FIELDS",
    "WINDOW_SPANS_S",
    "Goal",
    "Questions",
    "Stepper",
]

WINDOW_SPANS_S = (5, 15, 60)
"""Spans that the window is averaged over for an agent, each up to the newest second that it may see."""
WINDOW_FIELDS = tuple(field.name for field in schema("window"))[:13]
"""Columns of the window's observation: means over the seconds of a span, of TTFT and TPOT over those that have any."""
POOL_FIELDS = ("desired", "min_replicas", "max_replicas", "gpus_per_replica", "cold_start_s")
"""Columns of the pools' observation."""
_SPARSE = [WINDOW_FIELDS.index(name) for name in ("ttft_s", "tpot_s")]

_NO_LIMIT = 2**62
_NO_DESIGN = Policy(name="agent", track="routing", kind="user", source="", sha256="", path="", fields_read=frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What an agent is asked.

    Attributes:
        route: Where requests go.
        admit: Whom replicas admit.
        scale_s: Interval at which it is asked for pool sizes, or None.
        prefix_view: What routers see of prefix caches.
    """

    route: bool = False
    admit: bool = False
    scale_s: float | None = None
    prefix_view: PrefixView = "none"


class Stepper:
    """E runs of one cluster, advanced together, answer by answer.

    Attributes:
        is_full: Whether the full engine runs.
        why: Why each run stopped; int64, shape (E,): ASK_ROUTE, ASK_ADMIT or ASK_SCALE waits for an answer,
            `scans.DONE` has drained or met the horizon, from `scans.BAD_ANSWER` on it ended by a bad decision.
        rewards: Reward of the last call; float64, shape (E,). Those of a whole run, added one after the other, are
            minus its cost to the last bit.
        seen: Observations by name; float32. Rewritten in place: each as of the last question that it belongs to, and
            zeros before the first and for a run that has ended.
            Of ASK_ROUTE: "request" (E, 6), "replicas" (E, N, fields), "cluster" (E, 4); columns as in REQUEST_FIELDS,
            REPLICA_FIELDS, CLUSTER_FIELDS.
            Of ASK_ADMIT: "waiting" (E, 32, fields), "engine" (E, fields); WAITING_FIELDS, ENGINE_FIELDS.
            Of ASK_SCALE: "window" (E, spans, pools, fields), "pools" (E, pools, fields); WINDOW_SPANS_S, WINDOW_FIELDS,
            POOL_FIELDS.
        desired: Size last asked for of each pool; int64, shape (E, pools).
        costs: Cost of each run that has ended; float64, shape (E,).
    """

    def __init__(self, example: Case, *, num_envs: int, questions: Questions, goal: Goal) -> None:
        """Make room for runs.

        Args:
            example: A case like those to come: of their cluster, and needing no simpler an engine.
            num_envs: E, at least 1.
            questions: What is asked.
            goal: What rewards and costs are.
        """
        if num_envs < 1:
            raise InvalidSpecError(f"num_envs must be at least 1 (got {num_envs})")
        cluster = self.spec = example.cluster
        self.questions, self.goal = questions, goal
        asks_more = questions.admit or questions.scale_s is not None
        self.is_full = asks_more or goal.needs_full or not is_plain(example, _NO_DESIGN)
        num_pools = len(cluster.pools)
        shapes = {
            "request": (len(REQUEST_FIELDS),),
            "replicas": (cluster.num_replicas, len(REPLICA_FIELDS)),
            "cluster": (len(CLUSTER_FIELDS),),
            "waiting": (WAITING_SLOTS, len(WAITING_FIELDS)),
            "engine": (len(ENGINE_FIELDS),),
            "window": (len(WINDOW_SPANS_S), num_pools, len(WINDOW_FIELDS)),
            "pools": (num_pools, len(POOL_FIELDS)),
        }
        self.seen: dict[str, Floats32] = {
            name: np.zeros((num_envs, *shape), dtype=np.float32) for name, shape in shapes.items()
        }
        self.why = np.full(num_envs, scans.DONE, dtype=np.int64)
        self.rewards = np.zeros(num_envs)
        self.costs = np.zeros(num_envs)
        self.desired = np.zeros((num_envs, num_pools), dtype=np.int64)
        self._cases: list[Case] = [example] * num_envs
        self._runs = References(st.State, num_envs)
        self._tallies = References(tally.Tally, num_envs)
        self._all_runs, self._all_tallies = self._runs.all(), self._tallies.all()
        self._keys = np.zeros((num_envs, 2), dtype=np.uint64)
        self._no_answers = np.zeros(num_envs, dtype=np.int64)
        small = st.make_state(cluster, num_envs=1, num_requests=1, capacity=1, is_full=self.is_full)
        self._services = (replica_view(small), assign_buffers(1), NOBODY)
        self._kernel: Any = run_outside_full if self.is_full else run_outside
        self._hooks = bound(SCHEDULER, SCHEDULER_TYPES)

    @property
    def waits(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which runs wait for an answer."""
        mask: np.ndarray[tuple[int], np.dtype[np.bool_]] = (self.why >= ASK_ROUTE) & (self.why < scans.BAD_ANSWER)
        return mask

    def load(self, e: int, case: Case) -> None:
        """Put run e at the start of a case; `start` or the next `run` takes it to its first question.

        Raises:
            InvalidSpecError: If the case is of another cluster, or needs the full engine where this has the plain one.
        """
        if case.cluster != self.spec:
            raise InvalidSpecError("the case's cluster must be the one that this Stepper was made for")
        if not self.is_full and not is_plain(case, _NO_DESIGN):
            raise InvalidSpecError(
                "the case must need no more of the engine than the one that this Stepper was made for"
            )
        questions = self.questions
        needs = st.Needs(prefix_view=PREFIX_VIEWS[questions.prefix_view])
        state = single_run(case, is_full=self.is_full, needs=needs)
        state.params[col.P_OUTSIDE] = 1
        state.params[col.P_LAZY_FIELDS] = 1
        state.params[col.P_AGENT] = questions.admit
        state.params[col.P_SCHEDULER] = questions.admit
        state.params[col.P_VIEW] = self.spec.has_prefix_cache and questions.prefix_view != "none"
        if questions.scale_s is not None and self.spec.is_elastic:
            start_scaling(state, questions.scale_s)
        self._cases[e] = case
        self._keys[e] = mixed_seed(case.policy_seed), mixed_seed(case.scenario_seed)
        self._runs.put(e, state)
        self._tallies.put(e, tally.make_tally(self.goal, case))
        self.desired[e] = [pool.num_replicas for pool in self.spec.pools]
        self.costs[e] = 0.0
        self._forget(e)
        self.why[e] = scans.PAUSE

    def start(self) -> None:
        """Take the runs that were loaded since the last call to their first question, and no other; rewards are 0."""
        for e in np.flatnonzero(self.why == scans.PAUSE).tolist():
            self._advance_one(e, self._no_answers)
        self._look()
        self.rewards[:] = 0.0

    def run(self, answers: IntArray, sizes: IntArray | None = None) -> None:
        """Answer all runs that wait and take each to its next question or its end.

        Args:
            answers: To ASK_ROUTE a replica, HOLD or REJECT; to ASK_ADMIT a place in the waiting queue that fits, or -1
                to stop; int64, shape (E,).
            sizes: To ASK_SCALE a size of each pool, within its quota; int64, shape (E, pools).
        """
        was = self.why.copy()
        if sizes is not None:
            for e in np.flatnonzero(was == ASK_SCALE).tolist():
                self._resize(e, sizes[e])
        self._advance(self._all_runs, slice(None), answers)
        if np.count_nonzero(self.why == scans.ROOM):
            for e in np.flatnonzero(self.why == scans.ROOM).tolist():
                self._advance_one(e, answers)
        self._look()
        tally.give_rewards(self._all_runs, self._all_tallies, was, self.why, self.rewards)
        waits = self.waits
        if np.count_nonzero(waits) < len(waits):
            for e in np.flatnonzero((was != scans.DONE) & (was < scans.BAD_ANSWER) & ~waits).tolist():
                self._close(e)

    def _advance_one(self, e: int, answers: IntArray) -> None:
        """Take run e to its next question or its end, with more room whenever it needs some."""
        while True:
            if self.why[e] == scans.ROOM:
                self._runs.put(e, with_room(self._runs.owners[e]))
            self._advance(self._runs.one(e), slice(e, e + 1), answers)
            if self.why[e] != scans.ROOM:
                return

    def _advance(self, runs: Any, here: slice, answers: IntArray) -> None:
        """Call the kernel for some runs."""
        call: tuple[Any, ...] = (runs, self._keys[here], answers[here], self.why[here], _NO_LIMIT)
        seen = [self.seen[name][here] for name in ("request", "replicas", "cluster")]
        more: tuple[Any, ...] = ()
        if self.is_full:
            more = (self.seen["waiting"][here], self.seen["engine"][here], int(self.questions.route), *self._hooks)
        self._kernel(*call, *seen, *more, *self._services)

    def _resize(self, e: int, sizes: IntArray) -> None:
        """Begin to bring about the sizes that run e's agent asks for."""
        before = self._runs.owners[e]
        self.desired[e] = sizes
        state = apply_sizes(before, self._cases[e], sizes.tolist(), lambda s, g: float(outstanding(s, g)))
        if state is not before:
            self._runs.put(e, state)

    def _look(self) -> None:
        """Write the observations of ASK_SCALE."""
        if self.questions.scale_s is None:
            return
        for e in np.flatnonzero(self.why == ASK_SCALE).tolist():
            window = window_of(self._runs.owners[e], 0, self.spec.pools, self.desired[e])
            rows: FloatArray = np.stack(window[: len(WINDOW_FIELDS)], axis=-1)
            for k, span_s in enumerate(WINDOW_SPANS_S):
                recent = rows[-span_s:]
                counts = np.full(recent.shape[1:], span_s)
                counts[:, _SPARSE] = np.maximum(np.count_nonzero(recent[:, :, _SPARSE], axis=0), 1)
                self.seen["window"][e, k] = recent.sum(axis=0) / counts
            self.seen["pools"][e] = np.stack([getattr(window, name) for name in POOL_FIELDS], axis=-1)

    def _forget(self, e: int) -> None:
        for array in self.seen.values():
            array[e] = 0.0

    def _close(self, e: int) -> None:
        """Give a run that has just ended its last reward and clear its observations.

        The difference is exact, since the rewards before sum to a multiple of `tally.REWARD_GRID`: so is the sum.
        """
        self.costs[e] = self.goal.cost(self._cases[e], self.result(e))
        self.rewards[e] = -self.costs[e] - self._tallies.owners[e].sums[tally.S_REWARDS]
        self._forget(e)

    def result(self, e: int) -> RunResult:
        """Return what happened in run e, as far as it has come."""
        return results.result(
            self._runs.owners[e], self._cases[e], self.status(e), message="", tier="compiled", notes=()
        )

    def status(self, e: int) -> Status:
        """Return "ok", or "bad_decision" for a run that ended by one."""
        return "bad_decision" if self.why[e] >= scans.BAD_ANSWER else "ok"

    def num_requests(self, e: int) -> int:
        """Return the number of requests in run e's case."""
        return len(self._cases[e].trace)

    def decision_hash(self, e: int) -> int:
        """Return the hash over all answers of run e."""
        return int(self._runs.owners[e].hash[0])

    def now_s(self, e: int) -> float:
        """Return run e's clock, seconds from the first instant of its trace; at its end, when that was."""
        ctl = self._runs.owners[e].ctl[0]
        return float(max(ctl[col.C_NOW], ctl[col.C_LAST])) * 1e-12
