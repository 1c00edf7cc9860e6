"""Runs that stop at every routing decision: what the Gymnasium environments are made of."""

import numpy as np

from glia_bench.errors import InvalidSpecError
from glia_bench.features import IntArray
from glia_bench.sim import kernel as k
from glia_bench.sim import state as st
from glia_bench.sim.latency import linear_perf
from glia_bench.sim.outside import CLUSTER_FIELDS, REPLICA_FIELDS, REQUEST_FIELDS, observation_arrays, run_outside
from glia_bench.sim.queue_columns import assign_buffers
from glia_bench.sim.signatures import replica_view
from glia_bench.sim.state import State
from glia_bench.types import PS_PER_S, Case, ClusterSpec, Status

__all__ = ["CLUSTER_FIELDS", "REPLICA_FIELDS", "REQUEST_FIELDS", "Stepper"]

_NO_LIMIT = 2**62
_SLOTS_OF_REPLICA = [st.R_RUN_HEAD, st.R_RUN_TAIL, st.R_WAIT_HEAD, st.R_WAIT_TAIL, st.R_PARTIAL, st.R_CHAIN]
_SLOTS_OF_SLOT = [st.S_NEXT, st.S_PREV, st.S_CHAIN]


class Stepper:
    """E runs of one cluster, advanced together, answer by answer.

    Attributes:
        why: Why each run stopped; int64, shape (E,): `kernel.ASK_ROUTE` waits for an answer, `kernel.DONE` has drained
            or met the horizon, anything from `kernel.BAD_ANSWER` on ended by a bad decision.
        rewards: Reward of the last call; float64, shape (E,). Those of a whole run, added one after the other, are
            -`cost` to the last bit.
        request, replicas, cluster: Observation of the request that waits; float32, shapes (E, 6), (E, N, fields) and
            (E, 4), columns as in REQUEST_FIELDS, REPLICA_FIELDS, CLUSTER_FIELDS. Rewritten in place by every call; all
            zeros for a run that has ended.
    """

    def __init__(self, cluster: ClusterSpec, *, num_envs: int, max_requests: int) -> None:
        if num_envs < 1 or max_requests < 1:
            raise InvalidSpecError(f"num_envs and max_requests must be at least 1 (got {num_envs}, {max_requests})")
        self.spec = cluster
        state = st.make_state(cluster, num_envs=num_envs, num_requests=max_requests, capacity=max_requests)
        state.params[st.P_OUTSIDE] = 1
        state.params[st.P_LAZY_FIELDS] = 1
        self._state = state
        self.why = np.full(num_envs, k.DONE, dtype=np.int64)
        self.rewards = np.zeros(num_envs)
        self.request, self.replicas, self.cluster = observation_arrays(num_envs, cluster.num_replicas)
        memory = st.make_memory({}, num_replicas=cluster.num_replicas, request_rows=1)
        perf = linear_perf(cluster.latency)
        self._services = (replica_view(state), perf, memory, assign_buffers(1), np.uint64(0))
        self._no_answers = np.zeros(num_envs, dtype=np.int64)

    @property
    def waits(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which runs wait for an answer."""
        mask: np.ndarray[tuple[int], np.dtype[np.bool_]] = self.why == k.ASK_ROUTE
        return mask

    def load(self, e: int, case: Case) -> None:
        """Put run e at the start of a case; `start` or the next `run` takes it to its first decision.

        A case longer than `max_requests` makes all runs' arrays grow; those in progress go on unchanged.

        Raises:
            InvalidSpecError: If the case is of another cluster.
        """
        if case.cluster != self.spec:
            raise InvalidSpecError("the case's cluster must be the one that this Stepper was made for")
        if len(case.trace) > self._state.arrival_ps.shape[1]:
            self._state = _widened(self._state, self.spec, len(case.trace) * 5 // 4)
        st.load_trace(self._state, e, case.trace)
        st.start_run(self._state, e, case)
        self.why[e] = k.PAUSE

    def start(self) -> None:
        """Take the runs that were loaded since the last call to their first decision, and no other; rewards are 0."""
        others = np.flatnonzero(self.why != k.PAUSE)
        kept = self.why[others]
        self.why[others] = k.DONE
        self._advance(self._no_answers)
        self.why[others] = kept

    def run(self, answers: IntArray) -> None:
        """Answer all runs that wait (replica index, HOLD or REJECT) and take each to its next decision or its end."""
        ended_before = (self.why == k.DONE) | (self.why >= k.BAD_ANSWER)
        self._advance(answers)
        for e in np.flatnonzero(~ended_before & (self.why != k.ASK_ROUTE)).tolist():
            self._close(e)

    def _advance(self, answers: IntArray) -> None:
        run_outside(
            self._state,
            answers,
            self.why,
            _NO_LIMIT,
            self.rewards,
            self.request,
            self.replicas,
            self.cluster,
            *self._services,
        )

    def _close(self, e: int) -> None:
        """Give a run that has just ended its last reward and clear its observation.

        The difference is exact, since the rewards before sum to a multiple of `outside.REWARD_GRID`: so is the sum.
        """
        self.rewards[e] = -self.cost(e) - self._state.reals[e, 1]
        self.request[e] = 0.0
        self.replicas[e] = 0.0
        self.cluster[e] = 0.0

    def cost(self, e: int) -> float:
        """Return the mean end-to-end latency of run e in seconds: at its end the case's cost, to the last bit."""
        ctl = self._state.ctl[e]
        total_ps = int(ctl[st.C_COST_S]) * PS_PER_S + int(ctl[st.C_COST_PS])
        return total_ps / (int(ctl[st.C_REQUESTS]) * PS_PER_S)

    def status(self, e: int) -> Status:
        """Return "ok", or "bad_decision" for a run that ended by one."""
        return "bad_decision" if self.why[e] >= k.BAD_ANSWER else "ok"

    def num_requests(self, e: int) -> int:
        """Return the number of requests in run e's case."""
        return int(self._state.ctl[e, st.C_REQUESTS])

    def decision_hash(self, e: int) -> int:
        """Return the hash over all answers of run e."""
        return int(self._state.hash[e])

    def now_s(self, e: int) -> float:
        """Return run e's clock, seconds from the first instant of its trace; at its end, when that was."""
        ctl = self._state.ctl[e]
        return float(max(ctl[st.C_NOW], ctl[st.C_LAST])) * 1e-12


def _widened(old: State, cluster: ClusterSpec, max_requests: int) -> State:
    """Return a state with room for longer cases; every run continues where it was.

    Slot and request numbers count through all runs, so those of run e move by e times the growth. The new room serves
    the next cases: a run in progress has no more requests than it had.
    """
    num_envs, width = old.arrival_ps.shape
    new = st.make_state(cluster, num_envs=num_envs, num_requests=max_requests, capacity=max_requests)
    same = ("ctl", "params", "rep", "next_ps", "ring", "heap", "events", "view_int", "view_float", "hash", "reals")
    new = new._replace(**{name: getattr(old, name) for name in same})
    growth = max_requests - width
    for name in ("queue_rank", "queue_slot", "arrival_ps", "prompt_tokens", "output_tokens", "max_tokens"):
        getattr(new, name)[:, :width] = getattr(old, name)
    for e in range(num_envs):
        shift = e * growth
        replicas = slice(e * cluster.num_replicas, (e + 1) * cluster.num_replicas)
        here = slice(e * max_requests, e * max_requests + width)
        slots = old.slots[e * width : (e + 1) * width]
        shifted = [st.S_ROW, *_SLOTS_OF_SLOT, *([st.S_KEY] if old.params[st.P_BY_ARRIVAL] else [])]
        new.slots[here] = slots
        new.slots[here, shifted] = _moved(slots[:, shifted], shift)
        new.records[here] = old.records[e * width : (e + 1) * width]
        new.rep[replicas, _SLOTS_OF_REPLICA] = _moved(old.rep[replicas, _SLOTS_OF_REPLICA], shift)
        new.heap[replicas] += shift  # the slot is the lower half of each entry
        new.queue_slot[e] += shift
        new.free_slots[e, :width] = old.free_slots[e] + shift
    return new


def _moved(numbers: IntArray, shift: int) -> IntArray:
    """Return slot or row numbers moved by `shift`; -1 stays none."""
    return np.where(numbers >= 0, numbers + shift, numbers)
