"""How like final designs are to known ones, found in processes of their own: `similarity` executes what was found.

A comparison takes seconds; each is written down, and has a time limit. Run as a module, this is the inner end: a
request as JSON on stdin, the answer on stdout.
"""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from glia_bench.designer.curves import Trajectory
from glia_bench.errors import GliaBenchError, InvalidPolicyError
from glia_bench.evaluation.build import describe_build
from glia_bench.evaluation.stopping import Stop
from glia_bench.evaluation.worker import child_environment
from glia_bench.scoring.record import canonical
from glia_bench.static_check import static_check
from glia_bench.tasks.catalog import get_task

CACHE_FILE = "likeness.jsonl"
TIMEOUT_S = 120.0
MEMORY_BYTES = 8 << 30
REPLY_BYTES = 1 << 16

Json = dict[str, Any]


def likeness_of(
    trajectories: Sequence[Trajectory], folder: Path, *, timeout_s: float = TIMEOUT_S, stop: Stop | None = None
) -> dict[tuple[str, str], Json]:
    """Return (task, hash) of each final design to how like it is to known ones.

    Args:
        trajectories: The runs.
        folder: Where what was found is kept.
        timeout_s: Longest for one design.
        stop: Ends it early.

    Returns:
        "designs": name to "decisions", "tree", "moments"; or "failure": why there are none.

    Raises:
        KeyboardInterrupt: If it was stopped.
    """
    build = describe_build()["source"]
    path = folder / CACHE_FILE
    known = _read(path, build)
    found: dict[tuple[str, str], Json] = {}
    for run in trajectories:
        best, task = run.best, run.settings.task
        if best is None or (task, best.sha256) in found:
            continue
        if stop is not None and stop.is_requested:
            raise KeyboardInterrupt
        place = (task, best.sha256)
        if place not in known:
            known[place] = compared(best.source, task, timeout_s=timeout_s)
            line = canonical({"build": build, "task": task, "sha256": best.sha256, "likeness": known[place]})
            path.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes() if path.exists() else b"\n"
            with path.open("ab") as file:
                file.write((b"" if data.endswith(b"\n") else b"\n") + line + b"\n")
        found[place] = known[place]
    return found


def _read(path: Path, build: str) -> dict[tuple[str, str], Json]:
    """Return what an earlier report found with the same simulator; what failed is tried again."""
    known: dict[tuple[str, str], Json] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a line that was not written whole
            entry = json.loads(line)
            if entry["build"] == build and "designs" in entry["likeness"]:
                known[entry["task"], entry["sha256"]] = entry["likeness"]
    return known


def compared(source: str, task_id: str, *, timeout_s: float = TIMEOUT_S) -> Json:
    """Return how like a text is to known designs, found in a process of its own; one that breaks a rule gets none."""
    try:
        static_check(source, get_task(task_id).track)
    except InvalidPolicyError as error:
        return {"failure": str(error)}
    request = json.dumps({"source": source, "task": task_id}).encode()
    command = [sys.executable, "-P", "-m", "glia_bench.designer.likeness"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_environment(),
        start_new_session=True,
    ) as process:
        try:
            reply, _ = process.communicate(request, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return {"failure": f"no answer within {timeout_s:g} s"}
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    try:
        return _checked(json.loads(reply[:REPLY_BYTES]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"failure": "the process gave no answer"}


def _checked(reply: Json) -> Json:
    if "failure" in reply:
        return {"failure": str(reply["failure"])[:300]}
    designs = {
        str(name): {"decisions": float(d["decisions"]), "tree": float(d["tree"]), "moments": int(d["moments"])}
        for name, d in reply["designs"].items()
    }
    if not designs or not all(0.0 <= d[key] <= 1.0 for d in designs.values() for key in ("decisions", "tree")):
        raise ValueError("shares must be from 0 to 1")
    return {"designs": designs}


def main() -> None:
    """Answer one request; what the text prints goes nowhere."""
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        request = json.load(sys.stdin)
        from glia_bench.designer.similarity import similar

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        try:
            found = similar(request["source"], get_task(request["task"]).track, request["task"])
            reply: Json = {"designs": {name: asdict(one) for name, one in found.items()}}
        except GliaBenchError as error:
            reply = {"failure": str(error)}
        json.dump(reply, answer)


if __name__ == "__main__":
    main()
