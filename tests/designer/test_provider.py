"""Providers: what a server is sent, what goes wrong there, and that no key leaves it."""

import json
import threading
from collections.abc import Iterator

import pytest
from language_models import ASKED, KEY, Answer, Handler, Server, completion, failing, serving, without_settings

from glia_bench.designer.lm import LMFailure, Reply, provider_voice
from glia_bench.errors import GliaBenchError

pytest.importorskip("dspy", reason="the extra `designer` is not installed")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server that the environment names."""
    with serving(monkeypatch) as running:
        yield running


def test_a_server_is_asked_once_and_its_tokens_are_counted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts arrive, the cap bears the name that old servers know, and the key stands in its header alone."""
    monkeypatch.setenv("GLIA_LM_USD_PER_MTOK_IN", "2")
    monkeypatch.setenv("GLIA_LM_USD_PER_MTOK_OUT", "10")
    server.answers = [completion("since"), completion("since")]
    voice = provider_voice()
    assert voice.name == "openai/tiny"
    for _ in range(2):  # twice the same question: nothing is cached
        assert voice.answer(ASKED) == Reply(
            "since", "tiny-7b", 1000, 200, pytest.approx(0.004)
        )  # 1000·2/1e6 + 200·10/1e6
    path, headers, body = server.asked[1]
    sent = json.loads(body)
    assert path == "/v1/chat/completions"
    assert [message["content"] for message in sent["messages"]] == ["be brief", "why?"]
    assert (sent["model"], sent["max_tokens"]) == ("tiny", 8192)
    assert "max_completion_tokens" not in sent
    assert headers.pop("Authorization") == f"Bearer {KEY}"
    assert KEY not in f"{path}{headers}{body!r}{voice!r}{vars(voice)}"


def test_the_price_is_unknown_unless_it_is_told(server: Server) -> None:
    """A server of one's own has no price in the table, even where its model bears a known name."""
    server.answers = [completion("since")]
    assert provider_voice("gpt-5").answer(ASKED).usd is None


def test_the_table_knows_what_a_named_provider_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server of one's own, a known model has a price and another has none; the environment's comes first."""
    without_settings(monkeypatch)
    assert provider_voice("openai/gpt-5-mini")._usd(1_000_000, 100_000) == pytest.approx(0.45)  # 0.25 + 2.00/10
    assert provider_voice("openai/gpt-5-mini")._usd(1_000_000, None) is None
    assert provider_voice("openai/unheard-of")._usd(1, 1) is None
    monkeypatch.setenv("GLIA_LM_USD_PER_MTOK_IN", "1")
    monkeypatch.setenv("GLIA_LM_USD_PER_MTOK_OUT", "0")
    assert provider_voice("openai/gpt-5-mini")._usd(1_000_000, 100_000) == pytest.approx(1.0)


def test_two_threads_may_ask_a_server_at_once(server: Server) -> None:
    """Contexts that run in parallel share one voice."""
    server.answers = [completion("since"), completion("since")]
    voice, texts = provider_voice(), []
    threads = [threading.Thread(target=lambda: texts.append(voice.answer(ASKED).text)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert texts == ["since", "since"]


def test_no_other_key_reaches_a_server_of_ones_own(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without GLIA_LM_API_KEY, the key of OpenAI stays at home."""
    monkeypatch.delenv("GLIA_LM_API_KEY")
    server.answers = [completion("since")]
    provider_voice().answer(ASKED)
    assert "sk-of-another-place" not in str(server.asked)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (failing(500, f"broken, key {KEY}"), "transport"),
        (failing(429, f"too many with {KEY}"), "rate_limit"),
        (failing(401, f"Incorrect API key {KEY[:6]}...{KEY[-4:]}"), "auth"),
        (failing(400, f"the prompt is too long for {KEY}"), "invalid"),
        ((200, {}, b"<html>" + KEY.encode()), "transport"),
        *(((200, {}, b"x" * length + KEY.encode()), "transport") for length in (190, 490)),
        ((200, {"Content-Length": "5000"}, completion("since")[2]), "transport"),
        ((200, {}, completion("since")[2][:60]), "transport"),
        ((302, {"Location": "http://127.0.0.1:9/v1"}, b""), "transport"),
        (failing(403, "no entry"), "auth"),
        (completion(None, "content_filter"), "refused"),
    ],
    ids=[
        "500",
        "429",
        "401",
        "400",
        "no-json",
        "no-json-190",
        "no-json-490",
        "cut-connection",
        "cut-json",
        "elsewhere",
        "403",
        "filtered",
    ],
)
def test_what_goes_wrong_at_a_server_has_a_reason_and_shows_no_key(server: Server, answer: Answer, reason: str) -> None:
    """Each failure is one of ours, though the server repeats the key in its message."""
    server.answers = [answer]
    with pytest.raises(LMFailure) as failure:
        provider_voice(num_retries=0).answer(ASKED)
    assert failure.value.reason == reason
    assert "openai/tiny" in str(failure.value)
    assert KEY not in str(failure.value)
    assert KEY[:6] not in str(failure.value)
    assert KEY[-4:] not in str(failure.value)
    assert failure.value.__suppress_context__ or failure.value.__context__ is None
    assert len(server.asked) == 1


def test_a_failure_that_passes_is_tried_again(server: Server) -> None:
    """The server's own advice on when to come back is followed."""
    status, _, body = failing(429, "later")
    server.answers = [(status, {"Retry-After": "0"}, body), completion("since")]
    assert provider_voice().answer(ASKED).text == "since"


def test_a_server_that_is_not_there_or_too_slow(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection and silence are told apart."""
    monkeypatch.setenv("GLIA_LM_TIMEOUT_S", "0.05")
    hold = threading.Event()
    monkeypatch.setattr(Handler, "do_POST", lambda self: (hold.wait(5), None)[1])
    with pytest.raises(LMFailure) as slow:
        provider_voice(num_retries=0).answer(ASKED)
    hold.set()
    assert slow.value.reason == "timeout"
    monkeypatch.setenv("GLIA_LM_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(LMFailure) as absent:
        provider_voice(num_retries=0).answer(ASKED)
    assert absent.value.reason == "transport"


def test_a_server_cannot_smuggle_the_key_or_broken_text_into_a_recording(server: Server) -> None:
    """What is recorded holds no key, and can be written as UTF-8."""
    server.answers = [completion(f"your key is {KEY}\ud800", model=KEY, finish_reason="length")]
    reply = provider_voice().answer(ASKED)
    assert (reply.text, reply.model, reply.finish_reason) == ("your key is [key]?", "[key]", "length")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GLIA_LM_BASE_URL", f"http://user:{KEY}@127.0.0.1/v1"),
        ("GLIA_LM_BASE_URL", f"http://127.0.0.1/v1?key={KEY}"),
        ("GLIA_LM_BASE_URL", f"127.0.0.1/{KEY}"),
        ("GLIA_LM_BASE_URL", f"http://[{KEY}/v1"),
        ("GLIA_LM_BASE_URL", f"http://127.0.0.1:{KEY}/v1"),
        ("GLIA_LM_API_KEY", f"{KEY}\nX-Other: 1"),
        ("GLIA_LM_MAX_TOKENS", "0"),
        ("GLIA_LM_TIMEOUT_S", "nan"),
        ("GLIA_LM_USD_PER_MTOK_IN", "2"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_without_its_secret(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Addresses with keys in them, keys with line ends, and numbers that are none are refused at once."""
    monkeypatch.setenv(name, value)
    with pytest.raises(GliaBenchError, match=name) as error:
        provider_voice()
    assert KEY not in str(error.value)
