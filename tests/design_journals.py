"""Journals of design runs that were never run, for tests of what reads them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glia_bench.designer.budget import Budget
from glia_bench.designer.evaluation import Evaluation
from glia_bench.designer.journal import JOURNAL, RUN, Journal
from glia_bench.designer.run import Settings
from glia_bench.tunables import sha256_of

TASK = "scheduling/memory-v0"
LOADS = (0.9, 1.1)
Found = tuple[str, float | None]
"""A text and its development score; None for one that was rejected."""


def text(number: int) -> str:
    """Return a valid policy, another for each number."""
    return f"A = {number}.0\n\n\ndef rank(request, replica, memory):\n    return A * request.prompt_tokens\n"


def write_run(
    folder: Path,
    found: Sequence[Found],
    *,
    budget: str = "20",
    status: str = "done",
    message: str = "the designer has ended",
    replies: Sequence[dict[str, Any]] = (),
    step_s: float = 10.0,
    **settings: Any,
) -> Path:
    """Write the journal of a run that found these designs, one every `step_s` seconds after the model's replies.

    A design of score s costs exp(-s) on every development case, where the expert costs 1/e, so that its log-gain over
    the expert is s - 1.
    """
    chosen = Settings(**{"task": TASK, "designer": "test", "seeds": (0, 1), "budget": Budget.parse(budget), **settings})
    folder.mkdir(parents=True)
    journal = Journal(folder / JOURNAL)
    cases = [(load, seed) for load in LOADS for seed in chosen.seeds]
    build = {"source": "0" * 64}
    journal.append("start", RUN, -1, settings=chosen.to_json(), versions={}, build=build, loads=list(LOADS))
    records = [
        {"policy": policy, "load": load, "seed": seed, "status": "ok", "cost": cost, "groups": {}}
        for policy, cost in (("vllm_v1_fcfs", 1.0), ("lens-style@62b9d8", 0.36787944117144233))
        for load, seed in cases
    ]
    names = ["vllm_v1_fcfs", "lens-style@62b9d8", "vllm_v1_fcfs"]
    journal.append("references", RUN, 0, asked="", what={"names": names}, records=records, cost={})
    clock_s = 0.0
    for step, reply in enumerate(replies):
        clock_s += step_s
        said = {"text": f"{folder.name} {step}", "model": "m", "tokens_in": 10, "tokens_out": 5, "usd": 0.5, **reply}
        cost = {
            "lm_calls": 1.0,
            "lm_s": 1.0,
            "tokens_in": said["tokens_in"] or 0,
            "tokens_out": said["tokens_out"] or 0,
        }
        cost["usd"] = said["usd"] or 0.0
        journal.append("lm", 0, step, asked=str(step), reply=said, at_s=clock_s, cost=cost)
    for step, (source, score) in enumerate(found, start=len(replies)):
        clock_s += step_s
        is_ok = score is not None
        price = 2.718281828459045 ** -(score or 0.0)
        evaluation = Evaluation(
            sha256=sha256_of(source),
            loads=LOADS,
            status="ok" if is_ok else "rejected",
            cost=price if is_ok else None,
            score=score,
            runs=tuple((load, seed, "ok", price, "0") for load, seed in cases) if is_ok else (),
        )
        cost = {"simulations": 1.0, "proposals": 1.0, "cpu_s": 36.0} if is_ok else {"proposals": 1.0}
        fields = {"evaluation": evaluation.to_json(), "is_known": False, "source": source, "what": {}}
        journal.append("simulation", 0, step, asked=str(step), **fields, at_s=clock_s, cost=cost)
    if status:
        journal.append("end", RUN, -1, status=status, message=message, at_s=clock_s + 1.0, spent={})
    return folder
