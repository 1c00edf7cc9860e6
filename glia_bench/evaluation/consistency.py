"""What a result record says of itself, checked without running anything: does it add up?

Ids only show that a record is as it was written. Whoever alters a record and computes its ids anew is found here if
trials are missing, doubled or out of order, if a design's text is not the one that was hashed, or if the summary does
not follow from the trials; altered numbers are found by running the trials again (`verify`).
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from glia_bench.evaluation.summaries import gaps_of, summary_of
from glia_bench.policy import TRACKS
from glia_bench.scoring.record import DESIGN_FIELDS, RESULT_FIELDS, ResultRecord, TrialRecord, in_order
from glia_bench.tasks.catalog import find_task

Cell: TypeAlias = tuple[str, str, float, int | str]
"""What tells a trial from all others of its record: task, policy, load, and seed or label."""

SUMMARY_TOLERANCE = 1e-9
"""Relative: summaries take logarithms, whose last bits may differ between platforms."""

_TRIAL_FIELDS: dict[str, type | tuple[type, ...]] = {
    "task": str,
    "policy": str,
    "policy_sha256": str,
    "load": (int, float),
    "seed": (int, str),
    "split": str,
    "status": str,
}


def faults(record: ResultRecord) -> list[str]:
    """Return what is wrong with a record, in the order of its parts; nothing if it adds up."""
    shape = list(_shape(record))
    if shape:
        return shape
    trials: list[TrialRecord] = record["trials"]
    return [*_designs(record), *_order(trials), *_cells(record), *_season(record), *_summary(record)]


def _shape(record: ResultRecord) -> Iterator[str]:
    """Yield what makes it impossible to go on."""
    trials, designs = record["trials"], record.get("designs")
    if not isinstance(record["environment"], dict):
        yield "the record must hold an environment"
    if not isinstance(designs, list):
        yield "the record must list its designs with their sources (an older version left them out); run it again"
    elif not all(isinstance(design, dict) and _is_design(design) for design in designs):
        yield "every design must have a plain name, a track, a kind, a hash, and a source that is text or null"
    if not isinstance(trials, list) or not trials:
        yield "the record must hold at least one trial"
        return
    for place, trial in enumerate(trials):
        fields = {*_TRIAL_FIELDS, *RESULT_FIELDS, "tier", "groups"}
        missing = sorted(fields - trial.keys()) if isinstance(trial, dict) else sorted(fields)
        wrong = missing or [name for name, kind in _TRIAL_FIELDS.items() if not isinstance(trial[name], kind)]
        if wrong:
            yield f"trial {place} must hold {', '.join(wrong)} as `glia-bench run` writes them"
            return
        if find_task(trial["task"]) is None:
            yield f"task {trial['task']!r} is not in this version's catalogue; install the version that ran it"
            return


def _is_design(design: dict[str, Any]) -> bool:
    """Return whether an entry can be used: its name becomes part of a file's."""
    is_named = isinstance(design.get("name"), str) and re.fullmatch(r"[\w+@-][\w.+@-]{0,99}", design["name"])
    is_text = all(isinstance(design.get(field), str) for field in ("kind", "sha256"))
    return bool(
        design.keys() == DESIGN_FIELDS
        and is_named
        and is_text
        and design["track"] in TRACKS
        and isinstance(design["source"], str | None)
        and isinstance(design["weights"], str)
        and _are_constants(design["constants"])
    )


def _are_constants(constants: Any) -> bool:
    """Return whether an entry is a list of names, each with its number."""
    return isinstance(constants, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], int | float)
        for pair in constants
    )


def _designs(record: ResultRecord) -> Iterator[str]:
    known = {(design["track"], design["name"]): design for design in record["designs"]}
    if len(known) < len(record["designs"]):
        yield "two designs of one track have the same name"
    for design in record["designs"]:
        source = design["source"]
        if source is not None and hashlib.sha256(source.encode()).hexdigest() != design["sha256"]:
            yield f"the source of design {design['name']!r} is not the one that was run: its hash differs"
    for trial in record["trials"]:
        of_trial = known.get((_track(trial["task"]), trial["policy"]))
        if of_trial is None:
            yield f"trials of {trial['policy']!r} on {trial['task']} have no design in the record"
            return
        if (of_trial["sha256"], of_trial["kind"]) != (trial["policy_sha256"], trial["kind"]):
            yield f"{cell_name(trial)} names another design than the record lists: hash or kind differs"
            return


def _order(trials: list[TrialRecord]) -> Iterator[str]:
    if [cell(trial) for trial in trials] != [cell(trial) for trial in in_order(trials)]:
        yield "trials are not in the order that a run writes: by task, load, policy and seed"


def _cells(record: ResultRecord) -> Iterator[str]:
    """Yield cells that are there twice, and those that are missing from a run that says that it is whole."""
    trials: list[TrialRecord] = record["trials"]
    counts = Counter(cell(trial) for trial in trials)
    yield from (f"{_words(*which)} is there {count} times" for which, count in counts.items() if count > 1)
    if record["environment"].get("interrupted"):
        return
    refused = {refusal["policy"] for refusal in record["environment"].get("refused", ())}
    for task in sorted({trial["task"] for trial in trials}):
        here = [trial for trial in trials if trial["task"] == task]
        dev = [trial["seed"] for trial in here if trial["split"] == "dev"]
        seeds = [*range(max(dev, default=-1) + 1), *sorted({t["seed"] for t in here if t["split"] != "dev"})]
        policies = {design["name"] for design in record["designs"] if design["track"] == _track(task)} - refused
        for load in sorted({trial["load"] for trial in here}):
            for policy in sorted(policies):
                absent = [seed for seed in seeds if (task, policy, load, seed) not in counts]
                if absent:
                    yield f"{_words(task, policy, load, absent[0])} is missing ({len(absent)} of {len(seeds)} seeds)"


def _season(record: ResultRecord) -> Iterator[str]:
    has_sealed = any(trial["split"] != "dev" for trial in record["trials"])
    if has_sealed and not {"name", "commitment"} <= (record.get("season") or {}).keys():
        yield "sealed trials must come with their season's name and commitment"


def _summary(record: ResultRecord) -> Iterator[str]:
    try:
        expected: dict[str, Any] = {"summary": summary_of(record["trials"]), "gaps": gaps_of(record["trials"])}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        yield f"the summary cannot be computed from the trials ({type(error).__name__}: {error})"
        return
    for name, value in expected.items():
        if found := difference(record.get(name), value, name):
            path, recorded, computed = found
            yield f"{path} does not follow from the trials: the record says {recorded!r}, they give {computed!r}"


def difference(recorded: Any, found: Any, path: str) -> tuple[str, Any, Any] | None:
    """Return the first place where two JSON values differ, with both values; floats may differ by the tolerance."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        if recorded.keys() != found.keys():
            odd = min(recorded.keys() ^ found.keys())
            return f"{path}.{odd}", recorded.get(odd, "nothing"), found.get(odd, "nothing")
        return _first(difference(recorded[key], found[key], f"{path}.{key}") for key in found)
    if isinstance(recorded, list) and isinstance(found, list | tuple) and len(recorded) == len(found):
        pairs = enumerate(zip(recorded, found, strict=True))
        return _first(difference(ours, theirs, f"{path}[{place}]") for place, (ours, theirs) in pairs)
    if isinstance(recorded, list) and isinstance(found, list | tuple):
        return path, f"{len(recorded)} entries", f"{len(found)}"
    are_numbers = type(recorded) in (int, float) and type(found) in (int, float)
    is_equal = (
        math.isclose(recorded, found, rel_tol=SUMMARY_TOLERANCE, abs_tol=1e-12) if are_numbers else recorded == found
    )
    return None if is_equal else (path, recorded, found)


def _track(task_id: str) -> str:
    return task_id.split("/")[0]


def _first(found: Iterable[tuple[str, Any, Any] | None]) -> tuple[str, Any, Any] | None:
    return next((one for one in found if one is not None), None)


def cell(trial: TrialRecord) -> Cell:
    """Return a trial's cell."""
    return trial["task"], trial["policy"], trial["load"], trial["seed"]


def cell_name(trial: TrialRecord) -> str:
    """Return a trial in words."""
    return _words(*cell(trial))


def _words(task: str, policy: str, load: float, seed: int | str) -> str:
    what = f"sealed case {seed}" if isinstance(seed, str) else f"seed {seed}"
    return f"the trial of {policy} on {task}, load {load:g}, {what}"
