"""Tuning by a design's own constants: what is searched, what counts, what it costs, and going on after a stop."""

import json
from pathlib import Path

import pytest

from glia_bench.errors import GliaBenchError
from glia_bench.evaluation.designs import Design, load_design, make_designs, varied
from glia_bench.evaluation.plan import Plan, make_plan
from glia_bench.evaluation.runner import Limits
from glia_bench.evaluation.stopping import Stop
from glia_bench.evaluation.tuning import Tuned, tune
from glia_bench.tasks import tuned as tuned_module
from glia_bench.tasks.tuned import Frozen
from glia_bench.tunables import sha256_of

TASK = "routing/paper-v0"
HEADER = "from glia_bench import HOLD\n"
FIRST_N = """
MOST = 1
TUNABLE = {"MOST": (1, 4)}


def route(request, replicas, cluster, memory):
    best, fewest = HOLD, 0
    for i in range(min(MOST, cluster.num_replicas)):
        if replicas.ready[i] == 1 and (best == HOLD or replicas.inflight[i] < fewest):
            best, fewest = i, replicas.inflight[i]
    return best
"""


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run designs from files here: a process for each text is the runner's business, and takes seconds."""
    monkeypatch.setattr(Design, "is_shipped", True)


@pytest.fixture
def design(tmp_path: Path) -> str:
    """Return a design that uses one replica of four, and may be told to use more."""
    path = tmp_path / "few.py"
    path.write_text(HEADER + FIRST_N)
    return str(path)


def plan(*policies: str, seeds: int = 1) -> Plan:
    """Return a small plan."""
    return make_plan(task_ids=[TASK], policies=policies, loads=[0.05], num_seeds=seeds)


def tuned(policies: Plan, folder: Path, simulations: int = 6) -> list[Tuned]:
    """Return what tuning finds, in a folder of its own."""
    folder.mkdir(exist_ok=True)
    return tune(policies, simulations, Limits(), folder=folder)


def test_finds_the_better_constant(design: str, tmp_path: Path) -> None:
    """Using more replicas is better; the text with that number in it is the design, and its cost is the gain's."""
    (found,) = tuned(plan(design), tmp_path / "out")
    assert found.task == TASK
    assert found.simulations == 6
    assert found.constants["MOST"] > 1
    assert found.gain > 1.05
    assert found.design.source == HEADER + FIRST_N.replace("MOST = 1", f"MOST = {found.constants['MOST']}")
    assert found.design.name == f"few@{sha256_of(found.design.source)[:6]}"
    lines = [json.loads(line) for line in (tmp_path / "out/tuning.jsonl").read_text().splitlines()]
    assert lines[0]["constants"] == {}, "the file's own constants come first"
    assert len(lines) == len({line["key"] for line in lines}) <= 4, "no constants are simulated twice"
    table = json.loads((tmp_path / "out/tuned.json").read_text())
    assert table[TASK]["few"] == {
        "constants": dict(found.constants),
        "sha256": found.design.sha256,
        "simulations": 6,
        "num_seeds": 1,
        "loads": [0.05],
        "gain": pytest.approx(found.gain, abs=1e-4),
    }


def test_a_search_repeats_and_goes_on(design: str, tmp_path: Path) -> None:
    """A search that was stopped after two simulations takes them over, and ends like one that was not."""
    whole = tuned(plan(design), tmp_path / "a", 5)
    tuned(plan(design), tmp_path / "b", 2)
    history = tmp_path / "b/tuning.jsonl"
    first = history.read_bytes()
    history.write_bytes(first + b'{"key": "cut')
    assert tuned(plan(design), tmp_path / "b", 5) == whole
    after = history.read_text().splitlines()
    assert history.read_bytes().startswith(first), "what was settled is not simulated again"
    assert len(after) == len((tmp_path / "a/tuning.jsonl").read_text().splitlines()) + 1


def test_other_cases_are_simulated_anew(design: str, tmp_path: Path) -> None:
    """What was found on one seed says nothing about two."""
    tuned(plan(design), tmp_path / "out", 1)
    tuned(plan(design, seeds=2), tmp_path / "out", 1)
    assert len((tmp_path / "out/tuning.jsonl").read_text().splitlines()) == 2


def test_starving_is_worse_than_any_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Constants that starve a group lose to those that do not, however good their mean; paper tasks do not ask."""
    monkeypatch.setattr("glia_bench.evaluation.tuning.is_paper", lambda task: False)
    monkeypatch.setattr(
        "glia_bench.evaluation.tuning.starved_groups",
        lambda records, plain: ["tenant 1"] if records[0]["policy_sha256"] != plain[0]["policy_sha256"] else [],
    )
    path = tmp_path / "few.py"
    path.write_text(HEADER + FIRST_N)
    (found,) = tuned(plan(str(path)), tmp_path / "out", 3)
    assert found.constants, "where all starve, cost decides"
    monkeypatch.setattr(
        "glia_bench.evaluation.tuning.starved_groups",
        lambda records, plain: ["tenant 1"] if "@" in records[0]["policy"] else [],
    )
    (found,) = tuned(plan(str(path)), tmp_path / "out2", 3)
    assert (dict(found.constants), found.gain) == ({}, 1.0)


def test_failing_is_worse_still(tmp_path: Path) -> None:
    """Constants with which a design answers wrongly lose to the worst that work."""
    path = tmp_path / "few.py"
    path.write_text(
        "MOST = 1\nTUNABLE = {'MOST': (1, 9)}\ndef route(request, replicas, cluster, memory):\n"
        "    return 0 if MOST == 1 else 99\n"
    )
    (found,) = tuned(plan(str(path)), tmp_path / "out", 4)
    assert (found.design.name, found.gain) == ("few", 1.0)


def test_a_stop_leaves_the_best_so_far(design: str, tmp_path: Path) -> None:
    """Asked to end after the first simulation, a search has a usable answer; before it, none."""
    stop = Stop()
    rounds = []

    def say(text: str) -> None:
        rounds.append(text)
        if len(rounds) == 2:
            stop.request()

    (tmp_path / "out").mkdir()
    (found,) = tune(plan(design), 9, Limits(), folder=tmp_path / "out", say=say, stop=stop)
    assert (found.simulations, found.design.name) == (1, "few")
    assert tune(plan(design), 9, Limits(), folder=tmp_path / "out", stop=stop) == []


def test_nothing_to_tune(tmp_path: Path) -> None:
    """Designs without tunable constants, and oracles, are an error rather than a search of nothing."""
    with pytest.raises(GliaBenchError, match="needs designs that declare TUNABLE"):
        tuned(plan("llq", "oracle_jsw"), tmp_path)


def test_shipped_designs_with_other_constants_stay_shipped() -> None:
    """They go by name, hash and constants, and load to the text that the hash is of."""
    (oracle,) = make_designs(["oracle_jsw"], "routing")
    other = varied(oracle, {"PREFILL_WEIGHT": 0.5})
    assert (other.source, other.idea, other.kind, other.constants) == (
        None,
        "oracle_jsw",
        "bound",
        (("PREFILL_WEIGHT", 0.5),),
    )
    policy = load_design(other)
    assert (policy.sha256, policy.name) == (other.sha256, other.name)
    assert "\nPREFILL_WEIGHT = 0.5\n" in policy.source
    assert varied(oracle, {}) is oracle


def test_names_of_tuned_designs(monkeypatch: pytest.MonkeyPatch) -> None:
    """`NAME@tuned` and `NAME@hash` are what is frozen with the task; another hash says what there is."""
    (oracle,) = make_designs(["oracle_jsw"], "routing")
    other = varied(oracle, {"PREFILL_WEIGHT": 0.5})
    frozen = Frozen(
        constants={"PREFILL_WEIGHT": 0.5}, sha256=other.sha256, simulations=20, num_seeds=10, loads=(1.0,), gain=1.1
    )
    monkeypatch.setattr(tuned_module, "_table", lambda: {TASK: {"oracle_jsw": frozen}})
    for reference in ("oracle_jsw@tuned", other.name):
        for task in (TASK, f"{TASK}+trace:abcdef"):
            assert make_designs([reference], "routing", task) == [other]
    assert make_designs(["oracle_jsw@tuned"], "routing", "routing/stale-v0") == [oracle], "not tuned for it"
    assert make_designs(["llq@tuned"], "routing", TASK)[0].name == "llq"
    with pytest.raises(GliaBenchError, match=rf"no policy 'oracle_jsw@000000' is frozen with {TASK}.*{other.name}"):
        make_designs(["oracle_jsw@000000"], "routing", TASK)


def test_records_of_designs_survive_json() -> None:
    """Constants come back as they were, so that a design of a record can be run again."""
    (oracle,) = make_designs(["oracle_jsw"], "routing")
    other = varied(oracle, {"PREFILL_WEIGHT": 0.5})
    fields = json.loads(
        json.dumps({name: getattr(other, name) for name in ("name", "track", "kind", "sha256", "path", "constants")})
    )
    assert Design.from_json(fields) == other
