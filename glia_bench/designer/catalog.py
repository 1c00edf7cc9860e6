"""Every designer by name: what it is, what its designs are called in tables, and what it needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from glia_bench.errors import GliaBenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Designer:
    """One designer.

    Attributes:
        kind: Kind of its designs.
        idea: What it does, in a sentence.
        entry: "module:function" of what runs it, in this package; empty where a person works.
        needs_lm: Whether it asks a language model.
        options: Its own settings with their defaults.
    """

    kind: str
    idea: str
    entry: str
    needs_lm: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


DESIGNERS: Mapping[str, Designer] = MappingProxyType(
    {
        "glia": Designer(
            kind="glia",
            idea="a team of roles that reason, experiment and analyse (after the Glia paper)",
            entry="glia:design_glia",
            needs_lm=True,
            options={"mode": "sequential", "without": [], "patience": 10},
        ),
        "oneshot": Designer(
            kind="llm", idea="one prompt, one design, two repairs", entry="sampling:oneshot", needs_lm=True
        ),
        "best_of_n": Designer(
            kind="llm", idea="independent samples of one prompt", entry="sampling:best_of_n", needs_lm=True
        ),
        "evolve": Designer(
            kind="evo",
            idea="evolution of programs by a language model (OpenEvolve)",
            entry="evolve:evolve",
            needs_lm=True,
        ),
        "gepa": Designer(
            kind="evo",
            idea="reflective evolution of a text (GEPA's optimize_anything)",
            entry="evolve:gepa",
            needs_lm=True,
        ),
        "search_neutral": Designer(
            kind="search_neutral",
            idea="a search over one template of linear scores of the schema's fields",
            entry="search:search_neutral",
            options={"sampler": "tpe"},
        ),
        "search_template": Designer(
            kind="search_template",
            idea="a search over the human experts' own constants",
            entry="search:search_template",
            options={"sampler": "tpe"},
        ),
        "exported": Designer(
            kind="evo", idea="another designer's own tools, on what export-task has written", entry=""
        ),
        "human": Designer(kind="human", idea="a person, who hands in files one by one", entry=""),
    }
)


def designers() -> list[dict[str, Any]]:
    """Return every designer as JSON values."""
    return [
        {"name": name, "kind": d.kind, "idea": d.idea, "needs_lm": d.needs_lm, "options": dict(d.options)}
        for name, d in DESIGNERS.items()
    ]


def get_designer(name: str) -> Designer:
    """Return a designer.

    Raises:
        GliaBenchError: If there is none of this name.
    """
    if name not in DESIGNERS:
        raise GliaBenchError(f"no designer {name!r}{did_you_mean(name, DESIGNERS)}; there are {', '.join(DESIGNERS)}")
    return DESIGNERS[name]


def entry_of(designer: Designer) -> "Callable[..., None]":
    """Return the function that runs a designer."""
    module, _, function = designer.entry.partition(":")
    found: Callable[..., None] = getattr(import_module(f"glia_bench.designer.{module}"), function)
    return found
