"""A mailbox: questions are written as files and answers are read from files, so that anyone can be the language model.

A question keeps its name when a run is resumed, and so an answer that lies there is used and not asked for again. Left
out: telling who answered, and what that cost.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from glia_bench.designer.voices import Asked, LMFailure, Reply
from glia_bench.errors import GliaBenchError
from glia_bench.scoring.record import write_atomically

MAX_ANSWER_BYTES = 4_000_000
"""More is a wrong file rather than an answer."""


class MailboxVoice:
    """Answers that a person or another program writes into a folder.

    Args:
        folder: Where questions and answers lie; made as needed.
        timeout_s: How long one answer may take, in seconds.
        poll_s: How often to look, in seconds; an answer counts once it stood unchanged that long.
        say: Tells people where a question lies.
    """

    name = "mailbox"

    def __init__(
        self, folder: Path, timeout_s: float, poll_s: float = 0.2, say: Callable[[str], object] = print
    ) -> None:
        if not timeout_s > 0 or not poll_s > 0:
            raise GliaBenchError(f"timeout_s and poll_s of a mailbox must be above 0 (got {timeout_s}, {poll_s})")
        self.folder = folder
        self._timeout_s, self._poll_s, self._say = timeout_s, poll_s, say

    def answer(self, asked: Asked) -> Reply:
        """Write the question and wait for its answer.

        Raises:
            LMFailure: If no answer came in time, or one that cannot be read.
            GliaBenchError: If an answer lies there to another question, or nothing can be written.
        """
        stem = _stem(asked)
        response = self.folder / f"{stem}.response.txt"
        self._put(stem, asked, response)
        deadline = time.monotonic() + self._timeout_s
        before = None
        while True:
            # Read inside the loop: a file may be replaced between the look and the reading.
            now = _seen(response)
            if now is not None and now == before:
                text = _text_of(response)
                if text.strip() and _seen(response) == now:
                    return Reply(text, self.name, None, None, None)
            before = now
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise LMFailure("timeout", f"mailbox: no answer in {response.name} within {self._timeout_s:g} s")
            time.sleep(min(self._poll_s, left_s))

    def _put(self, stem: str, asked: Asked, response: Path) -> None:
        """Write the question, unless it lies there; a question that changed must not get the old one's answer."""
        request = self.folder / f"{stem}.request.json"
        is_answered = _seen(response) is not None
        try:
            earlier = json.loads(request.read_text(encoding="utf-8")).get("sha256")
        except (OSError, ValueError, AttributeError):
            earlier = None
        if is_answered and earlier not in (None, asked.sha256):
            raise GliaBenchError(
                f"mailbox: {response.name} answers another question than {stem} asks now; delete that answer, or start "
                "with an empty folder"
            )
        if earlier != asked.sha256:
            try:
                # The hash in the .json says that a question was put, so the file for people comes first.
                write_atomically(self.folder / f"{stem}.request.md", _page(stem, asked).encode())
                write_atomically(request, (json.dumps(asdict(asked), indent=2, ensure_ascii=False) + "\n").encode())
            except OSError as error:
                raise GliaBenchError(f"mailbox {self.folder}: cannot be written ({error.strerror})") from None
        if not is_answered:
            self._say(f"waiting for {response} (the question is in {stem}.request.md)")


def _stem(asked: Asked) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", asked.role):
        raise GliaBenchError(f"a role in a mailbox must be small letters, digits, '-' and '_' (got {asked.role!r})")
    return f"c{asked.context}-{asked.role}-{asked.turn:03d}"


def _seen(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file does; None while it is absent or empty."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_size, stat.st_mtime_ns, stat.st_ino) if stat.st_size else None


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_ANSWER_BYTES:
            raise LMFailure("invalid", f"mailbox: {path.name} is larger than {MAX_ANSWER_BYTES} bytes")
        return path.read_bytes().decode("utf-8-sig", "replace").replace("\r\n", "\n")
    except FileNotFoundError:
        return ""  # taken back between two looks
    except OSError as error:
        raise LMFailure("invalid", f"mailbox: {path.name} cannot be read ({error.strerror})") from None


def _page(stem: str, asked: Asked) -> str:
    return f"""# {asked.role}, context {asked.context}, turn {asked.turn}

Answer as the language model would: plain text, in the form that the system text below asks for. Write it to
`{stem}.response.txt` in this folder. To be safe against half-written answers, write to another name and rename it.

## System

{asked.system}

## User

{asked.user}
"""
