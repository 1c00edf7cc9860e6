"""What a designer works through: simulate a source, ask a model, note a thought; each charged, each in the journal.

A simulation is one source on all development seeds at the task's loads; one that fails in its first run is charged for
that run only. A source that was simulated before costs nothing and is counted as a proposal.
"""

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from glia_bench.designer.budget import BudgetSpent, Meter
from glia_bench.designer.evaluation import Evaluation, feedback
from glia_bench.designer.journal import Entry, Lane
from glia_bench.tunables import sha256_of

if TYPE_CHECKING:
    from glia_bench.designer.lm import Asked, Reply, Voice
    from glia_bench.designer.run import DesignRun

SIMULATING = ("simulations", "proposals", "sim_requests", "sim_s", "cpu_s")
"""Axes that asking a model does not spend: a report can be written when all simulations are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A source and what came of it.

    Attributes:
        source: The text.
        evaluation: On development seeds.
        number: Which proposal of the run it was, from 1.
    """

    source: str
    evaluation: Evaluation
    number: int


class Context:
    """One context of a run: what it may spend, and its way through the journal.

    Attributes:
        run: The run.
        number: Its number.
        meter: What it has spent; charged to the run's too.
    """

    def __init__(self, run: "DesignRun", number: int) -> None:
        self.run = run
        self.number = number
        self.lane = Lane(run.journal, number)
        share = run.settings.budget.shared_by(run.settings.contexts)
        self.meter = Meter(share, parent=run.meter)
        self.best: Candidate | None = None
        self.by_sha256: dict[str, Candidate] = {}
        self._systems: set[str] = set()

    def simulate(self, source: str, *, purpose: str = "evaluate", loads: Sequence[float] = ()) -> Candidate:
        """Simulate a source on the development seeds, charge it, and return what came of it.

        Args:
            source: The text of a policy.
            purpose: What for, for the journal.
            loads: Fractions of the reference rate; the task's own if left out, and only then can it be chosen.

        Raises:
            BudgetSpent: If nothing, or not enough, is left.
        """
        task = self.run.bundle.task
        chosen = tuple(loads) or task.default_loads
        is_choice = chosen == task.default_loads
        source = source.encode("utf-8", "replace").decode()
        sha256 = sha256_of(source)
        what = {"sha256": sha256, "loads": list(chosen), "purpose": purpose}

        def give() -> tuple[dict[str, Any], dict[str, float]]:
            self.check()
            known = self.by_sha256.get(sha256) if is_choice else None
            if known:
                return {"evaluation": known.evaluation.to_json(), "is_known": True, "source": source}, {
                    "proposals": 1.0
                }
            full = len(chosen) / len(task.default_loads)
            with self.meter.reserved(simulations=full, proposals=1.0):
                start, cpu = time.monotonic(), _children_cpu_s()
                evaluation = self.run.evaluate(source, chosen)
                part = len(evaluation.runs) / (len(self.run.settings.seeds) * len(task.default_loads))
            cost = {
                "simulations": part,
                "proposals": 1.0,
                "sim_requests": float(evaluation.sim_requests),
                "sim_s": time.monotonic() - start,
                "cpu_s": _children_cpu_s() - cpu,
            }
            return {"evaluation": evaluation.to_json(), "is_known": False, "source": source}, cost

        entry = self.answer("simulation", what, give)
        evaluation = Evaluation.from_json(entry["evaluation"])
        candidate = self.run.noted(source, evaluation, is_choice=is_choice)
        if is_choice:
            self.by_sha256.setdefault(sha256, candidate)
        is_better = self.best is None or evaluation.value > self.best.evaluation.value
        if is_choice and evaluation.is_valid and is_better:
            self.best = candidate
        first = feedback(evaluation).splitlines()[0]
        self.run.say(f"[{self.number}] {purpose} {sha256[:6]}: {first[:160]}")
        return candidate

    def ask(self, voice: "Voice", asked: "Asked") -> "Reply":
        """Ask a language model, charge it, and return what it said; a failed attempt is charged and not given again.

        Raises:
            BudgetSpent: If nothing is left.
            LMFailure: If it gives no answer.
        """
        from glia_bench.designer.lm import LMFailure, Reply

        what = {"role": asked.role, "turn": asked.turn, "request_sha256": asked.sha256}
        is_new_system = asked.system not in self._systems
        self._systems.add(asked.system)

        def give() -> tuple[dict[str, Any], dict[str, float]]:
            self.check(but=SIMULATING)
            start = time.monotonic()
            try:
                reply = voice.answer(asked)
            except LMFailure as failure:
                cost = {"lm_calls": 1.0, "lm_s": time.monotonic() - start}
                self.meter.charge(cost)
                self.run.journal.append(
                    "failure",
                    self.number,
                    self.lane.step,
                    what=what,
                    reason=failure.reason,
                    message=str(failure),
                    at_s=self.run.wall_s,
                    cost=cost,
                )
                raise
            cost = {
                "lm_calls": 1.0,
                "lm_s": time.monotonic() - start,
                "tokens_in": float(reply.tokens_in or 0),
                "tokens_out": float(reply.tokens_out or 0),
                "usd": reply.usd or 0.0,
            }
            said = {**asdict(reply), "text": reply.text.encode("utf-8", "replace").decode()}
            system = {"system": asked.system} if is_new_system else {}
            return {**what, **system, "user": asked.user, "reply": said}, cost

        entry = self.answer("lm", what, give)
        return Reply(**entry["reply"])

    def answer(
        self, event: str, what: Mapping[str, Any], give: Callable[[], tuple[Mapping[str, Any], Mapping[str, float]]]
    ) -> Entry:
        """Return an answer from the journal, or give, charge and note it; as `Lane.answer`."""

        def timed() -> tuple[Mapping[str, Any], Mapping[str, float]]:
            fields, cost = give()
            return {**fields, "at_s": self.run.wall_s}, cost

        entry, _ = self.lane.answer(event, what, timed)
        self.meter.charge(entry["cost"])
        return entry

    def note(self, event: str, **what: Any) -> None:
        """Write down a thought, a finding, a verdict."""
        self.lane.note(event, **what)

    def check(self, but: Collection[str] = ()) -> None:
        """Raise `BudgetSpent` if anything is spent, the clock included, but for some axes."""
        if self.run.stop.is_requested:
            raise KeyboardInterrupt
        limit = self.run.settings.budget.limits.get("wall_s", float("inf"))
        if self.run.wall_s >= limit:
            raise BudgetSpent("wall_s", limit)
        self.meter.check(but)

    @property
    def simulations_left(self) -> float:
        """Simulations that this context may still run."""
        return self.meter.left("simulations")


def _children_cpu_s() -> float:
    """Return the processor seconds of this process and of the children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
