"""Likeness of designs: copies are found under other names, other ideas are no copies, a pair runs as one does."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from glia_bench.designer import side_by_side as pairs
from glia_bench.designer.side_by_side import side_by_side
from glia_bench.designer.similarity import Similarity, decision_agreement, similar
from glia_bench.designer.tree_similarity import tree_similarity
from glia_bench.errors import GliaBenchError, InvalidPolicyError
from glia_bench.loading import load_policy, policy_from_source
from glia_bench.policy import Policy, Track
from glia_bench.sim.engine import simulate
from glia_bench.tasks.catalog import get_task

TASK = "routing/paper-v0"

HRA_COPY = """import math as m
import glia_bench as gb
from glia_bench.features import HOLD as WAIT_HERE, Request, Memory
share: float = 0.6
ROOM = 0.03
def route(r, rs, c, mem):
    # find somewhere with space
    wanted = m.ceil(r.prompt_tokens * (1 + share) / c.block_size_tokens)
    pick, pick_used, pick_load = (WAIT_HERE, 0, 0)
    for k in range(c.num_replicas):
        booked: int = m.ceil(rs.waiting_tokens[k] * (1 + share) / c.block_size_tokens)
        taken = (rs.allocated_blocks[k]
                 + booked)
        queue = rs.waiting[k] + rs.running[k]
        size = rs.capacity_blocks[k]
        if rs.ready[k] == 0 or size - taken - wanted < int(ROOM * size): continue
        if pick == WAIT_HERE or pick_used > taken or (taken == pick_used and pick_load > queue):
            pick, pick_used, pick_load = k, taken, queue
    return pick
def rank(r: "Request", c, mem: Memory):
    '''Whatever.'''
    return float(r.prompt_tokens)
"""
COPY_OF_MATH = HRA_COPY.replace("m.ceil", "math.ceil").replace("import math as m", "import math")


def text(name: str, track: Track = "routing") -> str:
    """Return the text of a shipped policy."""
    return load_policy(name, track).source


def own(source: str, track: Track = "routing") -> Policy:
    """Return a policy from a text."""
    return policy_from_source(source, name="own", path="own.py", track=track)


def test_a_renamed_copy_is_the_same_tree_and_decides_alike() -> None:
    """Other names, order of functions, layout, imports, annotations and sides of comparisons do not hide HRA."""
    assert tree_similarity(COPY_OF_MATH, text("hra")) == 1.0
    assert tree_similarity(HRA_COPY, text("hra")) == 1.0
    assert decision_agreement(load_policy("hra"), own(HRA_COPY), TASK, 1.0, 0) == 1.0


def test_trees_are_blind_to_constants_and_decisions_are_not() -> None:
    """HRA with other numbers, written out or named, is the same tree, but places requests otherwise."""
    greedy = text("hra").replace("RATIO = 0.6", "RATIO = 3").replace("int(MARGIN * capacity)", "int(0.5 * capacity)")
    assert tree_similarity(greedy, text("hra")) == 1.0
    assert decision_agreement(load_policy("hra"), own(greedy), TASK, 1.0, 0) < 0.95


def test_which_name_is_which_matters() -> None:
    """Two texts that differ only in which variable stands where are not one."""
    first = "def f(a, b):\n    c = a + b\n    return c - a\n"
    assert tree_similarity(first, "def f(x, y):\n    z = x + y\n    return z - x\n") == 1.0
    assert tree_similarity(first, "def f(a, b):\n    c = a + b\n    return c - b\n") < 1.0
    assert tree_similarity(first, "def f(a, b):\n    c = a + b\n    return a - c\n") < 1.0
    assert tree_similarity("def f(q):\n    return q.waiting[0]\n", "def f(q):\n    return q.running[0]\n") < 1.0


def test_names_of_inner_scopes_are_apart() -> None:
    """A comprehension may reuse a name or not; a builtin that is shadowed is the author's; += is a sum."""
    shared = "def f(x):\n    y = [x + 1 for x in x]\n    return y, x\n"
    assert tree_similarity(shared, "def f(u):\n    '''Doc.'''\n    v = [w + 2 for w in u]\n    return v, u\n") == 1.0
    assert tree_similarity("def f(a):\n    a += 1\n    return a\n", "def f(b):\n    b = b + 5\n    return b\n") == 1.0
    assert tree_similarity("def f(min):\n    return min(min)\n", "def f(g):\n    return g(g)\n") == 1.0
    assert tree_similarity("def f(a):\n    return min(a, 1)\n", "def f(a):\n    return max(a, 1)\n") < 1.0


def test_variants_of_an_idea_are_nearer_than_other_ideas_and_the_order_of_two_does_not_matter() -> None:
    """HRA's own variants are above 0.7, all other designs below 0.6; every pair is the same both ways."""
    names = ("hra", "hra_file", "hra_fifo", "expert", "llq", "funsearch_fig13", "round_robin")
    found = {(a, b): tree_similarity(text(a), text(b)) for a in names for b in names}
    assert all(found[a, b] == found[b, a] for a, b in found)
    assert all((value == 1.0) == (a == b) for (a, b), value in found.items())
    assert min(found["hra", "hra_file"], found["hra", "hra_fifo"]) > 0.7
    assert max(found["hra", other] for other in names[3:]) < 0.6


@pytest.mark.parametrize("source", ["def f(:\n", "x = " + "-" * 20_000 + "1\n", "a\0b"])
def test_what_is_no_readable_python_is_refused(source: str) -> None:
    """Broken, far too deep, or with null bytes: an error for its author rather than a crash."""
    with pytest.raises(InvalidPolicyError, match="a text that is compared must"):
        tree_similarity(source, text("hra"))


def test_odd_texts_are_compared_all_the_same() -> None:
    """No code at all, classes, matches, lambdas, odd escapes and large files."""
    assert tree_similarity("", "'''Only words.'''\nimport math\nX = 1\n") == 1.0
    assert tree_similarity("", text("hra")) == 0.0
    odd = "class A:\n    x = {**{}}\n    def g(self):\n        global z\n        z = lambda t: t or '\\d'\n"
    odd += (
        "def f(v):\n    match v:\n        case [a, *b]:\n            return b\n        case c:\n            return c\n"
    )
    odd += "    try:\n        del v\n    except E as e:\n        raise e\n"
    assert tree_similarity(odd, odd.replace("z", "zz").replace("as e", "as bad").replace("raise e", "raise bad")) == 1.0
    large = "def f(a):\n" + "    a = a + 1\n" * 3_000
    assert tree_similarity(large, large) == 1.0


@pytest.mark.parametrize(
    ("asked", "running"),
    [("llq", "random"), ("hra", "funsearch_fig13"), ("funsearch_fig13", "hra"), ("round_robin", "llq")],
)
def test_other_ideas_place_requests_otherwise(asked: str, running: str) -> None:
    """With four replicas chance alone agrees on a quarter; hooks of the other kind are compared too."""
    agreement = side_by_side(load_policy(asked), load_policy(running), get_task(TASK).case(1.0, 0))
    assert 0.1 < agreement.by_kind["place"] < 0.8
    assert agreement.moments >= pairs.MAX_MOMENTS


@pytest.mark.parametrize("name", ["funsearch_fig13", "round_robin", "random"])
def test_a_design_agrees_with_itself_whatever_it_remembers(name: str) -> None:
    """Both halves keep their own memory, so neither disturbs the other's counts."""
    agreement = side_by_side(load_policy(name), load_policy(name), get_task(TASK).case(1.0, 0))
    assert agreement.by_kind == {"place": 1.0}


def test_orders_are_compared_apart_from_places() -> None:
    """HRA first come, first served admits as HRA does, but agrees with its order by about half, as chance does."""
    agreement = side_by_side(load_policy("hra_fifo"), load_policy("hra"), get_task(TASK).case(1.0, 0))
    assert agreement.by_kind["place"] == 1.0
    assert agreement.by_kind["order"] == pytest.approx(0.5, abs=0.1)  # of 2,000 windows
    assert agreement.share == (1.0 + agreement.by_kind["order"]) / 2


@pytest.mark.parametrize(
    ("asked", "running", "task_id"),
    [
        ("funsearch_fig13", "hra", TASK),
        ("hra", "funsearch_fig13", TASK),
        ("preble-e2-style", "ps_prefixaware", "routing/sessions-v0"),
        ("vtc", "sjf_prompt", "scheduling/chat-v0"),
        ("sarathi", "fastserve", "scheduling/chat-v0"),
        ("sjf_prompt", "vllm_v1_fcfs", "scheduling/chat-v0"),
        ("kpa", "hpa", "autoscaling/burst-v0"),
        ("stack_plain", "stack_careful", "cluster/sessions-v0"),
    ],
)
def test_who_runs_is_not_disturbed_by_who_is_asked(
    asked: str, running: str, task_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pair decides what the design that runs decides alone, so that every request has the same times."""
    monkeypatch.setattr(pairs, "MAX_MOMENTS", 10**9)
    monkeypatch.setattr(pairs, "MAX_CALLS", 10**9)
    task = get_task(task_id)
    case = task.case(0.05, 1)
    alone = load_policy(running, task.track)
    pair = pairs._Pair(load_policy(asked, task.track), alone, case)
    together = simulate(case, pair.policy(), tier="python")
    assert (together.status, together.message) == ("ok", "")
    assert together.records.sha256 == simulate(case, alone, tier="python").records.sha256
    assert sum(count for _, count in pair.counts.values()) > 0


def test_scheduling_designs_are_compared_by_order_and_answers() -> None:
    """Shortest first agrees with itself, little with chance, and by name with a task's tuned expert."""
    case = get_task("scheduling/chat-v0").case(1.0, 0)
    shortest, chance = load_policy("sjf_prompt", "scheduling"), load_policy("random_order", "scheduling")
    assert side_by_side(shortest, shortest, case).by_kind == {"order": 1.0}
    assert side_by_side(chance, shortest, case).share == pytest.approx(0.5, abs=0.1)
    both = side_by_side(load_policy("sarathi", "scheduling"), load_policy("tgi", "scheduling"), case)
    assert set(both.by_kind) == {"admit", "order", "plan", "tokens"}
    (name, likeness), *others = similar(shortest.source, "scheduling", "scheduling/chat-v0").items()
    assert name.startswith("trail-style@")
    assert not others
    assert 0 < likeness.tree < 0.5


def test_autoscaling_designs_are_compared_by_sizes() -> None:
    """The utilisation autoscaler agrees with itself, less with its variant by requests, least with another idea."""
    case = get_task("autoscaling/burst-v0").case(0.3, 0)
    hpa, variant, other = (load_policy(name, "autoscaling") for name in ("hpa", "hpa_inflight", "fixed_share"))
    own_size, variant_size, other_size = (side_by_side(p, hpa, case).by_kind["size"] for p in (hpa, variant, other))
    assert own_size == 1.0 > variant_size > other_size


def test_a_found_router_is_compared_with_all_published_ones() -> None:
    """A copy of HRA stands out at its own name."""
    found = similar(HRA_COPY, "routing", TASK)
    assert list(found) == ["expert", "hra", "hra_file", "funsearch_fig13"]
    assert found["hra"] == Similarity(decisions=1.0, by_kind={"order": 1.0, "place": 1.0}, moments=4000, tree=1.0)
    assert all(found[name].decisions < 1.0 and found[name].tree < 1.0 for name in found if name != "hra")


def test_a_design_that_fails_is_refused_and_one_that_is_asked_only_disagrees() -> None:
    """A found design that raises or answers nonsense is an error; a known one that cannot answer has not agreed."""
    case = get_task(TASK).case(0.05, 0)
    raising = own("def route(request, replicas, cluster, memory):\n    return 1 // (request.id < 20)\n")
    nonsense = own("def route(request, replicas, cluster, memory):\n    return 1.5\n")
    for broken in (raising, nonsense):
        with pytest.raises(GliaBenchError, match=r"policy 'own' must run to be compared with 'llq' \(got"):
            side_by_side(load_policy("llq"), broken, case)
    assert side_by_side(raising, load_policy("llq"), case).share < 0.1


def test_tags_and_prefix_views_are_each_designs_own() -> None:
    """What one writes to memory.tag the other does not read, and who asks for no prefix view sees none."""
    writer = own("def route(request, replicas, cluster, memory):\n    memory.tag[request.slot] = 3.0\n    return 0\n")
    source = "def route(request, replicas, cluster, memory):\n    return int(memory.tag[request.slot] + request.tag)\n"
    case = get_task(TASK).case(0.05, 0)
    assert side_by_side(own(source), writer, case).share == 1.0
    assert side_by_side(writer, own(source), case).share == 1.0
    case = get_task("routing/sessions-v0").case(0.06, 0)
    hits = "def route(request, replicas, cluster, memory):\n    return int(replicas.prefix_hit_tokens.max() > 0)\n"
    blind, seeing = own(hits), dataclasses.replace(own(hits), prefix_view=case.cluster.prefix_views[0])
    assert side_by_side(own(hits), blind, case).share == 1.0
    assert side_by_side(seeing, seeing, case).share == 1.0
    assert side_by_side(seeing, blind, case).share < 1.0
    assert side_by_side(blind, seeing, case).share < 1.0


def test_comparisons_end_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is left when enough has been seen, counted by kind or in all."""
    case = get_task(TASK).case(1.0, 0)
    monkeypatch.setattr(pairs, "MAX_MOMENTS", 50)
    assert side_by_side(load_policy("hra"), load_policy("hra"), case).moments == 100
    calls: list[int] = []
    spied = counted(load_policy("llq").routing["route"], calls)
    policy = dataclasses.replace(load_policy("llq"), routing={"route": spied})
    assert side_by_side(load_policy("llq"), policy, case).moments == len(calls) == 50


def counted(hook: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    """Return a hook that notes each of its calls."""

    def call(*arguments: Any) -> Any:
        calls.append(1)
        return hook(*arguments)

    return call
