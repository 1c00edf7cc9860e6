"""A mailbox: questions and answers are files."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from language_models import ASKED

from glia_bench.designer.lm import Asked, LMFailure, Reply
from glia_bench.designer.mailbox import MailboxVoice
from glia_bench.errors import GliaBenchError


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
