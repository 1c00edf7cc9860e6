"""Sealed seeds: a season's hidden cases, committed to by a hash when it opens and revealed when it closes.

A season file is JSON: name, salt, and per task at least twenty seeds of 64 bits, half for fresh draws of the task as it
is, half for draws from the committed box (`tasks.perturbation.BOX`). `GLIA_BENCH_SEALED` names the file of the season
that this process may run. Until the reveal a record says `fresh-07` where a seed would stand, and holds the commitment;
afterwards anyone recomputes both from the file. Run as a module, this is the operator's tool: docs/operators.md.

Who may read the file, and when it is published, is not ours to enforce.
"""

import argparse
import hashlib
import json
import os
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
from glia_bench.tasks.task import Task
from glia_bench.workloads.streams import Stream

VARIABLE = "GLIA_BENCH_SEALED"
SCHEMA = 1
MIN_SEEDS = 20
"""Fewest seeds per task."""
SALT_BYTES = 32

Part: TypeAlias = Literal["fresh", "perturbed"]
PARTS: tuple[Part, ...] = ("fresh", "perturbed")
_KEYS = {"schema", "season", "salt", "tasks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedCase:
    """One hidden case of a task.

    Attributes:
        label: What records call it: its part and its place in it.
        seed: Its seed.
        perturbation: How it differs from the task.
    """

    label: str
    seed: int
    perturbation: Perturbation


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """A season's secret.

    Attributes:
        name: Public name.
        salt: Random bytes, so that nobody can try seeds against the commitment.
        tasks: Task id to part to seeds.
    """

    name: str
    salt: bytes
    tasks: Mapping[str, Mapping[Part, tuple[int, ...]]]

    @property
    def commitment(self) -> str:
        """SHA-256 over the salt and the canonical JSON of name and seeds."""
        seeds = {task: {part: list(of_part) for part, of_part in parts.items()} for task, parts in self.tasks.items()}
        return hashlib.sha256(self.salt + canonical({"season": self.name, "tasks": seeds})).hexdigest()

    def cases(self, task_id: str) -> tuple[SealedCase, ...]:
        """Return the cases of a task, fresh ones first; none if the season does not have it."""
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
        return {"schema": SCHEMA, "season": self.name, "salt": self.salt.hex(), "tasks": tasks}

    def published(self) -> dict[str, Any]:
        """Return what is published when the season opens: everything but the salt and the seeds."""
        counts = {task: {part: len(seeds) for part, seeds in parts.items()} for task, parts in self.tasks.items()}
        return {"season": self.name, "commitment": self.commitment, "num_seeds": counts}


def can_be_sealed(task: Task) -> bool:
    """Return whether a task draws a workload of its own for every seed and scale."""
    return task.any_load and not task.needs_lengths


def draw_season(name: str, task_ids: Sequence[str], num_seeds: int = MIN_SEEDS) -> Season:
    """Return a new season with a salt and seeds from the system's entropy.

    Raises:
        GliaBenchError: If there are no tasks, or the number of seeds is odd or too small.
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
    return _checked(
        Season(name=name, salt=secrets.token_bytes(SALT_BYTES), tasks=MappingProxyType(tasks)), "the season"
    )


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
        )
    except (TypeError, ValueError, AttributeError, KeyError):
        raise GliaBenchError(
            f"season file {path} must hold a salt in hexadecimal, and per task lists of seeds {' and '.join(PARTS)}"
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
    season = _season_of_environment()
    if season is None:
        raise GliaBenchError(
            f"the sealed split needs {VARIABLE}=FILE, the season's file; only an operator has it before the reveal"
        )
    return season


@cache
def _season_of_environment() -> Season | None:
    """Read the variable and its file, once in the life of the process."""
    path = os.environ.get(VARIABLE)
    return read_season(Path(path)) if path else None


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
    new.add_argument("--num-seeds", type=int, default=MIN_SEEDS, metavar="N", help="seeds per task")
    new.set_defaults(run=_new)
    commit = verbs.add_parser("commit", help="print what to publish when the season opens")
    commit.add_argument("file", type=Path)
    commit.set_defaults(run=lambda options: _print(read_season(options.file).published()))
    reveal = verbs.add_parser("reveal", help="print what to publish at the close: salt and seeds")
    reveal.add_argument("file", type=Path)
    reveal.set_defaults(run=lambda options: _print(read_season(options.file).to_json()))
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
    season = draw_season(options.season, task_ids, options.num_seeds)
    try:
        descriptor = os.open(options.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise GliaBenchError(
            f"{options.file} cannot be made ({error.strerror}); a season is never overwritten"
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(canonical(season.to_json()) + b"\n")
    _print(season.published())


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
