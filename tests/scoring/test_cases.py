"""The pages of cases: every trial behind a number, worst first, its requests, its timeline, or how to make one."""

from pathlib import Path

import pytest
from report_pages import NUM_REQUESTS, TASK, Page, broken_links, failed, result, trial, with_tables

from glia_bench.scoring import cases
from glia_bench.scoring.columns import DASH
from glia_bench.scoring.pages import cases_page
from glia_bench.scoring.report import write_report


def cases_of(folder: Path, trials: list[dict], policy: str, task: str = TASK) -> Page:
    """Write a report of these trials and return a policy's page of cases."""
    write_report(result(folder, trials))
    assert broken_links(folder) == []
    return Page(folder / cases_page(task, policy))


def table(page: Page, start: str) -> list[dict[str, str]]:
    """Return the rows of the first table whose caption begins so."""
    return next(rows for caption, rows in page.tables.items() if caption.startswith(start))


def test_cases_stand_worst_first_beside_the_expert(tmp_path: Path) -> None:
    """Failed cases come first, then by cost over the expert's on the same seed; the foot is the summary's mean."""
    trials = [trial(TASK, "expert", 1.0, seed, cost=20.0) for seed in range(4)]
    trials += [trial(TASK, "hra", 1.0, seed, cost=cost) for seed, cost in enumerate((20.0, 30.0, 10.0, 25.0))]
    rows = table(cases_of(tmp_path, trials, "hra"), "4 cases, worst first")
    assert [row["seed"] for row in rows] == ["1", "3", "0", "2", "mean"]
    assert [row["expert ratio"] for row in rows[:4]] == ["0.667", "0.800", "1.000", "2.000"]
    assert rows[-1]["mean E2E, s"] == "21.2"
    assert rows[-1]["cost of expert"] == "20.0"
    assert rows[-1]["expert ratio"] == f"{(2 / 3 * 0.8 * 2) ** 0.25:.3f}"


def test_failed_cases_say_why_and_count(tmp_path: Path) -> None:
    """A failed case has its status, its reason and the ratio that it counts; there is no mean, and the page says so."""
    trials = [trial(TASK, name, 1.0, seed) for name in ("expert", "hra") for seed in range(2)]
    trials.append(failed(TASK, "hra", 1.0, 2, "returned <9>"))
    trials.append(trial(TASK, "expert", 1.0, 2))
    page = cases_of(tmp_path, trials, "hra")
    first = table(page, "3 cases, worst first")[0]
    assert (first["seed"], first["status"], first["reason"]) == ("2", "bad_decision", "returned <9>")
    assert (first["mean E2E, s"], first["expert ratio"]) == (DASH, "0.250")
    assert "No mean: 1 trial failed (bad_decision). The expert ratio, 0." in page.text
    assert "failed" in page.text


def test_policy_that_always_fails_has_a_page_without_a_chart(tmp_path: Path) -> None:
    """Where no case has a cost there is no chart, but the reasons stand."""
    trials = [failed(TASK, "hra", 1.0, seed, "boom") for seed in range(2)]
    page = cases_of(tmp_path, [*trials, trial(TASK, "expert", 1.0, 0)], "hra")
    assert {row["reason"] for row in table(page, "2 cases")} == {"boom"}
    assert not any("by seed" in label for label in page.attributes("aria-label"))


def test_one_seed_is_enough(tmp_path: Path) -> None:
    """A single case is a page too, with a chart of one row and no interval."""
    page = cases_of(tmp_path, [trial(TASK, name, 1.0, 7) for name in ("expert", "llq")], "llq")
    assert [row["seed"] for row in table(page, "1 case, worst first")] == ["7", "mean"]
    assert any(label.endswith("beside expert on the same trace") for label in page.attributes("aria-label"))


def test_no_expert_no_ratio(tmp_path: Path) -> None:
    """Where the expert was not run, cases are ordered by cost and the chart shows the policy alone."""
    rows = table(cases_of(tmp_path, [trial(TASK, "llq", 1.0, s, cost=s + 1.0) for s in range(3)], "llq"), "3 cases")
    assert [row["seed"] for row in rows[:3]] == ["2", "1", "0"]
    assert "expert ratio" not in rows[0]


def test_requests_that_were_kept_are_shown(tmp_path: Path) -> None:
    """A kept request table gives a distribution, the slowest requests, slowest first, and a link to the table."""
    trials = [with_tables(tmp_path, trial(TASK, "llq", 1.0, 0)), trial(TASK, "llq", 1.0, 1)]
    page = cases_of(tmp_path, trials, "llq")
    slowest = [float(row["E2E, s"]) for row in table(page, f"The 10 slowest of {NUM_REQUESTS} requests")]
    assert slowest == sorted(slowest, reverse=True)
    assert {row["seed"]: row["requests"] for row in table(page, "2 cases")}["1"] == DASH
    assert "../records/routing/paper-v0/llq/load%3D1.0%2Cseed%3D0.parquet" in page.attributes("href")
    assert sum(label.startswith("Distribution of latencies") for label in page.attributes("aria-label")) == 1


def test_only_the_worst_cases_show_their_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many kept tables the worst cases' are shown on the page, the others are links to the tables."""
    monkeypatch.setattr(cases, "MAX_REQUEST_SECTIONS", 2)
    trials = [with_tables(tmp_path, trial(TASK, "llq", 1.0, seed, cost=10.0 + seed)) for seed in range(4)]
    page = cases_of(tmp_path, trials, "llq")
    texts = {row["seed"]: row["requests"] for row in table(page, "4 cases")}
    assert texts == {"3": "requests", "2": "requests", "1": "table (Parquet)", "0": "table (Parquet)", "mean": ""}
    assert "The request tables of 2 more cases were kept" in page.text


def test_timeline_is_linked_or_its_command_given(tmp_path: Path) -> None:
    """A kept timeline is a link to its page; else the command that draws the worst case's is quoted for a shell."""
    kept = trial(TASK, "llq", 1.0, 0, timelines=["timelines/a.json.gz", "timelines/a.html"])
    (tmp_path / "timelines").mkdir()
    for name in kept["timelines"]:
        (tmp_path / name).write_text("x")
    page = cases_of(tmp_path, [kept], "llq")
    assert "../timelines/a.html" in page.attributes("href")
    assert "Timelines" not in page.text
    mine = trial(TASK, "mine; rm", 0.9, 3, kind="user")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "mine; rm.py").write_text("x")
    page = cases_of(tmp_path, [mine], "mine; rm")
    assert f"glia-bench run --task {TASK} --policy 'policies/mine; rm.py' --loads 0.9 --seeds 4 --timeline" in page.text
    assert "../policies/mine%3B%20rm.py" in page.attributes("href")


def test_files_outside_the_result_are_not_linked(tmp_path: Path) -> None:
    """A record that names files of other folders gets neither links nor figures of them."""
    (tmp_path / "secret.html").write_text("x")
    bad = trial(TASK, "llq", 1.0, 0, records="../secret.html", timelines=["../secret.html", "/etc/passwd"])
    page = cases_of(tmp_path / "result", [bad], "llq")
    assert not any("secret" in target or "passwd" in target for target in page.attributes("href"))


def test_groups_of_requests_have_their_tables(tmp_path: Path) -> None:
    """Classes and tenants stand slowest first, averaged over seeds; an empty kind has no table."""

    def groups(slow: float) -> dict:
        return {
            "tenant": {
                "0": {"num_requests": 10, "slowdown_mean": 1.0, "slo_attainment": 1.0},
                "1": {"num_requests": 20, "slowdown_mean": slow, "slo_attainment": 0.5},
            },
            "slo_class": {},
        }

    trials = [trial(TASK, "llq", 1.0, seed, groups=groups(4.0 + seed)) for seed in range(3)]
    page = cases_of(tmp_path, trials, "llq")
    rows = table(page, "By tenant, means over seeds, slowest first")
    assert [(row["tenant"], row["mean slowdown"], row["SLO attained, %"]) for row in rows] == [
        ("1", "5.0", "50.0"),
        ("0", "1.0", "100.0"),
    ]
    assert not any("SLO class" in caption for caption in page.tables)


def test_sealed_cases_name_no_command(tmp_path: Path) -> None:
    """With sealed cases only these are listed, by their labels, and no command to draw them is given."""
    trials = [trial(TASK, "llq", 0.9, seed, split="dev") for seed in range(3)]
    trials += [trial(TASK, "llq", 1.0, f"fresh-{n}", split="sealed") for n in (2, 10)]
    page = cases_of(tmp_path, trials, "llq")
    assert {row["seed"] for row in table(page, "2 cases")} == {"fresh-2", "fresh-10", "mean"}
    assert "--timeline" not in page.text
    assert "Load 0.9" not in page.text


NAMES = ["llq", "LLQ", "a/b", "a-b", "../../etc", "", "x" * 300, "naïve", "a--b", "CON.", "\x00\n"]


def test_names_become_different_safe_files() -> None:
    """Whatever a policy is called, its page is a plain file of the folder, and no two share one, ignoring case."""
    files = [cases_page(TASK, name) for name in NAMES]
    assert len({file.lower() for file in files}) == len(NAMES)
    for file in files:
        folder, _, name = file.partition("/")
        assert folder == "report"
        assert len(name) < 120
        assert name.isascii()
        assert not set(name) & set('/\\:*?"<>| \x00\n')
