"""The policy reference page is what its generator writes, names everything declared, and its examples run."""

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from moments import compiled, make_cluster, make_memory, make_replica, make_request, make_window, moment

from glia_bench.case import Case, Trace
from glia_bench.cluster import uniform_cluster
from glia_bench.declarations import DEFAULT_INTERVAL_S, MAX_PERIOD_S, MIN_INTERVAL_S, MIN_TICK_S
from glia_bench.features import GROUPS, HOLD, schema
from glia_bench.loading import policy_from_source
from glia_bench.policy import CONSTANTS, HOOKS, Policy, Track
from glia_bench.sim.latency import latency_table
from glia_bench.sim.modes import engine
from glia_bench.sim.reference import simulate

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "policy_reference.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The script in tools/ as a module."""
    return importlib.import_module("make_policy_reference")


def example(number: int, track: Track = "routing") -> Policy:
    """Return an example of the page as a policy."""
    return policy_from_source(EXAMPLES[number], name="example", path="example.py", track=track)


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


def test_page_names_every_constant() -> None:
    """Every constant stands there with its tracks; the ranges and defaults are those that are checked."""
    for name, constant in CONSTANTS.items():
        tracks = "all" if constant.track is None else f"{constant.track}, cluster"
        assert f"| `{name}` | {tracks} | {constant.default} | {constant.meaning} |" in PAGE
    assert f"{MIN_TICK_S:g} to {MAX_PERIOD_S} s" in CONSTANTS["TICK_S"].meaning
    assert f"{MIN_INTERVAL_S:g} to {MAX_PERIOD_S} s" in CONSTANTS["INTERVAL_S"].meaning
    assert CONSTANTS["INTERVAL_S"].default == f"`{DEFAULT_INTERVAL_S}`"


def test_page_quotes_the_simulator_word_for_word(generator: ModuleType) -> None:
    """Call semantics have one wording: sections of simulator.md stand on the page unchanged."""
    text = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    for title in generator.QUOTED:
        section = text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
        assert len(section) > 1000
        assert section.strip() in PAGE


def test_a_section_that_moved_is_named(generator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """If simulator.md no longer has a quoted section, the generator says which and what there is."""
    monkeypatch.setattr(generator, "QUOTED", ("The moon",))
    with pytest.raises(
        SystemExit, match=r"no section 'The moon' \(found: One replica: the engine, Schedulers, .*QUOTED"
    ):
        generator.render()


def test_links_lead_somewhere() -> None:
    """Every relative link of the page names a file or folder of the project."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", PAGE)
    assert targets
    assert [target for target in targets if not (ROOT / "docs" / target).exists()] == []


def test_examples_have_the_promised_length() -> None:
    """Three lines, and under twenty, empty ones aside."""
    short, long, *others = (len([line for line in text.splitlines() if line.strip()]) for text in EXAMPLES)
    assert (short, long < 20, len(others)) == (3, True, 2)


def test_first_example_decides() -> None:
    """The least-loaded queue, the first on ties, compiled as in plain Python."""
    policy = example(0)
    now = moment(policy, waiting=[3, 1, 0], running=[0, 1, 2])
    assert policy.routing["route"](*now) == compiled(policy.routing["route"])(*now) == 1


def test_second_example_decides() -> None:
    """With 200 tokens of output expected, a prompt of 120 needs 20 blocks; after outputs of 40 on average, 10."""
    policy = example(1)
    hooks = {name: compiled(hook) for name, hook in policy.routing.items()}
    state: dict[str, Any] = {
        "capacity_blocks": [100] * 3,
        "allocated_blocks": [81, 70, 60],
        "waiting_blocks": [0, 11, 21],
    }
    now = moment(policy, 120, inflight=[1, 1, 1], **state)
    assert policy.routing["route"](*now) == hooks["route"](*now) == HOLD  # 19 blocks are free on each
    assert hooks["route"](*moment(policy, 120, inflight=[1, 1, 0], **state)) == 2
    for output in (20, 60):
        hooks["on_finish"](make_request(generated_tokens=output), 0, now.memory)
    assert policy.routing["route"](*now) == hooks["route"](*now) == 0
    assert hooks["rank"](now.request, now.cluster, now.memory) == 120.0


def test_third_example_decides() -> None:
    """Of 1000 blocks 100 must be free, unless nothing runs; shortest prompt first."""
    policy, memory = example(2, "scheduling"), make_memory({}, 1)
    hooks = {name: compiled(hook) for name, hook in policy.scheduling.items()}
    for free, running, answer in ((100, 1, True), (99, 1, False), (99, 0, True)):
        asked = (make_request(), make_replica(free_blocks=free, running=running), memory)
        assert policy.scheduling["admit"](*asked) == hooks["admit"](*asked) == answer
    assert hooks["rank"](make_request(77), make_replica(), memory) == 77.0


def test_fourth_example_decides() -> None:
    """59 requests want 3 replicas and 60 want 4; the quota holds; it is asked every 30 s."""
    policy, asked = example(3, "autoscaling"), (make_cluster(1), make_memory({}, 1))
    scale = compiled(policy.autoscaling["scale"])
    assert policy.interval_s == 30.0
    for held, largest, answer in ((0, 9, 3), (1, 9, 4), (1, 3, 3)):
        window = make_window(held=held, waiting=19, running=40, min_replicas=2, max_replicas=largest)
        assert policy.autoscaling["scale"](window, *asked) == scale(window, *asked) == answer
    assert scale(make_window(min_replicas=2), *asked) == 2


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
    cluster = uniform_cluster(
        num_replicas=1,
        engine=engine("sarathi", token_budget=64, max_running=8, num_blocks=100),
        latency=latency_table("a10-llama3-8b", token_budget=64),
    )
    column = np.array([5, 6, 7], dtype=np.int64)
    trace = Trace(arrival_ps=column, prompt_tokens=column, output_tokens=column, max_tokens=column)
    result = simulate(Case(cluster=cluster, trace=trace, drain_s=60.0), policy)
    assert (result.status, result.message) == ("ok", "")
