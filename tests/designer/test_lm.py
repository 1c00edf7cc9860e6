"""The names of voices, and the bridge from a voice to DSPy."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from language_models import (
    ASKED,
    CHAT,
    KEY,
    VERSIONS,
    Server,
    completion,
    lm_event,
    recording,
    serving,
    without_settings,
)

from glia_bench.designer.lm import (
    NO_LM,
    Asked,
    LMFailure,
    Reply,
    ScriptedVoice,
    make_voice,
    provider_voice,
    role_lm,
    unwrap,
)
from glia_bench.errors import GliaBenchError

dspy = pytest.importorskip("dspy", reason="the extra `designer` is not installed")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server that the environment names."""
    with serving(monkeypatch) as running:
        yield running


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
def test_a_name_that_leads_nowhere_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, complaint: str
) -> None:
    """Nothing is guessed from a name."""
    without_settings(monkeypatch)
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
