"""The Dask worker's side of a run: a slice of trials, run as a local run would, in processes that can be killed.

Nothing is assumed of the worker's disk: files that trials read come with the slice, tables and logs go back as bytes.
The Dask worker itself executes no design; a design that breaks its process does not touch it.
"""

import contextlib
import hashlib
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glia_bench.evaluation.build import Build, describe_build, difference
from glia_bench.evaluation.designs import Design, what_became_of
from glia_bench.evaluation.resume import FILE_FIELDS
from glia_bench.evaluation.runner import Limits, Refusal, settle_trials
from glia_bench.evaluation.trial import Trial

SLICE_S = 5.0
"""How long a slice goes on after its first trial before it hands back what is done; starting its process costs a second
or two. Within the grace that a request to stop gives."""
SLICE_BYTES = 64 << 20
"""Tables that end a slice early."""


def dask_setup(worker: object) -> None:
    """Called by Dask in the workers of a run's own cluster: leave Ctrl-C in its terminal to the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_slice(
    trials: Sequence[dict[str, Any]], limits: dict[str, Any], build: Build, inputs: Mapping[str, bytes]
) -> dict[str, Any]:
    """Run trials one after the other, all or as many as fit into a slice.

    Args:
        trials: Trials of one owner, as JSON.
        limits: Deadline and memory of each, as fields of `Limits`.
        build: What must simulate here.
        inputs: Contents of files that trials name, by the names they have there.

    Returns:
        "refused": why nothing was run here, or empty; "settled": pairs of a trial's index and its record or refusal;
        "files" and "logs": contents by name, relative to the result's folder and to its logs.
    """
    if wrong := difference(build, describe_build()) or _other_policy(trials):
        return {"refused": wrong, "settled": [], "files": {}, "logs": {}}
    with tempfile.TemporaryDirectory(prefix="glia-bench-") as scratch:
        folder, logs = Path(scratch) / "result", Path(scratch) / "logs"
        here = [_moved(fields, folder, _write_inputs(Path(scratch), inputs)) for fields in trials]
        settled: list[tuple[int, dict[str, Any]]] = []
        end = float("inf")
        own = Limits(jobs=1, is_isolated=True, **limits)
        with contextlib.closing(settle_trials(here, own, log_folder=logs)) as run:
            for trial, outcome in run:
                is_refusal = isinstance(outcome, Refusal)
                said = {"refusal": outcome.message} if isinstance(outcome, Refusal) else {"record": outcome}
                settled.append((here.index(trial), said))
                end = min(end, time.monotonic() + SLICE_S)  # not before the first: its process had to start
                if not is_refusal and (time.monotonic() > end or _size(folder) > SLICE_BYTES):
                    break
        return {"refused": "", "settled": settled, "files": _contents(folder), "logs": _contents(logs)}


def _other_policy(trials: Sequence[dict[str, Any]]) -> str:
    """Return which shipped policy is another one here."""
    for design in (Design.from_json(trial["design"]) for trial in trials):
        if design.is_shipped and what_became_of(design):
            return f"another policy {design.name!r}"
    return ""


def _write_inputs(scratch: Path, inputs: Mapping[str, bytes]) -> dict[str, str]:
    """Write the files that trials read; return name there to path here."""
    paths = {}
    for name, content in inputs.items():
        path = scratch / hashlib.sha256(name.encode()).hexdigest()[:16] / Path(name).name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        paths[name] = str(path)
    return paths


def _moved(fields: dict[str, Any], folder: Path, inputs: Mapping[str, str]) -> Trial:
    """Return a trial that reads and writes here."""
    files = {name: inputs[fields[name]] for name in FILE_FIELDS if fields[name] is not None}
    return Trial.from_json({**fields, **files, "folder": str(folder) if fields["folder"] else None})


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
