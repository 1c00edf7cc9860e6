"""The tables of a result for papers and pages: LaTeX with booktabs, or Markdown, from the same cells as the report's.

Each table has intervals beside the numbers, the best rank band in bold, and a caption that says what a quoted number
must: suite, version, ids, seeds, and whose signature it bears (`verify` checks it, nothing here does). Figures and the
tables of groups and cases are not exported.
"""

import re
import unicodedata
from collections.abc import Callable

from glia_bench.scoring.columns import DASH, Row, Table, TableRow
from glia_bench.scoring.record import ResultRecord
from glia_bench.scoring.standings import standings
from glia_bench.scoring.suite import ALL_TASKS
from glia_bench.scoring.summary import ALL_LOADS
from glia_bench.scoring.tables import headline_table
from glia_bench.scoring.task_section import load_caption, rows_at

ID_DIGITS = 12
NARROW = ("preemption", "cached", "ttft", "unserved")
"""Terms of the columns that a page of paper has no room for; Markdown has them."""

MINUS = "\N{MINUS SIGN}"
_LATEX: dict[str, str] = {
    **{character: "\\" + character for character in "_%&#${}"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    '"': r"\textquotedbl{}",
    DASH: "--",
    MINUS: "$-$",
    "\N{DAGGER}": r"\dag{}",
    "\N{MIDDLE DOT}": r"\textperiodcentered{}",
}
_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#!|~$&]")
_ENTITIES = {"<": "&lt;", "&": "&amp;"}

PREAMBLE = r"% in the preamble: \usepackage{booktabs}, \usepackage[T1]{fontenc}, \usepackage{textcomp}"


def latex(record: ResultRecord) -> str:
    """Return the tables of a result as LaTeX `table` environments."""
    tables = [_narrow(table) for table in _tables(record)]
    parts = [_latex_table(table, _origin(record), f"tab:glia-bench-{n}") for n, table in enumerate(tables, 1)]
    return "\n\n".join([PREAMBLE, *parts]) + "\n"


def markdown(record: ResultRecord) -> str:
    """Return the tables of a result as Markdown tables, each under its caption."""
    return "\n\n".join(markdown_table(table, _origin(record)) for table in _tables(record)) + "\n"


FORMATS: dict[str, Callable[[ResultRecord], str]] = {"latex": latex, "markdown": markdown}


def _tables(record: ResultRecord) -> list[Table]:
    """Return the leaderboards, where there are several tasks, and one table per task and load."""
    summary: list[Row] = record["summary"]
    rows = [row for row in summary if row["task"] != ALL_TASKS]
    tasks = list(dict.fromkeys(str(row["task"]) for row in rows))
    found: list[Table] = []
    if len(tasks) > 1:
        for section in standings(summary):
            found += [table for table in (section["board"], section["tasks"]) if table]
    for task in tasks:
        here = [row for row in rows if row["task"] == task]
        for load in sorted({row["load"] for row in here if row["load"] != ALL_LOADS}):
            at_load = rows_at(here, load)
            found.append(headline_table(at_load, {}, load_caption(at_load)))
    return found


def _origin(record: ResultRecord) -> str:
    """Return what a caption says beside the table's own title."""
    version = record["environment"].get("glia_bench")
    signature = record.get("signature") or {}
    key = str(signature.get("public_key") or "")
    parts = [
        f"Glia-Bench {version}" if version else "Glia-Bench",
        f"suite {record['suite']}" if record.get("suite") else "",
        f"results_id {record['results_id'][:ID_DIGITS]}",
        f"id {record['id'][:ID_DIGITS]}",
        f"bears a signature of key {key[:ID_DIGITS]}" if key else "self-reported, not verified",
    ]
    return ", ".join(part for part in parts if part) + ". In bold: the best rank band. In brackets: 95 % intervals."


def _narrow(table: Table) -> Table:
    """Return a table without the columns of `NARROW`."""
    keep = [place for place, column in enumerate(table.columns[1:]) if column.term not in NARROW]
    return Table(
        caption=table.caption,
        columns=(table.columns[0], *(table.columns[1 + place] for place in keep)),
        rows=tuple(
            TableRow(name=row.name, cells=tuple(row.cells[place] for place in keep), style=row.style)
            for row in table.rows
        ),
    )


def _grid(table: Table) -> tuple[list[tuple[str, bool]], list[tuple[list[str], bool]]]:
    """Return heads as (text, is number) and rows as (cells, is bold), each interval joined to the number before it."""
    heads: list[tuple[str, bool]] = []
    groups: list[list[int]] = []
    for place, column in enumerate(table.columns):
        if "range" in column.style.split():
            groups[-1].append(place)
            continue
        groups.append([place])
        heads.append((column.title, "num" in column.style.split()))
    rows = []
    for row in table.rows:
        cells = (row.name, *row.cells)
        rows.append(
            ([" ".join(cells[place] for place in group if cells[place]) for group in groups], row.style == "best")
        )
    return heads, rows


def _latex_table(table: Table, origin: str, label: str) -> str:
    heads, rows = _grid(table)
    shown = []
    for cells, is_bold in rows:
        name, *rest = (latex_text(cell) for cell in cells)
        shown.append([rf"\textbf{{{name}}}" if is_bold else name, *rest])
    lines = [
        r"\begin{table}",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{latex_text(table.caption)}. {latex_text(origin)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{@{{}}{''.join('r' if is_number else 'l' for _, is_number in heads)}@{{}}}}",
        r"\toprule",
        " & ".join(latex_text(text) for text, _ in heads) + r" \\",
        r"\midrule",
        *(" & ".join(cells) + r" \\" for cells in shown),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def latex_text(text: str) -> str:
    """Return text that LaTeX prints as it is; characters beyond Latin-1 become question marks."""
    line = re.sub(r"(?<![\w-])-(?=\d)", MINUS, _printable(text))
    pieces = re.split("(?<=-)(?=-)", line)  # two hyphens in a row would be read as a dash
    shown = "{}".join("".join(_LATEX.get(c, c if ord(c) < 256 else "?") for c in piece) for piece in pieces)
    # what follows a line break is taken for its length or its star
    return f"{{{shown[0]}}}{shown[1:]}" if shown[:1] in ("[", "*") and shown else shown


def markdown_table(table: Table, origin: str) -> str:
    """Return a table with its caption in Markdown."""
    heads, rows = _grid(table)
    lines = [
        f"**{markdown_text(table.caption)}.** {markdown_text(origin)}",
        "",
        "| " + " | ".join(markdown_text(text) for text, _ in heads) + " |",
        "| " + " | ".join("---:" if is_number else ":---" for _, is_number in heads) + " |",
    ]
    for cells, is_bold in rows:
        shown = [markdown_text(cell) for cell in cells]
        shown[0] = f"**{shown[0]}**" if is_bold else shown[0]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def markdown_text(text: str) -> str:
    """Return text that Markdown prints as it is, also inside a table."""
    return _MARKDOWN.sub(lambda found: _ENTITIES.get(found[0], "\\" + found[0]), _printable(text))


def _printable(text: str) -> str:
    """Return text on one line, with question marks for control characters and the like."""
    return "".join(c if unicodedata.category(c)[0] != "C" else "?" for c in " ".join(text.split()))
