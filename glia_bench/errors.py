"""The errors that users meet: each names the subject, the rule, the value found and the way out.

`GliaBenchError` is the root for what a user can mend. `EvaluationFailure` stands beside it: it says that our machinery
broke, so that a broken evaluator is never mistaken for a bad design.
"""

import difflib
from collections.abc import Iterable


class GliaBenchError(Exception):
    """Something a user gave cannot be used; the message says what to change."""


class UnknownTaskError(GliaBenchError):
    """No task (or suite) has this id."""


class UnknownPolicyError(GliaBenchError):
    """No shipped policy has this name and no file lies at this path."""


class InvalidPolicyError(GliaBenchError):
    """A policy's source breaks the hook contract before any decision is taken."""


class InvalidTraceError(GliaBenchError):
    """A trace or a lengths file cannot be read as requests."""


class InvalidSpecError(GliaBenchError):
    """A cluster, engine or task setting is outside what the simulator models."""


class SubmissionError(GliaBenchError):
    """A submission pack breaks a rule of the pack format."""


class EvaluationFailure(Exception):
    """The benchmark's own machinery failed; never the fault of a design."""


def text_of(error: BaseException) -> str:
    """Return an exception's message; a design's own exception may even fail at that."""
    try:
        return str(error)
    except Exception:
        return "(its message cannot be printed)"


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest known name, or an empty string."""
    close = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
