"""What `engine.simulate` makes of designs that are long, careless or wrong; semantics are tested elsewhere."""

import numpy as np
import pytest

from glia_bench.case import Case
from glia_bench.errors import InvalidSpecError
from glia_bench.loading import load_policy, policy_from_source
from glia_bench.sim import engine, reference
from glia_bench.tasks.catalog import get_task

REQUEST_MEMORY = """
MEMORY = {"request": 4}

def route(request, replicas, cluster, memory):
    memory.request[request.slot, 3] += 1.0
    return int(request.id + memory.request[request.slot, 3]) % cluster.num_replicas
"""
TAGS = """
def route(request, replicas, cluster, memory):
    if memory.tag[request.slot] != 0.0 or request.tag != 0.0:
        return 99
    memory.tag[request.slot] = 1.0
    return request.slot % cluster.num_replicas
"""
UNCHECKED_HELPER = """
def pick(array, i):
    return array[i]

def route(request, replicas, cluster, memory):
    return int(pick(replicas.waiting, 100_000))
"""
OWN_EXCEPTION = """
class Sulk(Exception):
    pass

def route(request, replicas, cluster, memory):
    if request.id > 5:
        raise Sulk
    return 0
"""
DECAY = """
import math
import numpy as np

MEMORY = {"shared": 1}

def route(request, replicas, cluster, memory):
    memory.shared[0] = memory.shared[0] * 1e-200 + 1e-200
    memory.shared[0] *= np.exp(-800.0) * np.float64(1e308) * 10.0
    return request.id % cluster.num_replicas
"""


@pytest.fixture(scope="module")
def case() -> Case:
    """The paper task's seed 0: more requests than a run has rows of request memory."""
    return get_task("routing/paper-v0").case(1.0, 0)


@pytest.mark.parametrize("source", [REQUEST_MEMORY, TAGS], ids=["request memory", "tags"])
def test_rows_of_requests_are_used_again(case: Case, source: str) -> None:
    """Without on_finish, too, rows are released, found zeroed by the next request, and the same in both simulators."""
    policy = policy_from_source(source, name="rows", path=f"<{len(source)}>", track="routing")
    fast = engine.simulate(case, policy, tier="compiled")
    assert fast.status == "ok"
    short = case.__class__(
        cluster=case.cluster,
        trace=case.trace.__class__(
            **{
                name: getattr(case.trace, name)[:1500]
                for name in ("arrival_ps", "prompt_tokens", "output_tokens", "max_tokens")
            }
        ),
        drain_s=case.drain_s,
    )
    runs = [engine.simulate(short, policy, tier=tier) for tier in ("compiled", "python")]
    slow = reference.simulate(short, policy)
    assert {run.decision_hash for run in (*runs, slow)} == {slow.decision_hash}


def test_bounds_checks_reach_helpers(case: Case) -> None:
    """An index outside an array is an error also in a function that a hook calls."""
    policy = policy_from_source(UNCHECKED_HELPER, name="helper", path="<helper>", track="routing")
    result = engine.simulate(case, policy)
    assert (result.tier, result.status) == ("compiled", "policy_error")
    assert "IndexError" in result.message


@pytest.mark.parametrize("tier", ["compiled", "python"])
def test_an_exception_of_the_designs_own_is_its_error(case: Case, tier: engine.Tier) -> None:
    """Whatever class a hook raises, the design failed and not the evaluator; what was done is kept."""
    policy = policy_from_source(OWN_EXCEPTION, name="sulk", path="<sulk>", track="routing")
    result = engine.simulate(case, policy, tier=tier)
    assert result.status == "policy_error"
    assert "Sulk" in result.message
    assert result.num_decisions == 6


def test_numbers_that_vanish_are_no_error(case: Case) -> None:
    """Underflow and overflow do the same in both tiers."""
    policy = policy_from_source(DECAY, name="decay", path="<decay>", track="routing")
    runs = [engine.simulate(case, policy, tier=tier) for tier in ("compiled", "python")]
    assert [run.status for run in runs] == ["ok", "ok"]
    assert runs[0].decision_hash == runs[1].decision_hash


def test_times_beyond_the_clock_are_refused(case: Case) -> None:
    """A drain time that does not fit the integer clock is an error of the case, not of a run."""
    for drain_s in (0.0, 1e8, float("inf"), float("nan")):
        with pytest.raises(InvalidSpecError, match="drain_s must be above 0 and at most 1e"):
            Case(cluster=case.cluster, trace=case.trace, drain_s=drain_s)
    with pytest.raises(InvalidSpecError, match="must end before"):
        Case(cluster=case.cluster, trace=case.trace, drain_s=1.0, clock_offset_ps=2**62)


def test_samples_must_be_few_enough_to_keep(case: Case) -> None:
    """A grid of a microsecond over an hour is refused before memory is taken."""
    with pytest.raises(InvalidSpecError, match="at most 10,000,000 samples"):
        engine.simulate(case, load_policy("llq"), sample_interval_s=1e-6)
    assert np.all(engine.simulate(case, load_policy("llq"), sample_interval_s=100.0).samples is not None)


ODD_FOR_NUMBA = """
import numpy as np

MEMORY = {"shared": 2}

def route(request, replicas, cluster, memory):
    np.add(memory.shared, 1.0, out=memory.shared)
    return int(memory.shared[0]) % cluster.num_replicas
"""


def test_what_numba_does_not_foresee_runs_as_plain_python(case: Case) -> None:
    """An error from inside Numba is not ours and not the design's: the hook runs in the other tier, with a note."""
    policy = policy_from_source(ODD_FOR_NUMBA, name="odd", path="<odd>", track="routing")
    result = engine.simulate(case, policy)
    assert (result.status, result.tier) == ("ok", "python")
    assert any("runs as plain Python" in note for note in result.notes)
