"""Every baseline takes the same decisions compiled and as plain Python, and says what it is."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from moments import play, play_autoscaler, play_scheduler

from glia_bench.loading import facts_of, shipped_policies
from glia_bench.policy import TRACKS, Policy

POLICIES = shipped_policies()
ROUTERS = [policy for policy in POLICIES if policy.routing]
SCHEDULERS = [policy for policy in POLICIES if policy.scheduling]
AUTOSCALERS = [policy for policy in POLICIES if policy.autoscaling]


@pytest.mark.parametrize("policy", ROUTERS, ids=lambda policy: policy.name)
def test_compiled_equals_plain(policy: Policy) -> None:
    """Over 2,000 random moments, memory carried along, both tiers give the same answers and the same bits of memory."""
    plain = play(policy, compile_hooks=False, seed=20, moments=2000)
    assert play(policy, compile_hooks=True, seed=20, moments=2000) == plain
    assert set(plain.answers) >= {0, 1, 2, 3, 4}, "the walk must reach every replica"


@pytest.mark.parametrize("policy", SCHEDULERS, ids=lambda policy: policy.name)
def test_compiled_schedulers_equal_plain(policy: Policy) -> None:
    """Over 1,000 random moments of a replica, both tiers of a scheduler answer alike, and not always the same."""
    plain = play_scheduler(policy, compile_hooks=False, seed=21, moments=1000)
    assert play_scheduler(policy, compile_hooks=True, seed=21, moments=1000) == plain
    assert len(set(plain)) > 1


@pytest.mark.parametrize("policy", AUTOSCALERS, ids=lambda policy: policy.name)
def test_compiled_autoscalers_equal_plain(policy: Policy) -> None:
    """Over 400 decisions, each obeyed, both tiers of an autoscaler ask for the same sizes, all within the quota."""
    plain = play_autoscaler(policy, compile_hooks=False, seed=22, moments=400)
    assert play_autoscaler(policy, compile_hooks=True, seed=22, moments=400) == plain
    assert {type(size) for size in plain} == {int}
    assert 1 <= min(plain) <= max(plain) <= 8
    assert (len(set(plain)) > 1) == (policy.name != "fixed")


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_says_what_it_is(policy: Policy) -> None:
    """A baseline names its idea in its first line, its public source and when it loses, in a hundred lines a track."""
    doc = ast.get_docstring(ast.parse(policy.source)) or ""
    facts = facts_of(policy)
    assert 10 < len(facts.idea) < 120
    assert facts.idea.endswith(".")
    assert "\nSource: " in doc
    assert "\nLoses: " in doc
    assert len(facts.public_source) > 10
    parts = (policy.routing, policy.scheduling, policy.autoscaling)
    assert len(policy.source.splitlines()) < 100 * max(1, sum(map(bool, parts)))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_is_transparent(policy: Policy) -> None:
    """Which fields a baseline reads can be told from its text, and its author gets no remarks."""
    assert policy.fields_read is not None
    assert (len(policy.fields_read) > 0) == any((policy.routing, policy.scheduling, policy.autoscaling))
    assert policy.notes == ()


def test_names_are_unique() -> None:
    """One name stands for one policy, whatever its track."""
    assert [name for name, count in Counter(policy.name for policy in POLICIES).items() if count > 1] == []
    assert all(Path(policy.path).is_file() and policy.is_shipped for policy in POLICIES)


def test_what_ships() -> None:
    """The rows of this release, by track and kind."""
    names = {
        track: {kind: [p.name for p in shipped_policies(track) if p.kind == kind] for kind in ("human", "null")}
        for track in TRACKS
    }
    assert names == {
        "routing": {
            "human": [
                *["aibrix_prefix_cache", "dynamo_kv", "expert", "least_kv", "least_tokens", "llmd_default"],
                *["llmd_precise", "llq", "lmetric", "lor", "lor_vidur", "po2", "preble-e2-style", "ps_kvaware"],
                *["ps_prefixaware", "round_robin", "session", "session_ttl-style", "sglang_cache_aware", "spt_hold"],
                *["vllm_dp", "weighted_rr"],
            ],
            "null": ["do_nothing", "random"],
        },
        "scheduling": {
            "human": [
                *["edf", "fastserve", "headroom", "lens-style", "ltr-style", "orca", "qlm_lite", "sarathi"],
                *["sglang_fcfs", "sglang_lpm", "sjf-aged-style", "sjf_prompt", "tgi", "trail-style", "vllm_v0"],
                *["vllm_v1_fcfs", "vllm_v1_priority", "vtc"],
            ],
            "null": ["engine_default", "random_order"],
        },
        "autoscaling": {
            "human": [
                *[
                    "aibrix_apa",
                    "dynamo_load",
                    "dynamo_sla-style",
                    "fixed",
                    "fixed_share",
                    "holt_winters",
                    "hpa",
                    "hpa_inflight",
                ],
                *[
                    "keda_queue",
                    "kpa",
                    "queueing_sqrt",
                    "ray_serve",
                    "sageserve-style",
                    "skyserve",
                    "wva_saturation-style",
                ],
            ],
            "null": [],
        },
        "cluster": {"human": ["stack_careful", "stack_plain"], "null": []},
    }
    bounds = {policy.name: policy.track for policy in POLICIES if policy.kind == "bound"}
    assert bounds == {"oracle_jsw": "routing", "srpt_oracle": "scheduling", "oracle_schedule": "autoscaling"}
    published = {policy.name: policy.track for policy in POLICIES if policy.kind == "published_ai"}
    assert published == dict.fromkeys(["funsearch_fig13", "hra", "hra_deployed", "hra_fifo", "hra_file"], "routing")
