"""Which trials of a plan an earlier run into the same folder has settled already, and why others must run again.

A record is taken over only if everything that determines it is the same: the trial as asked for, the design's text, the
files that the trial reads, the simulator and the libraries under it. Failures of our own are always tried again, and so
is a trial that met another deadline or whose tables are gone.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from glia_bench.evaluation.build import Build, difference
from glia_bench.evaluation.journal import Entry
from glia_bench.evaluation.trial import Trial
from glia_bench.scoring.record import TrialRecord, canonical

FILE_FIELDS = ("lengths", "trace")
"""Fields of a trial that name a file: what it holds counts, not where it lies."""

_PLACE = ("task", "policy", "load", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """How a plan's trials stand to an earlier run.

    Attributes:
        entries: What the earlier run settled, of this plan's trials.
        left: Trials that are to run.
        reasons: Why trials that the earlier run had settled are to run again, each with its number of trials.
    """

    entries: tuple[Entry, ...]
    left: tuple[Trial, ...]
    reasons: Mapping[str, int]

    @property
    def note(self) -> str:
        """What the user should know, on one line; empty if there was no earlier run of any of these trials."""
        if not self.entries and not self.reasons:
            return ""
        total = len(self.entries) + len(self.left)
        again = "; ".join(f"{reason} ({count} trials)" for reason, count in self.reasons.items())
        taken = f"{len(self.entries)} of {total} trials are taken from the earlier run"
        return taken + (f", {sum(self.reasons.values())} run again: {again}" if again else "")


def identity(trial: Trial, build: Build) -> dict[str, Any]:
    """Return everything that determines a trial's record, as JSON."""
    fields = trial.to_json()
    design = fields.pop("design")
    del fields["folder"]
    if trial.split == "sealed":  # the journal lies in the results folder: label and commitment say which case it is
        fields |= {"seed": trial.shown_seed, "perturbation": None}
    files = {name: _sha256(fields[name]) for name in FILE_FIELDS if fields[name] is not None}
    return {
        **fields,
        **files,
        "policy": design["name"],
        "policy_sha256": design["sha256"],
        "kind": design["kind"],
        "track": design["track"],
        "build": build,
    }


def find_settled(
    entries: Sequence[Entry], trials: Sequence[Trial], *, build: Build, timeout_s: float, folder: Path
) -> Reuse:
    """Sort a plan's trials into those that are settled and those that are left, in the plan's order.

    Args:
        entries: The journal, oldest first; of two entries for one trial the later stands.
        trials: The plan's.
        build: What simulates now.
        timeout_s: Deadline of this run.
        folder: Where the tables of the earlier run lie.
    """
    _sha256.cache_clear()  # files may have changed since an earlier run of this process
    by_key = {canonical(entry["trial"]): entry for entry in entries}
    by_place = {tuple(entry["trial"].get(name) for name in _PLACE): entry for entry in entries}
    reused: list[Entry] = []
    left: list[Trial] = []
    reasons: Counter[str] = Counter()
    for trial in trials:
        asked = identity(trial, build)
        entry = by_key.get(canonical(asked))
        if entry is not None:
            reason = _why_not(entry, timeout_s, folder)
        elif (entry := by_place.get(tuple(asked[name] for name in _PLACE))) is not None:
            reason = _what_changed(asked, entry["trial"])
        else:
            left.append(trial)
            continue
        if reason:
            reasons[reason] += 1
            left.append(trial)
        else:
            reused.append(entry)
    return Reuse(entries=tuple(reused), left=tuple(left), reasons=dict(reasons))


def files_named(record: TrialRecord) -> list[str]:
    """Return the tables and timelines that a trial's record names, relative to the result's folder."""
    return [
        *(record[name] for name in ("records", "samples", "decisions") if record[name]),
        *(record.get("timelines") or ()),
    ]


def _why_not(entry: Entry, timeout_s: float, folder: Path) -> str:
    """Return why a record for the very same trial cannot be taken over; empty if it can."""
    record = entry["record"]
    if record["status"] == "infra_error":
        return "failed on our side"
    if record["status"] == "timeout" and entry["timeout_s"] != timeout_s:
        return "--timeout changed"
    if not all((folder / name).is_file() and (folder / name).stat().st_size for name in files_named(record)):
        return "their tables are gone"
    return ""


def _what_changed(asked: Mapping[str, Any], earlier: Mapping[str, Any]) -> str:
    build = earlier.get("build", {})
    if build != asked["build"]:
        return f"the simulator changed ({difference(build, asked['build'])})"
    if earlier.get("policy_sha256") != asked["policy_sha256"]:
        return f"policy {asked['policy']!r} changed"
    if names := [name for name in FILE_FIELDS if earlier.get(name) != asked[name]]:
        return f"--{names[0]} changed"
    return "other tables or settings are asked for"


@cache
def _sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def entry_of(trial: Trial, record: TrialRecord, *, build: Build, timeout_s: float) -> Entry:
    """Return a settled trial's line for the journal."""
    return {"trial": identity(trial, build), "timeout_s": timeout_s, "record": record}
