"""What a design run leaves: a folder in the form of a submission, made from the journal and the chosen source alone.

`policy.py`, `submission.toml` (what produced it, and at which cost), `report.json` and `REPORT.md` (a draft: what was
measured stands in it, what a model wrote is marked as such), and `journal.jsonl`, every proposal, answer and charge.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glia_bench import __version__
from glia_bench.designer.budget import AXES
from glia_bench.designer.catalog import get_designer
from glia_bench.designer.evaluation import digits
from glia_bench.designer.journal import JOURNAL
from glia_bench.scoring.record import write_atomically
from glia_bench.static_check import static_check

if TYPE_CHECKING:
    from glia_bench.designer.run import DesignRun

FOLDER = "design"
REPORT_SCHEMA = 1


def write_outcome(run: "DesignRun", words: Mapping[str, Any], *, model: str) -> Path | None:
    """Write the best design with its report and provenance, and return the folder; None if there is no design.

    Args:
        run: The run that has ended.
        words: What a model wrote: summary, mechanisms, limits, intended_use, witness; each may be absent.
        model: Name of the model that answered, or empty.
    """
    if run.best is None:
        return None
    if model and words.get("witness"):
        model = f"{model}: {words['witness']['model_name']}"
    folder = run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    report = report_of(run, words, model=model)
    write_atomically(folder / "policy.py", run.best.source.encode())
    write_atomically(folder / "submission.toml", _manifest(run, model).encode())
    write_atomically(folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False).encode() + b"\n")
    write_atomically(folder / "REPORT.md", as_markdown(report).encode())
    shutil.copyfile(run.folder / JOURNAL, folder / JOURNAL)
    return folder


def report_of(run: "DesignRun", words: Mapping[str, Any], *, model: str) -> dict[str, Any]:
    """Return the draft of report.json."""
    best = run.best
    assert best is not None
    facts = static_check(best.source, run.bundle.task.track)
    simulations = [entry for entry in run.journal.all("simulation") if not entry["is_known"]]
    tried = [
        {"design": e["what"]["sha256"], "what": e["what"]["purpose"], **_came_to(e["evaluation"])} for e in simulations
    ]
    insights = list({entry["asked"]: entry["what"] for entry in run.journal.all("insight")}.values())
    rounds = [
        {name: e["what"][name] for name in ("number", "hypothesis", "prediction", "verdict", "design")}
        for e in run.journal.all("round")
    ]
    fields = sorted(facts.fields_read) if facts.fields_read is not None else []
    return {
        "schema_version": REPORT_SCHEMA,
        "design_sha256": best.evaluation.sha256,
        "task": run.settings.task,
        "suite_version": __version__,
        "summary": words.get("summary", "No report was written; what follows is from the journal."),
        "mechanism": [{"text": text} for text in words.get("mechanisms", [])],
        "observations_used": [{"field": name} for name in fields],
        "constants": [{"name": t.name, "value": t.default} for t in facts.tunable],
        "claims": [],
        "decision_examples": [],
        "insights": insights,
        "limits": [{"when": text} for text in words.get("limits", [])],
        "tried": tried,
        "rounds": rounds,
        "intended_use": words.get("intended_use", ""),
        "provenance": {
            "designer": run.settings.designer,
            "model": model,
            "witness": words.get("witness"),
            "spent": _accounting(run),
        },
        "development": {
            "cost": best.evaluation.cost,
            "score": best.evaluation.score,
            "metrics": dict(best.evaluation.metrics),
            "seeds": list(run.settings.seeds),
        },
    }


def as_markdown(report: Mapping[str, Any]) -> str:
    """Return the report for people."""
    development = report["development"]
    model = report["provenance"]["model"]
    parts = [
        f"# A design for {report['task']}",
        f"Designed by {report['provenance']['designer']}{f' with {model}' if model else ''}. On development seeds: "
        f"cost {digits(development['cost'])}, score {digits(development['score'])} (0 naive, 1 human expert).",
        report["summary"],
    ]
    if report["mechanism"]:
        parts += ["## How it works", "\n".join(f"- {entry['text']}" for entry in report["mechanism"])]
    if report["limits"]:
        parts += ["## Where it is weak", "\n".join(f"- {entry['when']}" for entry in report["limits"])]
    if report["insights"]:
        parts.append("## What the workload is like")
        for insight in report["insights"]:
            parts += [insight["statement"], f"`{json.dumps(insight['query'])}`", insight["table"]]
    if report["rounds"]:
        parts.append("## What was thought")
        parts.append("\n".join(f"{r['number']}. {r['hypothesis']} *{r['verdict']}.*" for r in report["rounds"]))
    rows = [f"| {t['what']} | {t['status']} | {digits(t['cost'])} | {digits(t['score'])} |" for t in report["tried"]]
    parts += ["## What was tried", "\n".join(["| what | status | cost | score |", "|---|---|---|---|", *rows])]
    spent = [f"| {axis} | {amount:.4g} |" for axis, amount in report["provenance"]["spent"].items() if amount]
    parts += ["## What it cost", "\n".join(["| axis | spent |", "|---|---|", *spent])]
    if witness := report["provenance"]["witness"]:
        parts += [
            "## What the model says of itself",
            f"Name: {witness['model_name']}. Knowledge up to: {witness['knowledge_cutoff']}. What it knew before: "
            f"{witness['answer']}",
        ]
    return "\n\n".join(parts) + "\n"


def _came_to(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    return {"status": evaluation["status"], "cost": evaluation["cost"], "score": evaluation["score"]}


def _accounting(run: "DesignRun") -> dict[str, float]:
    spent = run.spent()
    idle_s = max(0.0, spent["wall_s"] - spent["sim_s"] - spent["lm_s"])
    return {axis: round(spent[axis], 6) for axis in AXES} | {"idle_s": round(idle_s, 6)}


def _manifest(run: "DesignRun", model: str) -> str:
    """Return submission.toml; JSON strings and numbers are TOML's too."""
    settings = run.settings
    kind = get_designer(settings.designer).kind
    assert run.best is not None
    name = f"{settings.designer}-{settings.task.replace('/', '-')}"
    lines = [
        "schema_version = 1",
        f"name = {json.dumps(name)}",
        f"task = {json.dumps(settings.task)}",
        f"suite_version = {json.dumps(__version__)}",
        'division = "closed"',
        'entry_point = "policy.py"',
        "authors = []",
        'license = "Apache-2.0"',
        "",
        "[designer]",
        f"kind = {json.dumps(kind)}",
        f"name = {json.dumps(settings.designer)}",
        f"version = {json.dumps(__version__)}",
        f"models = {json.dumps([model] if model else [])}",
        f"seeds = {json.dumps([settings.seed])}",
        "",
        "[accounting]",
        *(f"{axis} = {amount!r}" for axis, amount in _accounting(run).items()),
        "measured = true",
        "",
        "[[sources]]",
        'path = "policy.py"',
        f"sha256 = {json.dumps(run.best.evaluation.sha256)}",
    ]
    return "\n".join(lines) + "\n"
