"""`glia-bench design`, `export-task` and `report` of design runs, as an impatient user types them."""

import json
from pathlib import Path

import pytest
from team_answers import ANSWERS

from glia_bench.cli import main
from glia_bench.designer.roles import prompts
from glia_bench.loading import shipped_policies
from glia_bench.tasks.catalog import TASKS

TASK = "scheduling/memory-v0"
ROUND = ("analyst", "researcher", "coder", "experimenter", "supervisor")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, without a model in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("GLIA_LM_BASE_URL", "GLIA_LM_MODEL", "GLIA_LM_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command; return exit code, stdout and stderr."""
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def scripted(*answers: str) -> str:
    """Write a script of answers and return the option that plays it."""
    Path("answers.json").write_text(json.dumps(answers))
    return "scripted:answers.json"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["glai"], "did you mean 'glia'"),
        (["glia", "--task", "scheduling/memory"], "did you mean 'scheduling/memory-v0'"),
        (["glia"], "Three ways to give one"),
        (["glia", "--lm", "replay"], "no recording at submissions/glia-scheduling-memory-v0"),
        (["glia", "--lm", "mailbox", "--budget", "simulation=3"], "did you mean 'simulations'"),
        (["glia", "--lm", "mailbox", "--without", "coder"], "--without takes supervisor, analyst, details"),
        (["glia", "--lm", "mailbox", "--contexts", "0"], "--contexts must be at least 1"),
        (["search_neutral", "--mode", "parallel"], "--mode is not for search_neutral"),
        (["search_neutral", "--resume"], "--resume needs --out"),
        (["search_neutral", "--resume", "--out", "nowhere"], "--resume needs --out"),
        (["exported"], "their README says how"),
        (["oneshot", "--lm", "scripted:absent.json"], "absent.json"),
    ],
)
def test_wrong_calls(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """Each wrong call is one error with the way out, and leaves no folder behind."""
    task = [] if "--task" in arguments else ["--task", TASK]
    code, out, err = call(capsys, "design", *arguments, *task)
    assert code == 1
    assert message in err
    assert out == ""
    assert not Path("designs").exists()


def test_a_run_and_its_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    """A run says what it found; it is not begun over; going on with a finished one changes nothing."""
    answers = scripted(*(ANSWERS[role] for role in (*ROUND, "reporter", "witness")))
    command = ["design", "glia", "--task", TASK, "--lm", answers, "--seeds", "1", "--budget", "2", "--out", "here"]
    code, out, err = call(capsys, *command)
    assert code == 0
    assert "spent 2 simulations" in out
    assert "design: here/design" in out
    assert "evaluate" in err  # progress
    code, _, err = call(capsys, *command)
    assert (code, "go on with --resume" in err) == (1, True)
    before = Path("here/journal.jsonl").read_bytes()
    code, out, _ = call(capsys, *command, "--resume", "--json")
    assert code == 0
    assert json.loads(out)["spent"]["simulations"] == 2.0
    assert Path("here/journal.jsonl").read_bytes().startswith(before)
    code, _, err = call(capsys, *command[:-2], "--budget", "5", "--out", "here", "--resume")
    assert (code, "holds another run" in err) == (1, True)
    code, _, err = call(capsys, "report", "here", "--format", "latex")
    assert (code, "leave --format and --robustness out" in err) == (1, True)


@pytest.mark.parametrize(
    "task", [task for task in TASKS.values() if "quick" in task.suites], ids=lambda task: task.track
)
def test_prompts_give_nothing_away(capsys: pytest.CaptureFixture[str], task: object) -> None:
    """What every role is told names no reference design, no sealed case, no seed and nothing of an oracle's."""
    code, out, _ = call(capsys, "design", "glia", "--task", task.id, "--show-prompts", "--json")  # type: ignore[attr-defined]
    assert code == 0
    told = json.loads(out)
    assert set(prompts()) < set(told)
    text = "\n".join(told.values()).lower()
    for policy in shipped_policies(task.track):  # type: ignore[attr-defined]
        if policy.name not in ("fixed", "expert", "random", "session"):  # words of the language too
            assert policy.name.lower() not in text.split(), policy.name
    for secret in ("sealed", "oracle", "seed 0", task.id):  # type: ignore[attr-defined]
        assert secret not in text, secret


def test_prompts_of_samplers(capsys: pytest.CaptureFixture[str]) -> None:
    """A sampler's one prompt is shown as its model gets it."""
    code, out, _ = call(capsys, "design", "oneshot", "--task", TASK, "--show-prompts")
    assert code == 0
    assert "one complete Python file" in out
    assert "A weak policy to begin with" in out


def test_exports(capsys: pytest.CaptureFixture[str]) -> None:
    """An export says where it is; a second one into it is refused."""
    code, out, _ = call(capsys, "export-task", TASK, "--format", "shinka", "--out", "there")
    assert (code, "begin with its README" in out) == (0, True)
    assert json.loads(Path("there/task.json").read_text())["budget"]["simulations"] == 20
    code, _, err = call(capsys, "export-task", TASK, "--format", "shinka", "--out", "there")
    assert (code, "must be new or empty" in err) == (1, True)


def test_an_empty_folder_has_no_report(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without runs and without a result is an error, not an empty page."""
    Path("empty").mkdir()
    code, _, err = call(capsys, "report", "empty")
    assert code == 1
    assert "empty" in err
