"""Canonical JSON, the two ids, and reading and writing results."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glia_bench.errors import EvaluationFailure, GliaBenchError
from glia_bench.scoring.record import (
    RESULT_FIELDS,
    build_record,
    canonical,
    read_record,
    record_id,
    results_id,
    write_atomically,
    write_record,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def make_trial(policy: str = "llq", seed: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a trial record with the fields that ids need, and a few that they must ignore."""
    return {
        "task": "routing/paper-v0",
        "policy": policy,
        "policy_sha256": f"hash of {policy}",
        "workload_sha256": f"trace {seed}",
        "load": 1.0,
        "seed": seed,
        "status": "ok",
        "cost": 25.0 + seed,
        "metrics": {"e2e_mean_s": 25.0 + seed, "preemptions": 3},
        "num_decisions": 100,
        "decision_hash": "00000000deadbeef",
        "records_sha256": "beef",
        "sim_s": 0.1,
        "message": "",
        **changes,
    }


TRIALS = [make_trial(policy, seed) for policy in ("llq", "hra", "expert") for seed in range(3)]


def make_record(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a whole record of these trials."""
    return build_record(suite="quick", trials=trials, summary=[], environment={"python": "3.11.7", "wall_s": 1.5})


@given(value=JSON)
def test_canonical_json_round_trips(value: Any) -> None:
    """Reading canonical JSON gives the value back, floats to the bit, and writing that again gives the same bytes."""
    data = canonical(value)
    assert canonical(json.loads(data)) == data
    assert json.loads(data) == value


def test_canonical_form_by_hand() -> None:
    """Sorted keys, no spaces, UTF-8 as it is, shortest floats, integers as integers."""
    value = {"b": [1, 1.0, 0.1, 1e22, None, True], "a": "ä"}
    assert canonical(value) == '{"a":"ä","b":[1,1.0,0.1,1e+22,null,true]}'.encode()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_what_json_cannot_say_is_refused_with_its_place(bad: Any) -> None:
    """NaN, infinities and foreign types stop the record, and the message says where they stand."""
    with pytest.raises(EvaluationFailure, match=r"finite JSON .* at trials\.1\.cost"):
        canonical({"suite": "quick", "trials": [{"cost": 1.0}, {"cost": bad}]})


def test_ids_do_not_depend_on_the_order_of_trials() -> None:
    """However trials were scheduled, results_id, id and the order in the file are the same."""
    shuffled = list(TRIALS)
    random.Random(7).shuffle(shuffled)
    assert shuffled != TRIALS
    assert results_id(shuffled) == results_id(TRIALS)
    assert make_record(shuffled) == make_record(TRIALS)


@pytest.mark.parametrize("name", RESULT_FIELDS)
def test_results_id_notices_every_field_that_it_covers(name: str) -> None:
    """A change in any covered field of one trial changes results_id."""
    changed = [*TRIALS[:-1], {**TRIALS[-1], name: "another"}]
    assert results_id(changed) != results_id(TRIALS)


def test_results_id_notices_the_last_bit_of_a_cost_and_a_missing_trial() -> None:
    """One unit in the last place of one cost, or one trial less, is another result."""
    off_by_a_bit = [*TRIALS[:-1], {**TRIALS[-1], "cost": 27.000000000000004}]
    assert results_id(off_by_a_bit) != results_id(TRIALS)
    assert results_id(TRIALS[:-1]) != results_id(TRIALS)


@pytest.mark.parametrize("name", ["sim_s", "message", "policy"])
def test_results_id_ignores_what_may_differ_between_machines(name: str) -> None:
    """Timings, messages and what a design is called enter the id of the record, not that of its results."""
    changed = [{**trial, name: f"another {index}"} for index, trial in enumerate(TRIALS)]
    assert results_id(changed) == results_id(TRIALS)
    assert make_record(changed)["id"] != make_record(TRIALS)["id"]


def test_id_covers_the_environment_and_not_itself() -> None:
    """Another machine gives another id; the id can be recomputed from the record that holds it."""
    record = make_record(TRIALS)
    assert record_id(record) == record["id"]
    assert record_id({**record, "environment": {"python": "3.13.0"}}) != record["id"]


def test_result_is_read_back_from_folder_and_file(tmp_path: Path) -> None:
    """What was written is what is read, whether the folder or the file is named."""
    record = make_record(TRIALS)
    path = write_record(tmp_path, record)
    assert path.name == "result.json"
    assert read_record(tmp_path) == read_record(path) == record


def test_altered_results_are_refused(tmp_path: Path) -> None:
    """A cost edited by hand no longer matches results_id; an edited environment no longer matches id."""
    record = make_record(TRIALS)
    better = {**record, "trials": [{**record["trials"][0], "cost": 1.0}, *record["trials"][1:]]}
    write_record(tmp_path, better)
    with pytest.raises(GliaBenchError, match=r"results_id of .* was altered"):
        read_record(tmp_path)
    write_record(tmp_path, {**record, "environment": {}})
    with pytest.raises(GliaBenchError, match=r"^id of .* was altered"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no result at"),
        (b"{", "must be a result record in JSON"),
        (b"[]", r"schema 1 \(got 'list'\)"),
        (b'{"schema": 2}', r"schema 1 \(got 2\)"),
        (b'{"schema": 1, "id": "x", "trials": []}', "must hold results_id, summary, environment"),
    ],
)
def test_what_is_no_result_is_said_plainly(tmp_path: Path, content: bytes | None, message: str) -> None:
    """Absent, broken, foreign and incomplete files are each named with what is wrong."""
    if content is not None:
        (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(GliaBenchError, match=message):
        read_record(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the last step fails, the old content stands and no temporary file stays behind."""
    path = tmp_path / "result.json"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
