"""Sealed seeds: a season's hidden cases, committed to by a hash when it opens and revealed when it closes.

A season file is JSON: name, salt, per task at least twenty seeds of 64 bits, half for fresh draws of the task as it is,
half for draws from the committed box (`tasks.perturbation.BOX`), and unseen traces if the operator has any.
`GLIA_BENCH_SEALED` names the file of the season that this process may run. Until the reveal a record says `fresh-07`
where a seed would stand, and holds the commitment; afterwards anyone recomputes both from the file. Run as a module,
this is the operator's tool: docs/operators.md.

Who may read the file, and when it is published, is not ours to enforce.
"""

import argparse
import builtins
import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from glia_bench.errors import GliaBenchError
from glia_bench.scoring.record import canonical
from glia_bench.tasks.catalog import SUITES, get_suite, get_task
from glia_bench.tasks.perturbation import NONE, Perturbation, draw_perturbation
from glia_bench.tasks.recorded import TRACE_DIGITS, TRACE_MARK, recorded_task
from glia_bench.tasks.task import Task
from glia_bench.workloads.streams import Stream
from glia_bench.workloads.traces import file_sha256

VARIABLE = "GLIA_BENCH_SEALED"
SCHEMA = 1
MIN_SEEDS = 20
"""Fewest seeds per task."""
SALT_BYTES = 32

Part: TypeAlias = Literal["fresh", "perturbed"]
PARTS: tuple[Part, ...] = ("fresh", "perturbed")
_KEYS = {"schema", "season", "salt", "tasks", "traces"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedCase:
    """One hidden case of a task.

    Attributes:
        label: What records call it: its part and its place in it.
        seed: Its seed.
        perturbation: How it differs from the task.
        trace: File of its requests, where they are not drawn.
    """

    label: str
    seed: int
    perturbation: Perturbation = NONE
    trace: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTrace:
    """A recorded trace that nobody has seen, to run on the cluster of a task.

    Attributes:
        task: The task.
        path: The file; it may be anywhere, and is not part of what is committed to.
        sha256: Hash of its bytes.
        seed: Of what the cluster and policies draw.
    """

    task: str
    path: Path
    sha256: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """A season's secret.

    Attributes:
        name: Public name.
        salt: Random bytes, so that nobody can try seeds against the commitment.
        tasks: Task id to part to seeds.
        traces: Unseen traces, if there are any.
    """

    name: str
    salt: bytes
    tasks: Mapping[str, Mapping[Part, tuple[int, ...]]]
    traces: tuple[SealedTrace, ...] = ()

    @property
    def commitment(self) -> str:
        """SHA-256 over the salt and the canonical JSON of name, seeds and hashes of traces."""
        content = self.to_json()
        traces = [{key: value for key, value in trace.items() if key != "path"} for trace in content["traces"]]
        committed = {"season": self.name, "tasks": content["tasks"], "traces": traces}
        return hashlib.sha256(self.salt + canonical(committed)).hexdigest()

    def unseen(self, base_id: str) -> dict[str, SealedCase]:
        """Return the unseen traces of a task: the id of the task that each makes, to its case.

        Raises:
            GliaBenchError: If a file is absent, or not the one that was committed to.
        """
        found = {}
        for trace in self.traces:
            if trace.task == base_id:
                if _trace_sha256(trace.path) != trace.sha256:
                    raise GliaBenchError(f"{trace.path} must be the trace that season {self.name!r} committed to")
                task_id = f"{base_id}{TRACE_MARK}{trace.sha256[:TRACE_DIGITS]}"
                found[task_id] = SealedCase(label="unseen-00", seed=trace.seed, trace=trace.path)
        return found

    def cases(self, task_id: str) -> tuple[SealedCase, ...]:
        """Return the cases of a task, fresh ones first; none if the season does not have it."""
        if TRACE_MARK in task_id:
            return tuple(
                case for name, case in self.unseen(task_id.partition(TRACE_MARK)[0]).items() if name == task_id
            )
        return tuple(
            SealedCase(
                label=f"{part}-{place:02d}",
                seed=seed,
                perturbation=NONE if part == "fresh" else draw_perturbation(Stream(task_id, seed, "perturbation")),
            )
            for part, seeds in self.tasks.get(task_id, {}).items()
            for place, seed in enumerate(seeds)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of the season's file; `read_season` reads it back."""
        tasks = {task: {part: list(seeds) for part, seeds in parts.items()} for task, parts in self.tasks.items()}
        traces = [
            {"task": trace.task, "path": str(trace.path), "sha256": trace.sha256, "seed": trace.seed}
            for trace in self.traces
        ]
        return {"schema": SCHEMA, "season": self.name, "salt": self.salt.hex(), "tasks": tasks, "traces": traces}

    def published(self) -> dict[str, Any]:
        """Return what is published when the season opens: everything but the salt and the seeds."""
        counts = {task: {part: len(seeds) for part, seeds in parts.items()} for task, parts in self.tasks.items()}
        traces = [trace.task for trace in self.traces]
        return {"season": self.name, "commitment": self.commitment, "num_seeds": counts, "traces": traces}


def can_be_sealed(task: Task) -> bool:
    """Return whether a task draws a workload of its own for every seed and scale."""
    return task.any_load and not task.needs_lengths


def draw_season(
    name: str, task_ids: Sequence[str], num_seeds: int = MIN_SEEDS, traces: Sequence[tuple[str, Path]] = ()
) -> Season:
    """Return a new season with a salt and seeds from the system's entropy.

    Args:
        name: Its public name.
        task_ids: Its tasks.
        num_seeds: Seeds per task, half of them for perturbed cases.
        traces: Unseen traces with the tasks on whose clusters they run.

    Raises:
        GliaBenchError: If there are no tasks, the number of seeds is odd or too small, or a trace cannot be run.
    """
    if num_seeds < MIN_SEEDS or num_seeds % 2:
        raise GliaBenchError(
            f"a season must have an even number of seeds per task, at least {MIN_SEEDS} (got {num_seeds})"
        )
    half = num_seeds // 2
    tasks: dict[str, Mapping[Part, tuple[int, ...]]] = {
        get_task(task_id).id: MappingProxyType(
            {part: tuple(secrets.randbits(64) for _ in range(half)) for part in PARTS}
        )
        for task_id in dict.fromkeys(task_ids)
    }
    unseen = tuple(
        SealedTrace(
            task=task_id,
            path=path,
            sha256=recorded_task(get_task(task_id), path)[1].sha256,
            seed=secrets.randbits(64),
        )
        for task_id, path in traces
    )
    salt = secrets.token_bytes(SALT_BYTES)
    return _checked(Season(name=name, salt=salt, tasks=MappingProxyType(tasks), traces=unseen), "the season")


def _trace_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise GliaBenchError(f"unseen trace {path} cannot be read ({error.strerror})") from None


def read_season(path: Path) -> Season:
    """Read a season's file, before its close or as it was revealed.

    Raises:
        GliaBenchError: If it cannot be read or breaks a rule of the format; seeds never stand in the message.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise GliaBenchError(f"season file {path} cannot be read ({error.strerror}); check {VARIABLE}") from None
    except ValueError:
        raise GliaBenchError(f"season file {path} must be JSON, as `{_TOOL} new` writes it") from None
    if not isinstance(content, dict) or content.keys() != _KEYS or content["schema"] != SCHEMA:
        raise GliaBenchError(f"season file {path} must hold {', '.join(sorted(_KEYS))}, with schema {SCHEMA}, only")
    try:
        season = Season(
            name=content["season"],
            salt=bytes.fromhex(content["salt"]),
            tasks=MappingProxyType({task: _parts(parts) for task, parts in content["tasks"].items()}),
            traces=tuple(
                SealedTrace(**{**fields, "path": path.parent / fields["path"]}) for fields in content["traces"]
            ),
        )
    except (TypeError, ValueError, AttributeError, KeyError):
        raise GliaBenchError(
            f"season file {path} must hold a salt in hexadecimal, per task lists of seeds {' and '.join(PARTS)}, and "
            f"traces, each with task, path, sha256 and seed"
        ) from None
    return _checked(season, f"season file {path}")


def _parts(parts: Mapping[str, Any]) -> Mapping[Part, tuple[int, ...]]:
    if parts.keys() != set(PARTS):
        raise ValueError(parts)
    return MappingProxyType({part: tuple(parts[part]) for part in PARTS})


def _checked(season: Season, what: str) -> Season:
    """Return a season that keeps the rules."""
    if not isinstance(season.name, str) or not season.name.strip():
        raise GliaBenchError(f"{what} must have a name")
    if len(season.salt) < SALT_BYTES:
        raise GliaBenchError(f"salt of {what} must have at least {SALT_BYTES} bytes (got {len(season.salt)})")
    if not season.tasks:
        raise GliaBenchError(f"{what} must have at least one task")
    for trace in season.traces:
        get_task(trace.task)
    for task_id, parts in season.tasks.items():
        if not can_be_sealed(task := get_task(task_id)):
            raise GliaBenchError(
                f"{what} must not have {task_id}: its trace is fixed or the user's, and cannot be sealed"
            )
        seeds = [seed for part in PARTS for seed in parts[part]]
        if len(seeds) < MIN_SEEDS or len(parts["fresh"]) != len(parts["perturbed"]):
            counts = " + ".join(str(len(parts[part])) for part in PARTS)
            raise GliaBenchError(
                f"{what} must have at least {MIN_SEEDS} seeds of {task_id}, half fresh, half perturbed (got {counts})"
            )
        if not all(type(seed) is int and 0 <= seed < 1 << 64 for seed in seeds) or len(set(seeds)) < len(seeds):
            raise GliaBenchError(f"seeds of {task_id} in {what} must be distinct whole numbers of 64 bits")
        if not set(seeds).isdisjoint(task.dev_seeds):
            raise GliaBenchError(f"seeds of {task_id} in {what} must not be development seeds")
    return season


def sealed_season() -> Season:
    """Return the season in the file that GLIA_BENCH_SEALED names.

    Raises:
        GliaBenchError: If it names none, or the file breaks a rule.
    """
    season = season_of_environment()
    if season is None:
        raise GliaBenchError(
            f"the sealed split needs {VARIABLE}=FILE, the season's file; only an operator has it before the reveal"
        )
    return season


@cache
def season_of_environment() -> Season | None:
    """Read the variable and its file, once in the life of the process."""
    path = os.environ.get(VARIABLE)
    return read_season(Path(path)) if path else None


def guarded(message: str) -> str:
    """Return what a message about a sealed case may say: the class of a built-in exception, nothing of the workload."""
    named = (getattr(builtins, word, None) for word in re.findall(r"\w+", message))
    found = (kind.__name__ for kind in named if isinstance(kind, type) and issubclass(kind, BaseException))
    return next(found, "a sealed case: no details" if message else "")


# The operator's tool

_TOOL = "python -m glia_bench.evaluation.sealed"


def main(argv: Sequence[str] | None = None) -> int:
    """Open a season, print its commitment, reveal it, check a reveal; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=_TOOL, description="Open, commit to, reveal and check a season of sealed seeds."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    new = verbs.add_parser("new", help="draw a season's seeds into a new file that only you may read")
    new.add_argument("file", type=Path)
    new.add_argument("--season", required=True, metavar="NAME")
    new.add_argument("--suite", default="core" if "core" in SUITES else "full", help="suite whose tasks it has")
    new.add_argument("--task", action="append", default=[], help="task instead of a suite; repeatable")
    new.add_argument(
        "--trace",
        action="append",
        default=[],
        metavar="TASK=FILE",
        help="unseen trace for a task's cluster; repeatable",
    )
    new.add_argument("--num-seeds", type=int, default=MIN_SEEDS, metavar="N", help="seeds per task")
    new.set_defaults(run=_new)
    commit = verbs.add_parser("commit", help="print what to publish when the season opens")
    commit.add_argument("file", type=Path)
    commit.set_defaults(run=lambda options: _print(read_season(options.file).published()))
    reveal = verbs.add_parser("reveal", help="print what to publish at the close: salt and seeds")
    reveal.add_argument("file", type=Path)
    reveal.set_defaults(run=_reveal)
    check = verbs.add_parser("check", help="check a revealed season against the commitment that was published")
    check.add_argument("file", type=Path)
    check.add_argument("commitment", help="64 hexadecimal digits")
    check.set_defaults(run=_check)
    options = parser.parse_args(argv)
    try:
        options.run(options)
    except GliaBenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _new(options: argparse.Namespace) -> None:
    task_ids = options.task or [id for id in get_suite(options.suite) if can_be_sealed(get_task(id))]
    traces = [(task, Path(file).resolve()) for task, _, file in (text.partition("=") for text in options.trace)]
    season = draw_season(options.season, task_ids, options.num_seeds, traces)
    try:
        descriptor = os.open(options.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise GliaBenchError(
            f"{options.file} cannot be made ({error.strerror}); a season is never overwritten"
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(canonical(season.to_json()) + b"\n")
    _print(season.published())


def _reveal(options: argparse.Namespace) -> None:
    content = read_season(options.file).to_json()
    for trace in content["traces"]:  # to lie beside the season's file
        trace["path"] = Path(trace["path"]).name
    _print(content)


def _check(options: argparse.Namespace) -> None:
    season = read_season(options.file)
    if season.commitment != options.commitment.strip().lower():
        raise GliaBenchError(
            f"{options.file} must match the commitment (its hash is {season.commitment}, published was "
            f"{options.commitment}): these are not the seeds that the season was opened with"
        )
    print(f"{options.file} holds the seeds that season {season.name!r} was opened with")


def _print(value: Any) -> None:
    print(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
