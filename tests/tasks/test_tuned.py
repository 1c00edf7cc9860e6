"""The table of tuned constants: every entry is a design of this version, tuned within a stated budget."""

import math

import pytest

from glia_bench.loading import load_policy, shipped_policies
from glia_bench.tasks.catalog import TASKS
from glia_bench.tasks.tuned import frozen
from glia_bench.tunables import sha256_of, with_constants


@pytest.mark.parametrize("task", [task for task in TASKS if frozen(task)])
def test_entries_are_of_this_version(task: str) -> None:
    """Each text with its constants has the hash that was tuned: who changes a policy tunes it again."""
    for name, entry in frozen(task).items():
        policy = load_policy(name, TASKS[task].track)
        assert policy.kind == "human"
        assert sha256_of(with_constants(policy.source, entry.constants)) == entry.sha256, name
        ranges = {tunable.name: tunable for tunable in policy.tunable}
        for constant, value in entry.constants.items():
            assert ranges[constant].low <= value <= ranges[constant].high
            assert value != ranges[constant].default
            assert type(value) is type(ranges[constant].default)


@pytest.mark.parametrize("task", [task for task in TASKS if frozen(task)])
def test_budgets_are_stated(task: str) -> None:
    """Each entry says how many simulations, seeds and loads found it; keeping the defaults gains nothing."""
    for entry in frozen(task).values():
        assert entry.simulations >= 5
        assert 3 <= entry.num_seeds <= len(TASKS[task].dev_seeds)
        assert set(entry.loads) <= set(TASKS[task].loads)
        assert entry.constants or entry.gain == 1.0
        assert entry.gain is None or math.isfinite(entry.gain)


@pytest.mark.parametrize("task", [task for task in TASKS if task != "routing/paper-exact-v0"])
def test_every_expert_is_tuned(task: str) -> None:
    """Nobody is beaten untuned: each human design of the track that declares constants has an entry."""
    tunable = {p.name for p in shipped_policies(TASKS[task].track) if p.kind == "human" and p.tunable}
    assert tunable == set(frozen(task))


def test_a_task_without_an_entry_has_none() -> None:
    """The paper's exact trace needs the user's file, so nothing is frozen with it."""
    assert frozen("routing/paper-exact-v0") == {}
