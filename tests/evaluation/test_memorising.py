"""Designs that key on the clock, the names of things or the seed gain nothing where seeds are not known to them."""

import secrets

import numpy as np
import pytest

from glia_bench.case import Case
from glia_bench.features import GROUPS, schema
from glia_bench.loading import load_policy, policy_from_source
from glia_bench.policy import Policy
from glia_bench.sim.engine import simulate
from glia_bench.tasks.catalog import get_task
from glia_bench.types import RunResult

TASK = "routing/paper-v0"
LOAD = 0.3
DEV_SEEDS = range(3)

MEMORISER = '''"""Knows the development seeds by their first prompts, and then every output length; else round robin."""

MEMORY = {{"shared": 5}}
SEEDS = {seeds}
OUTPUTS = {outputs}


def route(request, replicas, cluster, memory):
    shared = memory.shared
    if request.id < 3:
        shared[1 + request.id] = request.prompt_tokens
        if request.id == 2:
            shared[0] = SEEDS.get((int(shared[1]), int(shared[2]), int(shared[3])), 0)
    if shared[0] > 0:
        return 0 if OUTPUTS[int(shared[0]) - 1][request.id] > 300 else 1 + request.id % (cluster.num_replicas - 1)
    return request.id % cluster.num_replicas
'''

BY_CLOCK = '''"""Knows what came at which time of the development seeds; else round robin."""

KNOWN = {known}


def route(request, replicas, cluster, memory):
    return KNOWN.get(int(cluster.now_s * 1000), request.id % cluster.num_replicas)
'''

LISTENS = '''"""Writes down what it sees."""

SEEN = []


def route(request, replicas, cluster, memory):
    SEEN.append((cluster.now_s, request.arrival_s, request.u))
    return request.id % cluster.num_replicas
'''


def case(seed: int) -> Case:
    """Return a case of some 2,000 requests."""
    return get_task(TASK).case(LOAD, seed)


def policy(source: str) -> Policy:
    """Return the policy of a text."""
    return policy_from_source(source, name="mine", path="mine.py", track="routing")


def run(source: str, seed: int) -> RunResult:
    """Run a text on a seed, as plain Python."""
    return simulate(case(seed), policy(source), tier="python")


@pytest.fixture(scope="module")
def fresh_seeds() -> list[int]:
    """Return seeds that no design can know."""
    return [secrets.randbits(64) for _ in range(3)]


def decisions_of_round_robin(seed: int) -> int:
    """Return the hash of round robin's decisions, compiled: that is a test of the tiers besides."""
    return simulate(case(seed), load_policy("round_robin")).decision_hash


def test_a_table_of_the_development_seeds_is_of_no_use_on_others(fresh_seeds: list[int]) -> None:
    """It decides by its table on seeds that it knows, and exactly as its fallback on all others."""
    traces = [case(seed).trace for seed in DEV_SEEDS]
    seeds = {tuple(trace.prompt_tokens[:3].tolist()): k + 1 for k, trace in enumerate(traces)}
    source = MEMORISER.format(seeds=seeds, outputs=[trace.output_tokens.tolist() for trace in traces])
    assert len(seeds) == len(DEV_SEEDS)
    for seed in DEV_SEEDS:
        assert run(source, seed).decision_hash != decisions_of_round_robin(seed)
    for seed in fresh_seeds:
        assert run(source, seed).decision_hash == decisions_of_round_robin(seed)


def test_a_table_keyed_by_the_clock_is_of_no_use_on_other_seeds(fresh_seeds: list[int]) -> None:
    """Times of one seed hardly ever come in another: a hit within a millisecond is chance, for one of 1000 at most."""
    first = case(0)
    times_s = (first.trace.arrival_ps + first.clock_offset_ps) / 1e12
    source = BY_CLOCK.format(known=dict.fromkeys((times_s * 1000).astype(int).tolist(), 0))
    assert run(source, 0).records.replica.max() == 0  # every time is known
    for seed in fresh_seeds:
        other = simulate(case(seed), load_policy("round_robin")).records
        moved = np.count_nonzero(run(source, seed).records.replica != other.replica)
        assert moved <= len(other.replica) // 1000


def test_clocks_and_uniforms_tell_seeds_apart_only_to_who_knows_them(fresh_seeds: list[int]) -> None:
    """The clock starts anywhere in 10^6 s, the first uniforms anywhere, on development seeds as on sealed ones."""
    starts, uniforms = [], []
    for seed in [*DEV_SEEDS, *fresh_seeds]:
        listener = policy(LISTENS)
        simulate(case(seed), listener, tier="python")
        seen = listener.hooks["route"].__globals__["SEEN"]
        now_s, arrival_s, u = seen[0]
        assert now_s == arrival_s
        starts.append(now_s)
        uniforms.append(u[0])
    assert all(0.0 <= start < 1e6 for start in starts)
    assert min(np.diff(sorted(starts))) > 1.0  # fails by chance once in 10^5 runs
    assert len(set(uniforms)) == len(uniforms)


def test_no_field_names_what_a_design_must_not_know() -> None:
    """No group of the schema has a field for the seed, the task, the split, the load, the trace or the horizon."""
    words = {field.name for group in GROUPS for field in schema(group)}
    hidden = ("seed", "task", "split", "season", "load", "trace", "horizon", "output_tokens", "drain", "label")
    assert [word for word in words for part in hidden if part == word or word.startswith(f"{part}_")] == []
