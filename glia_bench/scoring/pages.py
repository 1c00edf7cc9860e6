"""The files of a report: where each page lies, how it is rendered, and what of an earlier report goes.

`report.html` is the first page; the rest lie in `report/` beside it: a page per task, and one per task and policy with
its cases. All links are relative, so a result folder can be moved, archived or served as it is. Nothing is scripted,
and every page carries its own style.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from glia_bench.scoring.record import write_atomically

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT_FILE, PAGES_FOLDER = "report.html", "report"
TEMPLATES = Path(__file__).parent / "templates"
_MARK = b'<meta name="generator" content="glia-bench">'

Context: TypeAlias = dict[str, Any]


def task_page(task: str) -> str:
    """Return the file of a task's page, relative to the result folder."""
    return f"{PAGES_FOLDER}/{_file_name(task.replace('/', '-', 1))}.html"


def cases_page(task: str, policy: str) -> str:
    """Return the file that lists a policy's cases on a task, relative to the result folder."""
    return task_page(task).removesuffix(".html") + f"--{_file_name(policy)}.html"


def _file_name(name: str) -> str:
    """Return a name that every file system takes and tells apart; what had to change is told apart by a hash."""
    plain = re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip(".-")[:60]
    is_same = plain and plain == name and "--" not in plain
    return plain if is_same else f"{plain or 'x'}.{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def case_anchor(load: float, seed: int | str | None = None) -> str:
    """Return the anchor of a load, or of one case, on a page of cases."""
    return f"load-{load:g}" if seed is None else re.sub(r"[^\w.-]", "-", f"load-{load:g}-seed-{seed}")


def link(target: str, *, from_page: str = REPORT_FILE, anchor: str = "") -> str:
    """Return the relative address of a file of the result folder, as seen from one of the report's pages."""
    up = "../" if from_page.startswith(f"{PAGES_FOLDER}/") else ""
    return up + quote(target) + (f"#{anchor}" if anchor else "")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, context: Context) -> str:
    """Return a page; every value is escaped but the markup of figures and swatches."""
    return _environment().get_template(template).render(context)


def write_pages(result_dir: Path, pages: Iterable[tuple[str, str]]) -> None:
    """Write pages by their file, and remove those of an earlier report in `report/` that are not among them.

    Args:
        result_dir: Folder of the result.
        pages: (file relative to the folder, content).
    """
    written = set()
    for name, content in pages:
        write_atomically(result_dir / name, content.encode())
        written.add(name)
    for path in sorted((result_dir / PAGES_FOLDER).glob("*.html")):
        if path.relative_to(result_dir).as_posix() not in written and _MARK in path.read_bytes()[:1000]:
            path.unlink()
