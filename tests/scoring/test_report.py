"""The report: what stands in it, that it is one safe and repeatable file, and that gaps in a result leave it useful."""

import math
import os
import re
import statistics
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from glia_bench.errors import GliaBenchError
from glia_bench.scoring.figures import highlighted
from glia_bench.scoring.intervals import mean_interval
from glia_bench.scoring.metrics import METRICS, OBJECTIVES
from glia_bench.scoring.record import build_record, write_record
from glia_bench.scoring.report import write_report
from glia_bench.scoring.summary import summarise
from glia_bench.scoring.svg import assign_styles
from glia_bench.scoring.tables import DASH, decimals
from glia_bench.tasks.catalog import TASKS

TASK, SWEEP = "routing/paper-v0", "routing/paper-sweep-v0"
MEANS = {
    "hra": 24.2,
    "expert": 25.6,
    "spt_hold": 27.3,
    "llq": 54.6,
    "lor": 58.1,
    "round_robin": 63.3,
    "random_pick": 65.5,
}
KINDS = {"hra": "published_ai", "random_pick": "null"}
NUM_REQUESTS, NUM_REPLICAS = 300, 4


def trial(task: str, policy: str, load: float, seed: int, **changed: Any) -> dict[str, Any]:
    """Return one trial's record, its cost a known function of policy, load and seed."""
    cost = MEANS.get(policy, 40.0) * load**3 * (1 + 0.04 * math.sin(seed + len(policy)))
    metrics = dict.fromkeys(METRICS, 0.0) | {
        "e2e_mean_s": cost,
        "e2e_p99_s": 4 * cost,
        "ttft_mean_s": cost / 5,
        "restarted_fraction": 0.26,
        "slo_attainment": 1.0,
    }
    return {
        "task": task,
        "policy": policy,
        "kind": KINDS.get(policy, "human"),
        "policy_sha256": "ab" * 32,
        "load": load,
        "seed": seed,
        "status": "ok",
        "message": "",
        "tier": "compiled",
        "cost": cost,
        "metrics": metrics,
        "num_decisions": 10,
        "decision_hash": "0" * 16,
        "records_sha256": "cd" * 32,
        "workload_sha256": "ef" * 32,
        "sim_s": 0.1,
        "notes": [],
        "records": None,
        "samples": None,
    } | changed


def failed(task: str, policy: str, load: float, seed: int, message: str, **changed: Any) -> dict[str, Any]:
    """Return the record of a trial that a policy failed."""
    gone = {"cost": None, "metrics": dict.fromkeys(METRICS), "status": "bad_decision", "message": message}
    return trial(task, policy, load, seed, **{**gone, **changed})


def with_tables(folder: Path, record: dict[str, Any], name: str | None = None) -> dict[str, Any]:
    """Write a trial's request table and samples under its policy's name or another, and return its record with both."""
    rng = np.random.default_rng(len(record["policy"]))
    prompts = np.random.default_rng(record["seed"]).integers(43, 4000, NUM_REQUESTS)
    frame = pd.DataFrame(
        {
            "arrival_s": np.arange(NUM_REQUESTS) * 0.1,
            "prompt_tokens": prompts,
            "restarts": rng.binomial(2, prompts / 8000),
            "e2e_s": rng.lognormal(math.log(record["cost"]), 1.0, NUM_REQUESTS),
        }
    )
    samples = pd.DataFrame({"time_s": np.arange(500) * 2.0, "held": rng.integers(0, 90, 500)})
    for replica in range(NUM_REPLICAS):
        samples[f"waiting_{replica}"] = rng.integers(0, 20, 500)
        samples[f"allocated_blocks_{replica}"] = rng.integers(0, 2240, 500)
    base = f"records/{record['task']}/{name or record['policy']}/load={record['load']},seed={record['seed']}"
    (folder / base).parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / f"{base}.parquet")
    samples.to_parquet(folder / f"{base}.samples.parquet")
    return {**record, "records": f"{base}.parquet", "samples": f"{base}.samples.parquet"}


def result(folder: Path, trials: list[dict[str, Any]], **environment: Any) -> Path:
    """Write a result of these trials into a folder and return the folder."""
    summary = summarise(trials, TASKS.values())
    write_record(folder, build_record(suite="quick", trials=trials, summary=summary, environment=environment))
    return folder


def test_other_objectives_have_their_name_their_formula_and_their_columns(tmp_path: Path) -> None:
    """A page on GPU time says so in its tables, explains it, and shows GPU hours, cached tokens and misses."""
    metrics = dict.fromkeys(METRICS, 0.5) | {"replicas_started": 3.0, "gpu_hours": 2.25}
    task = "cluster/sessions-v0"
    trials = [trial(task, name, 1.0, seed, metrics=metrics) for name in ("stack_plain", "mine") for seed in range(2)]
    summary = summarise(trials, TASKS.values())
    write_record(tmp_path, build_record(suite=None, trials=trials, summary=summary, environment={}))
    page = write_report(tmp_path).read_text()
    for text in (OBJECTIVES["gpu_seconds_slo"].title, "GPU-s", "GPU hours", "2.2", "cached, %", "SLO attained, %"):
        assert text in page
    assert "w the GPU-seconds per request at capacity" in page
    assert "has the lowest GPU time and SLO misses per request" in page


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report's path: one task at one load with records of the first seed, one task swept over three loads."""
    folder = tmp_path_factory.mktemp("full")
    trials = [trial(TASK, policy, 1.0, seed) for policy in MEANS for seed in range(3)]
    trials = [with_tables(folder, t) if t["seed"] == 0 else t for t in trials]
    trials += [trial(SWEEP, policy, load, seed) for policy in MEANS for load in (0.6, 0.8, 1.0) for seed in range(3)]
    trials += [failed(TASK, "do_nothing", 1.0, seed, "everything held for 60 s") for seed in range(3)]
    return write_report(result(folder, trials, python="3.11.2"))


class Page(HTMLParser):
    """What a browser would see of a page: elements with attributes, tables as text, and all text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[dict[str, str]]] = {}
        self.text = ""
        self._rows: list[list[str]] = []
        self._caption = ""
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element; a row or a cell begins."""
        self.elements.append((tag, dict(attrs)))
        if tag in ("caption", "tr", "td", "th", "style"):
            self._open.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """End what was begun; a finished table is kept by its caption."""
        if self._open and self._open[-1] == tag:
            self._open.pop()
        if tag == "table":
            head, *rows = self._rows
            head = [f"{title} of {head[place - 1]}" if title == "95 %" else title for place, title in enumerate(head)]
            self.tables[self._caption] = [dict(zip(head, row, strict=True)) for row in rows]

    def handle_data(self, data: str) -> None:
        """Add text to the page and to the open cell."""
        inside = self._open[-1] if self._open else ""
        if inside != "style":
            self.text += data
        if inside == "caption":
            self._caption += data
        elif inside in ("td", "th"):
            self._rows[-1][-1] += data

    def row(self, caption: str, policy: str) -> dict[str, str]:
        """Return a policy's row of the first table whose caption begins so."""
        found = next(rows for title, rows in self.tables.items() if title.startswith(caption))
        return next(row for row in found if row["policy"] == policy)

    def attributes(self, name: str) -> list[str]:
        """Return all values of an attribute."""
        return [value or "" for _, attrs in self.elements for key, value in attrs.items() if key == name]


def test_table_shows_every_policy_with_its_rounded_numbers(full: Path) -> None:
    """Means, intervals, published values, ratios and failures stand in the table of the task as rounded there."""
    page = Page(full)
    costs = {policy: [trial(TASK, policy, 1.0, seed)["cost"] for seed in range(3)] for policy in MEANS}
    for policy, values in costs.items():
        row = page.row(f"{TASK} at load 1 (7.5 requests/s), 3 seeds, best first", policy)
        mean = statistics.fmean(values)
        interval = mean_interval(values)
        published = TASKS[TASK].published
        ratio = statistics.geometric_mean(costs["expert"]) / statistics.geometric_mean(values)
        assert row["mean E2E, s"] == f"{mean:.1f}"
        assert row["95 % of mean E2E, s"] == f"[{interval.low:.1f}, {interval.high:.1f}]"
        assert row["expert ratio"] == f"{ratio:.3f}"
        assert row["P99 E2E, s"] == f"{4 * mean:.1f}"
        assert row["restarted, %"] == "26.0"
        assert row["published, s"] == f"{published[policy]:.1f}" if policy in published else DASH
        assert row["status"] == "ok"
    assert page.row(f"{TASK} at load 1", "do_nothing")["status"] == "bad_decision (3 failed)"
    assert page.row("Failed trials", "do_nothing") == {
        "policy": "do_nothing",
        "task": TASK,
        "loads": "1",
        "seeds": "0, 1, 2",
        "status": "bad_decision",
        "reason": "everything held for 60 s",
    }


def test_sweep_table_shows_every_load(full: Path) -> None:
    """A task with several loads has one table of all of them, and one for each."""
    page = Page(full)
    row = page.row("Mean E2E latency, s, by load", "llq")
    for load in (0.6, 0.8, 1.0):
        mean = statistics.fmean(trial(SWEEP, "llq", load, seed)["cost"] for seed in range(3))
        assert row[f"load {load:g}"] == f"{mean:.1f}"
    assert float(row["expert ratio, all loads"]) < 1.0
    assert sum(caption.startswith(f"{SWEEP} at load 0.") for caption in page.tables) == 2


def test_report_has_the_figures_of_the_first_seed(full: Path) -> None:
    """With records there are distribution, restarts and one panel over time per coloured policy, each described."""
    page = Page(full)
    labels = page.attributes("aria-label")
    for start in ("Dot plot of mean E2E", "Cumulative distribution", "Restarted requests", "expert ratio against load"):
        assert any(label.startswith(start) for label in labels), start
    assert sum("over time: queue mean" in label for label in labels) == 6
    assert "states over time below are those of seed 0" in page.text


def test_same_result_gives_same_bytes(full: Path) -> None:
    """Written again, and by another process with other hash seeds, the report is equal byte for byte."""
    first = full.read_bytes()
    assert write_report(full.parent).read_bytes() == first
    code = "import pathlib, sys, glia_bench.scoring.report as report; report.write_report(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    subprocess.run([sys.executable, "-c", code, str(full.parent)], check=True, env=environment)
    assert full.read_bytes() == first


HOSTILE_NAMES = [
    '<script>alert(1)</script>"><img src=x onerror=alert(1)>',
    r"$\frac{x$ @row000@ @row001@",
    "{{ 7 * 7 }} {% raw %} &lt;b&gt; '\x07\n",
    "\u8a2d\u8a08\u202e" + "w" * 300,
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_what_users_write_is_text(tmp_path: Path, name: str) -> None:
    """Names, messages and notes that look like markup, templates or mathematics stay text, in tables and figures."""
    message = f"</td></table><script>x</script><a href='https://example.org'>{name}"
    trials = [trial(TASK, policy, 1.0, 0) for policy in ("llq", "expert")]
    trials.append(trial(TASK, name, 1.0, 0, kind="user", notes=[message]))
    trials = [with_tables(tmp_path, t, f"p{index}") for index, t in enumerate(trials)]
    trials.append(failed(TASK, name + "2", 1.0, 0, message))
    refused = [{"policy": name, "message": message}]
    page = Page(write_report(result(tmp_path, trials, refused=refused, command=name)))
    plain = Page(write_report(result(tmp_path, [t for t in trials if t["policy"] in ("llq", "expert")])))
    assert {tag for tag, _ in page.elements} - {tag for tag, _ in plain.elements} <= {
        "pre",
        "li",
        "ul",
        "strong",
        "span",
    }
    assert not {key for _, attrs in page.elements for key in attrs if key.startswith("on") or key == "src"}
    assert page.row(f"{TASK} at load 1", name)["mean E2E, s"] == f"{trials[2]['cost']:.1f}"
    assert any(message in row["reason"] for row in page.tables["Failed trials and their reasons"])
    assert "@row" not in page.text.replace(name, "").replace(name[:25], "")


def test_report_loads_nothing(full: Path) -> None:
    """One file: no script, no frame, no link out of the page, no style or image from elsewhere."""
    page = Page(full)
    assert not {"script", "iframe", "link", "img", "object", "embed", "image"} & {tag for tag, _ in page.elements}
    assert page.attributes("src") == []
    assert {target[0] for target in page.attributes("href")} == {"#"}
    text = full.read_text(encoding="utf-8")
    assert "@import" not in text
    assert set(re.findall(r"url\(.", text)) == {"url(#"}


def test_ids_are_unique_and_links_have_targets(full: Path) -> None:
    """Every anchor and every reference inside a figure has exactly one target."""
    page = Page(full)
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in page.attributes("href")} <= set(ids)
    clips = {clip.removeprefix("url(#").removesuffix(")") for clip in page.attributes("clip-path")}
    assert clips
    assert clips <= set(ids)


def test_figures_are_drawn_in_variables(full: Path) -> None:
    """No figure fixes a colour, so that light, dark and print styles reach all of it."""
    figures = re.findall(r'<svg class="plot".*?</svg>', full.read_text(encoding="utf-8"), re.DOTALL)
    assert len(figures) > 10
    for figure in figures:
        assert re.findall(r"#[0-9a-f]{6}\b|rgb\(", re.sub(r'(id|href)="[^"]*"|url\([^)]*\)', "", figure)) == []
        assert "var(--fg)" in figure


def test_result_without_records_has_tables_only(tmp_path: Path) -> None:
    """Where no request records were kept, or they were deleted, the page says so and keeps its numbers."""
    lost = {"records": "records/gone.parquet", "samples": "records/gone.samples.parquet"}
    page = Page(write_report(result(tmp_path, [trial(TASK, "llq", 1.0, 0, **lost), trial(TASK, "hra", 1.0, 0)])))
    assert "No request records were kept here" in page.text
    assert page.row(f"{TASK} at load 1", "llq")["mean E2E, s"] == f"{trial(TASK, 'llq', 1.0, 0)['cost']:.1f}"
    assert not any("over time" in label for label in page.attributes("aria-label"))


def test_records_outside_the_result_are_not_read(tmp_path: Path) -> None:
    """A record that names a file of another folder gets no figures from there."""
    folder = tmp_path / "result"
    outside = with_tables(tmp_path, trial(TASK, "llq", 1.0, 0))
    page = Page(write_report(result(folder, [{**outside, "records": "../" + outside["records"], "samples": None}])))
    assert "No request records were kept here" in page.text


def test_unreadable_table_is_named(tmp_path: Path) -> None:
    """A damaged table ends in an error that names the file and the way out."""
    damaged = with_tables(tmp_path, trial(TASK, "llq", 1.0, 0))
    (tmp_path / damaged["records"]).write_bytes(b"PAR1 no more")
    with pytest.raises(GliaBenchError, match=r"seed=0\.parquet must be a Parquet table .* delete it"):
        write_report(result(tmp_path, [damaged]))


def test_interrupted_run_says_what_is_missing(tmp_path: Path) -> None:
    """A partial result is announced first, and policies on different seeds show how many they have."""
    trials = [trial(TASK, "llq", 1.0, seed) for seed in range(3)] + [trial(TASK, "hra", 1.0, 0)]
    page = Page(write_report(result(tmp_path, trials, interrupted=True, num_planned=6)))
    assert "The run stopped after 4 of 6 trials" in page.text
    assert page.row(f"{TASK} at load 1", "hra")["seeds"] == "1"
    assert page.row(f"{TASK} at load 1", "llq")["seeds"] == "3"


def test_result_in_which_all_failed_is_a_page(tmp_path: Path) -> None:
    """Where every trial failed, ours or theirs, the page holds the reasons and no figure."""
    ours = failed(TASK, "llq", 1.0, 0, "out of disk", status="infra_error")
    page = Page(write_report(result(tmp_path, [failed(TASK, "hra", 1.0, 0, "returned 9"), ours])))
    assert "no policy has a mean" in page.text
    assert "1 trial failed for reasons of the benchmark" in page.text
    assert {row["reason"] for row in page.tables["Failed trials and their reasons"]} == {"returned 9", "out of disk"}
    assert not any("plot" in value for value in page.attributes("class"))


def test_task_of_another_version_is_shown(tmp_path: Path) -> None:
    """A task that this version does not know has its table and figures all the same, KV in blocks."""
    page = Page(write_report(result(tmp_path, [with_tables(tmp_path, trial("routing/old-v0", "llq", 1.0, 0))])))
    assert "not in the catalog" in page.text
    assert page.row("routing/old-v0 at load 1, 1 seed", "llq")["status"] == "ok"
    assert any(label.endswith("blocks") for label in page.attributes("aria-label"))


def test_policy_off_the_scale_leaves_the_figures(tmp_path: Path) -> None:
    """A policy many times as slow as the median stands in the table and is named, but does not flatten the figures."""
    trials = [trial(TASK, policy, 1.0, 0) for policy in MEANS]
    slow = trial(TASK, "do_nothing", 1.0, 0, cost=1474.0, kind="null")
    slow["metrics"]["e2e_mean_s"] = 1474.0
    page = Page(write_report(result(tmp_path, [*trials, slow])))
    assert page.row(f"{TASK} at load 1", "do_nothing")["mean E2E, s"] == "1474.0"
    assert "in the table only: do_nothing." in page.text
    assert not any("do_nothing" in label for label in page.attributes("aria-label"))


def test_colours_go_to_references_users_and_the_best() -> None:
    """Six policies at most are coloured: references, best published AI, the user's own, best, then published rows."""

    def row(policy: str, cost: float | None, kind: str = "human", published: float | None = None) -> dict[str, Any]:
        return {"policy": policy, "kind": kind, "cost_mean": cost, "plain": "llq", "published_s": published}

    rows = [
        row("ai", 1.0, "published_ai"),
        row("ai2", 2.0, "published_ai"),
        row("expert", 3.0),
        row("holding", 4.0),
        row("hra", 5.0, "published_ai", published=24.1),
        row("llq", 6.0, published=54.6),
        row("mine", 7.0, "user"),
        row("rr", 8.0),
        row("broken", None, "user"),
    ]
    assert highlighted(rows, naive="rr", expert="expert") == ["expert", "llq", "ai", "rr", "mine", "holding"]
    assert highlighted(rows[:5], naive="rr", expert=None) == ["ai", "expert", "hra", "ai2", "holding"]
    assert highlighted([], naive="rr", expert="expert") == []


def test_styles_differ_without_colour() -> None:
    """Among any twelve policies no two share colour and dash; the first six share neither."""
    styles = list(assign_styles([f"p{index}" for index in range(12)]).values())
    assert len({(style.hue, style.dash) for style in styles}) == 12
    assert len({style.hue for style in styles[:6]}) == len({style.dash for style in styles[:6]}) == 6


@pytest.mark.parametrize(
    ("values", "places"), [([63.3, 24.1], 1), ([0.0, 5.0], 1), ([0.26, 3.0], 2), ([0.0004], 3), ([None], 1), ([], 1)]
)
def test_decimals_follow_the_smallest_value(values: list[float | None], places: int) -> None:
    """A column keeps two significant digits of its smallest value that is not 0, and one to three decimals."""
    assert decimals(values) == places
