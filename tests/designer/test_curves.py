"""Design runs as curves: what the journal says was spent and chosen, and what is no journal of one."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from design_journals import text, write_run

from glia_bench.designer import held_out
from glia_bench.designer.curves import designs_below, distinct, trajectory
from glia_bench.designer.held_out import scored
from glia_bench.designer.journal import JOURNAL
from glia_bench.errors import GliaBenchError
from glia_bench.evaluation.journal import JOURNAL_FILE
from glia_bench.evaluation.sealed import draw_season
from glia_bench.evaluation.stopping import Stop

CLIMB = [(text(0), None), (text(1), 0.2), (text(2), 0.1), (text(3), 0.5)]


def test_best_so_far(tmp_path: Path) -> None:
    """What was rejected costs a proposal; the best so far changes only for a better one, wherever the axis stands."""
    run = trajectory(write_run(tmp_path / "a", CLIMB))
    assert [step.spent["simulations"] for step in run.steps] == [0.0, 1.0, 2.0, 3.0]
    assert [step.spent["proposals"] for step in run.steps] == [1.0, 2.0, 3.0, 4.0]
    assert [step.best and step.best.score for step in run.steps] == [None, 0.2, 0.2, 0.5]
    assert [(x, choice.source) for x, choice in run.changes("wall_s")] == [(20.0, text(1)), (40.0, text(3))]
    assert run.best_at("simulations", 0.5) is None
    assert run.best_at("simulations", 2.9) == run.best_at("wall_s", 39.0) == run.choices[0]
    # the expert is at score 1 = log-gain 0, so a score of 0.5 is a log-gain of -0.5 on each seed
    assert run.best is not None
    assert run.best.dev == pytest.approx({0: -0.5, 1: -0.5})


def test_what_models_and_processors_cost(tmp_path: Path) -> None:
    """Tokens go both ways, dollars to models and processors; both are unknown from the first unknown reply on."""
    folder = write_run(tmp_path / "a", CLIMB[1:2], replies=[{}, {}])
    assert trajectory(folder).end["tokens"] == 30.0
    assert trajectory(folder, cpu_usd_per_hour=2.0).end["usd"] == pytest.approx(1.0 + 36.0 / 3600.0 * 2.0)
    run = trajectory(write_run(tmp_path / "b", CLIMB[1:2], replies=[{}, {"usd": None, "tokens_in": None}]))
    assert [step.spent["usd"] for step in run.steps] == [0.5, None, None]
    assert (run.end["tokens"], run.reach("usd"), run.model) == (None, 0.0, "m")
    assert run.changes("usd") == []
    assert run.best_at("usd", 100.0) is None


@pytest.mark.parametrize(
    ("settings", "axis", "reach"),
    [
        ({}, "", math.inf),
        ({"budget": "3"}, "simulations", 3.0),
        ({"budget": "3.7"}, "simulations", 3.7),  # what was left did not pay for another
        ({"message": "budget spent: usd (limit 7)", "budget": "9,usd=7"}, "usd", 3.0),
        ({"budget": "9,wall_s=41"}, "wall_s", 3.0),
        ({"status": "interrupted"}, "", 3.0),
        ({"status": "lm_failed"}, "", 3.0),
        ({"status": ""}, "", 3.0),
    ],
)
def test_how_far_a_run_counts(tmp_path: Path, settings: dict[str, Any], axis: str, reach: float) -> None:
    """A run that ended by itself counts for ever; one that was cut up to there, or to the limit that cut it."""
    run = trajectory(write_run(tmp_path / "a", CLIMB, **settings))
    assert (run.spent_axis, run.reach("simulations")) == (axis, reach)
    assert run.is_finished == (settings.get("status", "done") == "done")


def test_a_run_that_was_cut_is_read_and_left_alone(tmp_path: Path) -> None:
    """Cut after any byte, a journal is read up to its last whole line, and not a byte of it is changed."""
    path = write_run(tmp_path / "a", CLIMB) / JOURNAL
    data = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(data) if byte == 10]
    for end in (*range(ends[0], len(data), 211), len(data) - 1):
        path.write_bytes(data[:end])
        run = trajectory(tmp_path / "a")
        assert len(run.steps) == max(0, sum(known <= end for known in ends) - 2)
        assert run.status == "unfinished"
        assert path.read_bytes() == data[:end]


def test_gone_on_with_after_its_end(tmp_path: Path) -> None:
    """An end that was followed by more is none."""
    path = write_run(tmp_path / "a", CLIMB, status="interrupted") / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, lines[-2]]))
    run = trajectory(tmp_path / "a")
    assert (run.status, len(run.steps)) == ("unfinished", 5)


def altered(line: int, **fields: Any) -> Any:
    """Return a function that changes fields of a line of a journal."""

    def change(lines: list[bytes]) -> list[bytes]:
        entry = {**json.loads(lines[line]), **fields}
        return [*lines[:line], json.dumps(entry).encode(), *lines[line + 1 :]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [], "must begin with the start"),
        (lambda lines: lines[1:], "must begin with the start"),
        (lambda lines: [*lines[:3], b"nonsense", *lines[3:]], "line 4: not an entry"),
        (lambda lines: [b'{"journal":1}', *lines], "line 1: not an entry"),
        (lambda lines: [*lines, b"[" * 100_000], "not an entry"),
        (lambda lines: [lines[0].replace(b"memory-v0", b"memory-v9"), *lines[1:]], "line 1: no task"),
        (lambda lines: [*lines[:3], lines[3].replace(b'"score":0.2', b'"score":NaN')], "line 4"),
        (altered(3, source=text(9)), "line 4: .*not the one that was simulated"),
        (altered(3, cost={"simulations": "1"}), "line 4: .*'1' is no number"),
        (altered(3, cost={"simulations": 10**400}), "line 4"),
        (altered(3, cost={"money": 1.0}), "line 4: .*money"),
        (altered(3, evaluation={"status": "ok"}), "line 4: not what a design run writes"),
        (altered(0, settings=7), "line 1: not what a design run writes"),
    ],
)
def test_what_is_no_run(tmp_path: Path, change: Any, message: str) -> None:
    """Foreign, altered and broken journals are errors that say where."""
    path = write_run(tmp_path / "a", CLIMB) / JOURNAL
    path.write_bytes(b"".join(line + b"\n" for line in change(path.read_bytes().splitlines())))
    with pytest.raises(GliaBenchError, match=message):
        trajectory(tmp_path / "a")


def test_no_journal(tmp_path: Path) -> None:
    """A folder without one says what to name instead."""
    with pytest.raises(GliaBenchError, match=r"cannot be read .*glia-bench design"):
        trajectory(tmp_path)


def test_designs_below(tmp_path: Path) -> None:
    """Runs are found three levels down; neither the copy beside a design, nor a results folder, nor a link is one."""
    deep = [write_run(tmp_path / place, CLIMB) for place in ("x/y/z", "b", "x/a")]
    write_run(tmp_path / "b" / "design", CLIMB)
    write_run(tmp_path / "1/2/3/4", CLIMB)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / JOURNAL).write_text('{"journal":1}\n')
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / JOURNAL).write_text("[]\n")
    (tmp_path / "again").symlink_to(tmp_path / "b")
    assert designs_below(tmp_path) == sorted(deep)
    assert designs_below(tmp_path / "b") == [tmp_path / "b"]
    assert designs_below(tmp_path / "nowhere") == []


def test_a_run_counts_once(tmp_path: Path) -> None:
    """A copy or a replay is no run of its own; two that have done nothing are two."""
    first = trajectory(write_run(tmp_path / "a", CLIMB))
    replay = trajectory(write_run(tmp_path / "b", CLIMB, step_s=0.1))
    other = trajectory(write_run(tmp_path / "c", CLIMB, seed=1))
    idle = [trajectory(write_run(tmp_path / name, [], status="lm_failed")) for name in "de"]
    kept, remarks = distinct([first, replay, other, *idle])
    assert kept == [first, other, *idle]
    assert remarks == [f"{tmp_path / 'b'} is the same run as {tmp_path / 'a'}, and is counted once"]


def test_unseen_cases(tmp_path: Path) -> None:
    """Every best-so-far design runs once on held-out seeds beside the references; a second time nothing runs."""
    broken = "def rank(request, replica, memory):\n    return 1.0 / (500.0 - request.id)\n"
    forbidden = (
        f"open({str(tmp_path / 'made')!r}, 'w')\n\n\ndef rank(request, replica, memory):\n    return request.x\n"
    )
    runs = [
        trajectory(write_run(tmp_path / "a", [(text(1), 0.2), (text(2), 0.1), (broken, 0.9)])),
        trajectory(write_run(tmp_path / "b", [(text(1), 0.2), (forbidden, 0.9)], seed=1)),
    ]
    started: list[str] = []

    def watch(trial: Any, outcome: Any) -> None:
        started.extend([trial.design.name] if trial else [])

    found = scored(runs, tmp_path / "out", seeds=(7,), watcher=watch)["scheduling/memory-v0"]
    valid, failing = (choice.sha256 for choice in runs[0].choices)
    refused = runs[1].choices[1].sha256
    assert set(found.designs) == {valid, failing, refused}
    assert sorted(started) == sorted(2 * list(set(started)))  # two loads each
    assert len(set(started)) == 4
    assert found.designs[refused] == {7: -math.log(4.0)}
    assert "line 5" in found.failures[refused]
    assert not (tmp_path / "made").exists()
    assert found.designs[failing] == {7: -math.log(4.0)}
    assert found.failures[failing].startswith("policy_error in ")
    assert found.designs[valid][7] > -math.log(4.0)
    assert found.starved[valid]  # shortest first, long prompts last
    assert (found.split, found.cases, found.expert) == ("held-out", (7,), "lens-style@62b9d8")
    started.clear()
    path = tmp_path / "out" / JOURNAL_FILE
    path.write_bytes(path.read_bytes()[:-5])
    again = scored(runs, tmp_path / "out", seeds=(7,), watcher=watch)["scheduling/memory-v0"]
    assert again == found
    assert len(started) == 1  # the line that was cut


def test_stopped_before_the_end(tmp_path: Path) -> None:
    """What was simulated before a stop is kept, and a report without the rest is not made."""
    run = trajectory(write_run(tmp_path / "a", CLIMB))
    stop, done = Stop(), []

    def watch(trial: Any, outcome: Any) -> None:
        if outcome:
            done.append(outcome)
            stop.request()

    with pytest.raises(KeyboardInterrupt):
        scored([run], tmp_path / "out", seeds=(7,), watcher=watch, stop=stop)
    assert len(done) == 1
    assert len((tmp_path / "out" / JOURNAL_FILE).read_bytes().splitlines()) == 2


def test_seeds_that_were_met(tmp_path: Path) -> None:
    """A run that was developed on held-out seeds cannot be judged on them."""
    run = trajectory(write_run(tmp_path / "a", CLIMB, seeds=(0, 1005)))
    with pytest.raises(GliaBenchError, match=r"developed on seed 1005; give others"):
        scored([run], tmp_path / "out")
    with pytest.raises(GliaBenchError, match="at least one"):
        scored([run], tmp_path / "out", seeds=())


def test_a_season_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a season has the task its sealed cases are run, by label; nothing that is written holds a seed or salt."""
    season = draw_season("spring", ["scheduling/memory-v0"])
    monkeypatch.setattr(held_out, "season_of_environment", lambda: season)
    run = trajectory(write_run(tmp_path / "a", CLIMB, seeds=(0, 1005)))
    plan = held_out._Plan("scheduling/memory-v0", [run], season, (7,))
    assert {trial.label for trial in plan.trials} == {case.label for case in season.cases("scheduling/memory-v0")}
    assert all(trial.split == "sealed" and trial.season == season.commitment for trial in plan.trials)
    asked: list[Any] = []

    def settle(trials: Any, limits: Any, **more: Any) -> Any:
        for trial in trials:
            asked.append(trial)
            record = held_out_record(trial)
            yield trial, record

    monkeypatch.setattr(held_out, "settle_trials", settle)
    found = scored([run], tmp_path / "out")["scheduling/memory-v0"]
    assert len(asked) == len(plan.trials)
    assert (found.split, found.season, len(found.cases)) == ("sealed", "spring", 20)
    assert run.best is not None
    gaps = found.gaps(run.best)
    assert set(gaps) == {"fresh", "perturbed"}
    assert gaps["fresh"].value == pytest.approx(math.log(0.5) - -0.5)
    written = (tmp_path / "out" / JOURNAL_FILE).read_text()
    secrets = [str(seed) for part in season.tasks["scheduling/memory-v0"].values() for seed in part]
    assert not any(secret in written for secret in [*secrets, season.salt.hex()])


def held_out_record(trial: Any) -> dict[str, Any]:
    """Return a record of a trial: the expert costs 1, everything else 2."""
    from glia_bench.evaluation.trial import trial_record

    return trial_record(trial, status="ok", cost=1.0 if trial.design.name.startswith("lens") else 2.0)
