"""Seasons of sealed seeds: what is published when, what a season file must be, and that nothing tells the split."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from records import LOAD, TASK, make_result

from glia_bench.errors import GliaBenchError
from glia_bench.evaluation import sealed
from glia_bench.evaluation.plan import make_plan
from glia_bench.evaluation.sealed import Season, draw_season, guarded, main, read_season
from glia_bench.evaluation.trial import Trial, run_trial
from glia_bench.evaluation.verify import verify_record
from glia_bench.evaluation.worker import child_environment
from glia_bench.tasks.catalog import get_task
from glia_bench.tasks.perturbation import NONE, draw_perturbation
from glia_bench.workloads.streams import Stream

EXPERT = get_task(TASK).expert
HOLDS = "def route(request, replicas, cluster, memory):\n    return 99\n"


@pytest.fixture
def season_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A season of one task, in force for the test."""
    file = tmp_path / "season.json"
    assert main(["new", str(file), "--season", "autumn", "--task", TASK]) == 0
    monkeypatch.setenv(sealed.VARIABLE, str(file))
    sealed.season_of_environment.cache_clear()
    yield file
    sealed.season_of_environment.cache_clear()


def seeds_of(season: Season) -> list[int]:
    """Return all seeds of a season's task."""
    return [seed for part in season.tasks[TASK].values() for seed in part]


def test_a_new_season_is_secret_and_committed_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only its owner may read the file; what is printed holds the commitment, and neither salt nor any seed."""
    file = tmp_path / "season.json"
    assert main(["new", str(file), "--season", "autumn", "--task", TASK, "--num-seeds", "22"]) == 0
    printed = capsys.readouterr().out
    season = read_season(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(printed) == {
        "season": "autumn",
        "commitment": season.commitment,
        "num_seeds": {TASK: {"fresh": 11, "perturbed": 11}},
        "traces": [],
    }
    assert not any(str(seed) in printed for seed in seeds_of(season))
    assert season.salt.hex() not in printed
    assert main(["commit", str(file)]) == 0
    assert capsys.readouterr().out == printed
    assert main(["new", str(file), "--season", "again", "--task", TASK]) == 1
    assert "never overwritten" in capsys.readouterr().err


def test_seeds_are_of_64_bits_and_never_the_same(tmp_path: Path) -> None:
    """Two seasons share neither salt nor seeds; half of the seeds are above 2^63, give or take."""
    first, second = (draw_season("a", [TASK], 40) for _ in range(2))
    assert first.salt != second.salt
    assert set(seeds_of(first)).isdisjoint(seeds_of(second))
    assert 5 <= sum(seed >= 1 << 63 for seed in seeds_of(first)) <= 35  # fails by chance once in a million


def test_the_commitment_is_a_plain_hash(season_file: Path) -> None:
    """Anyone recomputes it from the revealed file with SHA-256 and canonical JSON alone."""
    import hashlib

    content = json.loads(season_file.read_text())
    committed = {"season": "autumn", "tasks": content["tasks"], "traces": []}
    text = json.dumps(committed, sort_keys=True, separators=(",", ":"))
    expected = hashlib.sha256(bytes.fromhex(content["salt"]) + text.encode()).hexdigest()
    assert read_season(season_file).commitment == expected


def test_a_reveal_is_checked_against_the_commitment(season_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The revealed file holds the seeds committed to; with one seed or the salt exchanged it does not."""
    commitment = read_season(season_file).commitment
    main(["reveal", str(season_file)])
    revealed = season_file.with_name("revealed.json")
    revealed.write_text(capsys.readouterr().out)
    assert main(["check", str(revealed), commitment]) == 0
    content = json.loads(revealed.read_text())
    for change in ({"salt": "00" * 32}, {"season": "winter"}):
        revealed.write_text(json.dumps(content | change))
        assert main(["check", str(revealed), commitment]) == 1
    content["tasks"][TASK]["fresh"][0] += 1
    revealed.write_text(json.dumps(content))
    assert main(["check", str(revealed), commitment]) == 1
    assert "these are not the seeds that the season was opened with" in capsys.readouterr().err


def change_tasks(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """Return a change of the one task's seeds."""
    return lambda content: change(content["tasks"][TASK])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("salt"), "must hold salt, schema, season, tasks"),
        (lambda content: content.update(schema=2), "with schema 1"),
        (lambda content: content.update(salt="00"), "at least 32 bytes"),
        (lambda content: content.update(salt="xyz"), "salt in hexadecimal"),
        (lambda content: content.update(season=" "), "must have a name"),
        (lambda content: content.update(tasks={}), "at least one task"),
        (lambda content: content.update(tasks={"routing/paper-v9": content["tasks"][TASK]}), "no task"),
        (lambda content: content.update(tasks={"routing/paper-exact-v0": content["tasks"][TASK]}), "cannot be sealed"),
        (lambda content: content.update(traces=[{"task": TASK}]), "each with task, path, sha256 and seed"),
        (change_tasks(lambda parts: parts.pop("fresh")), "lists of seeds fresh and perturbed"),
        (change_tasks(lambda parts: parts["fresh"].pop()), r"half fresh, half perturbed \(got 9 \+ 10\)"),
        (change_tasks(lambda parts: parts["fresh"].__setitem__(0, parts["perturbed"][0])), "distinct"),
        (change_tasks(lambda parts: parts["fresh"].__setitem__(0, 1 << 64)), "64 bits"),
        (change_tasks(lambda parts: parts["fresh"].__setitem__(0, 1.5)), "whole numbers"),
        (change_tasks(lambda parts: parts["fresh"].__setitem__(0, 3)), "must not be development seeds"),
    ],
)
def test_a_season_file_that_breaks_a_rule_is_refused(
    season_file: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    """Each rule has its message, and none shows a seed or the salt."""
    content = json.loads(season_file.read_text())
    secrets = [content["salt"], *(str(seed) for part in content["tasks"][TASK].values() for seed in part)]
    change(content)
    season_file.write_text(json.dumps(content))
    with pytest.raises(GliaBenchError, match=message) as raised:
        read_season(season_file)
    assert not any(secret in str(raised.value) for secret in secrets)


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_what_is_no_season_is_said_plainly(tmp_path: Path, text: str | None) -> None:
    """Absent, broken and foreign files."""
    file = tmp_path / "season.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(GliaBenchError, match=r"season file .* (cannot be read|must be JSON|must hold)"):
        read_season(file)


def test_the_sealed_split_needs_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a season there is nothing to run, and the message names the variable."""
    monkeypatch.delenv(sealed.VARIABLE, raising=False)
    sealed.season_of_environment.cache_clear()
    with pytest.raises(GliaBenchError, match="needs GLIA_BENCH_SEALED=FILE"):
        make_plan(task_ids=[TASK], policies=["llq"], split="sealed")


def test_cases_are_half_fresh_and_half_from_the_box(season_file: Path) -> None:
    """Fresh cases are the task as it is, perturbed ones draws keyed by their seed; labels say which is which."""
    cases = read_season(season_file).cases(TASK)
    assert [case.label for case in cases] == [f"{part}-{k:02d}" for part in ("fresh", "perturbed") for k in range(10)]
    for case in cases[:10]:
        assert case.perturbation == NONE
    for case in cases[10:]:
        assert case.perturbation == draw_perturbation(Stream(TASK, case.seed, "perturbation")) != NONE


def test_sealed_trials_keep_nothing_and_tasks_out_of_season_are_left_out(season_file: Path, tmp_path: Path) -> None:
    """All cases are run whatever --seeds says, without tables; a task without cases is named."""
    plan = make_plan(
        task_ids=[TASK, "routing/sessions-v0"], policies=["llq"], num_seeds=1, folder=tmp_path, split="both",
        keeps_all_requests=True, keeps_timelines=True, keeps_decisions=True,
    )  # fmt: skip
    hidden = [trial for trial in plan.trials if trial.split == "sealed"]
    assert (len(plan.trials), len(hidden)) == (21, 20)
    for trial in hidden:
        kept = (trial.keeps_requests, trial.keeps_samples, trial.keeps_timeline, trial.keeps_decisions)
        assert kept == (False, False, False, False)
    assert any("routing/sessions-v0 is left out: season 'autumn' has no cases of it" in text for text in plan.skipped)


def test_a_result_holds_labels_commitment_and_gaps_but_no_seed(season_file: Path, tmp_path: Path) -> None:
    """Until the reveal nothing in the folder names a seed; with the season at hand the result is verified."""
    season = read_season(season_file)
    record = make_result(tmp_path / "result", "llq", EXPERT, num_seeds=3, split="both")
    assert record["season"] == {"name": "autumn", "commitment": season.commitment}
    assert {trial["seed"] for trial in record["trials"]} == {0, 1, 2, *(case.label for case in season.cases(TASK))}
    for file in (tmp_path / "result").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(str(seed).encode() in content for seed in seeds_of(season)), file
    assert {row["num_seeds"] for row in record["summary"]} == {20}
    assert {(row["policy"], row["part"]) for row in record["gaps"]} == {
        (policy, part) for policy in ("llq", EXPERT) for part in ("fresh", "perturbed")
    }
    assert verify_record(record).is_verified


def test_another_season_does_not_verify_a_result(
    season_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels are equal in every season; the commitment tells them apart. Without a season that is said too."""
    record = make_result(tmp_path / "result", "llq", split="sealed")
    other = tmp_path / "other.json"
    main(["new", str(other), "--season", "autumn", "--task", TASK])
    monkeypatch.setenv(sealed.VARIABLE, str(other))
    sealed.season_of_environment.cache_clear()
    outcome = verify_record(record)
    assert (outcome.num_equal, outcome.is_verified) == (0, False)
    assert "is not the one of this record" in outcome.faults[0]
    monkeypatch.delenv(sealed.VARIABLE)
    sealed.season_of_environment.cache_clear()
    assert "once their season is revealed" in verify_record(record).faults[0]


def sealed_trial(season_file: Path, place: int = 0, source: str | None = None) -> Trial:
    """Return a trial of a sealed case, of `llq` or of a text."""
    plan = make_plan(task_ids=[TASK], policies=["llq"], loads=[LOAD], split="sealed")
    assert read_season(season_file).cases(TASK)[place].label == plan.trials[place].label
    if source is None:
        return plan.trials[place]
    from dataclasses import replace

    design = replace(plan.trials[place].design, name="mine", source=source)
    return replace(plan.trials[place], design=design)


def test_nothing_that_a_policy_sees_tells_the_split(season_file: Path) -> None:
    """The run of a fresh case is that of a development trial with the same seed, to the last decision and record."""
    from dataclasses import replace

    hidden = sealed_trial(season_file)
    known = replace(hidden, split="dev", label="")
    first, second = run_trial(hidden), run_trial(known)
    for name in ("workload_sha256", "decision_hash", "records_sha256", "cost", "metrics", "groups"):
        assert first[name] == second[name]
    assert (first["split"], first["seed"]) == ("sealed", "fresh-00")
    assert second["seed"] == hidden.seed


def test_a_design_does_not_get_the_name_of_the_season_file(season_file: Path) -> None:
    """The environment of an evaluator process has no variable of ours that names the file, nor its path."""
    assert sealed.VARIABLE in os.environ
    assert str(season_file) not in str(child_environment())


def test_messages_about_sealed_cases_say_little(season_file: Path) -> None:
    """A bad decision, or an exception with the workload in its text, shows at most the name of a built-in exception."""
    assert run_trial(sealed_trial(season_file, source=HOLDS))["message"] == "a sealed case: no details"
    assert guarded("route raised KeyError for request 17: prompt_tokens 812") == "KeyError"
    assert guarded("route raised Leak_812_Error for request 17") == "a sealed case: no details"
    assert guarded("") == ""


def test_an_unseen_trace_is_committed_to_by_its_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It runs on the task's cluster as a task of its own; another file in its place is refused; no path is revealed."""
    trace = tmp_path / "secret.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{k},{50 + k},{20 + k}\n" for k in range(30)))
    file = tmp_path / "season.json"
    assert main(["new", str(file), "--season", "s", "--task", TASK, "--trace", f"{TASK}={trace}"]) == 0
    season = read_season(file)
    ((task_id, case),) = season.unseen(TASK).items()
    assert re.fullmatch(re.escape(TASK) + r"\+trace:[0-9a-f]{12}", task_id)
    assert season.cases(task_id) == (case,)
    plan = make_plan(task_ids=[TASK], policies=["llq"], loads=[1.0])
    from dataclasses import replace

    trial = replace(
        plan.trials[0], task=task_id, trace=str(case.trace), split="sealed", seed=case.seed, label=case.label
    )
    record = run_trial(trial)
    assert (record["status"], record["seed"], record["metrics"]["num_requests"]) == ("ok", "unseen-00", 30)
    capsys.readouterr()
    main(["reveal", str(file)])
    assert str(tmp_path) not in capsys.readouterr().out
    trace.write_text(trace.read_text() + "31,9,9\n")
    with pytest.raises(GliaBenchError, match="must be the trace that season 's' committed to"):
        season.unseen(TASK)
