"""Every baseline takes the same decisions compiled and as plain Python, and says what it is."""

import ast
from pathlib import Path

import pytest
from moments import play

from glia_bench.loading import facts_of, shipped_policies
from glia_bench.policy import Policy

POLICIES = shipped_policies()


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_compiled_equals_plain(policy: Policy) -> None:
    """Over 2,000 random moments, memory carried along, both tiers give the same answers and the same bits of memory."""
    plain = play(policy, compile_hooks=False, seed=20, moments=2000)
    assert play(policy, compile_hooks=True, seed=20, moments=2000) == plain
    assert set(plain.answers) >= {0, 1, 2, 3, 4}, "the walk must reach every replica"


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_says_what_it_is(policy: Policy) -> None:
    """A baseline names its idea in its first line, its public source and when it loses, in under 100 lines."""
    doc = ast.get_docstring(ast.parse(policy.source)) or ""
    facts = facts_of(policy)
    assert 10 < len(facts.idea) < 120
    assert facts.idea.endswith(".")
    assert "\nSource: " in doc
    assert "\nLoses: " in doc
    assert len(facts.public_source) > 10
    assert len(policy.source.splitlines()) < 100


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_is_transparent(policy: Policy) -> None:
    """Which fields a baseline reads can be told from its text, and its author gets no remarks."""
    assert policy.fields_read
    assert policy.notes == ()


def test_this_release_ships_thirteen() -> None:
    """The rows of the first release, by kind."""
    names = {kind: [p.name for p in POLICIES if p.kind == kind] for kind in ("human", "published_ai", "null")}
    assert names == {
        "human": ["expert", "llq", "lor", "lor_vidur", "round_robin", "spt_hold"],
        "published_ai": ["funsearch_fig13", "hra", "hra_deployed", "hra_fifo", "hra_file"],
        "null": ["do_nothing", "random"],
    }
    assert all(Path(p.path).is_file() and p.is_shipped and p.track == "routing" for p in POLICIES)
