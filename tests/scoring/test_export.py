"""Tables for papers: what stands in them, that nothing in a name is taken for a command, and that LaTeX takes them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from report_pages import MEANS, SWEEP, TASK, failed, result, trial

from glia_bench.cli import main
from glia_bench.scoring.export import latex, latex_text, markdown, markdown_text
from glia_bench.scoring.record import read_record

HOSTILE = [
    "\\input{/etc/passwd}",
    "_%&#${}^~<>|`'\"",
    "[1cm] & \\\\ \\hline",
    "*star",
    "a--b---c",
    "$x$ %comment",
    "\u8a2d\u8a08\u202e",
    "na\u00efve\nline",
    "**bold** [a](http://x) <b> | `c`",
]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A result with two tasks, a failed policy, and policies with names that mean something to LaTeX and Markdown."""
    folder = tmp_path_factory.mktemp("export")
    trials = [trial(task, name, 1.0, seed) for task in (TASK, SWEEP) for name in MEANS for seed in range(3)]
    trials += [trial(TASK, name, 1.0, seed, kind="user") for name in HOSTILE for seed in range(3)]
    trials.append(failed(TASK, "broken", 1.0, 0, "boom"))
    return read_record(result(folder, trials, glia_bench="0.1.0"))


def test_captions_say_what_a_quoted_number_must(record: dict[str, Any]) -> None:
    """Each table names version, suite, ids, seeds, and that nobody vouches for it."""
    for text in (latex(record).replace("\\_", "_"), markdown(record).replace("\\_", "_")):
        for part in ("Glia-Bench 0.1.0", "suite quick", record["results_id"][:12], record["id"][:12], "3 seeds"):
            assert part in text
        assert text.count("self-reported, not verified") == 4  # leaderboard, table of tasks, two tasks
    signed = latex({**record, "signature": {"public_key": "ab12" * 16}})
    assert "bears a signature of key ab12ab12ab12" in signed


def test_latex_has_rules_intervals_and_bold_bands(record: dict[str, Any]) -> None:
    """Tables use booktabs; numbers carry their intervals; the best rank band is bold; columns match the cells."""
    text = latex(record)
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 4
    assert re.search(r"\\textbf\{hra\} & .*\d\.\d+ \[\d", text)
    assert r"\textbf{random\_pick}" not in text
    for block in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, re.DOTALL):
        columns = re.search(r"@\{\}([lr]+)@\{\}", block)
        assert columns
        rows = re.findall(r"^(?!\\)(.*) \\\\$", block, re.MULTILINE) + re.findall(
            r"^(\\t.*) \\\\$", block, re.MULTILINE
        )
        assert rows
        for row in rows:
            assert len(re.findall(r"(?<!\\)&", row)) == len(columns[1]) - 1, row


def test_latex_commands_are_only_ours(record: dict[str, Any]) -> None:
    """Read token by token, braces balance and no command comes from a name."""
    text = latex(record)
    ours = {"begin", "end", "centering", "small", "setlength", "tabcolsep", "caption", "label", "toprule", "midrule"}
    ours |= {"bottomrule", "textbf", "textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater"}
    ours |= {"textbar", "textasciigrave", "textquotesingle", "textquotedbl", "dag", "usepackage"}
    assert set(re.findall(r"\\([A-Za-z]+)", text)) <= ours
    depth = 0
    for token in re.findall(r"\\.|[{}]", text.partition("\n")[2], re.DOTALL):
        depth += {"{": 1, "}": -1}.get(token, 0)
        assert depth >= 0
    assert depth == 0
    assert "%" not in re.sub(r"\\%", "", text.partition("\n")[2])
    assert text.isascii() or set(filter(lambda c: ord(c) > 127, text)) == {"\u00ef"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("-3.4 [-1.0, 2.0]", "$-$3.4 [$-$1.0, 2.0]"),
        ("2\N{EN DASH}4", "2--4"),
        ("a--b", "a-{}-b"),
        ("paper-v0", "paper-v0"),
        ("[x", "{[}x"),
        ("", ""),
    ],
)
def test_latex_text(text: str, shown: str) -> None:
    """Signs become minus signs, dashes stay dashes, hyphens hyphens; a cell cannot begin like an argument."""
    assert latex_text(text) == shown


def test_markdown_tables_are_whole(record: dict[str, Any]) -> None:
    """Each row has as many cells as its head, names stay text, and nothing is HTML."""
    text = markdown(record)
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert "<" not in text
    assert "| **hra** |" in text
    assert markdown_text("**b** [a](x) | `c`") == r"\*\*b\*\* \[a\](x) \| \`c\`"


def test_command_line_prints_tables_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`report --format` prints and writes no page; as JSON the text stands under the format's name."""
    folder = result(tmp_path, [trial(TASK, name, 1.0, 0) for name in ("llq", "expert")])
    assert main(["report", str(folder), "--format", "latex"]) == 0
    printed = capsys.readouterr().out
    assert printed == latex(read_record(folder))
    assert main(["report", str(folder), "--format", "markdown", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["markdown"].startswith("**routing/paper")
    assert not (folder / "report.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs a LaTeX installation")
def test_latex_compiles(tmp_path: Path, record: dict[str, Any]) -> None:
    """A LaTeX engine takes all tables, hostile names included, without an error."""
    packages = r"\usepackage{booktabs}\usepackage[T1]{fontenc}\usepackage{textcomp}"
    text = rf"\documentclass{{article}}{packages}\begin{{document}}{latex(record)}\end{{document}}"
    (tmp_path / "t.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
