"""Designs that break or misbehave, in real processes: each ends with its own status, and nothing else suffers.

Starting a process costs a second or two, so all of them run once, side by side, in one fixture.
"""

import hashlib
import os
import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from glia_bench.errors import EvaluationFailure, InvalidPolicyError
from glia_bench.evaluation import trial as trial_module
from glia_bench.evaluation import worker as worker_module
from glia_bench.evaluation.designs import Design
from glia_bench.evaluation.runner import Limits, Outcome, Refusal, run_trials
from glia_bench.evaluation.trial import Trial, needs_full_engine, run_trial

ROUTE = "def route(request, replicas, cluster, memory):\n"
GOOD = ROUTE + "    return request.id % cluster.num_replicas\n"
SLEEPS = "import threading\n" + ROUTE + "    threading.Event().wait()\n"

LOOPS = ROUTE + "    i = 1\n    while i > 0:\n        i = i * 3 % 7\n    return i\n"
BAD: dict[str, str] = {
    "leaves": "import os\n" + ROUTE + "    os._exit(0)\n",
    "kills_itself": "import os, signal\n" + ROUTE + "    os.kill(os.getpid(), signal.SIGKILL)\n",
    "hoards": "import numpy as np\nkept = []\n"
    + ROUTE
    + "    if len(kept) < 30:\n        kept.append(np.ones(12_500_000))\n    return 0\n",
    "prints": "import sys\n"
    + ROUTE
    + '    print(\'{"kind": "record", "record": {"cost": 0}}\' * 1000)\n'
    + "    print('x' * 1000, file=sys.stderr)\n    return request.id % cluster.num_replicas\n",
    "returns_float": ROUTE + "    return 0.5\n",
}
LIMITS = Limits(jobs=2, memory_bytes=1 << 30)
SHORT = Limits(jobs=2, timeout_s=3.0)
"""For what never ends; the others keep the default deadline, so that a busy machine does not fail them."""


def make_trial(name: str, source: str | None = None, *, seed: int = 0, **fields: Any) -> Trial:
    """Return a trial of about 75 requests for a shipped name, or for a name with a text."""
    sha256 = hashlib.sha256((source or name).encode()).hexdigest()
    kind = "human" if source is None else "user"
    design = Design(name=name, track="routing", kind=kind, sha256=sha256, path=f"{name}.py", source=source)
    return Trial(design=design, task="routing/paper-v0", load=0.01, seed=seed, **fields)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where logs go."""
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, list[Any]]:
    """What came of every design, by name: records and refusals."""
    endless = [make_trial("loops", LOOPS)]
    trials = [make_trial(name, text) for name, text in BAD.items()] + [make_trial("llq")]
    trials += [make_trial("returns_float", BAD["returns_float"], seed=1)]
    found: dict[str, list[Any]] = {}
    for outcome in chain(run_trials(endless, SHORT, log_folder=folder), run_trials(trials, LIMITS, log_folder=folder)):
        found.setdefault(outcome.policy if isinstance(outcome, Refusal) else outcome["policy"], []).append(outcome)
    return found


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("loops", "timeout", r"no result within 3 s \(--timeout\)"),
        ("leaves", "policy_crash", "its process ended with exit status 0 during the run"),
        ("kills_itself", "policy_crash", r"its process was killed by signal 9 \(SIGKILL\) during the run"),
        ("hoards", "policy_oom", "MemoryError"),
    ],
)
def test_what_a_design_does_to_its_process_is_its_status(
    outcomes: dict[str, list[Any]], name: str, status: str, message: str
) -> None:
    """Each way to break a process has its status and a message for the author, and neither cost nor metrics."""
    (record,) = outcomes[name]
    assert record["status"] == status
    assert re.search(message, record["message"])
    assert record["cost"] is None
    assert set(record["metrics"].values()) == {None}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("return {}[str(request.id)]", "policy_error", "route raised KeyError for request 0"),
        ("return 17", "bad_decision", r"route answered 17 for request 0.*0\.\.3"),
        ("return int(replicas.missing[0])", "refused", "missing"),
        ("return request.output_tokens", "refused", "no such field"),
        ("return 0.5", "refused", "must return an integer"),
    ],
)
def test_what_a_design_answers_is_its_status(body: str, status: str, message: str) -> None:
    """Wrong answers and exceptions end a run with a status; what breaks the contract never runs."""
    trial = make_trial("mine", ROUTE + f"    {body}\n")
    if status == "refused":
        with pytest.raises(InvalidPolicyError, match=message):
            run_trial(trial)
    else:
        record = run_trial(trial)
        assert (record["status"], record["cost"]) == (status, None)
        assert re.search(message, record["message"])
        assert record["decision_hash"] is not None


def test_refused_once_however_many_trials(outcomes: dict[str, list[Any]]) -> None:
    """A design that cannot run has no trials, only one refusal that says why."""
    (refusal,) = outcomes["returns_float"]
    assert isinstance(refusal, Refusal)
    assert "route must return an integer on every path" in refusal.message


def test_leaving_by_an_exception_is_an_error_of_the_policy() -> None:
    """A design that raises SystemExit to get out has not answered."""
    answer = worker_module._answer(make_trial("exits", "import sys\n" + ROUTE + "    sys.exit(0)\n"))
    assert answer["record"]["status"] == "policy_error"
    assert "SystemExit" in answer["record"]["message"]


def test_an_endless_loop_costs_one_deadline(folder: Path) -> None:
    """After a timeout the design's other trials are not run, and say so."""
    trials = [make_trial("sleeps", SLEEPS, seed=seed) for seed in range(3)]
    records = list(run_trials(trials, Limits(timeout_s=0.5), log_folder=folder))
    assert [record["status"] for record in records] == ["timeout"] * 3  # type: ignore[index]
    assert [record["message"] for record in records] == [  # type: ignore[index]
        "no result within 0.5 s (--timeout)",
        *["not run: an earlier trial of this policy timed out"] * 2,
    ]


def test_others_are_not_hurt(outcomes: dict[str, list[Any]]) -> None:
    """A shipped policy that ran beside all of these, in another process, gives what it gives here."""
    (llq,) = outcomes["llq"]
    assert {**llq, "sim_s": None} == {**run_trial(make_trial("llq")), "sim_s": None}


def test_printing_is_neither_a_result_nor_unbounded(outcomes: dict[str, list[Any]], folder: Path) -> None:
    """A design that prints forged records gets the cost of its decisions, and its log is cut."""
    (record,) = outcomes["prints"]
    assert record["cost"] == run_trial(make_trial("good", GOOD))["cost"]
    log = (folder / "prints.log").read_text()
    assert log.rstrip().endswith("[cut at 65536 bytes]")
    assert len(log) < 66_000


def test_no_trial_sees_what_an_earlier_one_left(folder: Path) -> None:
    """A design that counts in a global list decides on seed 1 as if seed 0 had never been in the same process."""
    source = "seen = []\n" + ROUTE + "    seen.append(str(request.id))\n    return len(seen) % 4\n"
    trials = [make_trial("remembers", source, seed=seed) for seed in range(2)]
    first, second = run_trials(trials, Limits(), log_folder=folder)
    assert first["decision_hash"] != second["decision_hash"]  # type: ignore[index]
    assert second["decision_hash"] == run_trial(trials[1])["decision_hash"]  # type: ignore[index]


def test_an_interrupted_caller_leaves_no_process_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends the iteration, here Ctrl-C while an endless design runs, the process is killed and reaped."""
    stopped: list[int] = []
    original = worker_module.Worker.stop

    def stop(self: worker_module.Worker) -> None:
        stopped.append(self.process.pid)
        original(self)

    def interrupt(trial: Trial | None, outcome: Outcome | None) -> None:
        if trial is not None and trial.design.name == "sleeps":
            raise KeyboardInterrupt

    monkeypatch.setattr(worker_module.Worker, "stop", stop)
    trials = [make_trial("llq"), make_trial("sleeps", SLEEPS)]
    with pytest.raises(KeyboardInterrupt):
        list(run_trials(trials, Limits(), log_folder=folder, watcher=interrupt))
    (pid,) = stopped
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_our_own_failure_is_tried_again_and_never_a_policys(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of ours gives infra_error with its traceback; if the second attempt works, nothing is left of it."""
    calls = []

    def break_at_first(*arguments: Any) -> dict[str, str]:
        calls.append(arguments)
        if len(calls) <= num_failures:
            raise RuntimeError("disk on fire")
        return {}

    monkeypatch.setattr(trial_module, "_write_tables", break_at_first)
    num_failures = 1
    (record,) = run_trials([make_trial("llq")], Limits(), log_folder=folder)
    assert isinstance(record, dict)
    assert (record["status"], len(calls)) == ("ok", 2)
    calls.clear()
    num_failures = 2
    (record,) = run_trials([make_trial("llq")], Limits(), log_folder=folder)
    assert isinstance(record, dict)
    assert record["status"] == "infra_error"
    assert re.search(r"(?s)Traceback.*disk on fire", record["message"])


def test_a_process_that_cannot_start_is_our_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluator that dies while loading is an EvaluationFailure, not a crash of the design."""
    monkeypatch.setattr(worker_module.sys, "executable", "/bin/false")
    with pytest.raises(EvaluationFailure, match=r"must start .*exit status 1 while loading"):
        list(run_trials([make_trial("good", GOOD)], LIMITS, log_folder=folder))


@pytest.mark.parametrize(
    ("source", "expected"), [(GOOD, False), ("import os\n" + GOOD, True), (GOOD + "    return 0.5.nonsense\n", False)]
)
def test_a_text_that_cannot_tell_gets_the_full_engine_loaded(source: str, expected: bool) -> None:
    """What the engine will need is compiled before the deadline runs: an import hides what a policy reads."""
    assert needs_full_engine(make_trial("mine", source)) is expected


def test_trials_cross_to_another_process_unchanged() -> None:
    """A trial read back from its JSON is equal to it."""
    trial = make_trial("good", GOOD, seed=3, lengths="l.csv", folder="out", keeps_requests=True)
    assert Trial.from_json(trial.to_json()) == trial
