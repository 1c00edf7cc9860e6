"""What a perturbation does to the cases of every kind of task: cluster, workload and nothing else."""

import dataclasses

import numpy as np
import pytest

from glia_bench.cluster import ColdStart
from glia_bench.errors import InvalidSpecError
from glia_bench.tasks.catalog import TASKS, get_task
from glia_bench.tasks.perturbation import BOX, NONE, Perturbation
from glia_bench.tasks.perturbed import perturbed_cluster, scaled
from glia_bench.tasks.replicas import replica_pool
from glia_bench.tasks.task import Task
from glia_bench.workloads.lengths_file import Lengths

FREE = [task for task in TASKS.values() if task.any_load]
EXTREMES = {
    "least": Perturbation(**{name: low for name, (low, high) in BOX.items()}),
    "most": Perturbation(**{name: high for name, (low, high) in BOX.items()}),
    "tight": Perturbation(kv_permille=800, length_permille=1250, burst_permille=1500, replicas_permille=750),
}


def some_lengths() -> Lengths:
    """Return ten made-up pairs."""
    tokens = np.arange(1, 11, dtype=np.int64)
    return Lengths(prompt_tokens=tokens, output_tokens=tokens, sha256="", is_authors=False)


@pytest.mark.parametrize("task", FREE, ids=lambda task: task.id)
@pytest.mark.parametrize("extreme", EXTREMES)
def test_the_corners_of_the_box_are_possible_cases(task: Task, extreme: str) -> None:
    """Every task has a case at the ends of the box: what was perturbed still fits the cluster."""
    perturbation = EXTREMES[extreme]
    case, plain = task.case(0.5, 0, perturbation=perturbation), task.case(0.5, 0)
    for pool, own in zip(case.cluster.pools, plain.cluster.pools, strict=True):
        assert pool.engine.num_blocks == scaled(own.engine.num_blocks, perturbation.kv_permille)
        assert pool.largest == max(1, scaled(own.largest, perturbation.replicas_permille))
    assert case.trace.sha256 != plain.trace.sha256
    assert case.policy_seed == plain.policy_seed


@pytest.mark.parametrize("task", FREE, ids=lambda task: task.id)
def test_longer_requests_are_longer_and_a_higher_load_brings_more(task: Task) -> None:
    """Lengths and load scale what they are called after: prompts by a quarter, requests by a tenth, within 6 %."""
    plain = task.case(1.0, 0).trace
    longer = task.case(1.0, 0, perturbation=Perturbation(length_permille=1250)).trace
    busier = task.case(1.0, 0, perturbation=Perturbation(load_permille=1100)).trace
    # sessions end sooner where turns are longer: those that are left have shorter histories
    assert 1.08 < longer.prompt_tokens.mean() / plain.prompt_tokens.mean() < 1.35
    assert len(busier) / len(plain) == pytest.approx(1.1, rel=0.06)


@pytest.mark.parametrize("task", ["routing/paper-v0", "routing/stale-v0", "scheduling/chat-v0"])
def test_burstier_arrivals_have_a_larger_cv(task: str) -> None:
    """The CV of gaps, pooled over ten seeds, rises with the scale."""

    def cv(burst_permille: int) -> float:
        cases = [
            get_task(task).case(1.0, s, perturbation=Perturbation(burst_permille=burst_permille)) for s in range(10)
        ]
        gaps = np.concatenate([np.diff(case.trace.arrival_ps) for case in cases])
        return float(gaps.std() / gaps.mean())

    assert cv(700) < 0.85 * cv(1000)
    assert cv(1500) > 1.2 * cv(1000)


def test_a_case_without_perturbation_is_the_tasks_own() -> None:
    """NONE changes neither cluster nor trace."""
    task = get_task("cluster/tenants-v0")
    assert task.case(0.5, 0, perturbation=NONE).cluster is task.cluster
    assert task.case(0.5, 0, perturbation=NONE).trace.sha256 == task.case(0.5, 0).trace.sha256


def test_pools_keep_at_least_one_replica_and_an_order_of_sizes() -> None:
    """Quotas are rounded half up; one replica stays one, none stays none."""
    start = ColdStart(name="quick", provision_s=1.0, load_s=1.0)
    elastic = replica_pool("a10-llama3-8b", num_replicas=2, min_replicas=0, max_replicas=6, cold_start=start)
    lone = replica_pool("a100-llama3-8b", num_replicas=1)
    cluster = dataclasses.replace(get_task("routing/hetero-v0").cluster, pools=(elastic, lone))
    found = {}
    for permille in (250, 750, 1250):
        pools = perturbed_cluster(cluster, Perturbation(replicas_permille=permille)).pools
        found[permille] = [(pool.smallest, pool.num_replicas, pool.largest) for pool in pools]
    assert found[250] == [(0, 1, 2), (1, 1, 1)]
    assert found[750] == [(0, 2, 5), (1, 1, 1)]
    assert found[1250] == [(0, 3, 8), (1, 1, 1)]


def test_faults_befall_the_replicas_that_there_are() -> None:
    """With fewer replicas faults name only those, with more also the new ones; the others' faults stay."""
    task = get_task("routing/stragglers-v0")
    plain = task.case(0.5, 0).faults
    fewer = task.case(0.5, 0, perturbation=Perturbation(replicas_permille=750)).faults
    more = task.case(0.5, 0, perturbation=Perturbation(replicas_permille=1250)).faults
    assert set(fewer) == {fault for fault in plain if fault.replica < 5}
    assert {fault for fault in more if fault.replica < 6} == set(plain)
    assert max(fault.replica for fault in more) >= 6


def test_one_fixed_trace_is_not_perturbed() -> None:
    """The paper's exact trace is refused, with the perturbation that was asked for."""
    with pytest.raises(InvalidSpecError, match=r"one fixed trace: it must not be perturbed .*length_permille=900"):
        get_task("routing/paper-exact-v0").case(1.0, 0, some_lengths(), Perturbation(length_permille=900))
