"""BibTeX of a result: what it names, and that LaTeX can read it."""

import re
from typing import Any

from glia_bench.scoring.citation import bibtex


def record(*tasks: str, **changes: Any) -> dict[str, Any]:
    """Return what a citation needs of a result."""
    return {
        "suite": None,
        "id": "1234567890abcdef",
        "results_id": "fedcba",
        "trials": [{"task": task} for task in tasks],
        "environment": {"glia_bench": "0.1.0", "ended_at": "2026-11-22T10:00:00+00:00"},
        **changes,
    }


def test_an_entry_names_what_finds_the_numbers_again() -> None:
    """Task with version, version of the benchmark, year, both ids."""
    assert bibtex(record("routing/paper-v0")) == (
        "@misc{glia_bench_1234567890ab,\n"
        "  title = {{Result on routing/paper-v0}},\n"
        "  author = {{The Glia-Bench contributors}},\n"
        "  year = {2026},\n"
        "  howpublished = {glia\\_bench 0.1.0, routing/paper-v0},\n"
        "  note = {run on 2026-11-22, id 1234567890abcdef, results\\_id fedcba},\n"
        "}"
    )


def test_suite_season_and_signature_are_named() -> None:
    """And that a run was interrupted."""
    full = record(
        "routing/paper-v0",
        suite="quick",
        season={"name": "autumn", "commitment": "c0ffee"},
        signature={"public_key": "abc"},
    )
    full["environment"]["interrupted"] = True
    entry = bibtex(full)
    assert "suite quick: routing/paper-v0" in entry
    assert "interrupted run, season autumn, commitment c0ffee, signed by abc" in entry


def test_many_tasks_are_counted() -> None:
    """Six are named, the rest counted."""
    entry = bibtex(record(*(f"routing/t{k}-v0" for k in range(9))))
    assert "routing/t5-v0 and 3 more" in entry
    assert "t6" not in entry


def test_nothing_in_it_is_a_command_of_latex() -> None:
    """Special characters are written out, braces balance."""
    entry = bibtex(record("routing/a_b+trace:9", suite=r"50% & {more} #1 $x^2~ \input"))
    for wanted in (r"50\% \& \{more\} \#1 \$x\textasciicircum{}2\textasciitilde{} \textbackslash{}input", r"a\_b"):
        assert wanted in entry
    bare = re.sub(r"\\[{}]", "", entry)
    assert bare.count("{") == bare.count("}")
