"""What answers a designer's questions: each voice, the bridge to DSPy, and that no key leaves it."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from glia_bench.designer.lm import (
    NO_LM,
    Asked,
    LMFailure,
    ReplayVoice,
    Reply,
    ScriptedVoice,
    make_voice,
    provider_voice,
    role_lm,
    unwrap,
)
from glia_bench.designer.mailbox import MailboxVoice
from glia_bench.errors import GliaBenchError

dspy = pytest.importorskip("dspy", reason="the extra `designer` is not installed")

KEY = "sk-canary-0123456789"
ASKED = Asked(context=0, role="researcher", turn=3, model="m", system="be brief", user="why?", sha256="a" * 64)
VERSIONS = {"task": "routing/bursty-v0", "dspy": "3.4.1", "glia_bench": "0.1.0"}
CHAT = "[[ ## answer ## ]]\nfour\n\n[[ ## completed ## ]]\n"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the language model of whoever runs it."""
    for name in ("BASE_URL", "MODEL", "API_KEY", "USD_PER_MTOK_IN", "USD_PER_MTOK_OUT", "MAX_TOKENS", "TIMEOUT_S"):
        monkeypatch.delenv(f"GLIA_LM_{name}", raising=False)


# Scripts


def test_a_script_answers_in_order_raises_its_exceptions_and_says_when_it_ran_out() -> None:
    """A script gives its answers one by one; after the last it fails rather than repeat itself."""
    voice = ScriptedVoice(["one", LMFailure("rate_limit", "slow down"), "two"])
    assert voice.answer(ASKED) == Reply("one", "scripted", None, None, None)
    with pytest.raises(LMFailure, match="slow down"):
        voice.answer(ASKED)
    assert voice.answer(ASKED).text == "two"
    with pytest.raises(LMFailure, match="ran out: it holds 3 answers, and context 0, researcher, turn 3") as failure:
        voice.answer(ASKED)
    assert failure.value.reason == "invalid"


def test_a_script_may_be_a_function_of_the_question() -> None:
    """A function sees the question and may answer, reply in full, or give an exception to raise."""
    reply = Reply("r", "m", 1, 2, 0.5, "length")
    given: dict[int, str | Reply | Exception] = {0: "t", 1: reply, 2: KeyError("k")}
    voice = ScriptedVoice(lambda asked: given[asked.turn])
    assert voice.answer(replace(ASKED, turn=0)).text == "t"
    assert voice.answer(replace(ASKED, turn=1)) is reply
    with pytest.raises(KeyError):
        voice.answer(replace(ASKED, turn=2))


def test_one_text_is_no_script() -> None:
    """A text is a sequence of letters, and would answer letter by letter."""
    with pytest.raises(TypeError, match="list of texts"):
        ScriptedVoice("four")


# Recordings


def lm_event(**changes: Any) -> dict[str, Any]:
    """Return a recorded answer to ASKED."""
    reply = {"text": "since", "model": "openai/m", "tokens_in": 7, "tokens_out": 2, "usd": 0.1, "finish_reason": "stop"}
    event = {"event": "lm", "context": 0, "role": "researcher", "turn": 3, "request_sha256": ASKED.sha256}
    return {**event, "reply": reply, "wall_s": 1.5, **changes}


def recording(folder: Path, *events: object) -> Path:
    """Write a recording."""
    path = folder / "run.jsonl"
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    return path


def test_a_replay_gives_the_recorded_answers_and_passes_over_other_events(tmp_path: Path) -> None:
    """An answer comes back whole, as often as it is asked for, under any model's name."""
    path = recording(tmp_path, {"event": "start", "versions": VERSIONS}, {"event": "round", "role": 3}, lm_event())
    voice = ReplayVoice(path, VERSIONS)
    for asked in (ASKED, replace(ASKED, model="another")):
        assert voice.answer(asked) == Reply("since", "openai/m", 7, 2, 0.1)
    assert not voice.has_drifted
    assert voice.remark == ""


def test_a_replay_fails_where_the_recorded_run_failed(tmp_path: Path) -> None:
    """A run that lost a turn to its provider can be replayed too."""
    event = lm_event(failure={"reason": "rate_limit", "message": "slow down"})
    del event["reply"]
    with pytest.raises(LMFailure, match="slow down") as failure:
        ReplayVoice(recording(tmp_path, event), VERSIONS).answer(ASKED)
    assert failure.value.reason == "rate_limit"


def test_a_line_of_a_recording_ends_at_its_line_feed_alone(tmp_path: Path) -> None:
    """Other line ends that Unicode knows may stand unescaped within an answer."""
    path = tmp_path / "run.jsonl"
    reply = {**lm_event()["reply"], "text": "a\u2028b\x85c"}
    path.write_text(json.dumps(lm_event(reply=reply), ensure_ascii=False) + "\n", encoding="utf-8")
    assert ReplayVoice(path, VERSIONS).answer(ASKED).text == "a\u2028b\x85c"


@pytest.mark.parametrize("changes", [{"context": 1}, {"role": "analyst"}, {"turn": 4}])
def test_a_replay_without_the_answer_names_it_and_what_there_is(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Nothing is answered from another context, role or turn."""
    voice = ReplayVoice(recording(tmp_path, lm_event()), VERSIONS)
    wanted = replace(ASKED, **changes)
    with pytest.raises(
        GliaBenchError, match=f"{wanted.role}, turn {wanted.turn}; it holds context 0, researcher, turn 3"
    ):
        voice.answer(wanted)


def test_with_equal_versions_a_changed_question_is_an_error_and_with_others_a_flag(tmp_path: Path) -> None:
    """A changed prompt is a mistake of ours unless a version changed with it."""
    path = recording(tmp_path, {"event": "start", "versions": VERSIONS}, lm_event())
    changed = replace(ASKED, sha256="b" * 64)
    with pytest.raises(GliaBenchError, match="asks something else than was recorded"):
        ReplayVoice(path, VERSIONS).answer(changed)
    drifted = ReplayVoice(path, {**VERSIONS, "dspy": "3.5.0"})
    drifted.answer(ASKED)
    assert not drifted.has_drifted
    assert drifted.answer(changed).text == "since"
    assert drifted.has_drifted
    assert "dspy was 3.4.1, is 3.5.0" in drifted.remark
    assert "task" not in drifted.remark


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "AttributeError"),
        (json.dumps(lm_event(reply={"text": "x"})), "TypeError"),
        (json.dumps(lm_event(turn="3")), "whole numbers"),
        (json.dumps(lm_event(failure={"reason": "boredom", "message": ""})), "one of timeout"),
        (json.dumps(lm_event(reply={**lm_event()["reply"], "tokens_in": -1})), "tokens_in"),
        (json.dumps(lm_event(reply={**lm_event()["reply"], "usd": float("nan")})), "usd"),
        (json.dumps(lm_event()), "stands there twice"),
    ],
)
def test_a_recording_that_cannot_be_read_says_in_which_line(tmp_path: Path, line: str, complaint: str) -> None:
    """People cut and edit recordings; a broken one is refused before anything is answered."""
    path = recording(tmp_path, lm_event())
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(GliaBenchError, match=f"line 2: .*{complaint}"):
        ReplayVoice(path, VERSIONS)


def test_an_absent_or_empty_recording_is_a_users_error(tmp_path: Path) -> None:
    """A path that leads nowhere, and a file without answers, are told apart."""
    with pytest.raises(GliaBenchError, match="cannot be read"):
        ReplayVoice(tmp_path / "no.jsonl", VERSIONS)
    with pytest.raises(GliaBenchError, match="holds no answer"):
        ReplayVoice(recording(tmp_path, {"event": "start"}), VERSIONS)


# The mailbox


def mailbox(folder: Path, timeout_s: float = 5.0) -> MailboxVoice:
    """Return a quick and silent mailbox."""
    return MailboxVoice(folder, timeout_s, poll_s=0.01, say=lambda text: None)


def soon(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most five seconds."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_mailbox_takes_an_answer_that_was_there_before_without_asking_anyone(tmp_path: Path) -> None:
    """A resumed run pays nothing twice, and calls nobody."""
    (tmp_path / "c0-researcher-003.response.txt").write_text("since")
    said: list[str] = []
    voice = MailboxVoice(tmp_path, 5.0, poll_s=0.01, say=said.append)
    assert voice.answer(ASKED) == Reply("since", "mailbox", None, None, None)
    assert mailbox(tmp_path).answer(ASKED).text == "since"
    assert said == []


def test_a_mailbox_writes_the_question_for_people_and_programs_and_waits(tmp_path: Path) -> None:
    """Both files are there when people are told, and the answer may come afterwards."""
    said: list[str] = []

    def reply(text: str) -> None:
        said.append(text)
        page = (tmp_path / "c0-researcher-003.request.md").read_text()
        assert all(
            part in page for part in ("researcher", "turn 3", "be brief", "why?", "c0-researcher-003.response.txt")
        )
        assert json.loads((tmp_path / "c0-researcher-003.request.json").read_text())["sha256"] == ASKED.sha256
        (tmp_path / "part").write_text("since")
        (tmp_path / "part").rename(tmp_path / "c0-researcher-003.response.txt")

    assert MailboxVoice(tmp_path, 5.0, poll_s=0.01, say=reply).answer(ASKED).text == "since"
    assert len(said) == 1


def test_a_mailbox_waits_while_an_answer_is_empty_or_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an answer is none: it must have stood for one look."""
    response = tmp_path / "c0-researcher-003.response.txt"
    parts = ["", "  \n", "", "sin", "ce", ""]

    def grow(seconds: float) -> None:
        with response.open("a") as file:
            file.write(parts.pop(0))

    monkeypatch.setattr("glia_bench.designer.mailbox.time.sleep", grow)
    assert mailbox(tmp_path).answer(ASKED).text == "  \nsince"
    assert parts == []


def test_a_mailbox_that_nobody_answers_times_out_and_takes_the_late_answer_next_time(tmp_path: Path) -> None:
    """Nobody waits forever; what came too late serves the resumed run."""
    with pytest.raises(LMFailure, match=r"no answer in c0-researcher-003\.response\.txt within 0\.03 s") as failure:
        mailbox(tmp_path, 0.03).answer(ASKED)
    assert failure.value.reason == "timeout"
    (tmp_path / "c0-researcher-003.response.txt").write_text("late")
    assert mailbox(tmp_path).answer(ASKED).text == "late"


def test_two_questions_may_lie_in_a_mailbox_at_once_and_be_answered_in_any_order(tmp_path: Path) -> None:
    """Each waiting thread gets the answer to its own question."""
    voice, answers = mailbox(tmp_path), {}
    second = replace(ASKED, context=1, sha256="b" * 64)

    def ask(asked: Asked) -> None:
        answers[asked.context] = voice.answer(asked).text

    threads = [threading.Thread(target=ask, args=(asked,)) for asked in (ASKED, second)]
    for thread in threads:
        thread.start()
    soon(lambda: len(list(tmp_path.glob("*.request.json"))) == 2)
    for context in (1, 0):
        (tmp_path / f"c{context}-researcher-003.response.txt").write_text(f"to {context}")
    for thread in threads:
        thread.join(5)
    assert answers == {0: "to 0", 1: "to 1"}


def test_an_answer_to_another_question_is_not_taken(tmp_path: Path) -> None:
    """A mailbox of another run must not answer this one."""
    (tmp_path / "c0-researcher-003.response.txt").write_text("since")
    mailbox(tmp_path).answer(ASKED)
    with pytest.raises(GliaBenchError, match="answers another question"):
        mailbox(tmp_path).answer(replace(ASKED, sha256="b" * 64))


def test_a_question_that_changed_before_it_was_answered_is_written_anew(tmp_path: Path) -> None:
    """People answer what is asked now."""
    for asked in (ASKED, replace(ASKED, user="how?", sha256="b" * 64)):
        with pytest.raises(LMFailure):
            mailbox(tmp_path, 0.02).answer(asked)
    assert "how?" in (tmp_path / "c0-researcher-003.request.md").read_text()


def test_a_mailbox_reads_bytes_of_any_kind_and_refuses_names_that_leave_it(tmp_path: Path) -> None:
    """An editor's byte order mark and line ends vanish, a stray byte is no crash, and a role is no path."""
    (tmp_path / "c0-researcher-003.response.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\xff")
    assert mailbox(tmp_path).answer(ASKED).text == "a\nb�"
    with pytest.raises(GliaBenchError, match="a role in a mailbox"):
        mailbox(tmp_path).answer(replace(ASKED, role="../etc"))


# Providers

Answer = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    """An OpenAI-compatible server that says what it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, dict[str, str], bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.asked.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
        status, headers, body = server.answers.pop(0)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def completion(text: str | None, finish_reason: str = "stop", model: str = "tiny-7b") -> Answer:
    """Return a whole answer of such a server."""
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
    return (
        200,
        {},
        json.dumps(
            {"id": "1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
        ).encode(),
    )


def failing(status: int, message: str) -> Answer:
    """Return an error of such a server."""
    return status, {}, json.dumps({"error": {"message": message, "type": "error"}}).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server that the environment names, beside another address that must not be taken."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("GLIA_LM_BASE_URL", f"http://127.0.0.1:{running.server_port}/v1")
        monkeypatch.setenv("GLIA_LM_MODEL", "tiny")
        monkeypatch.setenv("GLIA_LM_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-place")
        yield running
        running.shutdown()
        thread.join()


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
    monkeypatch.setattr(_Handler, "do_POST", lambda self: (hold.wait(5), None)[1])
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


# Names


def test_a_name_leads_to_its_voice(tmp_path: Path, server: Server) -> None:
    """Every kind of voice can be named, and with nothing named the environment counts."""
    script = tmp_path / "script.json"
    script.write_text('["one"]')
    recorded = recording(tmp_path, lm_event())
    for spec, name in {
        "replay": "replay",
        "mailbox": "mailbox",
        f"scripted:{script}": "scripted",
        "m": "openai/m",
    }.items():
        assert make_voice(spec, folder=tmp_path, versions=VERSIONS, recording=recorded).name == name
    assert make_voice("", folder=tmp_path, versions=VERSIONS).name == "openai/tiny"


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("", "No language model is configured"),
        ("replya", "did you mean 'replay'"),
        ("openai/", "name its provider too"),
        ("replay", "--replay FILE"),
        ("scripted", "scripted:FILE.json"),
        ("scripted:", "scripted:FILE.json"),
        ("scripted:absent.json", "cannot be read"),
    ],
)
def test_a_name_that_leads_nowhere_says_what_to_do(tmp_path: Path, spec: str, complaint: str) -> None:
    """Nothing is guessed from a name."""
    with pytest.raises(GliaBenchError, match=complaint):
        make_voice(spec, folder=tmp_path, versions=VERSIONS)


@pytest.mark.parametrize("text", ["{}", "[1]", "no json", '"one"'])
def test_a_script_file_must_be_a_list_of_texts(tmp_path: Path, text: str) -> None:
    """Anything else in the file is refused before a run begins."""
    (tmp_path / "script.json").write_text(text)
    with pytest.raises(GliaBenchError, match="JSON list of texts"):
        make_voice(f"scripted:{tmp_path / 'script.json'}", folder=tmp_path, versions=VERSIONS)


def test_the_help_is_three_ways_in_three_lines() -> None:
    """It names the variables, the mailbox and the replay."""
    assert len(NO_LM.splitlines()) == 3
    assert all(way in NO_LM for way in ("GLIA_LM_BASE_URL", "--lm mailbox", "--lm replay"))


# The bridge to DSPy


def ask(call: Callable[[Asked], Reply], model: str = "openai/gpt-5") -> Any:
    """Put one question through a DSPy module; turns count from 0."""
    lm = role_lm(call, context=2, role="analyst", model=model, turns=iter(range(9)).__next__)
    with dspy.context(lm=lm, track_usage=True, disable_history=True):
        return dspy.Predict("question -> answer")(question="what is two and two?")


def test_a_module_of_dspy_asks_the_voice_and_counts_its_tokens() -> None:
    """One question: its place, its texts, its tokens."""
    asked: list[Asked] = []
    answer = ask(lambda question: (asked.append(question), Reply(CHAT, "m", 30, 4, None))[1])
    assert answer.answer == "four"
    assert answer.get_lm_usage()["openai/gpt-5"]["prompt_tokens"] == 30
    (question,) = asked
    assert (question.key, question.model) == ((2, "analyst", 0), "openai/gpt-5")
    assert "answer" in question.system
    assert "what is two and two?" in question.user
    assert len(question.sha256) == 64


def test_the_hash_knows_the_question_and_not_the_model() -> None:
    """A recording replays under any model's name; another question has another hash."""
    asked: list[Asked] = []

    def call(question: Asked) -> Reply:
        asked.append(question)
        return Reply(CHAT, "", None, None, None)

    for model in ("openai/gpt-5", "replay", "anthropic/claude-haiku-4-5", "o3"):
        ask(call, model)
    assert len({question.sha256 for question in asked}) == 1
    lm = role_lm(call, context=0, role="r", model="m", turns=lambda: 0)
    lm("what is two and three?")
    assert asked[-1].sha256 != asked[0].sha256


def test_an_answer_that_cannot_be_read_leads_to_a_second_turn() -> None:
    """DSPy asks once more for JSON; both questions are counted, and both have their own number."""
    asked: list[Asked] = []
    texts = ["no markers", '{"answer": "four"}']
    answer = ask(lambda question: (asked.append(question), Reply(texts[question.turn], "m", 10, 1, None))[1])
    assert answer.answer == "four"
    assert [question.turn for question in asked] == [0, 1]
    assert asked[0].sha256 != asked[1].sha256
    assert answer.get_lm_usage()["openai/gpt-5"]["completion_tokens"] == 2


def test_two_answers_that_cannot_be_read_are_dspys_error_and_so_is_an_empty_one() -> None:
    """There is no third turn."""
    for text in ("no markers", ""):
        script = ScriptedVoice([text, text])
        with pytest.raises(dspy.AdapterParseError):
            ask(script.answer)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("timeout", "LMTimeoutError"),
        ("transport", "LMTransportError"),
        ("rate_limit", "LMRateLimitError"),
        ("invalid", "LMInvalidRequestError"),
        ("refused", "LMProviderError"),
        ("auth", "LMAuthError"),
    ],
)
def test_a_failure_leaves_a_module_as_dspys_error_after_one_try(reason: Any, error: str) -> None:
    """DSPy retries nothing here, and the failure can be had back."""
    failure = LMFailure(reason, "so it is")
    script = ScriptedVoice([failure, CHAT])
    with pytest.raises(getattr(dspy, error), match="so it is") as raised:
        ask(script.answer)
    assert unwrap(raised.value) is failure
    assert script.answer(ASKED).text == CHAT


class _SpentError(Exception):
    """Stands for a budget that is spent."""


@pytest.mark.parametrize(
    "error", [_SpentError("no call left"), GliaBenchError("no such turn"), ValueError("x"), TimeoutError()]
)
def test_any_other_exception_leaves_a_module_as_it_is(error: Exception) -> None:
    """A spent budget ends the module at once, with the exception that was raised."""
    script = ScriptedVoice([error, CHAT])
    with pytest.raises(type(error)) as raised:
        ask(script.answer)
    assert raised.value is error
    assert script.answer(ASKED).text == CHAT


def test_a_copied_module_asks_the_same_voice() -> None:
    """DSPy copies modules when it refines them; the copy goes on counting."""
    turns = iter(range(9))
    asked: list[int] = []
    lm = role_lm(
        lambda question: (asked.append(question.turn), Reply(CHAT, "m", None, None, None))[1],
        context=0, role="r", model="m", turns=turns.__next__,
    )  # fmt: skip
    module = dspy.Predict("question -> answer")
    module.set_lm(lm)
    module(question="a")
    module.deepcopy()(question="a")
    module.set_lm(lm.copy())
    module(question="a")
    assert asked == [0, 1, 2]


def test_a_provider_behind_a_role_is_counted_once(server: Server) -> None:
    """Usage shows the role's tokens and not the provider's beside them."""
    server.answers = [completion(CHAT)]
    answer = ask(provider_voice().answer, "openai/tiny")
    usage = answer.get_lm_usage()
    assert usage["openai/tiny"]["prompt_tokens"] == 1000
    assert list(usage) == ["openai/tiny"]


# Imports


def test_asking_a_server_imports_no_litellm_and_the_package_no_dspy(server: Server) -> None:
    """`import glia_bench`, its command line and lm.py stay light; a server is reached without litellm."""
    server.answers = [completion(CHAT)]
    code = f"""
import sys
import glia_bench, glia_bench.cli, glia_bench.designer.lm, glia_bench.designer.mailbox
heavy = {{"dspy", "litellm", "optuna", "openai"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
from glia_bench.designer.lm import Asked, provider_voice, role_lm
import dspy
lm = role_lm(provider_voice().answer, context=0, role="r", model="openai/tiny", turns=lambda: 0)
with dspy.context(lm=lm):
    print(dspy.Predict("question -> answer")(question="q").answer)
assert "litellm" not in sys.modules
assert {KEY!r} not in str(lm.history) + repr(lm)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "four\n", "")
