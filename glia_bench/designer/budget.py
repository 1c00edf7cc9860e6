"""What a design run may spend and has spent: axes, limits, and the meter that every designer is charged at.

A designer's own notion of an iteration never matters: what counts is charged where a source is simulated and where a
model is asked. Concurrent contexts reserve before they spend, so that together they stay within the limits.
"""

import threading
from collections.abc import Collection, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from glia_bench.errors import GliaBenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

AXES: dict[str, str] = {
    "simulations": "sources on all development seeds at the task's loads; parts of one count as such",
    "proposals": "sources handed in, those that break a rule and those that were known included",
    "sim_requests": "simulated requests",
    "wall_s": "seconds from start to end, pauses between sessions left out",
    "sim_s": "seconds spent waiting for simulations",
    "lm_s": "seconds spent waiting for a language model",
    "cpu_s": "processor seconds of simulations",
    "lm_calls": "requests to a language model, failed and repeated ones included",
    "tokens_in": "tokens sent to it, as far as it reports them",
    "tokens_out": "tokens received from it, as far as it reports them",
    "usd": "US dollars, as far as prices are known",
    "human_minutes": "minutes of a person's work",
}
"""Name to meaning of every axis of a budget."""

DEFAULT_SIMULATIONS = 20
PROPOSALS_PER_SIMULATION = 10
"""A designer that hands in nothing but invalid sources is stopped after this many times its simulations."""
SMALLEST_PART = 1e-9


class BudgetSpent(Exception):
    """A design run has reached one of its limits.

    Attributes:
        axis: Which.
    """

    def __init__(self, axis: str, limit: float) -> None:
        super().__init__(f"budget spent: {axis} (limit {limit:g})")
        self.axis = axis


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits by axis; an axis without one is free.

    Attributes:
        limits: Axis to its limit.
    """

    limits: Mapping[str, float]

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Return the budget that a text such as "20" or "simulations=20,usd=5" describes.

        Raises:
            GliaBenchError: If it does not describe one.
        """
        limits: dict[str, float] = {}
        for part in text.split(",") if text.strip() else ():
            axis, mark, number = part.strip().partition("=")
            if not mark:
                axis, number = "simulations", axis
            if axis not in AXES:
                raise GliaBenchError(f"a budget's axes are {', '.join(AXES)} (got {axis!r}){did_you_mean(axis, AXES)}")
            try:
                limit = float(number)
            except ValueError:
                limit = -1.0
            if not 0.0 < limit < float("inf"):
                raise GliaBenchError(f"budget {axis} must be a number above 0 (got {number!r}); write {axis}=20")
            limits[axis] = limit
        limits.setdefault("simulations", float(DEFAULT_SIMULATIONS))
        limits.setdefault("proposals", PROPOSALS_PER_SIMULATION * limits["simulations"])
        return cls(limits)

    def shared_by(self, num: int) -> "Budget":
        """Return what each of some contexts may spend by itself; time runs for all of them at once."""
        return Budget({axis: limit if axis == "wall_s" else limit / num for axis, limit in self.limits.items()})


@dataclass(slots=True)
class Meter:
    """What was spent so far, within a budget.

    Attributes:
        budget: The limits.
        spent: By axis.
        parent: Meter of the whole run, which is charged too.
    """

    budget: Budget
    spent: dict[str, float] = field(default_factory=lambda: dict.fromkeys(AXES, 0.0))
    parent: "Meter | None" = None
    _reserved: dict[str, float] = field(default_factory=lambda: dict.fromkeys(AXES, 0.0))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def charge(self, cost: Mapping[str, float]) -> None:
        """Add to what was spent."""
        with self._lock:
            for axis, amount in cost.items():
                self.spent[axis] += amount
        if self.parent:
            self.parent.charge(cost)

    @contextmanager
    def reserved(self, **amounts: float) -> "Iterator[None]":
        """Hold amounts for an expense that is about to be made; what it came to is charged by itself.

        Raises:
            BudgetSpent: If they do not fit into what is left, or an axis is spent already.
        """
        with self._lock:
            self._check(amounts)
            for axis, amount in amounts.items():
                self._reserved[axis] += amount
        try:
            if self.parent:
                with self.parent.reserved(**amounts):
                    yield
            else:
                yield
        finally:
            with self._lock:
                for axis, amount in amounts.items():
                    self._reserved[axis] -= amount

    def check(self, but: Collection[str] = ()) -> None:
        """Raise `BudgetSpent` if an axis is spent, but for some."""
        with self._lock:
            self._check({}, but)
        if self.parent:
            self.parent.check(but)

    def left(self, axis: str) -> float:
        """Return what is left of an axis; infinite where there is no limit."""
        limit = self.budget.limits.get(axis, float("inf"))
        return max(0.0, limit - self.spent[axis])

    def _check(self, amounts: Mapping[str, float], but: Collection[str] = ()) -> None:
        for axis, limit in self.budget.limits.items():
            if axis in but:
                continue
            taken = self.spent[axis] + self._reserved[axis]
            wanted = amounts.get(axis, 0.0)
            if (taken + wanted > limit + SMALLEST_PART) if wanted else (taken >= limit - SMALLEST_PART):
                raise BudgetSpent(axis, limit)
