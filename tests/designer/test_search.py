"""The searches without a language model: what they propose, in which order, and what ends them."""

import ast
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from glia_bench.designer import search
from glia_bench.designer.budget import Budget, BudgetSpent
from glia_bench.designer.evaluation import Evaluation, References
from glia_bench.designer.journal import JOURNAL, Journal, untimed
from glia_bench.designer.run import DesignRun, Settings
from glia_bench.designer.templates import RANGES, neutral_text
from glia_bench.errors import GliaBenchError
from glia_bench.loading import policy_from_source
from glia_bench.sim.engine import simulate
from glia_bench.static_check import static_check
from glia_bench.tasks.catalog import TASKS, get_task
from glia_bench.tasks.task import Task
from glia_bench.tunables import sha256_of, tunables

TASK = "scheduling/memory-v0"
SMALL = (
    'N = 1\n\n\ndef rank(request, replica, memory):\n    return float(N * request.id)\n\n\nTUNABLE = {"N": (0, 2)}\n'
)

Worth = Callable[[str], float]
Searched = Callable[..., DesignRun]


def by_hash(source: str) -> float:
    """Return a value that says nothing but is the text's own."""
    return int(sha256_of(source)[:4], 16) / 65536


def constants(source: str) -> dict[str, float]:
    """Return the values of a text's tunable constants."""
    return {tunable.name: tunable.default for tunable in tunables(ast.parse(source), "text")}


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Searched:
    """Return a function that runs a search to its end, with values from a function of the text in place of costs."""
    monkeypatch.setattr(DesignRun, "_references", lambda self: References(naive={}, expert={}, plain=[]))

    def run_search(
        designer: str = "search_neutral",
        budget: str = "6",
        worth: Worth = by_hash,
        folder: str = "",
        **settings: object,
    ) -> DesignRun:
        def evaluate(self: DesignRun, source: str, loads: tuple[float, ...]) -> Evaluation:
            self.say(source)
            runs = tuple((load, 0, "ok", 1.0, None) for load in loads)
            return Evaluation(
                sha256=sha256_of(source), loads=loads, status="ok", cost=1.0, score=worth(source), runs=runs
            )

        monkeypatch.setattr(DesignRun, "evaluate", evaluate)
        chosen = {"task": TASK, "designer": designer, "seeds": (0,), "budget": Budget.parse(budget), **settings}
        run = DesignRun(Settings(**chosen), tmp_path / folder)  # type: ignore[arg-type]
        with pytest.raises(BudgetSpent):
            getattr(search, designer)(run, None)
        return run

    return run_search


def sources(run: DesignRun, context: int | None = None) -> list[str]:
    """Return what was handed in, in order."""
    return [entry["source"] for entry in run.journal.all("simulation", context)]


def purposes(run: DesignRun) -> list[str]:
    """Return whose constants were searched, in order."""
    return [entry["what"]["purpose"] for entry in run.journal.all("simulation")]


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.id)
def test_neutral_texts_keep_the_rules(task: Task) -> None:
    """On every task the text is a policy of its track, short where it is one part, and declares what it may."""
    text = neutral_text(task)
    facts = static_check(text, task.track)
    assert len(facts.tunable) >= 8
    assert facts.notes == ()
    assert task.track == "cluster" or len(text.splitlines()) < 100
    assert ("PREFIX_VIEW" in text) == (task.track in ("routing", "cluster") and task.cluster.has_prefix_cache)


def test_every_weight_may_be_none() -> None:
    """Ranges of weights hold 0; those that do not are of times, sizes and limits."""
    never_zero = {name for name, (low, high, *_) in RANGES.items() if not low <= 0 <= high}
    assert never_zero == {"HOLD_ABOVE", "ADMIT_BELOW", "CHUNK_TOKENS", "INTERVAL_S", "SHORT_S", "LONG_S"}


def test_neutral_text_is_compiled() -> None:
    """Numba takes the hooks of all three parts, and a run with them ends well."""
    task = get_task("cluster/tenants-v0")
    policy = policy_from_source(neutral_text(task), name="neutral", path="neutral.py", track="cluster")
    assert simulate(task.case(0.1, 0), policy, tier="compiled").status == "ok"


@pytest.mark.parametrize("sampler", search.SAMPLERS)
@pytest.mark.parametrize("designer", search.OPTIONS)
def test_a_search_that_was_cut_goes_on(searched: Searched, tmp_path: Path, designer: str, sampler: str) -> None:
    """Cut after any line, or within one, a search goes on to the same journal."""
    if sampler == "qmc":
        pytest.importorskip("scipy")
    options = {"sampler": sampler}
    whole = [untimed(entry) for entry in searched(designer, options=options).journal.entries]
    assert len(whole) == 7
    path = tmp_path / JOURNAL
    data = path.read_bytes()
    for end in [i + 1 for i, byte in enumerate(data) if byte == 10] + [len(data) - 30]:
        path.write_bytes(data[:end])
        run = searched(designer, options=options)
        assert [untimed(entry) for entry in Journal(path).entries] == whole
        assert run.meter.spent["simulations"] == 6.0
        assert path.read_bytes().startswith(data[: data[:end].rfind(b"\n") + 1])


def test_other_seeds_propose_other_texts(searched: Searched) -> None:
    """The text as it is comes first; then the seed decides, and nothing but the seed."""
    runs = [sources(searched(folder=name, seed=seed)) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    assert runs[0] == runs[1]
    assert {run[0] for run in runs} == {neutral_text(get_task(TASK))}
    assert not set(runs[0][1:]) & set(runs[2][1:])
    assert len(set(runs[0])) == 6


def test_it_learns(searched: Searched) -> None:
    """What a text comes to changes later proposals of the sampler that learns, and not those of one that draws."""

    def high(source: str) -> float:
        return constants(source)["ADMIT_BELOW"]

    def low(source: str) -> float:
        return -high(source)

    last = {}
    for sampler in ("tpe", "random"):
        for worth in (high, low):
            run = searched(budget="30", worth=worth, folder=f"{sampler} {worth.__name__}", options={"sampler": sampler})
            tail = [high(source) for source in sources(run)[-15:]]
            last[sampler, worth.__name__] = math.fsum(tail) / len(tail)
    assert last["tpe", "high"] > last["tpe", "low"] + 0.3
    assert last["random", "high"] == last["random", "low"]


def test_texts_that_are_known_end(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three texts are all there are: each is simulated once, and proposals run out."""
    monkeypatch.setattr(search, "neutral_text", lambda task: SMALL)
    run = searched(budget="simulations=20,proposals=12")
    assert len(sources(run)) == 12
    assert run.meter.spent["simulations"] == len(set(sources(run))) <= 3


def test_nothing_valid_ends(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every text fails, a search goes on proposing until the budget is spent."""
    run = searched("search_template", "12", worth=lambda source: -99.0)
    assert run.meter.spent["simulations"] == 12.0


def test_experts_as_they_are_first(searched: Searched) -> None:
    """Half of the simulations show different experts; the best two share half of what is left, one gets the rest."""
    run = searched("search_template", "20")
    names = purposes(run)
    first = dict(zip(names[:10], sources(run), strict=False))
    assert len(first) == 10
    assert all(text in [t for _, t in search._experts("scheduling", None)] for text in first.values())
    best = sorted(first, key=lambda name: -by_hash(first[name]))[:2]
    assert names[10:16] == best * 3
    assert len(set(names[16:])) == 1
    assert names[16] in best
    assert names != purposes(searched("search_template", "20", folder="other", seed=1))


@pytest.mark.parametrize("budget", ["1", "2", "3"])
def test_small_budgets(searched: Searched, budget: str) -> None:
    """A budget of next to nothing is spent all the same."""
    for designer in search.OPTIONS:
        assert len(sources(searched(designer, budget, folder=designer))) == int(budget)


def test_one_expert(searched: Searched) -> None:
    """The option leaves one expert; its own constants come first, and only its numbers change."""
    run = searched("search_template", options={"expert": "lens-style"})
    assert set(purposes(run)) == {"lens-style"}
    texts = [text for name, text in search._experts("scheduling", None) if name == "lens-style"]
    assert sources(run)[:1] == texts
    assert all(constants(source).keys() == constants(texts[0]).keys() for source in sources(run))


def test_contexts_share(searched: Searched) -> None:
    """Each context searches by itself within its share."""
    run = searched(contexts=2)
    mine, other = sources(run, 0), sources(run, 1)
    assert (len(mine), len(other)) == (3, 3)  # what one has simulated, the other pays for too
    assert mine[0] == other[0]
    assert not set(mine[1:]) & set(other[1:])


@pytest.mark.parametrize(
    ("designer", "options", "message"),
    [
        ("search_neutral", {"sampler": "tpee"}, "sampler must be one of tpe, random, qmc .got 'tpee'.; did you mean"),
        ("search_neutral", {"sampler": ["tpe"]}, "sampler must be one of"),
        ("search_neutral", {"expert": "lens-style"}, "options of search_neutral are sampler .got 'expert'."),
        ("search_template", {"expert": "lens_style"}, "expert must be a human scheduling policy .*did you mean"),
        ("search_template", {"expert": "vllm_v1_fcfs"}, "declares TUNABLE: .*got 'vllm_v1_fcfs'"),
        ("search_template", {"expert": ["hra"]}, "expert must be"),
    ],
)
def test_wrong_options(
    searched: Searched, tmp_path: Path, designer: str, options: dict[str, object], message: str
) -> None:
    """Options are checked before anything is spent."""
    settings = Settings(task=TASK, designer=designer, budget=Budget.parse("3"), options=options)
    run = DesignRun(settings, tmp_path)
    with pytest.raises(GliaBenchError, match=message):
        getattr(search, designer)(run, None)
    assert run.meter.spent["proposals"] == 0.0


def test_optuna_is_missing(searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Optuna the message says what to install."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    run = DesignRun(Settings(task=TASK, designer="search_neutral", budget=Budget.parse("3")), tmp_path)
    with pytest.raises(GliaBenchError, match=r"search_neutral needs Optuna.*pip install 'glia-bench\[designer\]'"):
        search.search_neutral(run, None)


def test_scipy_is_missing(tmp_path: Path, searched: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sobol points without SciPy: the message says so, and which package it is."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    settings = Settings(task=TASK, designer="search_neutral", budget=Budget.parse("3"), options={"sampler": "qmc"})
    run = DesignRun(settings, tmp_path)
    with pytest.raises(GliaBenchError, match=r"qmc needs SciPy.*pip install scipy"):
        search.search_neutral(run, None)
