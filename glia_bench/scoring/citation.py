"""A result as a BibTeX entry, made from the record alone.

The entry names the suite or tasks with their versions, the version of the benchmark, both ids, and who signed it: what
is needed to find the numbers again and to check them. The benchmark itself is cited by CITATION.cff.
"""

import re

from glia_bench.scoring.record import ResultRecord

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_MAX_TASKS = 6


def bibtex(record: ResultRecord) -> str:
    """Return a BibTeX entry of type misc for a result."""
    environment = record["environment"]
    tasks = sorted({trial["task"] for trial in record["trials"]})
    version = environment.get("glia_bench", "")
    suite = f"suite {record['suite']}: " if record["suite"] else ""
    shown = ", ".join(tasks[:_MAX_TASKS]) + (f" and {len(tasks) - _MAX_TASKS} more" if len(tasks) > _MAX_TASKS else "")
    remarks = [f"id {record['id']}", f"results_id {record['results_id']}"]
    if environment.get("interrupted"):
        remarks.append("interrupted run")
    if season := record.get("season"):
        remarks.append(f"season {season['name']}, commitment {season['commitment']}")
    if signature := record.get("signature"):
        remarks.append(f"signed by {signature['public_key']}")
    date = str(environment.get("ended_at", ""))[:10]
    fields = {
        "title": f"Result on {shown}",
        "author": "The Glia-Bench contributors",
        "year": date[:4],
        "howpublished": f"glia_bench {version}, {suite}{shown}",
        "note": ", ".join([f"run on {date}", *remarks]),
    }
    # braces keep titles and names of organisations as they are
    lines = [f"  {name} = {{{{{_escaped(text)}}}}}," for name, text in fields.items() if name in ("title", "author")]
    lines += [f"  {name} = {{{_escaped(text)}}}," for name, text in fields.items() if name not in ("title", "author")]
    return "\n".join([f"@misc{{glia_bench_{record['id'][:12]},", *lines, "}"])


def _escaped(text: str) -> str:
    """Return text with what LaTeX takes for commands written out."""
    return re.sub(r"[\\~^&%$#_{}]", lambda match: _SPECIAL.get(match[0], "\\" + match[0]), text)
