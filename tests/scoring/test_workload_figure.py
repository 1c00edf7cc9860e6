"""Numbers and pictures of workloads: hand-computed cases, known bursts, and figures that stand alone."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glia_bench.case import Trace
from glia_bench.scoring.workload_facts import workload_facts
from glia_bench.scoring.workload_figure import write_workload_figure
from glia_bench.tasks.autoscaling.burst_v0 import BURSTS
from glia_bench.tasks.catalog import get_task
from glia_bench.tasks.task import Task
from glia_bench.workloads.rate_curves import BASE, burst_levels
from glia_bench.workloads.streams import Stream


def task_of(trace: Trace, **changed: object) -> Task:
    """Return a task with a prefix cache whose workload is a trace."""
    base = get_task("routing/sessions-v0")
    return replace(base, trace=lambda *_: trace, **changed)


def trace_of(times_s: list[float], **columns: list[int]) -> Trace:
    """Return a trace of requests of 40 prompt and 8 output tokens."""
    num = len(times_s)
    arrays = {name: np.array(values, dtype=np.int64) for name, values in columns.items()}
    return Trace(
        arrival_ps=np.array([round(t * 10**12) for t in times_s], dtype=np.int64),
        prompt_tokens=np.full(num, 40),
        output_tokens=np.full(num, 8),
        max_tokens=np.full(num, 100),
        **arrays,
    )


def test_numbers_of_a_small_trace() -> None:
    """Gaps 1 and 3 have mean 2 and deviation 1; of three requests two belong to class 0."""
    facts = workload_facts(task_of(trace_of([0, 1, 4])), 1.0, 0)
    assert (facts.num_requests, facts.span_s, facts.gap_cv) == (3, 4.0, 0.5)
    assert facts.rate_rps.sum() * facts.window_s == 2  # the last arrival ends the last window
    assert np.isnan(facts.dispersion).all()
    assert not len(facts.class_shares)
    cluster = replace(get_task("routing/sessions-v0").cluster, num_tenants=3)
    trace = trace_of([0, 1, 4], tenant=[0, 2, 0])
    assert workload_facts(task_of(trace, cluster=cluster), 1.0, 0).tenant_shares.tolist() == [2 / 3, 0, 1 / 3]


def test_common_prefixes_are_those_of_earlier_requests() -> None:
    """Blocks of 16 tokens; a later block counts only after all before it, and only the prompt's two whole ones."""
    ids = [1, 2, 3, 1, 2, 3, 1, 9, 3, 8, 2]
    trace = trace_of([0, 1, 2, 3], block_start=[0, 3, 6, 9, 11], block_ids=ids)
    facts = workload_facts(task_of(trace), 1.0, 0)
    assert facts.common_shares.tolist() == [0, 0, 16 / 40, 32 / 40]
    assert facts.common_tokens == 48 / 160


def test_dispersion_of_regular_and_of_random_arrivals() -> None:
    """A clock's counts do not vary; a Poisson process's variance is its mean (4 standard errors of 2000 windows)."""
    clock = workload_facts(task_of(trace_of(list(np.arange(0, 110, 0.125)))), 1.0, 0)
    assert clock.dispersion == (0, 0, pytest.approx(np.nan, nan_ok=True))
    times = np.sort(np.random.default_rng(3).uniform(0, 2000, 10_000))
    poisson = workload_facts(task_of(trace_of(times.tolist())), 1.0, 0)
    assert poisson.dispersion[0] == pytest.approx(1, abs=4 * np.sqrt(2 / 2000))
    assert poisson.gap_cv == pytest.approx(1, abs=0.05)
    assert poisson.onsets_s == ()


@pytest.mark.parametrize("seed", range(5))
def test_onsets_of_flash_crowds_are_found(seed: int) -> None:
    """Every burst is marked once, from 20 s before the base rate is left to the end of its ramp."""
    levels = np.array(burst_levels(BURSTS, Stream("autoscaling/burst-v0", seed, "bursts")))
    starts = np.flatnonzero((levels[1:] > BASE) & (levels[:-1] == BASE))
    facts = workload_facts(get_task("autoscaling/burst-v0"), 1.0, seed)
    assert len(facts.onsets_s) == len(starts) == BURSTS.count
    for onset, start in zip(facts.onsets_s, starts, strict=True):
        assert -20 <= onset - start <= BURSTS.ramp_s


def test_bursty_gaps_have_no_onsets() -> None:
    """The paper's heavy-tailed gaps make every window differ from the next: none of them is the start of something."""
    task = get_task("routing/paper-v0")
    assert [workload_facts(task, 1.0, seed).onsets_s for seed in range(3)] == [(), (), ()]


def test_a_figure_stands_alone_for_light_and_dark(tmp_path: Path) -> None:
    """Well-formed, with every colour that it uses declared for both, the same bytes each time."""
    task = get_task("cluster/sessions-v0")
    markup = write_workload_figure(task, tmp_path / "a.svg").read_text(encoding="utf-8")
    assert markup == write_workload_figure(task, tmp_path / "b.svg").read_text(encoding="utf-8")
    texts = [element.text for element in ElementTree.fromstring(markup).iter("{http://www.w3.org/2000/svg}text")]
    assert {"Prompt length", "Output length", "requests/s", "tokens (log scale)", "known prefix", "seed 2"} <= set(
        texts
    )
    light, dark = markup.split("prefers-color-scheme:dark")
    for name in re.findall(r"var\(--(\w+)\)", markup):
        assert f"--{name}:#" in light
        assert f"--{name}:#" in dark
    assert "NaN" not in markup
    assert "#0101" not in markup


def test_shares_are_drawn_where_there_are_groups(tmp_path: Path) -> None:
    """Tenants get bars, the largest first and no more than twelve; a name cannot break the markup."""
    cluster = get_task("routing/sessions-v0").cluster
    slo = cluster.slo_classes[0]
    cluster = replace(cluster, num_tenants=20, slo_classes=(slo, replace(slo, name="<b>&")))
    trace = trace_of(
        [float(k) for k in range(60)], tenant=[k % 20 for k in range(60)], slo_class=[k % 2 for k in range(60)]
    )
    path = write_workload_figure(task_of(trace, cluster=cluster), tmp_path / "shares.svg")
    texts = [element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    assert "Requests by tenant (8 smaller ones left out)" in texts
    assert "Requests by service class" in texts
    assert "<b>&" in texts


def test_a_png_is_written_too(tmp_path: Path) -> None:
    """By the ending of its name, whatever its case."""
    path = write_workload_figure(get_task("scheduling/chat-v0"), tmp_path / "chat.PNG")
    assert path.read_bytes().startswith(b"\x89PNG")
