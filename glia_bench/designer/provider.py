"""Providers of language models, and servers of one's own that speak OpenAI's protocol, asked through DSPy.

Left out: streaming, and limits on a whole answer's time; the limit is on each wait for more of it.
"""

import math
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from glia_bench.designer.prices import USD_PER_MTOK
from glia_bench.designer.voices import Asked, LMFailure, Reason, Reply
from glia_bench.errors import GliaBenchError

PROVIDER_TIMEOUT_S = 600.0
SERVER_MAX_TOKENS = 8192
"""Where GLIA_LM_TIMEOUT_S and GLIA_LM_MAX_TOKENS say nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LMSettings:
    """What the environment says about language models."""

    base_url: str
    model: str
    api_key: str = field(repr=False)
    prices: tuple[float, float] | None
    timeout_s: float | None
    max_tokens: int | None
    secrets: tuple[str, ...] = field(repr=False)


def lm_settings(environ: Mapping[str, str]) -> LMSettings:
    """Read and check what the environment says.

    Raises:
        GliaBenchError: If a variable cannot be used; no value that may hold a secret is shown.
    """
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    base_url, api_key = given.get("GLIA_LM_BASE_URL", ""), given.get("GLIA_LM_API_KEY", "")
    try:
        address = urllib.parse.urlsplit(base_url)
        is_address = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # its message repeats the address
        is_address = False
    if base_url and not is_address:
        raise GliaBenchError("GLIA_LM_BASE_URL must be an address such as http://127.0.0.1:8000/v1")
    if address.username or address.password or address.query or address.fragment:
        raise GliaBenchError(
            "GLIA_LM_BASE_URL must be a bare address without user, password or '?'; "
            "the key belongs into GLIA_LM_API_KEY"
        )
    if not all("!" <= letter <= "~" for letter in api_key):
        raise GliaBenchError("GLIA_LM_API_KEY must be printable ASCII without blanks; copy the key again")
    prices = [_number(given, f"GLIA_LM_USD_PER_MTOK_{way}", 0.0) for way in ("IN", "OUT")]
    if (prices[0] is None) != (prices[1] is None):
        raise GliaBenchError("GLIA_LM_USD_PER_MTOK_IN and GLIA_LM_USD_PER_MTOK_OUT must be set together")
    max_tokens = _number(given, "GLIA_LM_MAX_TOKENS", 1.0)
    return LMSettings(
        base_url=base_url,
        model=given.get("GLIA_LM_MODEL", ""),
        api_key=api_key,
        prices=None if prices[0] is None or prices[1] is None else (prices[0], prices[1]),
        timeout_s=_number(given, "GLIA_LM_TIMEOUT_S", 0.001),
        max_tokens=None if max_tokens is None else int(max_tokens),
        # Some servers repeat a refused key; shorter values are placeholders, and words of ordinary texts.
        secrets=tuple(
            sorted(
                {v for name, v in given.items() if name.endswith(("_KEY", "_TOKEN", "_SECRET")) and len(v) >= 8},
                key=len,
                reverse=True,
            )
        ),
    )


def _number(given: Mapping[str, str], name: str, least: float) -> float | None:
    if name not in given:
        return None
    try:
        value = float(given[name])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= least):
        raise GliaBenchError(f"{name} must be a number of at least {least:g} (got {given[name]!r})")
    return value


class ProviderVoice:
    """A provider of `dspy.LM`, or any OpenAI-compatible server; nothing is cached, so that every answer is paid for.

    Args:
        model: Name for `dspy.LM`, with the provider in front.
        settings: Key, address, price and limits.
        num_retries: How often a failure that may pass is tried again.
    """

    def __init__(self, model: str, settings: LMSettings, num_retries: int) -> None:
        import dspy

        self.name = model
        self._settings = settings
        self._own_server = bool(settings.base_url)
        connection: dict[str, Any] = {}
        if self._own_server:
            # With a key given, OPENAI_API_KEY is never sent to a server that is not OpenAI's; with the engine
            # given, OPENAI_BASE_URL cannot bring litellm in.
            connection = {"api_base": settings.base_url, "api_key": settings.api_key or "none", "engine": "lm15"}
        elif settings.api_key:
            connection = {"api_key": settings.api_key}
        timeout_s = settings.timeout_s or PROVIDER_TIMEOUT_S
        self._lm = dspy.LM(model, cache=False, num_retries=num_retries, timeout=timeout_s, **connection)

    def __repr__(self) -> str:
        return f"ProviderVoice({self.name!r})"

    def answer(self, asked: Asked) -> Reply:
        """Ask the provider.

        Raises:
            LMFailure: If it gave no answer after all retries.
        """
        import dspy
        from dspy.lm15 import Config, Message, Request

        limit = self._settings.max_tokens
        if self._own_server:
            # Older servers know max_tokens alone, and pass over the newer name that the engine would send.
            config = Config(extensions={"max_tokens": limit or SERVER_MAX_TOKENS})
        else:
            config = Config(max_tokens=limit)
        request = Request(
            model=self.name, system=asked.system or None, messages=(Message.user(asked.user),), config=config
        )
        try:
            # The caller's own LM counts usage and keeps the history; here they would be counted twice.
            with dspy.context(callbacks=[], usage_tracker=None, disable_history=True, send_stream=None):
                response = self._lm(request)
        except (dspy.LMError, ImportError) as error:
            raise self._failure(error) from None
        if response.finish_reason in ("content_filter", "error") and not response.message.text:
            raise LMFailure("refused", f"{self.name} declined to answer ({response.finish_reason})")
        usage = response.usage
        tokens_out = usage.output_tokens
        if tokens_out is not None and self.name.startswith(("gemini/", "vertex_ai/", "xai/")):
            tokens_out += usage.reasoning_tokens or 0  # billed as output, reported apart
        return Reply(
            text=self._clean(response.message.text or ""),
            model=self._clean(response.model),
            tokens_in=usage.input_tokens,
            tokens_out=tokens_out,
            usd=self._usd(usage.input_tokens, tokens_out),
            finish_reason=response.finish_reason,
        )

    def _usd(self, tokens_in: int | None, tokens_out: int | None) -> float | None:
        prices = self._settings.prices or (None if self._own_server else USD_PER_MTOK.get(self.name))
        if prices is None or tokens_in is None or tokens_out is None:
            return None
        return (tokens_in * prices[0] + tokens_out * prices[1]) / 1e6

    def _failure(self, error: Exception) -> LMFailure:
        import dspy

        if isinstance(error, (dspy.LMAuthError, dspy.LMNotConfiguredError)):
            key = "GLIA_LM_API_KEY" if self._own_server else "the provider's key variable"
            return LMFailure("auth", f"{self.name}: the server wants another API key; check {key}")
        reasons: list[tuple[type[Exception], Reason]] = [
            (dspy.LMTimeoutError, "timeout"),
            (dspy.LMRateLimitError, "rate_limit"),
            (dspy.LMBillingError, "refused"),
            (dspy.LMUnsupportedModelError, "refused"),
            (dspy.LMTransportError, "transport"),
            (dspy.LMServerError, "transport"),
            (dspy.LMUnexpectedError, "transport"),  # an answer that is no JSON, or cut short
        ]
        reason: Reason = next((reason for kind, reason in reasons if isinstance(error, kind)), "invalid")
        status = getattr(error, "status", None) or 0
        if type(error) is dspy.LMProviderError and status < 400:
            # DSPy's own message shows where the answer begins, and may cut a key in two.
            return LMFailure(
                "transport", f"{self.name} (HTTP {status}): the answer is no JSON; is it the right address?"
            )
        if any(_is_timeout(cause) for cause in _causes(error)):
            reason = "timeout"
        return LMFailure(reason, f"{self.name}{f' (HTTP {status})' if status else ''}: {self._clean(str(error))[:300]}")

    def _clean(self, text: str) -> str:
        """Take out every secret, and what UTF-8 cannot hold, for this text may be recorded."""
        for secret in self._settings.secrets:
            text = text.replace(secret, "[key]")
        return text.encode("utf-8", "replace").decode("utf-8")


def _causes(error: BaseException | None) -> list[BaseException]:
    causes: list[BaseException] = []
    while error is not None and len(causes) < 8:
        causes.append(error)
        error = error.__cause__
    return causes


def _is_timeout(error: BaseException) -> bool:
    # DSPy's client calls a silent server a failed transport, and names the reason in a private class alone.
    return isinstance(error, TimeoutError) or type(error).__name__ in ("ReadTimeout", "ConnectTimeout", "WriteTimeout")
