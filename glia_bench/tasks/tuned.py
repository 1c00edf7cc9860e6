"""Constants of shipped policies, tuned for one task each on its development seeds and frozen with it.

`tools/freeze_tuned.py` writes the table from results of `glia-bench run --tune`; docs/baselines.md shows it. A policy
without an entry was not tuned for the task, or has nothing to tune; one whose entry has no constants was, and its
defaults were the best that was found.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from glia_bench.tunables import Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What tuning one policy for one task came to.

    Attributes:
        constants: Name to value, of those that differ from the file's.
        sha256: Hash of the text with these constants.
        simulations: Budget that found them; one is the text with some constants on all seeds and loads below.
        num_seeds: Development seeds, from 0.
        loads: Loads.
        gain: Cost with the file's constants over cost with these, geometric mean over those cases; below 1 where the
            file's starve a group of requests and these do not; None where the file's fail.
    """

    constants: Mapping[str, Number]
    sha256: str
    simulations: int
    num_seeds: int
    loads: tuple[float, ...]
    gain: float | None


def frozen(task_id: str) -> Mapping[str, Frozen]:
    """Return what is frozen with a task, by the name of the policy; empty for a task without."""
    return _table().get(task_id, {})


@cache
def _table() -> Mapping[str, Mapping[str, Frozen]]:
    text = (files("glia_bench.tasks") / "tables" / "tuned.json").read_text(encoding="utf-8")
    return MappingProxyType(
        {
            task: {name: Frozen(**{**fields, "loads": tuple(fields["loads"])}) for name, fields in policies.items()}
            for task, policies in json.loads(text).items()
        }
    )
