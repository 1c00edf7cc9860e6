"""The Glia loop: what a round does, what its switches leave out, and how each way of failing ends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from team_answers import LATEST, SHORTEST, WRONG, answering, chat

from glia_bench.designer.budget import Budget
from glia_bench.designer.drive import Outcome, drive
from glia_bench.designer.glia import plain_source
from glia_bench.designer.journal import JOURNAL, Journal, untimed
from glia_bench.designer.lm import Asked, LMFailure, ReplayVoice, Reply, ScriptedVoice, Voice
from glia_bench.designer.roles import prompts
from glia_bench.designer.run import DesignRun, Settings, versions_of
from glia_bench.evaluation.runner import Limits

TASK = "scheduling/memory-v0"
ENDLESS = "def rank(request, replica, memory):\n    x = 1.0\n    while x > 0.0:\n        x = x + 1.0\n    return x\n"

Designed = Callable[..., tuple[DesignRun, Outcome]]


@pytest.fixture
def designed(tmp_path: Path) -> Designed:
    """Return a function that runs the designer in this test's folder."""

    def design(
        voice: Voice, budget: str = "simulations=3", contexts: int = 1, folder: str = "run", **options: Any
    ) -> tuple[DesignRun, Outcome]:
        settings = Settings(
            task=TASK,
            designer="glia",
            seeds=(0,),
            budget=Budget.parse(budget),
            contexts=contexts,
            options={"patience": 2, **options},
        )
        run = DesignRun(settings, tmp_path / folder, limits=Limits(timeout_s=4.0))
        return run, drive(run, voice)

    return design


def events(run: DesignRun) -> list[str]:
    """Return what happened, in order."""
    return [entry["event"] for entry in run.journal.entries]


def roles(run: DesignRun, context: int | None = None) -> list[str]:
    """Return who was asked, in order."""
    return [entry["role"] for entry in run.journal.all("lm", context)]


def test_a_round(designed: Designed) -> None:
    """A round analyses, thinks, writes, simulates, experiments and is supervised; the report comes last."""
    run, outcome = designed(ScriptedVoice(answering()), "simulations=4")
    assert roles(run)[:5] == ["analyst", "researcher", "coder", "experimenter", "supervisor"]
    assert roles(run)[-2:] == ["reporter", "witness"]
    first = next(run.journal.all("round"))["what"]
    assert first["verdict"].startswith("The prediction held: cost changed by -0.")
    sweep, ablation, load, query = first["experiments"]
    assert sweep.startswith("sweep LIMIT=2: cost")
    assert "NOWHERE must be a constant" in ablation
    assert "must be from 0.1 to 2 (got 99)" in load
    assert "|prompt_tokens|" in query
    insights = [entry["what"] for entry in run.journal.all("insight")]
    assert insights[0]["table"].startswith("|requests|")
    assert "cannot be answered" in insights[1]["table"]
    assert outcome.status == "done"
    assert outcome.folder is not None
    written = json.loads((outcome.folder / "report.json").read_text())
    assert written["summary"] == "Short first."
    assert written["provenance"]["witness"]["model_name"] == "scripted"
    assert (outcome.folder / "policy.py").read_text() == outcome.best.source if outcome.best else False


def test_replay_reproduces(designed: Designed, tmp_path: Path) -> None:
    """The journal of one run, replayed in another folder, leads to the same entries; a changed prompt is an error."""
    first, outcome = designed(ScriptedVoice(answering()))
    voice = ReplayVoice(first.journal.path, versions_of(TASK))
    second, again = designed(voice, folder="replay")
    assert [untimed(e) for e in second.journal.entries[1:-1]] == [untimed(e) for e in first.journal.entries[1:-1]]
    assert again.best == outcome.best
    assert not voice.has_drifted


@pytest.mark.slow
def test_cut_anywhere(designed: Designed, tmp_path: Path) -> None:
    """A run that was cut after any entry goes on to the same journal and asks nothing twice."""
    first, outcome = designed(ScriptedVoice(answering()))
    whole = [untimed(entry) for entry in first.journal.entries]
    lines = first.journal.path.read_bytes().splitlines(keepends=True)
    asked: list[Asked] = []

    def counted(question: Asked) -> str | Exception:
        asked.append(question)
        return answering()(question)

    for kept in (1, 4, 9, len(lines) - 2):
        asked.clear()
        first.journal.path.write_bytes(b"".join(lines[:kept]) + lines[kept][:5])
        missing = sum(json.loads(line)["event"] == "lm" for line in lines[kept:])
        run, again = designed(ScriptedVoice(counted))
        assert [untimed(entry) for entry in Journal(run.folder / JOURNAL).entries] == whole
        assert again.best == outcome.best
        assert len(asked) == missing


def test_switches(designed: Designed) -> None:
    """Without a supervisor or an analyst nobody asks them; without details the researcher sees scores alone."""
    run, _ = designed(ScriptedVoice(answering()), without=["supervisor", "details"])
    assert not {"supervisor", "analyst"} & set(roles(run))
    told = [entry["user"] for entry in run.journal.all("lm") if entry["role"] in ("researcher", "experimenter")]
    assert not any("ttft_p99_s" in text.partition("## hypothesis")[0] and "mean_s 1" in text for text in told)
    assert "score" in told[1]


def test_contexts(designed: Designed) -> None:
    """Contexts share the budget; one after the other they are told what came before, side by side they are not."""
    run, _ = designed(ScriptedVoice(answering()), "simulations=6", contexts=2)
    second = next(entry["user"] for entry in run.journal.all("lm", 1) if entry["role"] == "researcher")
    assert "From an earlier context" in second
    run, outcome = designed(ScriptedVoice(answering()), "simulations=6", contexts=2, folder="p", mode="parallel")
    second = next(entry["user"] for entry in run.journal.all("lm", 1) if entry["role"] == "researcher")
    assert "From an earlier context" not in second
    assert outcome.spent["simulations"] <= 6.0
    assert {0, 1} <= {entry["context"] for entry in run.journal.all("round")}


def test_invalid_code_goes_back(designed: Designed) -> None:
    """What cannot run goes back with the checker's words, twice at most, and costs no simulation."""
    run, outcome = designed(ScriptedVoice(answering(coder=chat(policy_source=WRONG))))
    coder = [entry["user"] for entry in run.journal.all("lm") if entry["role"] == "coder"]
    assert len(coder) == 6  # two rounds without a gain, three attempts each
    assert "secret" in coder[1]
    assert "Your last attempt" in coder[2]
    assert outcome.spent["simulations"] == 1.0
    assert outcome.best is not None
    assert "no gain in 2 rounds" in outcome.message


@pytest.mark.parametrize("reply", ["", "I can't help with that.", "[[ ## policy_source ## ]]", "[]", "\ud800 \x00"])
def test_replies_that_cannot_be_read(designed: Designed, reply: str) -> None:
    """Empty, refused and malformed replies are charged, end the run, and leave a journal and a design."""
    run, outcome = designed(ScriptedVoice(lambda asked: reply), "simulations=3,lm_calls=40")
    assert outcome.status == "done"
    assert outcome.best is not None
    assert "cannot be read" in outcome.message or "no gain" in outcome.message
    assert outcome.spent["lm_calls"] >= 4
    assert Journal(run.journal.path).entries == run.journal.entries


def test_a_dead_endpoint(designed: Designed) -> None:
    """A model that gives no answer ends the run with what there is; it goes on when the model is back."""
    down = answering(coder=LMFailure("transport", "refused"))
    run, outcome = designed(ScriptedVoice(down))
    assert (outcome.status, outcome.spent["simulations"]) == ("lm_failed", 1.0)
    assert "transport" in next(run.journal.all("failure"))["reason"]
    run, outcome = designed(ScriptedVoice(answering()))
    assert outcome.status == "done"
    assert outcome.spent["simulations"] > 1.0


def test_a_policy_that_never_ends(designed: Designed) -> None:
    """A proposed policy with an endless loop costs one deadline a try and is no design."""
    run, outcome = designed(ScriptedVoice(answering(coder=chat(policy_source=ENDLESS))), patience=1)
    assert "timeout" in next(e for e in run.journal.all("round"))["what"]["result"]
    assert outcome.best is not None
    assert outcome.best.source == run.bundle.seed_source


def test_calls_of_the_model_are_bounded(designed: Designed) -> None:
    """A budget of calls ends the run as any other, also in the middle of a round."""
    _, outcome = designed(ScriptedVoice(answering()), "simulations=9,lm_calls=3")
    assert "lm_calls" in outcome.message
    assert outcome.spent["lm_calls"] == 3


def test_nothing_leaks(designed: Designed) -> None:
    """No prompt names a reference design, a sealed case, a seed, or what only an oracle knows."""
    run, _ = designed(ScriptedVoice(answering(coder=chat(policy_source=LATEST))))
    told = " ".join([*prompts().values(), *(e["user"] + e.get("system", "") for e in run.journal.all("lm"))]).lower()
    told = told.replace("head-room admission (hra)", "")  # the witness is asked what it knew, after everything
    for secret in ("lens-style", "trail", "qlm", "head-room", "sealed", "oracle", "seed 0", "seed=", "dev seed", TASK):
        assert secret not in told, secret


def test_fences_are_taken_off() -> None:
    """Models put a fence around code, whatever they were told."""
    assert plain_source(f"```python\n{SHORTEST}```") == plain_source(SHORTEST) == SHORTEST
    assert plain_source("") == "\n"


def test_recorded_replies_hold_no_more_than_text() -> None:
    """A reply is plain data."""
    assert Reply(text="x", model="m", tokens_in=None, tokens_out=None, usd=None).finish_reason == "stop"
