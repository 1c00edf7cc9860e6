"""A design run as a list of what happened, one line of JSON each: what it paid for, what it thought, what came of it.

A designer is a deterministic function of its task, its settings, and the answers that it gets: from simulations, from
a language model, from tables. Each answer is written down under its place, (context, step), before the designer sees
it. A run that was cut is therefore gone on with by running the designer again: answers that stand in the journal are
given from there, at no cost, and the first one that does not is the next to be paid for. Nothing but appending ever
happens to the file; a last line that was not written whole is cut off.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from glia_bench.errors import EvaluationFailure, GliaBenchError
from glia_bench.scoring.record import canonical

JOURNAL = "journal.jsonl"
RUN = -1
"""The context of what concerns the run as a whole."""

Entry: TypeAlias = dict[str, Any]
Cost: TypeAlias = Mapping[str, float]

ASIDE = ("start", "failure", "end")
"""Events that are no answers: they take no place, and are not given again."""
TIMED = ("cost", "at_s", "spent")
"""Fields that differ between two runs of the same designer with the same answers."""


class Journal:
    """The journal of one run.

    Attributes:
        path: Its file.
        entries: All of it, in order.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self._places: dict[tuple[int, int], Entry] = {}
        self._lock = threading.Lock()
        if path.exists():
            self._read()

    def _read(self) -> None:
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            try:
                entry = json.loads(line)
                entry["event"], entry["context"], entry["step"]
            except (ValueError, KeyError, TypeError):
                raise GliaBenchError(
                    f"{self.path}, line {number}: not an entry of a journal (got {line[:60]!r})"
                ) from None
            self._keep(entry)
        if whole < len(data):  # the line that was being written when the run was cut
            with self.path.open("r+b") as file:
                file.truncate(whole)

    def _keep(self, entry: Entry) -> None:
        self.entries.append(entry)
        if entry["event"] not in ASIDE:
            self._places[entry["context"], entry["step"]] = entry

    def at(self, context: int, step: int) -> Entry | None:
        """Return the answer that was given at a place, if one was."""
        return self._places.get((context, step))

    def append(self, event: str, context: int, step: int, **fields: Any) -> Entry:
        """Write an entry, to the disk, and return it as it will be read.

        Raises:
            EvaluationFailure: If it cannot be written.
        """
        line = canonical({"event": event, "context": context, "step": step, **fields})
        entry: Entry = json.loads(line)
        with self._lock:
            try:
                with self.path.open("ab") as file:
                    file.write(line + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise EvaluationFailure(f"{self.path} cannot be written ({error.strerror})") from error
            self._keep(entry)
        return entry

    def all(self, event: str, context: int | None = None) -> Iterator[Entry]:
        """Yield the entries of one kind, of one context or of all."""
        return (e for e in list(self.entries) if e["event"] == event and context in (None, e["context"]))


def identity(what: Mapping[str, Any]) -> str:
    """Return a hash by which a request for an answer is told from another."""
    return hashlib.sha256(canonical(dict(what))).hexdigest()[:16]


class Lane:
    """One context's way through the journal: what it asks for, step by step.

    Attributes:
        journal: Of the run.
        context: Its number.
    """

    def __init__(self, journal: Journal, context: int) -> None:
        self.journal = journal
        self.context = context
        self.step = 0
        self._lock = threading.Lock()

    @property
    def is_repeating(self) -> bool:
        """Whether the next answer stands in the journal already."""
        return self.journal.at(self.context, self.step) is not None

    def answer(
        self, event: str, what: Mapping[str, Any], give: Callable[[], tuple[Mapping[str, Any], Cost]], **more: Any
    ) -> tuple[Entry, bool]:
        """Return what is answered at this place, from the journal or, if it is not there, as `give` finds it.

        Args:
            event: Kind of the answer.
            what: What is asked; written down with the answer.
            give: Finds the answer's fields and what they cost.
            **more: Further fields, known before.

        Returns:
            The entry, and whether it is new.

        Raises:
            GliaBenchError: If the journal has the answer to another question here.
        """
        with self._lock:  # one context asks one thing after the other
            asked = identity(what)
            if known := self.journal.at(self.context, self.step):
                if (known["event"], known["asked"]) != (event, asked):
                    raise GliaBenchError(
                        f"{self.journal.path} has {known['event']} {known['asked']} at step {self.step} of context "
                        f"{self.context}, where this run asks for {event} {asked}: it was made with other settings or "
                        f"by another version; start in a new folder"
                    )
                self.step += 1
                return known, False
            fields, cost = give()
            entry = self.journal.append(
                event, self.context, self.step, asked=asked, what=dict(what), **more, **fields, cost=dict(cost)
            )
            self.step += 1
            return entry, True

    def note(self, event: str, **what: Any) -> Entry:
        """Write down what costs nothing: a thought, a finding, a verdict."""
        entry, _ = self.answer(event, what, lambda: ({}, {}))
        return entry


def untimed(entry: Entry) -> Entry:
    """Return an entry without what two equal runs differ in."""
    return {key: value for key, value in entry.items() if key not in TIMED}
