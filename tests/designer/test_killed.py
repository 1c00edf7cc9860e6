"""A design run killed by SIGKILL again and again, from the command line; the answers of a model lie in its mailbox."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from team_answers import answering

from glia_bench.designer.budget import Budget
from glia_bench.designer.drive import drive
from glia_bench.designer.journal import JOURNAL, Journal, untimed
from glia_bench.designer.lm import Asked, ScriptedVoice
from glia_bench.designer.run import DesignRun, Settings

TASK = "scheduling/memory-v0"
SEED = 20_251
MAX_STARTS = 40


def design(folder: Path, *more: str) -> "subprocess.Popen[bytes]":
    """Start the command line on the run of a folder."""
    command = [sys.executable, "-m", "glia_bench", "design", "glia", "--task", TASK, "--lm", "mailbox"]
    settings = ["--budget", "3", "--seeds", "1", "--out", str(folder), *more]
    return subprocess.Popen([*command, *settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_killed_at_any_point(tmp_path: Path) -> None:
    """However often it is killed, the run ends with the journal of one that never was, and asks nothing twice."""
    answers: dict[str, str] = {}

    def answer(asked: Asked) -> str:
        said = answering()(asked)
        assert isinstance(said, str)
        answers[f"c{asked.context}-{asked.role}-{asked.turn:03d}"] = said
        return said

    settings = Settings(
        task=TASK,
        designer="glia",
        seeds=(0,),
        budget=Budget.parse("3"),
        options={"mode": "sequential", "without": [], "patience": 10},
    )
    whole = DesignRun(settings, tmp_path / "whole")
    outcome = drive(whole, ScriptedVoice(answer))
    cut = tmp_path / "cut"
    mailbox = cut / "mailbox"
    mailbox.mkdir(parents=True)
    for stem, text in answers.items():
        (mailbox / f"{stem}.response.txt").write_text(text)
    draw = random.Random(SEED)
    for start in range(MAX_STARTS):
        process = design(cut, *(["--resume"] if (cut / JOURNAL).exists() else []))
        try:
            process.wait(timeout=draw.uniform(0.5, 9.0) * 1.05**start)  # a slow machine gets to its end too
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        time.sleep(0.1)  # its children end with it
        if process.returncode == 0:
            break
    assert process.returncode == 0, "never came to its end"
    ended = Journal(cut / JOURNAL)

    def answers_of(journal: Journal) -> list[object]:
        return [untimed(e) for e in journal.entries if e["event"] not in ("start", "end")]

    expected = json.loads(json.dumps(answers_of(whole.journal)))
    assert [e["event"] for e in ended.entries if e["event"] != "end"] == [
        e["event"] for e in whole.journal.entries if e["event"] != "end"
    ]
    got = json.loads(json.dumps(answers_of(ended)))
    for entry in (*expected, *got):
        entry.get("reply", {}).pop("model", None)
    assert got == expected
    assert outcome.best is not None
    assert (cut / "design" / "policy.py").read_text() == outcome.best.source
