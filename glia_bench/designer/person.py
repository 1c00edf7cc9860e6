"""A person as the designer: hands in files one by one, at the same meter; what they think of in between is their time.

Minutes between two hand-ins count as work, at most ten of them: who stays away longer has gone for a walk.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from glia_bench.designer.budget import BudgetSpent
from glia_bench.designer.drive import Outcome
from glia_bench.designer.evaluation import feedback
from glia_bench.designer.outcome import write_outcome
from glia_bench.designer.run import DesignRun
from glia_bench.errors import GliaBenchError
from glia_bench.loading import read_source

MAX_PAUSE_MINUTES = 10.0


def hand_in(run: DesignRun, files: Sequence[Path]) -> Outcome:
    """Simulate a person's files, say what came of them, and write the best so far.

    Args:
        run: Of the designer "human"; the same folder for every hand-in of one design.
        files: Policies; none shows the task and what was handed in so far.

    Raises:
        GliaBenchError: If a file cannot be read.
    """
    sources = [read_source(file) for file in files]
    context = run.context()
    earlier = [entry for entry in run.journal.entries if entry["context"] == context.number and "what" in entry]
    last_s = 0.0
    for entry in earlier:  # what was handed in before is gone through again, at no cost
        if entry["event"] == "simulation":
            context.simulate(entry["source"], purpose=entry["what"]["purpose"])
        else:
            context.answer(entry["event"], entry["what"], _paid)
            last_s = max(last_s, float(entry["clock_s"]))
    message = f"{len(sources)} handed in"
    try:
        for file, source in zip(files, sources, strict=True):
            minutes = min((time.time() - last_s) / 60.0, MAX_PAUSE_MINUTES) if last_s else 0.0
            last_s = time.time()
            fields, cost = {"clock_s": last_s}, {"human_minutes": max(0.0, minutes)}
            context.answer("handed in", {"file": file.name}, lambda f=fields, c=cost: (f, c))  # type: ignore[misc]
            candidate = context.simulate(source, purpose=f"handed in: {file.name}")
            run.say(feedback(candidate.evaluation))
    except BudgetSpent as end:
        message = str(end)
    if not files:
        run.say(f"{run.bundle.objective_md}\n\n{run.bundle.background_md}")
        run.say(f"Hand in with --policy FILE.py --out {run.folder} --resume")
        message = "nothing handed in"
    run.end("done", message)
    folder = write_outcome(run, {}, model="")
    return Outcome(status="done", message=message, best=run.best, folder=folder, spent=run.spent())


def _paid() -> tuple[dict[str, float], dict[str, float]]:
    raise GliaBenchError("the journal of this folder was changed while it was read; try again")
