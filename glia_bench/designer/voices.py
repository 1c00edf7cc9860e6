"""Voices that need no language model: what a designer asks, what it gets back, and answers written down beforehand.

A question is known by context, role and turn, and by a hash of all that was asked. Left out: providers and DSPy, which
are in lm.py.
"""

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args

from glia_bench.errors import GliaBenchError

Reason: TypeAlias = Literal["timeout", "transport", "rate_limit", "invalid", "refused", "auth"]
Key: TypeAlias = tuple[int, str, int]
"""Context, role, turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question to a language model.

    Attributes:
        context: Which of the run's contexts asks, from 0.
        role: Who asks in it.
        turn: The role's how-manyth question in this context.
        model: The model that was asked for.
        system: The system text.
        user: The rest of the conversation.
        sha256: Hash of the whole request, the model's name left out, so that a recording replays under any name.
    """

    context: int
    role: str
    turn: int
    model: str
    system: str
    user: str
    sha256: str

    @property
    def key(self) -> Key:
        """Context, role and turn, by which answers are kept."""
        return self.context, self.role, self.turn


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, and what it cost; None where that is not known.

    Attributes:
        text: The answer.
        model: Who gave it.
        tokens_in: Tokens of the question.
        tokens_out: Tokens of the answer, hidden reasoning included.
        usd: Price in US dollars.
        finish_reason: "stop", or "length" where the answer was cut.
    """

    text: str
    model: str
    tokens_in: int | None
    tokens_out: int | None
    usd: float | None
    finish_reason: str = "stop"


class Voice(Protocol):
    """What answers."""

    @property
    def name(self) -> str:
        """Shown to people and recorded."""

    def answer(self, asked: Asked) -> Reply:
        """Answer one question; several threads may ask at once.

        Raises:
            LMFailure: If no answer came.
        """


class LMFailure(Exception):
    """A question got no answer; the message holds no secret.

    Attributes:
        reason: What went wrong, in one word.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason

    def __reduce__(self) -> tuple[type["LMFailure"], tuple[Reason, str]]:
        return LMFailure, (self.reason, str(self))


class ScriptedVoice:
    """Answers that were written down beforehand, or that a function makes; for tests and demonstrations.

    Args:
        answers: Taken in order, or called with each question. An exception among them is raised.
    """

    name = "scripted"

    def __init__(self, answers: Sequence[str | Exception] | Callable[[Asked], str | Reply | Exception]) -> None:
        if isinstance(answers, str):
            raise TypeError("answers must be a list of texts or a function (got one text)")
        self._answers = answers
        self._num_given = 0
        self._lock = threading.Lock()

    def answer(self, asked: Asked) -> Reply:
        """Give the next answer.

        Raises:
            LMFailure: If there are no more answers.
        """
        given = self._answers(asked) if callable(self._answers) else self._next(self._answers, asked)
        if isinstance(given, Exception):
            raise given
        return given if isinstance(given, Reply) else Reply(given, self.name, None, None, None)

    def _next(self, answers: Sequence[str | Exception], asked: Asked) -> str | Exception:
        with self._lock:
            if self._num_given >= len(answers):
                raise LMFailure(
                    "invalid",
                    f"the script ran out: it holds {len(answers)} answers, and {_words(asked.key)} asks for more",
                )
            self._num_given += 1
            return answers[self._num_given - 1]


class ReplayVoice:
    """The answers of a recorded run, each kept by context, role and turn.

    Args:
        path: A JSONL file; its lines with "event": "lm" are the answers (or, with "failure" in place of "reply", what
            went wrong: reason and message), the one with "event": "start" says by which
            versions they were recorded, and all others are passed over.
        versions: Today's versions. While they are those of the recording, a question must be the recorded one to the
            letter; otherwise one that differs only sets `has_drifted`.

    Attributes:
        has_drifted: Whether a question differed from the recorded one.
        remark: What to tell people about it, else "".
    """

    name = "replay"

    def __init__(self, path: Path, versions: Mapping[str, str]) -> None:
        self.path = path
        self.has_drifted = False
        self.remark = ""
        self._recorded: dict[Key, tuple[str, Reply | LMFailure]] = {}
        recorded_versions: Mapping[str, Any] | None = None
        for number, line in enumerate(read_text(path, "recording").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                event = json.loads(line)
                if event.get("event") == "start" and "versions" in event:
                    recorded_versions = dict(event["versions"])
                elif event.get("event") == "lm":
                    key, recorded = _recorded_answer(event)
                    if key in self._recorded:
                        raise ValueError(f"{_words(key)} stands there twice")
                    self._recorded[key] = recorded
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise GliaBenchError(
                    f"recording {path.name}, line {number}: cannot be read ({type(error).__name__}: {error}); "
                    "give a file that `design glia` has written"
                ) from None
        if not self._recorded:
            raise GliaBenchError(
                f"recording {path.name} holds no answer of a language model; give another with --replay"
            )
        self._differing = _differing(recorded_versions, versions)

    def answer(self, asked: Asked) -> Reply:
        """Give the recorded answer.

        Raises:
            GliaBenchError: If there is none, or if the question differs though the versions are the same.
            LMFailure: If the recorded run got no answer either.
        """
        if asked.key not in self._recorded:
            held = ", ".join(_words(key) for key in sorted(self._recorded)[:8])
            more = f" and {len(self._recorded) - 8} more" if len(self._recorded) > 8 else ""
            raise GliaBenchError(
                f"recording {self.path.name} has no answer for {_words(asked.key)}; it holds {held}{more}. "
                "Replay with the settings of the recorded run, or record again"
            )
        sha256, reply = self._recorded[asked.key]
        if sha256 != asked.sha256:
            if not self._differing:
                raise GliaBenchError(
                    f"recording {self.path.name}: {_words(asked.key)} now asks something else than was recorded "
                    f"(request {asked.sha256[:12]}, recorded {sha256[:12]}) with the same versions; record again"
                )
            if not self.has_drifted:
                self.remark = f"the replayed answers were given to other questions: {self._differing}"
            self.has_drifted = True
        if isinstance(reply, LMFailure):
            raise LMFailure(reply.reason, str(reply))
        return reply


def _recorded_answer(event: Mapping[str, Any]) -> tuple[Key, tuple[str, Reply | LMFailure]]:
    """Return an answer of a recording with its key and its request's hash; checked, for people may edit the file."""
    context, role, turn, sha256 = event["context"], event["role"], event["turn"], event["request_sha256"]
    if type(context) is not int or type(turn) is not int or not isinstance(role, str) or not isinstance(sha256, str):
        raise ValueError("context and turn must be whole numbers, role and request_sha256 texts")
    if "failure" in event:
        reason, message = event["failure"]["reason"], event["failure"]["message"]
        if reason not in get_args(Reason):
            raise ValueError(f"reason of the failure must be one of {', '.join(get_args(Reason))}")
        return (context, role, turn), (sha256, LMFailure(reason, str(message)))
    reply = Reply(**event["reply"])
    counts = (reply.tokens_in, reply.tokens_out)
    if not all(isinstance(text, str) for text in (reply.text, reply.model, reply.finish_reason)):
        raise ValueError("text, model and finish_reason of the reply must be texts")
    if not all(count is None or (type(count) is int and count >= 0) for count in counts):
        raise ValueError("tokens_in and tokens_out of the reply must be whole numbers or null")
    if not (reply.usd is None or (type(reply.usd) in (int, float) and math.isfinite(reply.usd) and reply.usd >= 0)):
        raise ValueError("usd of the reply must be a number or null")
    return (context, role, turn), (sha256, reply)


def _differing(recorded: Mapping[str, Any] | None, current: Mapping[str, str]) -> str:
    """Say which versions differ; "" where none does."""
    if recorded is None:
        return "the recording names no versions"
    names = [name for name in sorted({*recorded, *current}) if recorded.get(name) != current.get(name)]
    return ", ".join(
        f"{name} was {recorded.get(name, 'not named')}, is {current.get(name, 'not named')}" for name in names
    )


def _words(key: Key) -> str:
    context, role, turn = key
    return f"context {context}, {role}, turn {turn}"


def read_text(path: Path, what: str) -> str:
    """Return a file's text, or say in a user's words why it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise GliaBenchError(f"{what} {path}: cannot be read ({reason}); give the path of another file") from None
