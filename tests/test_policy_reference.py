"""The policy reference page is what its generator writes, names everything declared, and its examples run."""

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from moments import compiled, make_request, moment

from glia_bench.features import GROUPS, HOLD, schema
from glia_bench.loading import policy_from_source
from glia_bench.policy import HOOKS, Policy
from glia_bench.sim.latency import latency_table
from glia_bench.sim.modes import engine
from glia_bench.sim.reference import simulate
from glia_bench.types import Case, ClusterSpec, Trace

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "policy_reference.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The script in tools/ as a module."""
    return importlib.import_module("make_policy_reference")


def example(number: int) -> Policy:
    """Return an example of the page as a policy."""
    return policy_from_source(EXAMPLES[number], name="example", path="example.py", track="routing")


def test_page_is_up_to_date(generator: ModuleType) -> None:
    """The committed page equals what the generator writes; if not: python tools/make_policy_reference.py."""
    assert generator.render() == PAGE


def test_page_names_every_hook_and_field() -> None:
    """Every declared hook stands there with its parameters, every field in a table of its group."""
    for (_, name), hook in HOOKS.items():
        assert f"| `{name}({', '.join(hook.parameters)})` |" in PAGE
    for group in GROUPS:
        table = PAGE.split(f"\n### `{group}`\n", 1)[1].split("\n#", 1)[0]
        assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [spec.name for spec in schema(group)]


def test_page_quotes_the_simulator_word_for_word() -> None:
    """Call semantics have one wording: the section of simulator.md stands on the page unchanged."""
    text = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    section = text.split("\n## The router\n", 1)[1].split("\n## ", 1)[0]
    assert len(section) > 1000
    assert section.strip() in PAGE


def test_links_lead_somewhere() -> None:
    """Every relative link of the page names a file or folder of the project."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", PAGE)
    assert targets
    assert [target for target in targets if not (ROOT / "docs" / target).exists()] == []


def test_examples_have_the_promised_length() -> None:
    """Three lines, and under twenty, empty ones aside."""
    short, long = (len([line for line in text.splitlines() if line.strip()]) for text in EXAMPLES)
    assert (short, long < 20) == (3, True)


def test_first_example_decides() -> None:
    """The least-loaded queue, the first on ties, compiled as in plain Python."""
    policy = example(0)
    now = moment(policy, waiting=[3, 1, 0], running=[0, 1, 2])
    assert policy.hooks["route"](*now) == compiled(policy.hooks["route"])(*now) == 1


def test_second_example_decides() -> None:
    """With 200 tokens of output expected, a prompt of 120 needs 20 blocks; after outputs of 40 on average, 10."""
    policy = example(1)
    hooks = {name: compiled(hook) for name, hook in policy.hooks.items()}
    state: dict[str, Any] = {
        "capacity_blocks": [100] * 3,
        "allocated_blocks": [81, 70, 60],
        "waiting_blocks": [0, 11, 21],
    }
    now = moment(policy, 120, inflight=[1, 1, 1], **state)
    assert policy.hooks["route"](*now) == hooks["route"](*now) == HOLD  # 19 blocks are free on each
    assert hooks["route"](*moment(policy, 120, inflight=[1, 1, 0], **state)) == 2
    for output in (20, 60):
        hooks["on_finish"](make_request(generated_tokens=output), 0, now.memory)
    assert policy.hooks["route"](*now) == hooks["route"](*now) == 0
    assert hooks["rank"](now.request, now.cluster, now.memory) == 120.0


def test_neutral_fields_are_neutral() -> None:
    """In this release's clusters the fields of later services hold what the page says; the reference simulator asks."""
    checks = """
def route(request, replicas, cluster, memory):
    neutral = request.tenant == 0 and request.session == -1 and request.turn == 0 and request.priority == 0
    neutral = neutral and request.slo_class == 0 and request.predicted_tokens == 0.0 and request.tag == 0.0
    neutral = neutral and request.ttft_slo_s == np.inf and request.tpot_slo_s == np.inf
    neutral = neutral and cluster.num_routers == 1 and cluster.metrics_interval_s == 0.0 and replicas.pool[0] == 0
    neutral = neutral and replicas.prefix_hit_tokens[0] == 0 and replicas.speed[0] == 1.0
    return 0 if neutral and replicas.metrics_age_s[0] == 0.0 else 99
"""
    policy = policy_from_source("import numpy as np\n" + checks, name="checks", path="checks.py", track="routing")
    cluster = ClusterSpec(
        num_replicas=1,
        engine=engine("sarathi", token_budget=64, max_running=8, num_blocks=100),
        latency=latency_table("a10-llama3-8b", token_budget=64),
    )
    column = np.array([5, 6, 7], dtype=np.int64)
    trace = Trace(arrival_ps=column, prompt_tokens=column, output_tokens=column, max_tokens=column)
    result = simulate(Case(cluster=cluster, trace=trace, drain_s=60.0), policy)
    assert (result.status, result.message) == ("ok", "")
