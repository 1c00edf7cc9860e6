"""Two results side by side, by hand."""

import math
from typing import Any

import pytest

from glia_bench.scoring.compare import compare_records
from glia_bench.scoring.record import build_record


def trial(policy: str, seed: int, cost: float | None, load: float = 1.0, **changes: Any) -> dict[str, Any]:
    """Return a trial record with what ids and comparisons need; without a cost a failed one."""
    return {
        "task": "routing/paper-v0",
        "policy": policy,
        "policy_sha256": f"text of {policy}",
        "workload_sha256": f"trace {seed} {load}",
        "load": load,
        "seed": seed,
        "status": "ok" if cost is not None else "timeout",
        "cost": cost,
        "metrics": {},
        "num_decisions": 1,
        "decision_hash": "0",
        "records_sha256": f"{cost}",
        **changes,
    }


def record(*trials: dict[str, Any], **environment: Any) -> dict[str, Any]:
    """Return a result of these trials."""
    return build_record(suite=None, trials=trials, summary=[], environment={"wall_s": 1.0, **environment})


def test_costs_are_compared_pair_by_pair() -> None:
    """Ratios 2 and 8 on two seeds: geometric mean 4; the interval is that of ln 2 and ln 8, t(1) = 12.7062."""
    first, second = record(trial("a", 0, 1.0), trial("a", 1, 3.0)), record(trial("a", 0, 2.0), trial("a", 1, 24.0))
    comparison = compare_records(first, second)
    (row,) = comparison.rows
    half = 12.706204736174698 * math.log(4) / 2
    assert (row.num_cells, row.num_seeds, row.num_equal, row.is_same_source) == (2, 2, 0, True)
    assert row.ratio == pytest.approx(4.0, rel=1e-12)
    assert row.ratio_low == pytest.approx(4.0 * math.exp(-half), rel=1e-9)
    assert row.ratio_high == pytest.approx(4.0 * math.exp(half), rel=1e-9)
    assert not comparison.is_same_results


def test_loads_are_averaged_within_a_seed() -> None:
    """A seed that lacks a load in the pair is left out of the ratio."""
    first = record(trial("a", 0, 1.0, 0.5), trial("a", 0, 1.0, 1.0), trial("a", 1, 1.0, 0.5))
    second = record(trial("a", 0, 4.0, 0.5), trial("a", 0, 1.0, 1.0), trial("a", 1, 9.0, 0.5))
    (row,) = compare_records(first, second).rows
    assert (row.num_cells, row.num_seeds) == (3, 2)
    assert row.ratio == pytest.approx(2.0, rel=1e-12)


def test_a_result_equals_itself() -> None:
    """All ratios 1, all pairs equal, the same results."""
    same = record(trial("a", 0, 1.0), trial("a", 1, 3.0), trial("b", 0, 2.0))
    comparison = compare_records(same, same)
    assert [(row.policy, row.ratio, row.num_equal) for row in comparison.rows] == [("a", 1.0, 2), ("b", 1.0, 1)]
    assert comparison.is_same_results
    assert {**comparison.only_in_first, **comparison.only_in_second, **comparison.environment} == {}


def test_what_only_one_has_is_listed() -> None:
    """Policies and seeds that the other lacks, and pairs whose workloads differ, are counted and not compared."""
    first = record(trial("a", 0, 1.0), trial("a", 1, 1.0), trial("b", 0, 1.0))
    second = record(trial("a", 0, 1.0, workload_sha256="another"), trial("c", 0, 1.0))
    comparison = compare_records(first, second)
    assert comparison.rows == ()
    assert comparison.only_in_first == {"a on routing/paper-v0": 1, "b on routing/paper-v0": 1}
    assert comparison.only_in_second == {"c on routing/paper-v0": 1}
    assert comparison.other_workloads == {"a on routing/paper-v0": 1}


def test_failures_and_other_sources_are_said() -> None:
    """A failed cell leaves no ratio but its reason; a policy of the same name with another text says so."""
    first = record(trial("a", 0, 1.0), trial("a", 1, 1.0))
    second = record(trial("a", 0, 1.0, policy_sha256="new"), trial("a", 1, None, policy_sha256="new"))
    (row,) = compare_records(first, second).rows
    assert (row.ratio, row.remark, row.is_same_source) == (None, "1 failed (timeout)", False)


def test_environments_are_compared_but_for_the_run_itself() -> None:
    """Another NumPy is a difference, other times are not."""
    first = record(trial("a", 0, 1.0), numpy="2.2", command="x")
    second = record(trial("a", 0, 1.0), numpy="2.3", command="y", machine="m")
    environment = compare_records(first, second).environment
    assert environment == {"numpy": ("2.2", "2.3"), "machine": (None, "m")}
    assert compare_records(first, second).to_json()["environment"]["numpy"] == ("2.2", "2.3")
