"""Design runs as curves: after each expense what was spent so far, and the best design that development seeds show.

Read from the journal alone, which is left as it is: a run that was cut, or still goes on, is read up to its last whole
line and marked. What the designs are worth on seeds that nobody met is `held_out`'s to find, what runs come to
together is `comparison`'s.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from glia_bench.designer.budget import AXES
from glia_bench.designer.evaluation import Evaluation
from glia_bench.designer.journal import ASIDE, JOURNAL, Entry, untimed
from glia_bench.designer.run import Settings
from glia_bench.errors import GliaBenchError
from glia_bench.scoring.record import canonical
from glia_bench.scoring.score import Gains, gains
from glia_bench.tasks.catalog import get_task
from glia_bench.tunables import sha256_of

CURVE_AXES: Mapping[str, str] = {
    "simulations": "simulations",
    "proposals": "proposals",
    "sim_requests": "simulated requests",
    "wall_s": "wall time, s",
    "lm_calls": "calls of a language model",
    "tokens": "tokens, in and out",
    "usd": "US dollars",
}
"""Axis of a curve to its name."""

CPU_USD_PER_HOUR = 0.05
"""What an hour of one processor counts in dollars: a round number near what clouds ask for a virtual core on demand."""
DEPTH = 3
SMALLEST_PART = 1e-9

Spent = Mapping[str, float | None]
"""Axis of `CURVE_AXES` to what was spent; None where a model did not report it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A design that was the best so far.

    Attributes:
        sha256: Hash of its text.
        source: The text.
        score: Its development score: 0 naive, 1 expert.
        dev: Its log-gains over the expert on the development seeds.
    """

    sha256: str
    source: str
    score: float
    dev: Gains


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How things stand after one expense.

    Attributes:
        spent: So far.
        best: Best design so far that may be chosen; None before the first.
    """

    spent: Spent
    best: Choice | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One design run.

    Attributes:
        folder: Where it lies.
        settings: Its settings.
        model: Models that answered, or empty.
        steps: One for each expense, in order.
        status: As the run says it ended: "done", "interrupted", "lm_failed"; "unfinished" where it says nothing.
        message: Why, in words.
        spent_axis: Axis of the budget that ended it, or empty.
        end: What was spent at its end.
        build: Hash of the simulator's sources, as it ran.
        fingerprint: Hash of everything but times: equal for the same run twice, recorded and replayed, say.
    """

    folder: Path
    settings: Settings
    model: str
    steps: tuple[Step, ...]
    status: str
    message: str
    spent_axis: str
    end: Spent
    build: str
    fingerprint: str

    @property
    def is_finished(self) -> bool:
        """Whether it came to its own end or that of its budget."""
        return self.status == "done"

    @property
    def is_carried(self) -> bool:
        """Whether it ended by itself with budget left, so that more of it would have changed nothing."""
        return self.is_finished and not self.spent_axis

    @property
    def best(self) -> Choice | None:
        """The design that it chose."""
        return self.steps[-1].best if self.steps else None

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Every design that was the best so far, once each, in order."""
        return tuple({step.best.sha256: step.best for step in self.steps if step.best}.values())

    def reach(self, axis: str) -> float:
        """Return up to where the run says what would have been chosen; 0 where the axis is unknown.

        Infinite for a run that ended by itself. One whose budget was spent on this axis reaches its limit, even where
        the last part was too small for a simulation.
        """
        end = self.end[axis]
        if end is None:
            return 0.0
        if self.is_carried:
            return math.inf
        return max(end, self.settings.budget.limits[axis]) if axis == self.spent_axis else end

    def best_at(self, axis: str, amount: float) -> Choice | None:
        """Return what would have been chosen had the run been stopped after spending so much."""
        found = None
        for step in self.steps:
            spent = step.spent[axis]
            if spent is None or spent > amount * (1.0 + SMALLEST_PART):
                break
            found = step.best
        return found

    def changes(self, axis: str) -> list[tuple[float, Choice]]:
        """Return where on an axis the best design changed, and to which."""
        steps = [Step(spent={axis: 0.0}, best=None), *self.steps]
        return [
            (float(after.spent[axis] or 0.0), after.best)
            for before, after in pairwise(steps)
            if after.best is not None and after.best is not before.best and after.spent[axis] is not None
        ]


def designs_below(folder: Path, depth: int = DEPTH) -> list[Path]:
    """Return the folders of design runs in a folder, itself included, at most so many levels down, in order.

    What lies inside a run, such as the copy of its journal beside its design, is no run of its own.
    """
    if _is_run(folder):
        return [folder]
    if depth == 0:
        return []
    try:
        inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return []
    return [found for path in inner for found in designs_below(path, depth - 1)]


def _is_run(folder: Path) -> bool:
    try:
        with (folder / JOURNAL).open("rb") as file:
            first = json.loads(file.readline(1 << 20))
        return bool(first["event"] == "start" and {"task", "designer", "budget"} <= first["settings"].keys())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def trajectory(folder: Path, *, cpu_usd_per_hour: float = CPU_USD_PER_HOUR) -> Trajectory:
    """Return a design run as its journal tells it.

    Args:
        folder: Of the run.
        cpu_usd_per_hour: What an hour of one processor counts in dollars, beside what models cost.

    Raises:
        GliaBenchError: If there is no journal of a design run, or a line of it is broken.
    """
    path = folder / JOURNAL
    entries = _entries(path)
    reader = _Reader(cpu_usd_per_hour)
    for number, entry in enumerate(entries, start=1):
        try:
            reader.read(entry)
        except GliaBenchError as error:
            raise GliaBenchError(f"{path}, line {number}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise GliaBenchError(
                f"{path}, line {number}: not what a design run writes ({type(error).__name__}: {error}); was it "
                f"edited, or is it of another version?"
            ) from None
    settings, end = reader.settings, reader.end
    assert settings is not None
    status = str(end["status"]) if end else "unfinished"
    message = str(end["message"]) if end else "the run was cut, or still goes on"
    last = reader.steps[-1].spent if reader.steps else dict.fromkeys(CURVE_AXES, 0.0)
    wall_s = float(end["at_s"]) if end else last["wall_s"]
    return Trajectory(
        folder=folder,
        settings=settings,
        model=", ".join(reader.models),
        steps=tuple(reader.steps),
        status=status,
        message=message,
        spent_axis=_spent_axis(settings, reader.spent, wall_s or 0.0, message) if status == "done" else "",
        end={**last, "wall_s": wall_s},
        build=str(reader.build),
        fingerprint=_fingerprint(folder, settings, entries, is_empty=not reader.steps),
    )


def _entries(path: Path) -> list[Entry]:
    """Return the whole lines of a journal that begins as a design run's does."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise GliaBenchError(
            f"{path} cannot be read ({error.strerror}); name folders of `glia-bench design`, each with its {JOURNAL}"
        ) from None
    entries: list[Entry] = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            entry = json.loads(line, parse_constant=_no_number)
            entry["event"], entry["context"], entry["step"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise GliaBenchError(f"{path}, line {number}: not an entry of a design run (got {line[:60]!r})") from None
        entries.append(entry)
    if not entries or entries[0]["event"] != "start":
        raise GliaBenchError(f"{path} must begin with the start of a design run; it is of something else, or empty")
    return entries


class _Reader:
    """What is known after so many entries."""

    def __init__(self, cpu_usd_per_hour: float) -> None:
        self.cpu_usd_per_s = cpu_usd_per_hour / 3600.0
        self.settings: Settings | None = None
        self.build = ""
        self.loads: list[float] = []
        self.expert: list[Entry] = []
        self.models: dict[str, None] = {}
        self.spent = dict.fromkeys(AXES, 0.0)
        self.unknown: set[str] = set()
        self.best: Choice | None = None
        self.steps: list[Step] = []
        self.end: Entry | None = None

    def read(self, entry: Entry) -> None:
        event = entry["event"]
        if event == "start":
            self.settings = Settings.from_json(entry["settings"])
            get_task(self.settings.task)
            self.build = entry["build"]["source"]
            self.loads = list(map(_number, entry["loads"]))
        elif event == "references":
            self.expert = _of_expert(entry)
        elif event == "end":
            self.end = entry
            _number(entry["at_s"])
        elif event == "simulation":
            self._choose(entry)
        elif event == "lm":
            reply = entry["reply"]
            self.models[str(reply["model"] or "a model without a name")] = None
            self.unknown |= {"usd"} if reply["usd"] is None else set()
            self.unknown |= {"tokens"} if None in (reply["tokens_in"], reply["tokens_out"]) else set()
        if entry.get("cost"):
            self._charge(entry)

    def _choose(self, entry: Entry) -> None:
        """Keep a design if it may be chosen and is better than all before."""
        evaluation = Evaluation.from_json(entry["evaluation"])
        source = entry["source"]
        if sha256_of(source) != evaluation.sha256:
            raise ValueError("the text is not the one that was simulated")
        if not evaluation.is_valid or list(evaluation.loads) != self.loads:
            return
        if self.best is None or _number(evaluation.value) > self.best.score:
            runs = [dict(zip(("load", "seed", "status", "cost"), run[:4], strict=True)) for run in evaluation.runs]
            dev = gains(runs, self.expert, self.loads)
            self.best = Choice(sha256=evaluation.sha256, source=source, score=evaluation.value, dev=dev)

    def _charge(self, entry: Entry) -> None:
        self.end = None  # it was gone on with
        for axis, amount in entry["cost"].items():
            self.spent[axis] += _number(amount)
        self.spent["wall_s"] = max(self.spent["wall_s"], _number(entry.get("at_s", 0.0)))
        known: dict[str, float | None] = {
            **{axis: self.spent[axis] for axis in CURVE_AXES if axis in self.spent},
            "tokens": self.spent["tokens_in"] + self.spent["tokens_out"],
            "usd": self.spent["usd"] + self.spent["cpu_s"] * self.cpu_usd_per_s,
        }
        self.steps.append(Step(spent=known | dict.fromkeys(self.unknown), best=self.best))


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _of_expert(entry: Entry) -> list[Entry]:
    """Return the expert's records; its name in them may have the hash that the task's name for it leaves out."""
    name = entry["what"]["names"][1]
    records = entry["records"]
    exact = [record for record in records if record["policy"] == name]
    return exact or [record for record in records if record["policy"].partition("@")[0] == name.partition("@")[0]]


def _spent_axis(settings: Settings, spent: Mapping[str, float], wall_s: float, message: str) -> str:
    """Return the axis of the budget that ended a run: the one it says, or one with less than one unit left."""
    limits = settings.budget.limits
    for axis, limit in limits.items():
        unit = 1.0 if axis in ("simulations", "proposals", "lm_calls") else 0.0
        amount = wall_s if axis == "wall_s" else spent[axis]
        if f"budget spent: {axis} " in message or (amount > limit - unit - SMALLEST_PART and amount > 0.0):
            return axis
    return ""


def _fingerprint(folder: Path, settings: Settings, entries: Iterable[Entry], *, is_empty: bool) -> str:
    """Return a hash by which the same run is known; a run that paid for nothing is like no other."""
    answers = [untimed(entry) for entry in entries if entry["event"] not in ASIDE]
    place = [str(folder.resolve())] if is_empty else []
    return hashlib.sha256(canonical([settings.to_json(), answers, place])).hexdigest()


def distinct(trajectories: Sequence[Trajectory]) -> tuple[list[Trajectory], list[str]]:
    """Return runs without those that are another once more, and remarks that say which were left out."""
    kept: dict[str, Trajectory] = {}
    remarks = []
    for run in trajectories:
        first = kept.setdefault(run.fingerprint, run)
        if first is not run:
            remarks.append(f"{run.folder} is the same run as {first.folder}, and is counted once")
    return list(kept.values()), remarks
