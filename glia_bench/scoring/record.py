"""The result record: one JSON object per run of the benchmark, with two ids that others can check.

`results_id` covers what must be equal on every machine, in every order and by every executor: which design met which
case, how it ended, what it cost, and the hashes of its decisions and records. `id` covers the whole record, with
environment and timings. Both are SHA-256 over canonical JSON: UTF-8, keys sorted by code point, no spaces, no NaN or
infinity, floats as Python's shortest representation that reads back to the same bits, integers as integers.

A record is enough to run all of it again: it holds the text of every design that came from a file, and of what it does
not hold the hashes: workloads, files that the user brought, shipped policies, the simulator's own sources. Signatures
(`scoring.signature`) stand beside both ids. Design cost and report measures are not modelled here.
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from glia_bench.errors import EvaluationFailure, GliaBenchError

SCHEMA = 1
RESULT_FILE = "result.json"

TrialRecord: TypeAlias = dict[str, Any]
DesignRecord: TypeAlias = dict[str, Any]
ResultRecord: TypeAlias = dict[str, Any]

RESULT_FIELDS = (
    "task",
    "policy_sha256",
    "workload_sha256",
    "load",
    "seed",
    "status",
    "cost",
    "metrics",
    "num_decisions",
    "decision_hash",
    "records_sha256",
)
"""Fields of a trial that enter `results_id`; the rest (names, timings, messages, paths) may differ between machines."""

DESIGN_FIELDS = frozenset({"name", "track", "kind", "sha256", "source", "weights", "constants"})
"""Fields of a design; the source is null for shipped ones; `constants`, pairs of name and value, say in what such a one
differs from the policy that its name begins with."""


def canonical(value: Any) -> bytes:
    """Return a JSON value in its one canonical form.

    Raises:
        EvaluationFailure: If it holds NaN, an infinity, or something that JSON has no word for.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise EvaluationFailure(f"a record must be finite JSON ({error}{_culprit(value)})") from error
    return text.encode()


def _culprit(value: Any, path: str = "") -> str:
    """Return " at a.b.c" for the first value that canonical JSON refuses."""
    if isinstance(value, Mapping):
        children: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list | tuple):
        children = enumerate(value)
    else:
        is_bad = isinstance(value, float) and not math.isfinite(value)
        return f" at {path}" if is_bad or not isinstance(value, str | int | float | None) else ""
    return next((found for key, child in children if (found := _culprit(child, f"{path}.{key}".lstrip(".")))), "")


def results_id(trials: Iterable[TrialRecord]) -> str:
    """Return the SHA-256 of the reproducible part of the trials, whatever their order."""
    parts = sorted(canonical({name: trial[name] for name in RESULT_FIELDS}) for trial in trials)
    return hashlib.sha256(b"[" + b",".join(parts) + b"]").hexdigest()


def record_id(record: ResultRecord) -> str:
    """Return the SHA-256 of the whole record but its `id` and its signature."""
    return hashlib.sha256(
        canonical({key: value for key, value in record.items() if key not in ("id", "signature")})
    ).hexdigest()


def in_order(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return trials in the order of records: by task, load, policy and seed, the labels of sealed cases last."""
    return sorted(trials, key=lambda t: (t["task"], t["load"], t["policy"], isinstance(t["seed"], str), t["seed"]))


def build_record(
    *,
    suite: str | None,
    trials: Iterable[TrialRecord],
    summary: list[dict[str, Any]],
    environment: dict[str, Any],
    designs: Iterable[DesignRecord] = (),
    season: Mapping[str, str] | None = None,
    gaps: list[dict[str, Any]] | None = None,
) -> ResultRecord:
    """Return a record with its ids; trials in a fixed order, whichever finished first.

    Args:
        suite: Suite that was run, or None where tasks were named.
        trials: One record per trial.
        summary: Rows made by `glia_bench.scoring.summary.summarise`.
        environment: Versions, machine, timestamps and how the run was asked for.
        designs: Every design, with its `DESIGN_FIELDS`.
        season: Name and commitment of the season whose sealed cases were run.
        gaps: Rows made by `glia_bench.scoring.gaps.gap_rows`, where both splits were run.
    """
    ordered = in_order(trials)
    record: ResultRecord = {
        "schema": SCHEMA,
        "suite": suite,
        "results_id": results_id(ordered),
        "designs": sorted(designs, key=lambda design: (design["track"], design["name"])),
        "trials": ordered,
        "summary": summary,
        "environment": environment,
    }
    if season is not None:
        record["season"] = dict(season)
    if gaps is not None:
        record["gaps"] = gaps
    return {**record, "id": record_id(record)}


def write_record(directory: Path, record: ResultRecord) -> Path:
    """Write `result.json` into a directory, whole or not at all, and return its path."""
    path = directory / RESULT_FILE
    write_atomically(path, canonical(record) + b"\n")
    return path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part; folders are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_record(path: Path) -> ResultRecord:
    """Read a result from its folder or file, and check that it is whole and unaltered.

    Raises:
        GliaBenchError: If there is none, it cannot be read, or an id does not match its content.
    """
    file = path / RESULT_FILE if path.is_dir() else path
    try:
        record = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise GliaBenchError(f"no result at {file}; `glia-bench run --out {path}` makes one") from None
    except (OSError, ValueError) as error:
        raise GliaBenchError(f"{file} must be a result record in JSON ({error})") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise GliaBenchError(f"{file} must be a result record of schema {SCHEMA} (got {found!r})")
    missing = [key for key in ("id", "results_id", "trials", "summary", "environment") if key not in record]
    if missing:
        raise GliaBenchError(f"{file} must hold {', '.join(missing)} (missing); run the benchmark again")
    try:
        ids = {"results_id": results_id(record["trials"]), "id": record_id(record)}
    except (TypeError, KeyError) as error:
        raise GliaBenchError(f"trials of {file} must be as `glia-bench run` writes them ({error!r})") from None
    for name, expected in ids.items():
        if record[name] != expected:
            raise GliaBenchError(
                f"{name} of {file} must match its content (says {str(record[name])[:12]}, content gives "
                f"{expected[:12]}): the file was altered after the run"
            )
    return record
