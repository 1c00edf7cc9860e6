"""Designs as a run names them: shipped ones by name, with other constants by name and hash, your own by path.

`hpa` is the shipped policy, `hpa@3f2a1c` the same idea with other constants: its text with those numbers in it, named
by the first six digits of the text's hash. Constants tuned for a task are frozen with it (`tasks.tuned`); `hpa@tuned`
means those. A file of yours travels as its text, so that what runs is what was hashed.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from glia_bench.errors import InvalidPolicyError, UnknownPolicyError
from glia_bench.loading import load_policy, policy_from_source, read_source, shipped_policies, with_other_constants
from glia_bench.policy import Policy, Track
from glia_bench.tasks.recorded import TRACE_MARK
from glia_bench.tasks.tuned import frozen
from glia_bench.tunables import Constants, Number, sha256_of, sorted_constants, variant_name, with_constants
from glia_bench.weights import read_weights

TUNED = "tuned"
"""What stands for the hash in the name of a policy with the constants that are frozen with the task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A policy as a run names it.

    Attributes:
        name: What it is called in records and tables; unique within a run.
        track: Its track.
        kind: As in `Policy.kind`.
        sha256: Hash of its source, with its constants in it.
        path: Where it was read from.
        source: Its text if it comes from a file; None for a shipped policy, which is loaded by name.
        weights: Its weights file in base64; empty: it has none.
        constants: Those in which it differs from the shipped policy that its name begins with.
    """

    name: str
    track: Track
    kind: str
    sha256: str
    path: str
    source: str | None = None
    weights: str = ""
    constants: Constants = ()

    @property
    def is_shipped(self) -> bool:
        """Whether it is part of the distribution, constants aside, and so may run in this process."""
        return self.source is None

    @property
    def idea(self) -> str:
        """The name without the hash: that of the shipped policy, where it is one."""
        return self.name.partition("@")[0]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Design":
        """Return the design that `dataclasses.asdict`, or a record, wrote as JSON."""
        return cls(**{**fields, "constants": tuple((name, value) for name, value in fields["constants"])})


def load_design(design: Design) -> Policy:
    """Return a design's policy; a text from a file is executed anew.

    Raises:
        InvalidPolicyError: If the text breaks a rule of policies.
    """
    if design.source is None:
        return _varied(design.idea, design.track, design.constants)
    weights = base64.b64decode(design.weights)
    return policy_from_source(design.source, name=design.name, path=design.path, track=design.track, weights=weights)


@cache
def shipped(name: str, track: Track) -> Policy:
    """Return a shipped policy; loaded once."""
    return load_policy(name, track)


@lru_cache(maxsize=64)
def _varied(name: str, track: Track, constants: Constants) -> Policy:
    policy = shipped(name, track)
    return with_other_constants(policy, dict(constants)) if constants else policy


def varied(design: Design, constants: Mapping[str, Number]) -> Design:
    """Return a design with other values of some constants, named by its new hash; without any, the design itself."""
    if not constants:
        return design
    text = with_constants(design.source or shipped(design.idea, design.track).source, constants)
    sha256 = sha256_of(text)
    return Design(
        name=variant_name(design.name, sha256),
        track=design.track,
        kind=design.kind,
        sha256=sha256,
        path=design.path,
        source=None if design.source is None else text,
        weights=design.weights,
        constants=sorted_constants(constants) if design.source is None else (),
    )


def make_designs(references: Sequence[str], track: Track, task_id: str = "") -> list[Design]:
    """Return the designs behind names and paths, each with a name of its own; all shipped ones if there are none.

    A file is called by its stem; where that is also the name of a shipped policy or of another file, the first six
    digits of its hash are added: `llq@3f2a1c`.

    Args:
        references: Names of shipped policies, `NAME@tuned`, names of frozen variants, and paths.
        track: Whose designs.
        task_id: Whose frozen constants.

    Raises:
        GliaBenchError: If a name is unknown, or a file is absent or no policy file at all.
    """
    known = {policy.name: policy for policy in shipped_policies(track)}
    files = [Path(reference) for reference in dict.fromkeys(references) if is_path(reference)]
    stems = [_plain_name(file) for file in files]
    designs: list[Design] = []
    for reference in dict.fromkeys(references) if references else known:
        if not is_path(reference):
            design = _named(reference, track, task_id)
        else:
            source = read_source(Path(reference))
            weights = base64.b64encode(read_weights(Path(reference), source)).decode()
            sha256 = sha256_of(source)
            stem = _plain_name(Path(reference))
            is_taken = stem in known or stems.count(stem) > 1
            name = variant_name(stem, sha256) if is_taken else stem
            design = Design(
                name=name, track=track, kind="user", sha256=sha256, path=reference, source=source, weights=weights
            )
        if design.name not in (other.name for other in designs):  # the same text twice is one design
            designs.append(design)
    return designs


def _named(reference: str, track: Track, task_id: str) -> Design:
    """Return a shipped design, with the constants that are frozen with the task if its name says so."""
    name, mark, digits = reference.partition("@")
    policy = shipped(name, track)
    design = Design(name=name, track=track, kind=policy.kind, sha256=policy.sha256, path=Path(policy.path).name)
    if not mark:
        return design
    found = frozen(task_id.partition(TRACE_MARK)[0]).get(name)
    tuned = varied(design, found.constants) if found else design
    if digits not in (TUNED, tuned.sha256[:6]):
        raise UnknownPolicyError(
            f"no policy {reference!r} is frozen with {task_id or 'a task'}; {name}@{TUNED} is what was tuned for it "
            f"({tuned.name}), {name} the policy with its own constants"
        )
    return tuned


def what_became_of(design: Design) -> str:
    """Return what keeps the design of a record from being run as it was, after "it"; empty if nothing does."""
    if design.source is not None:
        return "" if sha256_of(design.source) == design.sha256 else "has another text"
    known = {policy.name: policy for policy in shipped_policies(design.track)}
    if design.idea not in known:
        return "is not shipped any more"
    try:
        found = sha256_of(with_constants(known[design.idea].source, dict(design.constants)))
    except InvalidPolicyError:
        found = ""
    return "" if found == design.sha256 else "has changed since"


def is_path(reference: str) -> bool:
    """Return whether a reference is a path rather than a name."""
    return reference.endswith(".py") or "/" in reference


def _plain_name(file: Path) -> str:
    """Return a file's stem with only such characters as are safe in file names, tables and pages."""
    return re.sub(r"[^\w.+-]", "_", file.stem, flags=re.ASCII).strip(".")[:60] or "policy"
