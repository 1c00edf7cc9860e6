"""What a run is asked to do: defaults, names of designs, and what is refused before anything runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from glia_bench.errors import GliaBenchError, InvalidPolicyError, InvalidSpecError, UnknownPolicyError, UnknownTaskError
from glia_bench.evaluation.designs import make_designs
from glia_bench.evaluation.plan import QUICK_POLICIES, check_folder, make_plan
from glia_bench.loading import shipped_policies
from glia_bench.tasks.catalog import SUITE_NUM_SEEDS, get_suite, get_task

PAPER = "routing/paper-v0"
SOURCE = "def route(request, replicas, cluster, memory):\n    return 0\n"

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a policy file and returns its path."""

    def write(name: str, source: str = SOURCE) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")
        return str(path)

    return write


def test_a_plain_run_is_the_quick_suite_with_well_known_policies() -> None:
    """Without options: each quick task at its default loads, with the suite's seeds, for the designs chosen for it."""
    plan = make_plan()
    cells = [(len(task.default_loads), len(QUICK_POLICIES[task.track])) for task in map(get_task, get_suite("quick"))]
    assert plan.suite == "quick"
    assert len(plan.trials) == sum(loads * policies for loads, policies in cells) * SUITE_NUM_SEEDS["quick"]


def test_the_core_suite_runs_every_shipped_policy() -> None:
    """Other suites, and tasks that are named, have all designs of their track."""
    for plan in (make_plan(suite="core", num_seeds=1), make_plan(task_ids=[PAPER], num_seeds=1)):
        for task in plan.tasks:
            names = {trial.design.name for trial in plan.trials if trial.task == task.id}
            assert names == {policy.name for policy in shipped_policies(task.track)}


def test_seeds_come_first_so_that_an_interrupted_run_has_compared_everyone() -> None:
    """All policies meet seed 0 before any meets seed 1."""
    plan = make_plan(task_ids=[PAPER], policies=["llq", "hra"], num_seeds=2)
    order = [(trial.seed, trial.design.name) for trial in plan.trials]
    assert order == [(0, "llq"), (0, "hra"), (1, "llq"), (1, "hra")]
    assert plan.suite is None


def test_tables_are_kept_for_the_first_seed_or_for_all() -> None:
    """Samples and requests of seed 0 are kept always, requests of the others on demand."""
    for keeps_all in (False, True):
        plan = make_plan(task_ids=[PAPER], policies=["llq"], num_seeds=2, keeps_all_requests=keeps_all)
        assert [trial.keeps_requests for trial in plan.trials] == [True, keeps_all]
        assert [trial.keeps_samples for trial in plan.trials] == [True, False]


def test_the_full_suite_runs_all_loads_of_its_tasks() -> None:
    """Loads are the task's own choice, but all of them in the full suite."""
    loads = {trial.load for trial in make_plan(suite="full", policies=["llq"]).trials if "sweep" in trial.task}
    assert loads == set(get_task("routing/paper-sweep-v0").loads)


def test_a_suite_leaves_out_what_needs_a_file_and_says_so() -> None:
    """Without --lengths the exact task is skipped from a suite with a remark; asked for by name it is an error."""
    plan = make_plan(suite="paper", policies=["llq"])
    assert "routing/paper-exact-v0" not in {trial.task for trial in plan.trials}
    assert "routing/paper-exact-v0 is left out" in plan.skipped[0]
    assert "--lengths" in plan.skipped[0]
    with pytest.raises(GliaBenchError, match="pass --lengths FILE"):
        make_plan(task_ids=["routing/paper-exact-v0"])


def test_a_policy_runs_on_the_tasks_of_its_track(write: Write) -> None:
    """With tasks of two tracks each gets the designs made for it; a file goes by the hooks that it has."""
    tasks = [PAPER, "scheduling/chat-v0"]
    rank = write("mine.py", "def rank(request, replica, memory):\n    return request.prompt_tokens\n")
    plan = make_plan(task_ids=tasks, policies=["llq", rank, "vllm_v1_fcfs"], num_seeds=1)
    found = {(trial.task, trial.design.name, trial.design.track) for trial in plan.trials}
    assert found == {
        (PAPER, "llq", "routing"),
        ("scheduling/chat-v0", "mine", "scheduling"),
        ("scheduling/chat-v0", "vllm_v1_fcfs", "scheduling"),
    }


def test_tasks_without_a_policy_are_left_out_and_policies_without_a_task_refused(write: Write) -> None:
    """A task of a track that no policy is for is skipped with a remark; a policy that fits no task is an error."""
    tasks = [PAPER, "scheduling/chat-v0"]
    plan = make_plan(task_ids=tasks, policies=["llq"], num_seeds=1)
    assert [task.id for task in plan.tasks] == [PAPER]
    assert plan.skipped == ("scheduling/chat-v0 is left out: none of the policies is for the scheduling track",)
    for policy in ("hpa", write("scales.py", "def scale(window, cluster, memory):\n    return 1\n")):
        with pytest.raises(InvalidPolicyError, match=r"must be for a track of the tasks .*routing, scheduling"):
            make_plan(task_ids=tasks, policies=[policy])


def test_files_never_take_the_name_of_another_policy(write: Write) -> None:
    """A file called like a shipped policy or another file gets its hash in its name; a unique one keeps its stem."""
    files = [
        write("llq.py"),
        write("mine.py"),
        write("a/same.py", SOURCE + "# a\n"),
        write("b/same.py", SOURCE + "# b\n"),
    ]
    names = [design.name for design in make_designs(["llq", *files], "routing")]
    assert names[0] == "llq"
    assert names[2] == "mine"
    assert len(set(names)) == 5
    for name, stem in ((names[1], "llq@"), (names[3], "same@"), (names[4], "same@")):
        assert name.startswith(stem)


def test_odd_file_names_cannot_leave_the_results_folder(write: Write) -> None:
    """Characters that mean something to a path or a terminal are replaced."""
    (design,) = make_designs([write("..evil name\x1b[31m.py")], "routing")
    assert design.name == "evil_name__31m"


def test_the_text_is_read_once_and_hashed(write: Write) -> None:
    """A design carries the text that was hashed; changing the file afterwards changes nothing."""
    path = write("mine.py")
    (design,) = make_designs([path], "routing")
    Path(path).write_text("raise SystemExit")
    assert design.source == SOURCE
    assert (design.kind, design.is_shipped) == ("user", False)


def test_planning_executes_no_file(write: Write, tmp_path: Path) -> None:
    """A file that would leave a trace when executed leaves none."""
    trace = tmp_path / "trace"
    make_plan(task_ids=[PAPER], policies=[write("mine.py", f"open({str(trace)!r}, 'w')\n" + SOURCE)])
    assert not trace.exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"suite": "quik"}, UnknownTaskError, "did you mean 'quick'"),
        ({"task_ids": ["routing/papr-v0"]}, UnknownTaskError, "did you mean 'routing/paper-v0'"),
        ({"policies": ["exprt"]}, UnknownPolicyError, "did you mean 'expert'"),
        ({"policies": ["absent.py"]}, UnknownPolicyError, "no file at 'absent.py'"),
        ({"policies": ["."]}, UnknownPolicyError, "no policy '.'"),
        ({"policies": ["../"]}, InvalidPolicyError, "must be a file"),
        ({"loads": [99.0]}, InvalidSpecError, r"got 99"),
        ({"lengths": Path("absent.csv")}, GliaBenchError, "absent.csv"),
    ],
)
def test_what_does_not_exist_is_said_before_anything_runs(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    """Unknown names come with the closest known one; impossible loads and absent files are named."""
    with pytest.raises(error, match=message):
        make_plan(**options)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A results folder below a file is refused with a way out."""
    (tmp_path / "file").write_text("")
    with pytest.raises(GliaBenchError, match=r"cannot be made .* give another --out"):
        check_folder(tmp_path / "file" / "results")
