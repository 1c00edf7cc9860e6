"""Designers that ask a language model without a loop: once, or again and again for the same thing.

The controls that a loop must beat. `oneshot` sends one prompt and, where the design cannot run, the reason, twice at
most. `best_of_n` draws independent samples until the budget is spent: no sample learns of another.
"""

import ast
import re
from typing import TYPE_CHECKING

from glia_bench.designer.journal import identity
from glia_bench.designer.voices import Asked, Voice

if TYPE_CHECKING:
    from glia_bench.designer.bundle import TaskBundle
    from glia_bench.designer.context import Candidate, Context
    from glia_bench.designer.run import DesignRun

MAX_REPAIRS = 2
MAX_EMPTY = 10
"""Samples in a row without any code after which sampling ends: a model that refuses will go on refusing."""

SYSTEM = """You design a policy for a cluster of GPUs that serves a language model.

Answer with one complete Python file in a fenced block marked python. Follow the interface exactly. Prefer a mechanism \
that a person can understand; keep it short; say in comments why, not what."""
_FENCE = re.compile(r"^```[\w+-]*[ \t]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def oneshot(run: "DesignRun", voice: Voice) -> None:
    """Ask once; hand back the checker's words, twice at most.

    Raises:
        LMFailure: If the model gives no answer.
    """
    context = run.context()
    asked = prompt(run.bundle)
    for attempt in range(1 + MAX_REPAIRS):
        candidate = _sample(context, voice, "designer", attempt, asked)
        if candidate is None:
            error = "your answer held no Python file"
        elif candidate.evaluation.cost is None:
            error = f"{candidate.evaluation.error}\n\nYour last attempt:\n\n{candidate.source}"
        else:
            break
        asked = f"{prompt(run.bundle)}\n\nYour last attempt could not run: {error}\n\nMend what is named."
    context.note("closed", why="one design was asked for", rounds=attempt + 1)


def best_of_n(run: "DesignRun", voice: Voice) -> None:
    """Draw samples until the budget is spent.

    Raises:
        LMFailure: If the model gives no answer.
        BudgetSpent: In the end.
    """
    context = run.context()
    empty = number = 0
    while empty < MAX_EMPTY:
        context.check()
        asked = f"{prompt(run.bundle)}\n\n(Sample {number + 1}; samples are independent.)"
        empty = 0 if _sample(context, voice, "designer", number, asked) else empty + 1
        number += 1
    context.note("closed", why=f"{MAX_EMPTY} answers in a row held no code", rounds=number)


def prompt(bundle: "TaskBundle") -> str:
    """Return what the model is asked."""
    return (
        f"## The goal\n{bundle.objective_md}\n\n{bundle.background_md}\n\n"
        f"## A weak policy to begin with\n```python\n{bundle.seed_source}```"
    )


def source_in(text: str) -> str | None:
    """Return the Python file of an answer: its last fenced block, or all of it if that is Python; None if neither."""
    blocks = _FENCE.findall(text)
    if blocks:
        return str(blocks[-1])
    try:
        is_code = any(isinstance(node, ast.FunctionDef) for node in ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return text if is_code else None


def question(context: int, role: str, turn: int, system: str, user: str, *, model: str) -> Asked:
    """Return a question of plain text, with the hash by which a recording knows it."""
    sha256 = identity({"system": system, "user": user})
    return Asked(context=context, role=role, turn=turn, model=model, system=system, user=user, sha256=sha256)


def _sample(context: "Context", voice: Voice, role: str, turn: int, user: str) -> "Candidate | None":
    """Ask for a design and simulate it; None if the answer holds none, which counts as a proposal all the same."""
    reply = context.ask(voice, question(context.number, role, turn, SYSTEM, user, model=voice.name))
    source = source_in(reply.text)
    if source is None:
        context.answer("no design", {"turn": turn}, lambda: ({}, {"proposals": 1.0}))
        return None
    return context.simulate(source, purpose=f"sample {turn + 1}")
