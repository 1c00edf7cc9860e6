"""The experimenter's hands: experiments that a model has planned, run by plain code, each within its bounds.

Nothing here asks a model; what an experiment cannot do is said in its line of the result, so that the model can learn.
"""

import ast
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from glia_bench.designer.budget import BudgetSpent
from glia_bench.designer.context import Candidate, Context
from glia_bench.designer.evaluation import digits, feedback
from glia_bench.designer.telemetry import run_query, standard_tables
from glia_bench.designer.telemetry_query import Query
from glia_bench.errors import GliaBenchError
from glia_bench.tunables import with_constants

if TYPE_CHECKING:
    import pandas as pd

MAX_EXPERIMENTS, MAX_VALUES, MAX_LOADS = 4, 4, 2
LOADS = (0.1, 2.0)


def tables(context: Context, candidate: Candidate) -> str:
    """Return the standard tables of a candidate's first run, or why there are none."""
    what = {"of": candidate.evaluation.sha256}

    def give() -> tuple[dict[str, Any], dict[str, float]]:
        frames = _frames(context, candidate)
        text = standard_tables(frames["requests"], frames.get("samples")) if frames else "none: it did not run"
        return {"text": text}, {}

    return str(context.answer("tables", what, give)["text"])


def ask_tables(context: Context, candidate: Candidate, query: Mapping[str, Any]) -> str:
    """Return the table that a query asks for, or what is wrong with the query."""
    what = {"of": candidate.evaluation.sha256, "query": dict(query)}

    def give() -> tuple[dict[str, Any], dict[str, float]]:
        try:
            checked = Query.from_json(query)
            frames = _frames(context, candidate)
            return {"text": run_query(frames, checked).to_markdown() if frames else "none: it did not run"}, {}
        except GliaBenchError as error:
            return {"text": f"cannot be answered: {error}", "is_wrong": True}, {}

    return str(context.answer("query", what, give)["text"])


def execute(context: Context, candidate: Candidate, planned: Iterable[Any]) -> tuple[list[str], bool]:
    """Run what was planned for a candidate.

    Args:
        context: Who pays.
        candidate: The design that the experiments are about.
        planned: Objects with the fields of `signatures.Experiment`.

    Returns:
        One line or table for each experiment, and whether the budget was spent on the way.
    """
    lines: list[str] = []
    try:
        for experiment in list(planned)[:MAX_EXPERIMENTS]:
            try:
                lines += _KINDS[experiment.kind](context, candidate, experiment)
            except GliaBenchError as error:
                lines.append(f"{experiment.kind}: cannot be done: {error}")
    except BudgetSpent as end:
        return [*lines, str(end)], True
    return lines, False


def _values(context: Context, candidate: Candidate, experiment: Any) -> list[str]:
    """Simulate the design with other values of one constant."""
    most = 1 if experiment.kind == "ablate" else MAX_VALUES
    lines = []
    for value in experiment.values[:most]:
        number = int(value) if float(value).is_integer() and _is_whole(candidate.source, experiment.constant) else value
        source = with_constants(candidate.source, {experiment.constant: number})
        purpose = f"{experiment.kind} {experiment.constant}={number:g}"
        found = context.simulate(source, purpose=purpose).evaluation
        lines.append(f"{purpose}: {feedback(found).splitlines()[0]}")
    return lines or [f"{experiment.kind} of {experiment.constant!r}: no value was given"]


def _is_whole(source: str, name: str) -> bool:
    """Return whether a constant of the file is an integer, so that it stays one."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return isinstance(node.value, ast.Constant) and isinstance(node.value.value, int)
    return False


def _loads(context: Context, candidate: Candidate, experiment: Any) -> list[str]:
    """Simulate the design at other loads, beside the load's own best known."""
    if not context.run.bundle.task.any_load:
        raise GliaBenchError("this task has one fixed trace, so no other loads")
    lines = []
    for load in experiment.loads[:MAX_LOADS]:
        if not LOADS[0] <= load <= LOADS[1]:
            raise GliaBenchError(f"a load must be from {LOADS[0]:g} to {LOADS[1]:g} (got {load:g})")
        found = context.simulate(candidate.source, purpose="load", loads=(float(load),)).evaluation
        lines.append(f"at load {load:g}: cost {digits(found.cost)}, {', '.join(feedback(found).splitlines()[1:])}")
    return lines or ["load: no load was given"]


def _query(context: Context, candidate: Candidate, experiment: Any) -> list[str]:
    query = experiment.query or {}
    return [f"query {query}:\n{ask_tables(context, candidate, query)}"]


_KINDS = {"sweep": _values, "ablate": _values, "load": _loads, "query": _query}


def _frames(context: Context, candidate: Candidate) -> "dict[str, pd.DataFrame]":
    """Read the tables of a candidate's first run at its first load; none if it has none."""
    import pandas as pd

    for path in candidate.evaluation.tables.values():
        file = context.run.folder / path
        if file.exists():
            samples = file.with_name(file.name.removesuffix(".parquet") + ".samples.parquet")
            frames = {"requests": pd.read_parquet(file)}
            return {**frames, "samples": pd.read_parquet(samples)} if samples.exists() else frames
    return {}
