"""Parameter searches: what they propose, that they repeat, and that a cut one pays nothing twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glia_bench.designer.budget import Budget
from glia_bench.designer.drive import drive
from glia_bench.designer.journal import Journal, untimed
from glia_bench.designer.run import DesignRun, Settings
from glia_bench.designer.templates import neutral_template
from glia_bench.errors import GliaBenchError
from glia_bench.loading import policy_from_source, shipped_policies
from glia_bench.policy import TRACKS, Track
from glia_bench.scoring.metrics import cost
from glia_bench.sim.engine import simulate
from glia_bench.static_check import static_check
from glia_bench.tasks.catalog import TASKS, get_task

Searched = Callable[..., DesignRun]


@pytest.fixture
def searched(tmp_path: Path) -> Searched:
    """Return a function that runs a search to its end in this test's folder."""

    def search(designer: str, *, budget: str = "4", seed: int = 0, folder: str = "run", **options: Any) -> DesignRun:
        settings = Settings(
            task="scheduling/memory-v0",
            designer=designer,
            budget=Budget.parse(budget),
            seeds=(0,),
            seed=seed,
            options=options,
        )
        run = DesignRun(settings, tmp_path / folder)
        drive(run, None)
        return run

    return search


def proposals(run: DesignRun) -> list[str]:
    """Return the hashes of what was simulated, in order."""
    return [entry["what"]["sha256"] for entry in run.journal.all("simulation")]


@pytest.mark.parametrize("track", TRACKS)
def test_templates_run_compiled_and_are_no_worse_than_the_naive_reference(track: Track) -> None:
    """As it is, each template is a sensible policy without remarks, with every constant in its range."""
    source = neutral_template(track, has_prefix_view=track == "routing")
    facts = static_check(source, track)
    assert facts.notes == ()
    assert len(source.splitlines()) < 150
    task = next(task for task in TASKS.values() if task.track == track and "quick" in task.suites)
    case = task.case(task.default_loads[0], 0)
    result = simulate(case, policy_from_source(source, name="t", path="t.py", track=track))
    assert (result.status, result.tier) == ("ok", "compiled")
    (naive,) = (policy for policy in shipped_policies(track) if policy.name == task.naive)
    assert cost(case, result, task) <= 1.001 * cost(case, simulate(case, naive), task)


def test_a_search_repeats_and_goes_on(searched: Searched) -> None:
    """Equal seeds propose the same; a journal cut after any line is completed to the same one."""
    first = searched("search_neutral", budget="3")
    whole = [untimed(entry) for entry in first.journal.entries]
    lines = first.journal.path.read_bytes().splitlines(keepends=True)
    first.journal.path.write_bytes(b"".join(lines[:3]))
    again = searched("search_neutral", budget="3")
    assert [untimed(entry) for entry in Journal(again.journal.path).entries] == whole
    other = searched("search_neutral", budget="3", seed=1, folder="other")
    assert proposals(other)[0] == proposals(first)[0]
    assert proposals(other)[1:] != proposals(first)[1:]


def test_experts_come_first_as_they_are(searched: Searched) -> None:
    """Half of the budget tries experts, the rest tunes the best of them, whose text the proposals are."""
    run = searched("search_template", budget="4")
    purposes = [entry["what"]["purpose"] for entry in run.journal.all("simulation")]
    assert [purpose.partition(":")[0] for purpose in purposes] == ["as it is", "as it is", "proposed", "proposed"]
    (chosen,) = (entry["what"]["expert"] for entry in run.journal.all("chosen"))
    (shipped,) = (p for p in shipped_policies("scheduling") if p.name == chosen)
    source = next(e["source"] for e in run.journal.all("simulation") if e["what"]["purpose"] == "proposed")
    assert source != shipped.source
    assert [t.name for t in static_check(source, "scheduling").tunable] == [t.name for t in shipped.tunable]


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_other_samplers(searched: Searched, sampler: str) -> None:
    """Random and quasi-random sampling are there to compare with."""
    assert len(set(proposals(searched("search_neutral", budget="2", sampler=sampler)))) == 2


def test_wrong_options(searched: Searched) -> None:
    """Unknown samplers and experts are named with what there is."""
    with pytest.raises(GliaBenchError, match="one of tpe, random, qmc"):
        searched("search_neutral", sampler="grid")
    with pytest.raises(GliaBenchError, match="did you mean 'lens-style'"):
        searched("search_template", expert="lens-stile", folder="x")


def test_one_expert_alone(searched: Searched) -> None:
    """With the option, one expert is searched; tasks tell which there are."""
    run = searched("search_template", budget="2", expert="headroom")
    assert next(run.journal.all("chosen"))["what"]["expert"] == "headroom"
    assert get_task(run.settings.task).track == "scheduling"
