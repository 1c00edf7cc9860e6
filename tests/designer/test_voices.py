"""Answers written down beforehand: scripts and recordings."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from language_models import ASKED, VERSIONS, lm_event, recording

from glia_bench.designer.lm import LMFailure, ReplayVoice, Reply, ScriptedVoice
from glia_bench.errors import GliaBenchError


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
