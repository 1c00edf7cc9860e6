"""Designers compared: who counts where, what is never dropped, and what stands on the page."""

import json
import math
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from design_journals import TASK, text, write_run

from glia_bench.designer import designs_page, likeness
from glia_bench.designer.comparison import Arm, Marks, arms_of, compare
from glia_bench.designer.comparison_tables import amount_text, median_text, tables_of, to_level_text
from glia_bench.designer.curves import Trajectory, trajectory
from glia_bench.designer.designs_page import markdown_of, page_of, report_designs
from glia_bench.designer.held_out import TaskScores
from glia_bench.errors import GliaBenchError
from glia_bench.evaluation.stopping import Stop
from glia_bench.scoring.columns import DASH
from glia_bench.terminal_designs import print_designs
from glia_bench.tunables import sha256_of

GAINS = {1: -0.6, 2: -0.2, 3: 0.1}
"""Number of a text to its mean log-gain on unseen cases: only the third is at expert level."""
SPREAD = (-0.01, 0.0, 0.01)


def scores_of(gains: dict[int, float] = GAINS) -> TaskScores:
    """Return scores on three cases."""
    return TaskScores(
        task=TASK,
        split="held-out",
        season="",
        cases=(1000, 1001, 1002),
        expert="lens-style@62b9d8",
        naive=dict.fromkeys((1000, 1001, 1002), -0.7),
        designs={
            sha256_of(text(number)): {1000 + place: gain + more for place, more in enumerate(SPREAD)}
            for number, gain in gains.items()
        },
        starved={sha256_of(text(2)): ("tenant 3",)},
        failures={},
    )


def found(*numbers: int) -> list[tuple[str, float | None]]:
    """Return designs in this order, each better on development seeds than those of lower numbers; 0 is rejected."""
    return [(text(number), 0.1 * number if number else None) for number in numbers]


def arm(tmp_path: Path, *runs: Sequence[int], **settings: Any) -> Arm:
    """Return the arm of runs that found designs of these numbers."""
    folders = [
        write_run(tmp_path / f"r{place}", found(*numbers), seed=place, **settings) for place, numbers in enumerate(runs)
    ]
    return Arm(label="test", runs=tuple(map(trajectory, folders)), scores=scores_of())


def test_at_an_expense(tmp_path: Path) -> None:
    """The mean of log-ratios over runs, each with what it had chosen by then; cut runs count up to their end."""
    cut = arm(tmp_path, (1, 2, 3), (1, 1, 1), budget="3")
    cell = cut.ratio_at("simulations", 2)
    assert cell is not None
    assert cell["expert_ratio"] == pytest.approx(math.exp((-0.2 - 0.6) / 2))
    assert cell["expert_ratio_low"] < cell["expert_ratio"] < cell["expert_ratio_high"]
    assert (cell["num_runs"], cell["of_runs"]) == (2, 2)
    assert cut.ratio_at("simulations", 3) is not None
    assert cut.ratio_at("simulations", 4) is None
    assert cut.ratio_at("wall_s", 31.0) is not None
    assert cut.ratio_at("wall_s", 32.0) is None


def test_carried_forward(tmp_path: Path) -> None:
    """A run that ended by itself counts at every larger expense, beside no other; it is not there, though."""
    both = [
        trajectory(write_run(tmp_path / "a", found(1, 2), seed=1)),
        trajectory(write_run(tmp_path / "b", found(1, 3), seed=2, status="interrupted")),
    ]
    here = Arm(label="test", runs=tuple(both), scores=scores_of())
    cell = here.ratio_at("simulations", 100)
    assert cell is not None
    assert cell["expert_ratio"] == pytest.approx(math.exp(-0.2))
    assert (cell["num_runs"], cell["of_runs"], cell["expert_ratio_low"]) == (1, 2, None)
    assert here.num_there("simulations", 100) == 0
    assert here.num_there("simulations", 2) == 2


def test_a_run_without_a_design_is_not_dropped(tmp_path: Path) -> None:
    """It counts as one that fails everywhere, in cells and curves alike."""
    here = arm(tmp_path, (0, 0), (2,))
    cell = here.ratio()
    assert cell is not None
    assert cell["expert_ratio"] == pytest.approx(math.sqrt(0.25 * math.exp(-0.2)))
    assert cell["num_runs"] == 2
    early = here.ratio_at("simulations", 0.5)
    assert early is not None
    assert early["expert_ratio"] == pytest.approx(0.25)


def test_curve_and_area(tmp_path: Path) -> None:
    """A curve has a point wherever a run changes its design; its mean is over the logarithm of the expense."""
    here = arm(tmp_path, (1, 2, 2, 3), (1, 1, 1, 1), budget="4")
    points = here.curve("simulations")
    assert [point["x"] for point in points] == [1.0, 2.0, 4.0]
    assert [point["expert_ratio"] for point in points] == pytest.approx(
        [math.exp(-0.6), math.exp(-0.4), math.exp(-0.25)]
    )
    assert [point["score"] for point in points] == pytest.approx([0.1, 0.15, 0.2])
    area = here.area("simulations", 1.0, 4.0)
    assert area is not None
    # the first run is at -0.6 for ln 2 and at -0.2 for ln 2, the second at -0.6 throughout
    assert area["expert_ratio"] == pytest.approx(math.exp((-0.4 - 0.6) / 2))
    assert here.area("simulations", 1.0, 8.0) is None
    assert here.curve("tokens") == []


@pytest.mark.parametrize(
    ("runs", "reached", "shown"),
    [
        ([(1, 3), (3,), (1, 2, 3)], 3, "2"),
        ([(1, 3), (3,), (1, 1, 1, 1)], 2, "2"),
        ([(1, 3), (1,), (1, 2, 3)], 2, "2 to 3"),  # the second might have come there at 1.5, or never
        ([(1, 3), (1,), (1, 1, 1, 1)], 1, "above 2"),
        ([(1, 2), (0, 0)], 0, "above 1"),
    ],
)
def test_cost_of_expert_level(tmp_path: Path, runs: list[tuple[int, ...]], reached: int, shown: str) -> None:
    """Runs that never come to expert level are counted, as costing more than they spent."""
    here = arm(tmp_path, *runs).to_expert_level("simulations")
    assert to_level_text(here) == f"{reached} of {len(runs)}"
    assert median_text("simulations", here) == shown


def test_unknown_dollars(tmp_path: Path) -> None:
    """Where one run's dollars are unknown, it counts nowhere on that axis, and nothing is said of their median."""
    runs = [
        trajectory(write_run(tmp_path / "a", found(3), replies=[{"usd": None}])),
        trajectory(write_run(tmp_path / "b", found(2), replies=[{}])),
    ]
    here = Arm(label="test", runs=tuple(runs), scores=scores_of())
    cell = here.ratio_at("usd", 30)
    assert cell is not None
    assert (cell["num_runs"], cell["of_runs"]) == (1, 2)
    assert here.to_expert_level("usd") is None
    assert median_text("usd", None) == "unknown"


def test_arms(tmp_path: Path) -> None:
    """Runs are together where only seed and budget differ; names say what else does, and failed runs find their own."""
    made: list[Trajectory] = []
    for name, numbers, settings in (
        ("a", (1,), {"replies": [{}]}),
        ("b", (2,), {"replies": [{}], "seed": 1, "budget": "7"}),
        ("c", (), {"seed": 2, "status": "lm_failed"}),
        ("d", (3,), {"replies": [{}], "options": {"without": ["analyst"]}}),
        ("e", (3,), {"designer": "other"}),
    ):
        made.append(trajectory(write_run(tmp_path / name, found(*numbers), **settings)))
    arms = arms_of(made, {TASK: scores_of()})
    assert [(found.label, [run.folder.name for run in found.runs]) for found in arms] == [
        ("other", ["e"]),
        ("test", ["a", "b", "c"]),
        ("test, without ['analyst']", ["d"]),
    ]
    assert arms[1].ratio_at("simulations", 1) is not None


def content_of(tmp_path: Path, **settings: Any) -> dict[str, Any]:
    """Return the comparison of two designers; one has a name that is markup."""
    names = ["glia", "<b>x|y</b>"]
    runs = [
        trajectory(write_run(tmp_path / f"{place}-{seed}", found(*numbers), designer=name, seed=seed, **settings))
        for place, name in enumerate(names)
        for seed, numbers in enumerate([(1, 2, 3), (0, 1, 2)])
    ]
    like = {
        (TASK, sha256_of(text(3))): {"designs": {"a": {"decisions": 0.9, "tree": 0.1, "moments": 5}}},
        (TASK, sha256_of(text(2))): {"failure": "it <i>failed</i>"},
    }
    return compare(runs, {TASK: scores_of()}, likeness=like, remarks=["a & b"]) | {"cpu_usd_per_hour": 0.05}


def test_page(tmp_path: Path) -> None:
    """Names are escaped, figures are there, nothing is fetched or scripted; the same comparison gives the same page."""
    content = content_of(tmp_path, replies=[{}])
    page = page_of(content)
    assert page == page_of(json.loads(json.dumps(content, allow_nan=False)))
    assert "&lt;b&gt;x|y&lt;/b&gt;" in page
    assert "a &amp; b" in page
    assert not re.search(r"<b>|<i>|<script|src=|url\(h|NaN", page)
    assert page.count('<svg class="plot"') == 8  # ratio and score against simulations, wall time, tokens, dollars
    assert "Judged on 3 held-out seeds" in page
    assert "starves tenant 3" in page
    assert "a (90 %, 10 %)" in page
    assert "not compared: it &lt;i&gt;failed" in page


def test_markdown(tmp_path: Path) -> None:
    """A table's rows keep their cells whatever names hold."""
    text_ = markdown_of(content_of(tmp_path))
    lines = [line for line in text_.splitlines() if line.startswith("|")]
    assert any("x\\|y" in line for line in lines)
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines[:4]}
    assert len(widths) == 1
    assert "no run came to 5 simulations, 10 simulations" in text_


def test_several_tasks(tmp_path: Path) -> None:
    """With several tasks a table of designers by task comes first, with a dash where one was not run."""
    runs = [trajectory(write_run(tmp_path / "a", found(1, 2, 3, 3, 3)))]
    runs += [trajectory(write_run(tmp_path / "b", found(1), designer="other", task="autoscaling/burst-v0"))]
    scores = {TASK: scores_of(), "autoscaling/burst-v0": scores_of()}
    (_, (first,)), *_ = tables_of(compare(runs, scores))
    assert first.caption == "Expert ratio at 5 simulations, with its interval and (runs)"
    assert [(row.name, row.cells) for row in first.rows] == [
        ("test", ("1.105 (1)", DASH)),
        ("other", (DASH, "0.549 (1)")),
    ]


def test_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The terminal shows designers and runs within its width, markup as it is."""
    print_designs(content_of(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("note:")) <= 80
    assert any("<b>x|y</b>" in line for line in lines)
    assert sum("0-0" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("axis", "amount", "shown"),
    [
        ("wall_s", 7200.0, "2 h"),
        ("wall_s", 3599.0, "60 min"),
        ("wall_s", 0.5, "0.5 s"),
        ("usd", 30.0, "$30"),
        ("usd", None, "unknown"),
        ("tokens", 1234567.0, "1,234,567"),
    ],
)
def test_amounts(axis: str, amount: float | None, shown: str) -> None:
    """Amounts carry their unit."""
    assert amount_text(axis, amount) == shown


def test_marks() -> None:
    """A mark is a number above 0."""
    with pytest.raises(GliaBenchError, match=r"a mark of usd must be a number above 0 \(got -1\)"):
        Marks(usd=(-1,))


def test_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report writes three files beside each other, reads the runs only, and names what is counted once."""
    folders = [write_run(tmp_path / "runs" / name, found(1, 2)) for name in "ab"]
    before = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*.jsonl")}
    monkeypatch.setattr(designs_page, "scored", lambda runs, folder, **more: {TASK: scores_of()})
    page = report_designs(folders, tmp_path / "out", with_likeness=False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["curves.json", "index.html", "table.md"]
    assert page == tmp_path / "out" / "index.html"
    content = json.loads((tmp_path / "out" / "curves.json").read_text())
    assert "is counted once" in content["remarks"][0]
    assert len(content["tasks"][0]["arms"][0]["runs"]) == 1
    assert {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*.*")} == before
    with pytest.raises(GliaBenchError, match="got none"):
        report_designs([], tmp_path / "out")


def test_likeness_is_found_once_and_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each final design is compared once, also over two reports; what failed is tried again."""
    asked: list[str] = []
    replies: list[dict[str, Any]] = [{"failure": "no answer"}, {"designs": {"a": {}}}]

    def compared(source: str, task: str, *, timeout_s: float) -> dict[str, Any]:
        asked.append(source)
        return replies[len(asked) - 1]

    monkeypatch.setattr(likeness, "compared", compared)
    runs = list(arm(tmp_path, (1, 2), (2,), (0,)).runs)
    place = (TASK, sha256_of(text(2)))
    assert likeness.likeness_of(runs, tmp_path / "out") == {place: replies[0]}
    with (tmp_path / "out" / likeness.CACHE_FILE).open("ab") as file:
        file.write(b'{"cut')
    for _ in range(2):
        assert likeness.likeness_of(runs, tmp_path / "out") == {place: replies[1]}
    assert asked == [text(2)] * 2
    stop = Stop()
    stop.request()
    with pytest.raises(KeyboardInterrupt):
        likeness.likeness_of(runs, tmp_path / "out", stop=stop)


@pytest.mark.parametrize(
    ("program", "failure"),
    [
        ("sleep 60", "no answer within"),
        ("echo nonsense", "gave no answer"),
        ("exit 3", "gave no answer"),
        ("""echo '{"designs": {"a": {"decisions": 7, "tree": 0, "moments": 1}}}'""", "gave no answer"),
    ],
)
def test_a_comparison_that_goes_wrong(program: str, failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that hangs, dies or lies costs its time limit and is said so."""
    real = subprocess.Popen

    def other(command: list[str], **settings: Any) -> Any:
        assert "GLIA_BENCH_SEALED" not in settings["env"]
        return real(["sh", "-c", program], **settings)

    monkeypatch.setitem(os.environ, "GLIA_BENCH_SEALED", "secret")
    monkeypatch.setattr(subprocess, "Popen", other)
    assert failure in likeness.compared(text(1), TASK, timeout_s=0.1)["failure"]


def test_what_breaks_a_rule_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that cannot be a policy gets no process."""
    monkeypatch.setattr(subprocess, "Popen", None)
    assert "line 2" in likeness.compared("def rank(request, replica, memory):\n    return request.x\n", TASK)["failure"]
