"""The template that people copy is a good policy; recorded runs hold what they say and are reproduced."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from moments import compiled, make_request, moment, play

from glia_bench.designer.journal import JOURNAL, Journal
from glia_bench.designer.outcome import as_markdown
from glia_bench.features import HOLD
from glia_bench.loading import facts_of, load_policy
from glia_bench.policy import Policy
from glia_bench.static_check import static_check
from glia_bench.tasks.catalog import TASKS
from glia_bench.tunables import sha256_of

FOLDER = Path(__file__).parents[1] / "submissions"
RECORDED = sorted(path.name for path in FOLDER.glob("glia-*"))


@pytest.fixture(scope="module")
def template() -> Policy:
    """The template, loaded as a user's file."""
    return load_policy(str(FOLDER / "TEMPLATE" / "policy.py"))


def test_template_is_clean(template: Policy) -> None:
    """It needs about twenty lines of code, gets no remarks, and the fields it reads are known."""
    text = re.sub(r'""".*?"""', "", template.source, flags=re.DOTALL)
    code = [line for line in text.splitlines() if line.strip()]
    assert len(code) <= 20
    assert template.notes == ()
    assert template.fields_read is not None
    assert facts_of(template).idea.endswith("to copy and change.")


def test_template_holds_when_memory_is_short(template: Policy) -> None:
    """120 + 200 tokens need 20 blocks: with 20 free it dispatches, with 19 it holds, waiting prompts counted."""
    route = template.routing["route"]
    busy: dict[str, Any] = {"capacity_blocks": [100], "running": [3]}
    assert route(*moment(template, 120, allocated_blocks=[70], waiting_blocks=[10], **busy)) == 0
    assert route(*moment(template, 120, allocated_blocks=[70], waiting_blocks=[11], **busy)) == HOLD
    assert route(*moment(template, 120, allocated_blocks=[100], capacity_blocks=[100], running=[0])) == 0


def test_template_takes_the_shortest_queue_that_fits(template: Policy) -> None:
    """The emptiest replica is full, so the next shorter queue is taken."""
    now = moment(template, waiting=[0, 1, 0], running=[2, 2, 4], allocated_blocks=[2240, 0, 0])
    assert template.routing["route"](*now) == compiled(template.routing["route"])(*now) == 1


def test_template_takes_short_prompts_first(template: Policy) -> None:
    """Its rank is the prompt length."""
    now = moment(template, waiting=[0])
    assert template.routing["rank"](make_request(77), now.cluster, now.memory) == 77.0


def test_template_is_the_same_in_both_tiers(template: Policy) -> None:
    """Over 500 random moments, compiled and plain Python decide alike."""
    plain = play(template, compile_hooks=False, seed=3, moments=500)
    assert HOLD in plain.answers
    assert play(template, compile_hooks=True, seed=3, moments=500) == plain


def test_readme_names_only_what_is_there() -> None:
    """Its links lead somewhere."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert links
    assert [link for link in links if not (FOLDER / link).exists()] == []


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_runs_hold_what_they_say(name: str) -> None:
    """Policy, manifest, report and journal of a recorded run are of one design, and the policy has no remarks."""
    folder = FOLDER / name
    source = (folder / "policy.py").read_text()
    manifest = tomllib.loads((folder / "submission.toml").read_text())
    report = json.loads((folder / "report.json").read_text())
    journal = Journal(folder / JOURNAL)
    assert name == f"glia-{manifest['task'].replace('/', '-')}"
    assert manifest["sources"][0]["sha256"] == report["design_sha256"] == sha256_of(source)
    simulated = {e["what"]["sha256"]: e["evaluation"] for e in journal.all("simulation")}
    assert simulated[report["design_sha256"]]["status"] == "ok"
    assert manifest["accounting"]["simulations"] <= 20
    assert (
        sum(e.get("cost", {}).get("simulations", 0) for e in journal.entries) == manifest["accounting"]["simulations"]
    )
    assert static_check(source, TASKS[manifest["task"]].track).notes == ()
    assert (folder / "REPORT.md").read_text() == as_markdown(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_runs_are_reproduced(name: str, tmp_path: Path) -> None:
    """Replayed, word for word, a recorded run simulates the same designs at the same costs and chooses the same one."""
    folder = FOLDER / name
    task = tomllib.loads((folder / "submission.toml").read_text())["task"]
    command = [sys.executable, "-m", "glia_bench", "design", "glia", "--task", task, "--lm", f"replay:{folder}"]
    run = subprocess.run([*command, "--out", str(tmp_path), "--json"], capture_output=True, text=True, check=True)
    outcome = json.loads(run.stdout)
    assert outcome["same_as_recording"] is True
    assert (tmp_path / "design" / "policy.py").read_bytes() == (folder / "policy.py").read_bytes()
