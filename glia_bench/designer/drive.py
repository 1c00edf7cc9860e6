"""A design run from its settings to its outcome: whichever designer, however it ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glia_bench.designer.budget import BudgetSpent
from glia_bench.designer.catalog import entry_of, get_designer
from glia_bench.designer.context import Candidate
from glia_bench.designer.outcome import write_outcome
from glia_bench.designer.run import DesignRun
from glia_bench.designer.voices import LMFailure, Voice
from glia_bench.errors import GliaBenchError


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a design run ended.

    Attributes:
        status: "done", "interrupted", or "lm_failed"; a run with the last two can be gone on with.
        message: Why, in words.
        best: The chosen design, if any.
        folder: Where it was written.
        spent: By axis.
    """

    status: str
    message: str
    best: Candidate | None
    folder: Path | None
    spent: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        best = self.best
        return {
            "status": self.status,
            "message": self.message,
            "design_sha256": best.evaluation.sha256 if best else None,
            "cost": best.evaluation.cost if best else None,
            "score": best.evaluation.score if best else None,
            "folder": str(self.folder) if self.folder else None,
            "spent": dict(self.spent),
        }


def drive(run: DesignRun, voice: Voice | None) -> Outcome:
    """Run the designer that the run's settings name, to its end, and write what came of it.

    Raises:
        GliaBenchError: If the designer cannot work at all.
    """
    designer = get_designer(run.settings.designer)
    if not designer.entry:
        raise GliaBenchError(f"{run.settings.designer} works in a session of its own")
    status, message, words = "done", "", {}
    model = voice.name if voice else ""
    try:
        try:
            entry_of(designer)(run, voice)
            message = _why(run)
        except BudgetSpent as end:
            message = str(end)
        if run.settings.designer == "glia" and voice is not None:
            words = _words(run, voice)
    except KeyboardInterrupt:
        status, message = "interrupted", "interrupted; go on with --resume"
    except LMFailure as failure:
        status, message = "lm_failed", f"the model gave no answer: {failure}; go on with --resume"
    run.end(status, message)
    folder = write_outcome(run, words, model=model)
    return Outcome(status=status, message=message, best=run.best, folder=folder, spent=run.spent())


def _words(run: DesignRun, voice: Voice) -> dict[str, Any]:
    """Return what the report says in words; none if what is left does not pay for them."""
    from glia_bench.designer.glia import report_words

    try:
        return report_words(run, voice)
    except BudgetSpent:
        return {}


def _why(run: DesignRun) -> str:
    closed = [str(entry["what"]["why"]) for entry in run.journal.all("closed")]
    return "; ".join(dict.fromkeys(closed)) or "the designer has ended"
