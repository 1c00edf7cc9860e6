"""The report's front page and pages of tasks: what stands in them, that they are safe, repeatable and linked."""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from catalogue import TASKS
from report_pages import MEANS, SWEEP, TASK, Page, broken_links, failed, pages_of, result, trial, with_tables

from glia_bench.errors import GliaBenchError
from glia_bench.scoring.columns import DASH, decimals
from glia_bench.scoring.figures import highlighted
from glia_bench.scoring.intervals import mean_interval
from glia_bench.scoring.metrics import METRICS, OBJECTIVES
from glia_bench.scoring.pages import task_page
from glia_bench.scoring.record import build_record, read_record, record_id, write_record
from glia_bench.scoring.report import write_report
from glia_bench.scoring.summary import summarise
from glia_bench.scoring.svg import assign_styles


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


@pytest.fixture
def task_html(full: Path) -> Path:
    """The page of the task at one load."""
    return full.parent / task_page(TASK)


def test_table_shows_every_policy_with_its_rounded_numbers(full: Path, task_html: Path) -> None:
    """Means, intervals, published values, ratios and failures stand in the table of the task as rounded there."""
    page = Page(task_html)
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
        assert row["status"] == {"expert": "the expert"}.get(policy, "ok")
    assert page.row(f"{TASK} at load 1", "do_nothing")["status"] == "bad_decision (3 failed)"
    assert Page(full).row("Failed trials", "do_nothing") == {
        "policy": "do_nothing",
        "task": TASK,
        "loads": "1",
        "seeds": "0, 1, 2",
        "status": "bad_decision",
        "reason": "everything held for 60 s",
    }


def test_sweep_table_shows_every_load(full: Path) -> None:
    """A task with several loads has one table of all of them, and one for each."""
    page = Page(full.parent / task_page(SWEEP))
    row = page.row("Mean E2E latency, s, by load", "llq")
    for load in (0.6, 0.8, 1.0):
        mean = statistics.fmean(trial(SWEEP, "llq", load, seed)["cost"] for seed in range(3))
        assert row[f"load {load:g}"] == f"{mean:.1f}"
    assert float(row["expert ratio"]) < 1.0
    assert sum(caption.startswith(f"{SWEEP} at load 0.") for caption in page.tables) == 2


def test_report_has_the_figures_of_the_first_seed(full: Path, task_html: Path) -> None:
    """With records there are distribution, restarts and one panel over time per coloured policy, each described."""
    page = Page(task_html)
    labels = page.attributes("aria-label")
    for start in ("Dot plot of mean E2E", "Cumulative distribution", "Restarted requests"):
        assert any(label.startswith(start) for label in labels), start
    assert sum("over time: queue mean" in label for label in labels) == 6
    assert "states over time below are those of seed 0" in page.text
    sweep = Page(full.parent / task_page(SWEEP))
    assert any(label.startswith("expert ratio against load") for label in sweep.attributes("aria-label"))
    assert "follow the numbers" in sweep.text


def test_leaderboard_ranks_over_tasks_and_names_the_worst(full: Path) -> None:
    """The front page has the track's leaderboard, best first, with the worst task, and a table of all tasks."""
    page = Page(full)
    best = page.row("Leaderboard, routing", "hra")
    assert best["rank"] == "1"
    assert float(best["expert ratio"]) > 1.0
    assert "beats expert" in best["status"]
    assert best["worst task"] in (TASK, SWEEP)
    assert page.row("Leaderboard, routing", "random_pick")["rank"] == DASH
    assert page.row("Expert ratio by task, routing", "expert")["paper-v0"] == "1.000"


def test_failing_policy_stands_on_the_leaderboard_with_its_reason(tmp_path: Path) -> None:
    """A failed trial counts, is flagged, and marked with a dagger in the table of tasks; a starving one is flagged."""
    starved = {"prompt_decile": {"10": {"num_requests": 30, "slowdown_mean": 9.0}}}
    fed = {"prompt_decile": {"10": {"num_requests": 30, "slowdown_mean": 3.0}}}
    trials = []
    for task in (TASK, "routing/sessions-v0"):
        for seed in range(3):
            references = ("llq", TASKS[task].expert, "round_robin")
            trials += [trial(task, name, 1.0, seed, groups=fed) for name in references]
            trials.append(trial(task, "mine", 1.0, seed, kind="user", groups=starved))
            bad = task == TASK and seed == 1
            trials.append(failed(task, "hra", 1.0, seed, "returned 9") if bad else trial(task, "hra", 1.0, seed))
    folder = tmp_path
    page = Page(write_report(result(folder, trials)))
    assert "bad_decision (1 failed)" in page.row("Leaderboard", "hra")["status"]
    assert "\N{DAGGER}" in page.row("Expert ratio by task", "hra")["paper-v0"]
    assert "starves" in page.row("Leaderboard", "mine")["status"]
    task = Page(folder / task_page("routing/sessions-v0"))
    assert task.row("Mean slowdown by prompt-length tenth", "mine")["10"] == "9.00"
    assert broken_links(folder) == []


def test_robustness_and_gaps_are_shown_where_they_are(tmp_path: Path) -> None:
    """A robustness file of this very result has its table, one of another result none; so have the record's gaps."""
    row = {"task": TASK, "variant": "stale <b>signals</b>", "num_designs": 3, "num_seeds": 5, "tau": 0.667}
    row |= {"best": "hra", "expert_ratio": 1.04, "order": ["hra", "llq"], "reversed": ["hra > llq"]}
    trials = [trial(TASK, name, 1.0, 0) for name in ("expert", "hra")]
    gap = {"task": TASK, "policy": "hra", "part": "fresh", "reference": "expert", "num_dev": 10, "num_sealed": 20}
    gap |= {"gap": -0.05, "gap_low": -0.1, "gap_high": 0.0}
    folder = result(tmp_path, trials)
    record = {**read_record(folder), "gaps": [gap]}
    write_record(folder, {**record, "id": record_id(record)})
    file = folder / "robustness.json"
    file.write_text(json.dumps({"results_id": record["results_id"], "rows": [row]}))
    page = Page(write_report(folder))
    found = page.tables["Ranks of the best designs on variants of each cluster"][0]
    assert (found["variant"], found["Kendall's tau"], found["reversed pairs"]) == (
        "stale <b>signals</b>",
        "0.67",
        "hra > llq",
    )
    assert page.row("From development to sealed seeds", "hra")["95 % of gap, ln"] == "[-0.100, 0.000]"
    assert broken_links(folder) == []
    file.write_text(json.dumps({"results_id": "0" * 64, "rows": [row]}))
    assert "Kendall" not in " ".join(Page(write_report(folder)).tables)
    file.write_text("{}")
    with pytest.raises(GliaBenchError, match=r"robustness\.json must be as .* delete it"):
        write_report(folder)


def test_diagnostics_are_one_click_away(full: Path) -> None:
    """Interquartile means, improvement and profiles stand in a folded element of the front page."""
    page = Page(full)
    assert page.row("Diagnostics over", "expert")["IQM ratio"] == "1.000"
    assert any(label.startswith("Share of cells above") for label in page.attributes("aria-label"))
    assert [attributes for tag, attributes in page.elements if tag == "details"] == [{}]


def test_all_metrics_stand_on_the_page_of_the_task(task_html: Path) -> None:
    """Every metric of the record has its column, under its own name."""
    row = Page(task_html).row("All metrics", "llq")
    assert set(row) == {"policy", *METRICS}
    assert row["restarted_fraction"] == "0.26"


@pytest.mark.slow
def test_same_result_gives_same_bytes(tmp_path: Path) -> None:
    """Written again, and by another process with other hash seeds, every page is equal byte for byte."""
    trials = [with_tables(tmp_path, trial(TASK, policy, 1.0, 0)) for policy in ("llq", "hra")]
    folder = write_report(result(tmp_path, [*trials, trial(SWEEP, "llq", 1.0, 0)])).parent
    first = {name: (folder / name).read_bytes() for name in pages_of(folder)}
    code = "import pathlib, sys, glia_bench.scoring.report as report; report.write_report(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=environment)
    assert {name: (folder / name).read_bytes() for name in pages_of(folder)} == first


def test_every_link_leads_somewhere_in_the_folder(full: Path) -> None:
    """On every page all links are relative and have a target; ids are unique."""
    assert broken_links(full.parent) == []
    for name, page in pages_of(full.parent).items():
        ids = page.attributes("id")
        assert len(ids) == len(set(ids)), name
        assert not any("://" in target or target.startswith("/") for target in page.attributes("href")), name


def test_every_number_leads_to_its_cases(full: Path, task_html: Path) -> None:
    """Each number of a policy's row links to the place that lists the cases behind it."""
    text = task_html.read_text(encoding="utf-8")
    cells = re.findall(r'<td class="(?:num|range)[^"]*">(.*?)</td>', text)
    numbers = [cell for cell in cells if cell not in ("", DASH)]
    assert len(numbers) > 50
    assert all(re.match(r'<a href="[^"]+--[^"]+\.html(#load-1)?"', cell) for cell in numbers)


def test_pages_of_an_earlier_result_are_removed(tmp_path: Path) -> None:
    """Written again with fewer policies, pages that nothing leads to go; files of others stay."""
    write_report(result(tmp_path, [trial(TASK, "llq", 1.0, 0), trial(TASK, "hra", 1.0, 0)]))
    (tmp_path / "report" / "mine.html").write_text("my own")
    write_report(result(tmp_path, [trial(TASK, "llq", 1.0, 0)]))
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["mine.html", "routing-paper-v0--llq.html"]


def test_pages_are_accessible(full: Path) -> None:
    """Every page has one main heading and skips no level; tables have captions and scopes; figures text; a language."""
    for name, page in pages_of(full.parent).items():
        assert page.headings.count(1) == 1, name
        assert all(later <= earlier + 1 for earlier, later in zip(page.headings, page.headings[1:], strict=False)), name
        assert all("scope" in attributes for tag, attributes in page.elements if tag == "th"), name
        tags = [tag for tag, _ in page.elements]
        assert tags.count("table") == tags.count("caption"), name
        images = [attributes for tag, attributes in page.elements if tag == "svg" and "aria-hidden" not in attributes]
        assert all(attributes.get("role") == "img" and attributes.get("aria-label") for attributes in images), name
        assert page.attributes("lang") == ["en"], name


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_have_contrast(full: Path) -> None:
    """Text reaches 4.5 : 1 and lines 3 : 1 against the page, in light and in dark."""
    for block in re.findall(r":root \{(.*?)\}", full.read_text(encoding="utf-8"), re.DOTALL)[:2]:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
        for name in ("fg", "soft", "link", "warn"):
            assert contrast(colours[name], colours["bg"]) >= 4.5, name
            assert contrast(colours[name], colours["tint"]) >= 4.5, name
        for name in ("c0", "c1", "c2", "c3", "c4", "c5", "muted"):
            assert contrast(colours[name], colours["bg"]) >= 3.0, name


@pytest.mark.slow
def test_a_thousand_trials_take_seconds(tmp_path: Path) -> None:
    """Ten policies on five tasks with twenty seeds: a front page, five pages of tasks, fifty of cases, in 5 s."""
    tasks = list(TASKS)[:5]
    trials = [trial(task, name, 1.0, n) for task in tasks for name in [*MEANS, "a", "b", "c"] for n in range(20)]
    folder = result(tmp_path, trials)
    write_report(folder)  # loads Matplotlib
    start = time.perf_counter()
    write_report(folder)
    assert time.perf_counter() - start < 5.0
    assert len(pages_of(folder)) == 56


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
    """On no page is there a script, a frame, a form, or a style or image from elsewhere."""
    for name, page in pages_of(full.parent).items():
        banned = {"script", "iframe", "link", "img", "object", "embed", "image", "form", "base"}
        assert not banned & {tag for tag, _ in page.elements}, name
        assert page.attributes("src") == []
        text = (full.parent / name).read_text(encoding="utf-8")
        assert "@import" not in text
        assert set(re.findall(r"url\(.", text)) <= {"url(#"}


def test_references_inside_figures_have_targets(task_html: Path) -> None:
    """Every clip path of a figure is one of its page."""
    page = Page(task_html)
    clips = {clip.removeprefix("url(#").removesuffix(")") for clip in page.attributes("clip-path")}
    assert clips
    assert clips <= set(page.attributes("id"))


def test_figures_are_drawn_in_variables(full: Path, task_html: Path) -> None:
    """No figure fixes a colour, so that light, dark and print styles reach all of it."""
    texts = [path.read_text(encoding="utf-8") for path in (task_html, *full.parent.glob("report/*--*.html"))]
    figures = [figure for text in texts for figure in re.findall(r'<svg class="plot".*?</svg>', text, re.DOTALL)]
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
    drawn = [label for label in page.attributes("aria-label") if not label.startswith("Share of cells")]
    assert not any("do_nothing" in label for label in drawn)


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
