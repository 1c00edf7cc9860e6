"""How like a found design is to known ones, since a language model may have read those.

Two measures, neither a proof. Trees compare texts, blind to constants: a design that was copied and tuned is 1, one
that was rewritten from memory may be much lower (`tree_similarity`). Decisions compare what is done at the same
moments of a development case, however it is written, constants included (`side_by_side`): designs of one idea often
decide alike whoever had it, and a single case shows only the moments that it has, the first of the run. A high number
says "look at both", a low one that this text is not the other's; that nothing was read it cannot say.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from glia_bench.designer.side_by_side import Agreement, side_by_side
from glia_bench.designer.tree_similarity import tree_similarity
from glia_bench.evaluation.designs import load_design, make_designs
from glia_bench.loading import policy_from_source
from glia_bench.policy import Policy, Track
from glia_bench.tasks.catalog import get_task

if TYPE_CHECKING:
    from glia_bench.case import Case

__all__ = ["Similarity", "decision_agreement", "known_designs", "similar", "tree_similarity"]

PUBLISHED: dict[Track, tuple[str, ...]] = {"routing": ("expert", "hra", "hra_file", "funsearch_fig13")}
"""Designs of a track that a language model is likely to have read; elsewhere it is the task's expert reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """How like a found design is to a known one; each from 0 to 1.

    Attributes:
        decisions: Share of equal decisions, the mean over kinds of decision.
        by_kind: The share of each kind: "place", "order", "admit", "tokens", "plan", "size". Two orders that have
            nothing to do with each other agree by half.
        moments: Decisions that were compared; with none, `decisions` is 1 and says nothing.
        tree: Similarity of the texts' syntax trees, constants aside.
    """

    decisions: float
    by_kind: dict[str, float]
    moments: int
    tree: float


def decision_agreement(design_a: Policy, design_b: Policy, task_id: str, load: float, seed: int) -> float:
    """Return how often one design would have decided as another does, on a development case.

    Not symmetric: it is the moments that the second comes to at which both are asked.

    Args:
        design_a: The known one; is asked what it would do.
        design_b: The found one; runs, in this process, so its text must be fit to be executed here.
        task_id: A task of their track.
        load: Fraction of the task's reference rate.
        seed: Development seed.

    Raises:
        GliaBenchError: If the design that runs fails, or there is no such case.
    """
    return side_by_side(design_a, design_b, _case(task_id, load, seed)).share


def similar(source: str, track: Track, task_id: str) -> dict[str, Similarity]:
    """Return how like a found design is to each known one, by its name, on the task's first development case.

    Args:
        source: The found design's text; it is executed in this process.
        track: Its track.
        task_id: The task that it was found for.

    Raises:
        GliaBenchError: If the text breaks a rule of policies, fails when it runs, or there is no such task.
    """
    task = get_task(task_id)
    found = policy_from_source(source, name="found", path="found.py", track=track)
    case = _case(task_id, task.default_loads[0], task.dev_seeds[0])
    return {
        known.name: _similarity(side_by_side(known, found, case), tree_similarity(known.source, source))
        for known in known_designs(track, task_id)
    }


def known_designs(track: Track, task_id: str) -> list[Policy]:
    """Return the designs that a found one is compared with."""
    names = PUBLISHED.get(track) or (get_task(task_id).expert,)
    return [load_design(design) for design in make_designs(names, track, task_id)]


def _similarity(agreement: Agreement, tree: float) -> Similarity:
    return Similarity(decisions=agreement.share, by_kind=dict(agreement.by_kind), moments=agreement.moments, tree=tree)


@lru_cache(maxsize=4)
def _case(task_id: str, load: float, seed: int) -> "Case":
    return get_task(task_id).case(load, seed)
