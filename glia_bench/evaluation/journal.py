"""The journal of a results folder: one line of JSON per settled trial, appended as it ends, so that a run can go on.

A line is with the system before the next trial is taken, so killing the run loses only what was in flight; it is forced
to the disk in batches, so a power cut loses a second or two of work. A line that was not written whole is dropped, and
so is one whose content does not match its check sum. What may be reused is decided in `resume`.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from glia_bench.errors import EvaluationFailure, GliaBenchError
from glia_bench.scoring.record import canonical, write_atomically

JOURNAL_FILE = "journal.jsonl"
TUNING_FILE = "tuning.jsonl"
"""What `tuning` keeps beside it: every simulation of its searches."""
FORMAT = 1
_HEADER = canonical({"journal": FORMAT})
_SYNC_S = 1.0
"""Longest that a line waits before it is forced to the disk, if others follow."""

Entry: TypeAlias = dict[str, Any]
"""{"trial": what was asked for (`resume.identity`), "timeout_s": the limit it ran under, "record": its record}."""


class Journal:
    """The journal of one folder, read whole when it is opened and then only appended to.

    Attributes:
        entries: What it held when it was opened, in the order of the file.

    Raises:
        GliaBenchError: If the file there is no journal, or one of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL_FILE
        self._file: int | None = None
        self._synced = time.monotonic()
        content = self.path.read_bytes() if self.path.exists() else b""
        self._whole = content.rfind(b"\n") + 1
        header, *lines = content[: self._whole].splitlines() or [_HEADER]
        if header != _HEADER:
            raise GliaBenchError(
                f"{self.path} must begin with {_HEADER.decode()} (got {header[:40]!r}): it is of another version of "
                f"Glia-Bench or no journal; give another --out, or remove that file to run everything again"
            )
        self.entries = [entry for line in lines if (entry := _parsed(line)) is not None]

    def append(self, entry: Entry) -> None:
        """Write down a settled trial.

        Raises:
            EvaluationFailure: If it cannot be written.
        """
        line = _line(entry)
        try:
            if self._file is None:
                self._file = self._open()
            _write_all(self._file, line)
            if time.monotonic() - self._synced > _SYNC_S:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            raise EvaluationFailure(f"{self.path} cannot be written ({error.strerror})") from error

    def _open(self) -> int:
        """Open the file behind its last whole line."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        os.ftruncate(file, self._whole)
        os.lseek(file, 0, os.SEEK_END)
        if not self._whole:
            _write_all(file, _HEADER + b"\n")
        return file

    def replace(self, entries: Iterable[Entry]) -> None:
        """Write the file anew with these entries only, whole or not at all."""
        self.close()
        write_atomically(self.path, _HEADER + b"\n" + b"".join(_line(entry) for entry in entries))

    def close(self) -> None:
        """Force what was appended to the disk."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                os.fsync(file)
            except OSError as error:
                raise EvaluationFailure(f"{self.path} cannot be written ({error.strerror})") from error
            finally:
                os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _check(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _line(entry: Entry) -> bytes:
    content = canonical(entry)
    return b'{"check":"%b","entry":%b}\n' % (_check(content).encode(), content)


def _parsed(line: bytes) -> Entry | None:
    """Return a line's entry; None if it is damaged or was altered."""
    try:
        value = json.loads(line)
        entry: Entry = value["entry"]
        return entry if value["check"] == _check(canonical(entry)) else None
    except (ValueError, KeyError, TypeError, RecursionError, EvaluationFailure):
        return None
