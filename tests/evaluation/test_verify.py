"""Verifying: a whole result holds; each way to tamper with one is found, with the reason."""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from records import MINE, TASK, as_read, forged, make_result, well_forged, with_new_ids

from glia_bench.errors import GliaBenchError
from glia_bench.evaluation import verify as verify_module
from glia_bench.evaluation.consistency import faults
from glia_bench.evaluation.plan import make_plan
from glia_bench.evaluation.reruns import Files
from glia_bench.evaluation.results import run_plan
from glia_bench.evaluation.runner import Limits
from glia_bench.evaluation.verify import verify_record
from glia_bench.scoring.record import ResultRecord, read_record
from glia_bench.scoring.signature import sign_record

Change = Callable[[ResultRecord], Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a small result lies: three shipped policies on two seeds, with decision logs."""
    folder = tmp_path_factory.mktemp("result")
    make_result(folder, "llq", "expert", "hra", keeps_decisions=True)
    return folder


@pytest.fixture(scope="module")
def record(folder: Path) -> ResultRecord:
    """The record of that result."""
    return read_record(folder)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the result of a design from a file lies, on one seed; the file itself is gone."""
    folder = tmp_path_factory.mktemp("mine")
    file = tmp_path_factory.mktemp("policies") / "mine.py"
    file.write_text(MINE)
    make_result(folder, str(file), num_seeds=1, keeps_decisions=True)
    file.unlink()
    return folder


def trial(record: ResultRecord, policy: str = "hra", seed: int = 0) -> dict[str, Any]:
    """Return one trial of a record."""
    return next(t for t in record["trials"] if (t["policy"], t["seed"]) == (policy, seed))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_whole_result_is_verified(record: ResultRecord, jobs: int) -> None:
    """One after the other or in processes, all trials give the same again."""
    outcome = verify_record(record, jobs=jobs)
    assert outcome.is_verified
    assert (outcome.num_equal, outcome.num_trials) == (6, 6)
    assert outcome.results_id_here == record["results_id"]
    assert outcome.notes == ("the record is not signed: nothing vouches for its machine, times and versions",)


def test_a_record_that_was_read_back_adds_up(tmp_path: Path) -> None:
    """At full load groups are starved: what follows from the trials does not hang on the order of their keys."""
    plan = make_plan(task_ids=[TASK], policies=["hra", "llq"], num_seeds=2, folder=tmp_path, adds_references=True)
    run_plan(plan, Limits(), folder=tmp_path)
    read = read_record(tmp_path)
    assert any(row["starves"] for row in read["summary"])
    assert faults(read) == []


def test_a_design_from_a_file_is_verified_without_the_file(mine: Path) -> None:
    """The record holds its text."""
    outcome = verify_record(read_record(mine))
    assert (outcome.is_verified, outcome.num_equal) == (True, 1)


def alter_cost(record: ResultRecord) -> None:
    """Take the last bit off a cost."""
    trial(record)["cost"] *= 1.0 - 2.0**-52


def alter_metric(record: ResultRecord) -> None:
    """Improve a metric."""
    trial(record)["metrics"]["ttft_p99_s"] *= 0.5


def alter_seed(record: ResultRecord) -> None:
    """Say seed 0 where seed 1 was run, and the other way round."""
    for one in record["trials"]:
        one["seed"] = 1 - one["seed"]


def alter_load(record: ResultRecord) -> None:
    """Say that the load was higher."""
    for one in record["trials"]:
        one["load"] = 0.02


def alter_decisions(record: ResultRecord) -> None:
    """Name another hash of decisions."""
    trial(record)["decision_hash"] = "0" * 16


def alter_records(record: ResultRecord) -> None:
    """Name another hash of what became of requests."""
    trial(record)["records_sha256"] = "0" * 64


def alter_groups(record: ResultRecord) -> None:
    """Say that nobody was starved."""
    trial(record)["groups"]["prompt_decile"]["10"]["slowdown_mean"] = 0.5


def alter_status(record: ResultRecord) -> None:
    """Say that a rival failed."""
    rival = trial(record, "expert")
    rival |= {"status": "bad_decision", "cost": None, "metrics": dict.fromkeys(rival["metrics"])}


def alter_tier(record: ResultRecord) -> None:
    """Say that a compiled design ran as plain Python: it then does so here, and gives the same."""
    trial(record)["tier"] = "compiled" if trial(record)["tier"] == "python" else "python"


def exchange_design(record: ResultRecord) -> None:
    """Put another design with its own hash in place of the one that was run."""
    source = MINE.replace("cost < least", "cost < least or k == 3")
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    record["designs"][0] |= {"source": source, "sha256": sha256}
    trial(record, "mine")["policy_sha256"] = sha256


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        (alter_cost, "cost", "everything that it is computed from is equal: the record was altered"),
        (alter_metric, "metrics.ttft_p99_s", "everything that it is computed from is equal"),
        (alter_seed, "workload_sha256", "the workload is another: seed, load or workload hash"),
        (alter_load, "workload_sha256", "the workload is another"),
        (alter_decisions, "decision_hash", "same workload: it is not deterministic, or the record was altered"),
        (alter_records, "records_sha256", "equal decisions had other consequences"),
        (alter_groups, "groups.prompt_decile.10.slowdown_mean", "the record was altered"),
        (alter_status, "status", "the design decided otherwise"),
    ],
)
def test_what_a_careful_forger_alters_is_found_by_running_it(
    record: ResultRecord, change: Change, field: str, reason: str
) -> None:
    """The record adds up and its ids match, but the trial does not give what it says; the first difference is told."""
    outcome = verify_record(well_forged(record, change))
    assert not outcome.is_verified
    assert outcome.difference is not None
    assert outcome.difference.field == field
    assert reason in outcome.difference.reason
    assert outcome.difference.recorded != outcome.difference.found
    assert outcome.results_id_here is not None


def test_the_recorded_tier_is_the_one_that_runs(record: ResultRecord) -> None:
    """A record that names the other tier is run in it, and holds where both tiers decide alike."""
    assert verify_record(well_forged(record, alter_tier)).is_verified


def reverse_trials(record: ResultRecord) -> None:
    """Change the order of trials."""
    record["trials"].reverse()


def drop_trial(record: ResultRecord) -> None:
    """Leave out the seed that went badly."""
    record["trials"].remove(trial(record, seed=1))


def drop_seed(record: ResultRecord) -> None:
    """Leave out a seed of every policy that is not the last."""
    record["trials"] = [one for one in record["trials"] if one["seed"] != 0]


def drop_policy(record: ResultRecord) -> None:
    """Leave out a rival's trials."""
    record["trials"] = [one for one in record["trials"] if one["policy"] != "expert"]


def double_trial(record: ResultRecord) -> None:
    """Count a good trial twice."""
    record["trials"].insert(0, record["trials"][0])


def alter_summary(record: ResultRecord) -> None:
    """Improve a mean."""
    record["summary"][0]["cost_mean"] *= 0.9


def alter_source(record: ResultRecord) -> None:
    """Show a nicer source than was run."""
    record["designs"][0]["source"] = "# so simple\n"


def alter_kind(record: ResultRecord) -> None:
    """Pass a file off as a human expert's."""
    next(design for design in record["designs"] if design["name"] == "hra")["kind"] = "human"


def drop_designs(record: ResultRecord) -> None:
    """Leave out the sources."""
    del record["designs"]


def drop_design(record: ResultRecord) -> None:
    """Leave out one source."""
    record["designs"] = [design for design in record["designs"] if design["name"] != "hra"]


def rename_design(record: ResultRecord) -> None:
    """Name a design so that its log would lie elsewhere."""
    record["designs"][0]["name"] = "../../elsewhere"


def drop_field(record: ResultRecord) -> None:
    """Leave out a field that ids do not need."""
    del record["trials"][0]["groups"]


def invent_task(record: ResultRecord) -> None:
    """Name a task of another version."""
    for one in record["trials"]:
        one["task"] = "routing/paper-v9"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (reverse_trials, "trials are not in the order"),
        (drop_trial, r"the trial of hra on routing/paper-v0, load 0.01, seed 1 is missing \(1 of 2 seeds\)"),
        (drop_seed, "seed 0 is missing"),
        (drop_policy, "the trial of expert on .* is missing"),
        (double_trial, "is there 2 times"),
        (alter_summary, r"summary\[0\]\.cost_mean does not follow from the trials"),
        (alter_source, "the source of design 'expert' is not the one that was run"),
        (alter_kind, "names another design than the record lists"),
        (drop_designs, "must list its designs with their sources"),
        (drop_design, "trials of 'hra' on routing/paper-v0 have no design in the record"),
        (rename_design, "every design must have a plain name"),
        (drop_field, "trial 0 must hold groups"),
        (invent_task, "task 'routing/paper-v9' is not in this version's catalogue"),
    ],
)
def test_what_does_not_add_up_is_refused_before_anything_runs(
    record: ResultRecord, change: Change, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids match, but the record contradicts itself; no design is run, and the reason is said."""

    def run_again(*_: object) -> dict[Any, Any]:
        raise AssertionError("nothing may run")

    monkeypatch.setattr(verify_module, "run_again", run_again)
    outcome = verify_record(forged(record, change))
    assert not outcome.is_verified
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError("\n".join(outcome.faults))


def alter_environment(record: ResultRecord) -> None:
    """Claim another machine."""
    record["environment"]["cpu_arch"] = "abacus"


@pytest.mark.parametrize("change", [alter_cost, alter_seed, alter_summary, alter_source, alter_environment, drop_trial])
def test_a_file_edited_by_hand_is_refused_when_it_is_read(record: ResultRecord, change: Change, tmp_path: Path) -> None:
    """Without new ids, an edit anywhere is seen from the file alone."""
    copied = copy.deepcopy(record)
    change(copied)
    with pytest.raises(GliaBenchError, match="was altered after the run"):
        read_record(as_read(copied, tmp_path / "copy"))


@pytest.mark.parametrize("change", [alter_cost, alter_environment])
def test_a_signature_covers_everything(record: ResultRecord, change: Change) -> None:
    """New ids do not help against a signature, be it left as it was, taken off, or made by another key."""
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    signed = sign_record(record, key)
    assert verify_record(signed, key=key.public_key()).is_verified
    altered = forged(signed, change)
    for attempt, reason in (
        ({**altered, "signature": signed["signature"]}, "altered after it was signed"),
        (altered, "must be signed"),
        (sign_record(altered, other), "must be by the key given"),
    ):
        outcome = verify_record(attempt, key=key.public_key())
        assert not outcome.is_verified
        assert reason in outcome.faults[0]


def test_an_interrupted_run_may_lack_trials(record: ResultRecord) -> None:
    """What a run says that it did not do is not missing; all else of it is checked."""

    def interrupt(record: ResultRecord) -> None:
        record["environment"]["interrupted"] = True
        drop_trial(record)

    assert verify_record(well_forged(record, interrupt)).is_verified


def test_a_shipped_policy_that_has_changed_is_said_so(record: ResultRecord) -> None:
    """Its trials are not run, the others are; the result is not verified."""

    def older(record: ResultRecord) -> None:
        for one in (*record["trials"], *record["designs"]):
            if one.get("policy", one.get("name")) == "llq":
                one["policy_sha256" if "policy" in one else "sha256"] = "0" * 64

    outcome = verify_record(well_forged(record, older))
    assert outcome.faults == ("shipped policy 'llq' has changed since: its trials cannot be run again by this version",)
    assert (outcome.num_equal, outcome.difference, outcome.is_verified) == (4, None, False)


def test_other_versions_are_noted(record: ResultRecord) -> None:
    """A result of another simulator that still gives the same is verified, and the versions are named."""

    def elsewhere(record: ResultRecord) -> None:
        record["environment"] |= {"numpy": "1.0", "simulator_sha256": "f" * 64}

    outcome = verify_record(well_forged(record, elsewhere))
    assert outcome.is_verified
    assert outcome.notes[0].startswith("simulator_sha256 was ffffffffffff and is ")
    assert outcome.notes[1].startswith("numpy was 1.0 and is ")


def test_recorded_decisions_are_replayed(folder: Path, record: ResultRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the logs alone, without loading any design, every number comes again."""

    def load(*_: object) -> None:
        raise AssertionError("no design may be loaded")

    monkeypatch.setattr("glia_bench.evaluation.trial.load_design", load)
    outcome = verify_record(record, files=Files(folder=folder), replay=True)
    assert (outcome.is_verified, outcome.is_replay, outcome.num_equal) == (True, True, 6)


@pytest.mark.slow
def test_where_a_design_differs_its_log_says_whether_the_simulator_does(mine: Path) -> None:
    """An exchanged design, with the log that was recorded beside it: the decisions hold, the design does not.

    What may differ between platforms is named too.
    """
    outcome = verify_record(well_forged(read_record(mine), exchange_design), files=Files(folder=mine))
    assert outcome.difference is not None
    assert outcome.difference.field == "decision_hash"
    assert "the design calls exp, whose last bit differs between platforms, or" in outcome.difference.reason
    assert outcome.difference.reason.endswith("the simulator agrees, the design does not")


def test_a_replay_needs_the_logs_that_were_written(folder: Path, record: ResultRecord, tmp_path: Path) -> None:
    """Without its log a trial is not replayed; a log that was edited, or lies outside the folder, is refused."""
    outcome = verify_record(record, files=Files(folder=tmp_path), replay=True)
    assert not outcome.is_verified
    assert outcome.faults[-1] == "6 of 6 trials have no decision log that can be replayed"

    def mix_up(record: ResultRecord) -> None:
        trial(record)["decisions"] = trial(record, seed=1)["decisions"]
        trial(record, "llq")["decisions"] = "../elsewhere.parquet"

    outcome = verify_record(well_forged(record, mix_up), files=Files(folder=folder), replay=True)
    assert (
        "the trial of hra on routing/paper-v0, load 0.01, seed 0 is not the one that was written" in outcome.faults[0]
    )
    assert (
        "the trial of llq on routing/paper-v0, load 0.01, seed 0 must lie in the result's folder" in outcome.faults[1]
    )
    assert outcome.num_equal == 4


def test_forged_costs_do_not_survive_a_replay(folder: Path, record: ResultRecord) -> None:
    """The logs belong to the costs: a better cost is found from them alone."""
    outcome = verify_record(well_forged(record, alter_cost), files=Files(folder=folder), replay=True)
    assert outcome.difference is not None
    assert outcome.difference.field == "cost"


def test_the_outcome_is_json(record: ResultRecord) -> None:
    """`to_json` holds the verdict and every field, the difference included, and can be written."""
    outcome = verify_record(well_forged(record, alter_cost))
    written = json.loads(json.dumps(outcome.to_json()))
    assert written["verified"] is False
    assert written["difference"]["field"] == "cost"
    assert {field.name for field in dataclasses.fields(outcome)} < written.keys()


def test_ids_made_anew_are_those_of_the_record(record: ResultRecord) -> None:
    """The forger of these tests changes nothing but what it is asked to."""
    assert with_new_ids(record) == record
    assert well_forged(record, lambda same: None) == record
    assert {one["task"] for one in record["trials"]} == {TASK}
