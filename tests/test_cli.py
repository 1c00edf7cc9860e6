"""`glia-bench` as its users meet it: output, exit codes, errors without tracebacks, and Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from glia_bench.cli import main
from glia_bench.evaluation.designs import Design
from glia_bench.evaluation.runner import Outcome, Refusal
from glia_bench.evaluation.trial import Trial
from glia_bench.scoring.metrics import metric_names
from glia_bench.scoring.record import read_record
from glia_bench.tasks.catalog import get_task
from glia_bench.terminal import Progress
from glia_bench.terminal_columns import number, plus_minus, ratio

TASK = "routing/paper-v0"
EXPERT = get_task(TASK).expert
SMALL = ["--task", TASK, "--loads", "0.01", "--seeds", "2", "--no-report"]
ROUTE = "def route(request, replicas, cluster, memory):\n"
HEAVY = ["gymnasium", "jinja2", "matplotlib", "numba", "pandas", "pyarrow", "rich"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results land in the test's folder, and the terminal has 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command line here; return exit code, stdout and stderr."""
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def call_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Run a command line that must succeed and print JSON only."""
    code, out, err = call(capsys, *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_list_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON has the agreed names; the text holds every task and policy."""
    listing = call_json(capsys, "list")
    assert {"id", "track", "suites"} <= listing["tasks"][0].keys()
    assert {"name", "track", "kind", "source"} <= listing["policies"][0].keys()
    assert {"glia", "search_neutral", "human"} <= {designer["name"] for designer in listing["designers"]}
    code, out, _ = call(capsys, "list")
    assert code == 0
    for entry in (*listing["tasks"], *listing["policies"]):
        assert entry.get("id", entry.get("name")) in out


def test_info_says_what_a_task_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Cluster, workload, goal, references and the command that runs it, as text and as JSON."""
    facts = call_json(capsys, "info", TASK)
    assert (facts["cluster"]["num_replicas"], facts["cluster"]["pools"][0]["engine_mode"]) == (4, "sarathi")
    assert facts["workload"]["num_requests"] > 1000
    assert facts["reference"] == "llq"
    _, out, _ = call(capsys, "info", TASK)
    for text in ("35,840 tokens a replica", "mean_e2e_s", "round_robin", f"glia-bench run --task {TASK}"):
        assert text in out
    _, out, _ = call(capsys, "info", "cluster/sessions-v0")
    for text in ("2 at first, 1 to 4", "every 50 ms", "TTFT 0.5 s + 0.2 ms a prompt token", "of 1,", "own, events"):
        assert text in out
    _, out, _ = call(capsys, "info", "routing/paper-exact-v0")
    assert "--lengths FILE" in out


def test_run_prints_a_table_that_fits_and_writes_the_result(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """At 80 columns no table line is longer, nothing is cut, no colour codes leak, and the files are where it says."""
    code, out, err = call(capsys, "run", *SMALL, "--policy", "llq", "--policy", "hra", "--out", "here")
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert "…" not in out
    table, places = out.split("\n\nCosts: lower is better.")
    assert max(len(line) for line in table.splitlines()) <= 80
    assert re.search(rf"^{EXPERT} +.* 1 ", table, re.MULTILINE)
    record = read_record(tmp_path / "here")
    for row in record["summary"]:
        if row["load"] == 0.01:
            assert re.search(rf"^{row['policy']} .*{row['cost_mean']:.1f} ± ", table, re.MULTILINE)
    times = r"Simulated, in seconds \(trials\): (\S+ \d\.\d+ \(2\)[,.] ){4}"
    assert re.search(times, " ".join(places.split()))
    assert f"here/result.json  (results_id {record['results_id'][:12]})" in places
    assert f"again   glia-bench run --task {TASK} --loads 0.01" in places


def test_run_json_is_the_record(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With --json, stdout is the record that lies in the folder, with the agreed names."""
    record = call_json(capsys, "run", *SMALL, "--policy", "llq", "--out", "here")
    assert record == read_record(tmp_path / "here")
    assert {"schema", "suite", "id", "results_id", "designs", "trials", "summary", "environment"} == record.keys()
    wanted = {"task", "policy", "load", "seed", "status", "tier", "cost", "metrics"}
    assert wanted <= record["trials"][0].keys()
    assert list(record["trials"][0]["metrics"]) == sorted(metric_names(get_task(TASK)))
    assert {trial["policy"] for trial in record["trials"]} == {"llq", EXPERT, "round_robin"}  # with the references
    wanted = {"task", "policy", "load", "num_seeds", "expert_ratio", "expert_ratio_low", "expert_ratio_high", "score"}
    assert wanted <= record["summary"][0].keys()


def test_runs_without_a_folder_do_not_overwrite_each_other(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Two runs within the same second have two folders, named after the task."""
    for _ in range(2):
        call_json(capsys, "run", *SMALL, "--policy", "llq")
    assert len(list((tmp_path / "results").glob("routing-paper-v0-*/result.json"))) == 2


def test_precompile_runs_every_shipped_policy(capsys: pytest.CaptureFixture[str]) -> None:
    """All shipped policies are compiled, and said to be."""
    names = call_json(capsys, "precompile")["policies"]
    assert names == [policy["name"] for policy in call_json(capsys, "list")["policies"]]


def test_every_track_runs_from_end_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    """The suite of all tracks runs its references at a light load, and the table says what each track's cost is."""
    options = ["--suite", "quick", "--loads", "0.02", "--seeds", "1", "--out", "here"]
    for name in ("llq", "vllm_v1_fcfs", "hpa", "stack_plain"):
        options += ["--policy", name]
    code, out, err = call(capsys, "run", *options)
    assert (code, err) == (0, "")
    for text in ("slow+miss", "GPU+miss", "GPU-s", "hours"):
        assert text in out
    assert "<html" in Path("here/report.html").read_text()


def test_timelines_are_written_for_every_trial(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With --timeline each trial names a page and a trace that lie in the folder; a second run removes the first's."""
    for seeds in (2, 1):
        options = ["--task", TASK, "--loads", "0.01", "--policy", "llq", "--no-report", "--out", "here", "--timeline"]
        assert call(capsys, "run", *options, "--seeds", str(seeds))[0] == 0
        record = read_record(tmp_path / "here")
        named = {name for trial in record["trials"] for name in trial["timelines"]}
        assert len(named) == 3 * 2 * seeds  # llq, expert and round_robin
        assert named == {f"timelines/{path.name}" for path in (tmp_path / "here" / "timelines").iterdir()}


def test_calibrate_fits_a_log_and_writes_a_preset(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A log of exact times is fitted, printed and written; what is no log is one line of error."""
    rows = ["tokens,decodes,context,chunks,pairs,time_s"]
    rows += [f"{n},{n},{100 * n},0,0,{0.01 + 1e-5 * n + 1e-8 * 100 * n}" for n in range(1, 61)]
    Path("log.csv").write_text("\n".join(rows) + "\n")
    report = call_json(capsys, "calibrate", "log.csv", "--out", "preset.json")
    assert report == json.loads((tmp_path / "preset.json").read_text())
    assert report["held_back_mape_percent"] < 1
    code, out, _ = call(capsys, "calibrate", "log.csv")
    assert (code, "fitted to" in out) == (0, True)
    for arguments, message in ((["absent.csv"], "absent.csv"), (["log.csv", "--out", "no/folder.json"], "--out")):
        code, _, err = call(capsys, "calibrate", *arguments)
        assert (code, err.count("\n")) == (1, 1)
        assert message in err


def test_report_writes_the_page_and_prints_the_table_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`report` works on a folder alone and says where the page is."""
    call_json(capsys, "run", *SMALL, "--policy", "llq", "--out", "here")
    code, out, _ = call(capsys, "report", "here")
    assert code == 0
    assert "llq" in out
    (page,) = (tmp_path / "here").glob("*.html")
    assert f"report  here/{page.name}" in out


def test_report_shows_how_ranks_hold_on_variants(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`report --robustness` simulates again, prints a table and writes it beside the result; JSON holds the same."""
    call_json(capsys, "run", *SMALL, "--policy", "llq", "--out", "here")
    code, out, _ = call(capsys, "report", "here", "--robustness")
    assert code == 0
    assert re.search(r"^iterations 10 % slower +\d", out, re.MULTILINE)
    rows = call_json(capsys, "report", "here", "--robustness")["robustness"]
    assert json.loads((tmp_path / "here" / "robustness.json").read_text())["rows"] == rows


def test_policies_that_cannot_run_or_fail_do_not_stop_the_others(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A refused file is an error with line, rule and way out; a failed one has a reason in the table; the exit is 1."""
    Path("peeks.py").write_text(ROUTE + "    return request.output_tokens % 4\n")
    Path("[red]bad.py").write_text(ROUTE + "    return 17\n")
    files = ["--policy", "peeks.py", "--policy", "[red]bad.py"]
    code, out, err = call(capsys, "run", *SMALL, "--policy", "llq", *files, "--out", "here")
    assert code == 1
    assert re.fullmatch(r"error: peeks\.py, line 2: route reads request\.output_tokens: no such field.*\n", err)
    assert re.search(r"^llq ", out, re.MULTILINE)
    assert re.search(r"^_red_bad +0\.250 +bad_decision +route answered 17 for request 0", out, re.MULTILINE)
    record = read_record(tmp_path / "here")
    assert {trial["policy"] for trial in record["trials"]} == {"llq", "_red_bad", EXPERT, "round_robin"}
    assert [refused["policy"] for refused in record["environment"]["refused"]] == ["peeks"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "routing/papr-v0"], 1, "error: no task 'routing/papr-v0'; did you mean 'routing/paper-v0'?\n"),
        (["run", "--suite", "quik"], 1, "did you mean 'quick'?\n"),
        (["run", "--policy", "exprt"], 1, "did you mean 'expert'?"),
        (["run", "--policy", "absent.py"], 1, "error: no file at 'absent.py'"),
        (["run", "--task", "routing/paper-exact-v0"], 1, "pass --lengths FILE\n"),
        (["run", "--lengths", "absent.csv"], 1, "absent.csv"),
        (["run", "--loads", "50"], 1, "load of routing/paper-v0 must be"),
        (["report", "absent"], 1, "error: no result at absent"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    """Unknown names, absent files and impossible values: one line on stderr, nothing on stdout, nothing written."""
    found, out, err = call(capsys, *arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "VERB"),
        (["fly"], "invalid choice: 'fly'"),
        (["run", "--seeds", "0"], r"must be a positive whole number \(got '0'\)"),
        (["run", "--loads", "0.9,x"], r"must be a positive number \(got 'x'\)"),
        (["run", "--timeout", "inf"], r"must be a positive number \(got 'inf'\)"),
        (["run", "--suite", "quick", "--task", TASK], "not allowed with argument"),
    ],
)
def test_wrong_usage_is_exit_2(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """What argparse refuses ends with 2 and says what was expected."""
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_fault_of_ours_is_exit_3(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception is shown and never looks like a mistake of the user."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr("glia_bench.evaluation.plan.make_plan", broken)
    code, _, err = call(capsys, "run")
    assert code == 3
    assert "RuntimeError: disk on fire" in err
    assert err.endswith("failure of the benchmark itself; please report the lines above\n")


def test_a_lengths_file_reaches_the_task_that_needs_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A malformed row is named with its line; nothing runs."""
    Path("bad.csv").write_text("num_prefill_tokens,num_decode_tokens\n10,20\n10,many\n")
    code, out, err = call(capsys, "run", "--task", "routing/paper-exact-v0", "--lengths", "bad.csv")
    assert (code, out) == (1, "")
    assert re.search(r"line 3 of 'bad\.csv'", err)
    assert "many" in err


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.0, "0.000"), (0.1534, "0.153"), (24.14, "24.1"), (1474.2, "1474")]
)
def test_numbers_have_three_digits_and_no_exponent(value: float | None, text: str) -> None:
    """Short enough for a column, never cut below the point where it matters."""
    assert number(value) == text


def test_intervals_are_printed_in_the_decimals_of_their_value() -> None:
    """A mean has one half width, a ratio two ends; without an interval the value stands alone."""
    assert plus_minus(24.12, 22.0, 26.24) == "24.1 ± 2.1"
    assert plus_minus(24.12, None, None) == "24.1"
    assert ratio(0.4412, 0.4012, 0.4871) == "0.441 [0.40, 0.49]"
    assert ratio(42.2, 22.4, 79.7) == "42.2 [22.4, 79.7]"


def test_progress_says_what_runs_and_how_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 10 s, two of four new trials, six reused: a rate of 0.2 a second and 10 s left, the oldest trial named."""
    clock = [100.0]
    monkeypatch.setattr("glia_bench.terminal.time.monotonic", lambda: clock[0])
    design = Design(name="mine", track="routing", kind="user", sha256="", path="mine.py")
    trials = [Trial(design=design, task=TASK, load=0.5, seed=seed) for seed in range(4)]
    progress = Progress(10, is_quiet=True)
    progress.start_at(6)
    for trial in trials:
        progress.watch(trial, None)
    clock[0] += 10.0
    for trial in trials[:2]:
        progress.watch(None, {"task": TASK, "policy": "mine", "load": 0.5, "seed": trial.seed})
    (shown,) = progress._bars.tasks
    assert shown.description == f"{TASK} mine load 0.5 seed 2 +1"
    assert (shown.completed, shown.fields["pace"]) == (8, "0.20/s, 0:10 left")


def test_refusals_do_not_move_the_progress_line() -> None:
    """The progress line takes every outcome that a run can send, also where nothing is shown."""
    with Progress(1, is_quiet=True) as progress:
        progress.say("loading")
        progress.watch(None, Refusal(policy="mine", message="no"))


def test_help_needs_nothing_heavy() -> None:
    """Printing the help of all verbs loads none of the large libraries."""
    code = (
        "import sys, glia_bench.cli as cli\n"
        "try: cli.main(['run', '--help'])\n"
        f"except SystemExit: print(*sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == ""
    assert "--policy" in run.stdout


def test_the_reader_of_a_pipe_may_leave(tmp_path: Path) -> None:
    """`glia-bench list | true` prints no traceback."""
    command = f"{sys.executable} -m glia_bench list --json | true"
    run = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize(
    ("redirect", "code", "message"),
    [
        (">/dev/full", 3, "failure of the benchmark itself: its output cannot be written (No space left on device)\n"),
        (">&-", 0, ""),
    ],
)
def test_stdout_may_be_full_or_closed(tmp_path: Path, redirect: str, code: int, message: str) -> None:
    """Where nothing can be printed there is one line about it, or none where nothing was wanted."""
    command = f"{sys.executable} -m glia_bench list {redirect}"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (code, message)


def test_ctrl_c_leaves_a_usable_partial_result(tmp_path: Path) -> None:
    """While a file waits for ever, one Ctrl-C ends the run soon: shipped trials are written, no process stays."""
    Path("endless.py").write_text(
        "import os, threading\n" + ROUTE + f"    open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "    threading.Event().wait()\n"
    )
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "glia_bench",
            "run",
            *SMALL,
            "--policy",
            "llq",
            "--policy",
            "endless.py",
            "--out",
            "here",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    deadline = time.monotonic() + 60.0
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "interrupted after 6 of 8 trials" in err
    assert "Traceback" not in err
    assert re.search(r"^llq ", out, re.MULTILINE)
    assert "report  glia-bench report here" in out
    record = read_record(tmp_path / "here")
    assert {trial["policy"] for trial in record["trials"]} == {"llq", EXPERT, "round_robin"}
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_request_to_end_is_taken_as_ctrl_c(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM while the first of two trials runs lets that one end; the handler does not outlive the run."""

    def watch(self: Progress, trial: Trial | None, outcome: Outcome | None) -> None:
        if trial is not None:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Progress, "watch", watch)
    code, _, err = call(capsys, "run", *SMALL, "--policy", "llq", "--out", "here")
    assert code == 1
    assert re.fullmatch("note: stopping: no more trials .*\ninterrupted after 1 of 6 trials\n", err)
    assert len(read_record(tmp_path / "here")["trials"]) == 1
    assert signal.getsignal(signal.SIGTERM) == before
