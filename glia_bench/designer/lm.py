"""What answers a designer's questions: a provider, a recording, a script or a person, all behind one `Voice`.

`role_lm` hands a voice to DSPy as an ordinary `dspy.LM`. DSPy takes two seconds to import and so is imported in
functions alone; its private paths are used in this module alone, and so is the environment. Left out: streaming, tools
that a provider calls by itself, pictures.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glia_bench.designer.provider import ProviderVoice, lm_settings
from glia_bench.designer.voices import Asked, LMFailure, ReplayVoice, Reply, ScriptedVoice, Voice, read_text
from glia_bench.errors import GliaBenchError, did_you_mean
from glia_bench.scoring.record import canonical

if TYPE_CHECKING:
    import dspy
    from dspy.lm15 import Request, Response

# Without it litellm, which some providers need, tries three times to fetch a price list as it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

__all__ = [
    "NO_LM",
    "Asked",
    "LMFailure",
    "ProviderVoice",
    "ReplayVoice",
    "Reply",
    "ScriptedVoice",
    "Voice",
    "VoiceEngine",
    "make_voice",
    "provider_voice",
    "request_sha256",
    "role_lm",
    "unwrap",
]

NO_LM = """No language model is configured. Three ways to give one:
  a provider: GLIA_LM_BASE_URL, GLIA_LM_MODEL, GLIA_LM_API_KEY, or --lm openai/NAME with that provider's own key
  you or another program: --lm mailbox (questions and answers are files); a recorded run: --lm replay"""


MAILBOX_TIMEOUT_S = 24 * 3600.0
"""Where GLIA_LM_TIMEOUT_S says nothing else: people sleep."""


def provider_voice(model: str | None = None, *, num_retries: int = 2) -> ProviderVoice:
    """Return the provider that the environment describes.

    Args:
        model: Asked instead of GLIA_LM_MODEL. With GLIA_LM_BASE_URL it is the name by which that server knows it;
            otherwise a name of `dspy.LM` with its provider in front, whose own key variable counts.
        num_retries: How often a failure that may pass is tried again.

    Raises:
        GliaBenchError: If no model is named, or a variable cannot be used.
    """
    settings = lm_settings(os.environ)
    name = model or settings.model
    if not name:
        raise GliaBenchError(
            "GLIA_LM_BASE_URL needs GLIA_LM_MODEL beside it, or --lm NAME" if settings.base_url else NO_LM
        )
    if settings.base_url:
        return ProviderVoice(f"openai/{name}", settings, num_retries)
    provider, slash, rest = name.partition("/")
    if not (provider and slash and rest):
        raise GliaBenchError(
            f"no language model {name!r}: name its provider too, as in openai/NAME, or set GLIA_LM_BASE_URL"
            f"{did_you_mean(name, ('replay', 'mailbox', 'scripted:FILE.json'))}"
        )
    return ProviderVoice(name, settings, num_retries)


def make_voice(spec: str, *, folder: Path, versions: Mapping[str, str], recording: Path | None = None) -> Voice:
    """Return the voice that a command line names.

    Args:
        spec: "replay", "mailbox", "scripted:FILE.json" (a list of answers), a model, or "" for what
            the environment names.
        folder: The run's folder; a mailbox is opened below it.
        versions: Today's versions, for a replay.
        recording: What "replay" replays.

    Raises:
        GliaBenchError: If it names nothing that can answer.
    """
    if spec == "replay":
        if recording is None:
            raise GliaBenchError("--lm replay needs a recording; this task ships none, so give one with --replay FILE")
        return ReplayVoice(recording, versions)
    if spec == "mailbox":
        from glia_bench.designer.mailbox import MailboxVoice

        return MailboxVoice(folder / "mailbox", lm_settings(os.environ).timeout_s or MAILBOX_TIMEOUT_S)
    kind, colon, name = spec.partition(":")
    if kind == "scripted":
        try:
            answers = json.loads(read_text(Path(name), "script")) if colon and name else None
        except ValueError:
            answers = None
        if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
            raise GliaBenchError(
                f"--lm {spec}: must be scripted:FILE.json with a JSON list of texts, the answers in order"
            )
        return ScriptedVoice(answers)
    return provider_voice(spec or None)


class VoiceEngine:
    """What answers a `dspy.LM`: DSPy's engine contract in front of a function that takes an `Asked`."""

    def __init__(
        self, call: Callable[[Asked], Reply], *, context: int, role: str, model: str, turns: Callable[[], int]
    ) -> None:
        self._call = call
        self._context, self._role, self._model, self._turns = context, role, model, turns

    def __deepcopy__(self, memo: object) -> "VoiceEngine":
        return self  # a module that DSPy copies still asks the same voice and counts the same turns

    def complete(self, request: "Request") -> "Response":
        """Answer one request of DSPy; raises DSPy's error for an `LMFailure`, everything else as it comes."""
        import dspy
        from dspy.lm15 import Message, Response, TextPart, Usage

        if request.tools:
            raise dspy.LMUnsupportedFeatureError(
                "a voice answers in text; describe tools in the prompt", features=["tools"]
            )
        asked = Asked(
            context=self._context,
            role=self._role,
            turn=self._turns(),
            model=self._model,
            system=_text(request.system),
            user=_conversation(request),
            sha256=request_sha256(request),
        )
        try:
            reply = self._call(asked)
        except LMFailure as failure:
            raise _dspy_error(failure) from failure
        known = ("stop", "length", "tool_call", "content_filter", "error")
        return Response(
            id=None,
            model=reply.model or self._model,
            message=Message.assistant([TextPart(reply.text)]),
            finish_reason=reply.finish_reason if reply.finish_reason in known else "stop",
            usage=Usage(input_tokens=reply.tokens_in, output_tokens=reply.tokens_out),
        )


def request_sha256(request: "Request") -> str:
    """Return the hash of all that was asked, but not of whom."""
    from dspy._vendor.lm15.serde import request_to_dict

    return hashlib.sha256(canonical({k: v for k, v in request_to_dict(request).items() if k != "model"})).hexdigest()


def _text(parts: Any) -> str:
    if parts is None or isinstance(parts, str):
        return parts or ""
    return "".join(getattr(part, "text", "") for part in parts)


def _conversation(request: "Request") -> str:
    if len(request.messages) == 1:
        return _text(request.messages[0].parts)
    return "\n\n".join(f"({message.role})\n{_text(message.parts)}" for message in request.messages)


def _dspy_error(failure: LMFailure) -> "dspy.LMError":
    import dspy

    kinds: dict[str, type[dspy.LMError]] = {
        "timeout": dspy.LMTimeoutError,
        "transport": dspy.LMTransportError,
        "rate_limit": dspy.LMRateLimitError,
        "invalid": dspy.LMInvalidRequestError,
        "refused": dspy.LMProviderError,
        "auth": dspy.LMAuthError,
    }
    return kinds[failure.reason](str(failure))


def unwrap(error: Exception) -> Exception:
    """Return what was raised behind an error of DSPy's: the `LMFailure` or other exception of the call, else itself."""
    import dspy

    cause = error.__cause__
    wraps = isinstance(error, dspy.LMError) and (
        isinstance(error, dspy.LMUnexpectedError) or isinstance(cause, LMFailure)
    )
    return cause if wraps and isinstance(cause, Exception) else error


@functools.cache
def _role_lm_class() -> type["dspy.LM"]:
    import dspy

    class RoleLM(dspy.LM):  # type: ignore[misc]
        """A `dspy.LM` that lets exceptions of its engine through, where DSPy hides them in its LMUnexpectedError."""

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().__call__(*args, **kwargs)
            except dspy.LMUnexpectedError as error:
                raised = unwrap(error)
                if raised is error:
                    raise
            raise raised

    return RoleLM


def role_lm(
    call: Callable[[Asked], Reply], *, context: int, role: str, model: str, turns: Callable[[], int]
) -> "dspy.LM":
    """Return a `dspy.LM` for one role, each request of which is put to `call`.

    Args:
        call: Answers; an `LMFailure` leaves the DSPy module as DSPy's error, anything else it raises unchanged.
        context: Which of the run's contexts.
        role: Who asks.
        model: The model's name in usage and questions; no part of a request's hash.
        turns: Gives the number of a request, called once for each: an answer that DSPy cannot read is asked for again,
            and that is another turn.
    """
    engine = VoiceEngine(call, context=context, role=role, model=model, turns=turns)
    return _role_lm_class()(model, engine=engine, cache=False, num_retries=0)
