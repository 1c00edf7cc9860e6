"""Decision logs: every answer that a design gave in a trial, in order, so that others can audit it without its code.

A log holds the answers of all hooks that decide and the constants that the design declares. Compiled hooks cannot be
listened to, so the log is taken in a second run with the hooks as plain Python; it is kept only if that run decided as
the first did. Replaying a log answers the simulator's questions from it, in the same order: what comes out must be what
the record says. That proves that these decisions have these consequences; that the design gives them is only proved by
running it.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from glia_bench.case import Case
from glia_bench.errors import GliaBenchError
from glia_bench.policy import Policy, Track
from glia_bench.types import RunResult
from glia_bench.workloads.traces import file_sha256

_ANSWERS: dict[str, Callable[[list[float]], Any]] = {
    "routing.route": lambda values: int(values[0]),
    "routing.rank": lambda values: values[0],
    "routing.assign": lambda values: values,
    "scheduling.rank": lambda values: values[0],
    "scheduling.admit": lambda values: bool(values[0]),
    "scheduling.evict_rank": lambda values: values[0],
    "scheduling.tokens": lambda values: int(values[0]),
    "scheduling.plan": lambda values: (int(values[0]), int(values[1])),
    "autoscaling.scale": lambda values: [int(value) for value in values],
    "autoscaling.drain_rank": lambda values: values[0],
}
"""Hooks that decide, and how an answer is made from the numbers that it was written as."""

_PARTS: tuple[Track, ...] = ("routing", "scheduling", "autoscaling")
_DECLARED = ("skip_blocked", "tick_s", "prefix_view", "preemptive", "dynamic_rank", "engine_mode", "interval_s")
_METADATA = b"glia_bench"

Log = list[tuple[str, list[float]]]


def write_log(path: Path, case: Case, policy: Policy, result: RunResult) -> str:
    """Run a policy once more, write what it answered as a Parquet file, and return the file's SHA-256.

    Columns: hook ("routing.route" ...) and answer, a list of numbers; one row per question.

    Args:
        path: Where to; folders are made.
        case: What was run.
        policy: The policy.
        result: What came of it.

    Returns:
        The hash; empty, with nothing written, if the hooks decide otherwise as plain Python.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from glia_bench.sim.engine import simulate

    log: Log = []
    listening = _with_hooks(policy, lambda name, hook: _listening(name, hook, log))
    again = simulate(case, listening, tier=tier_of(policy))
    if again.decision_hash != result.decision_hash or again.records.sha256 != result.records.sha256:
        return ""
    answers = pa.array([values for _, values in log], type=pa.list_(pa.float64()))
    table = pa.table({"hook": pa.array([name for name, _ in log], type=pa.string()), "answer": answers})
    declared: dict[str, Any] = {
        "hooks": [name for name in _ANSWERS if _hook_of(policy, name)],
        "constants": {name: getattr(policy, name) for name in _DECLARED},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({_METADATA: json.dumps(declared)}), path, compression="zstd")
    return file_sha256(path)


def replaying(path: Path, name: str, track: Track) -> Policy:
    """Return a policy that answers from a log; asked for more, or for another hook, it raises.

    Args:
        path: The log.
        name: What to call the policy.
        track: Its track.

    Raises:
        GliaBenchError: If the file is no log.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        declared = json.loads(table.schema.metadata[_METADATA])
        rows = iter(zip(table["hook"].to_pylist(), table["answer"].to_pylist(), strict=True))
        hooks, constants = declared["hooks"], {name: declared["constants"][name] for name in _DECLARED}
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise GliaBenchError(f"{path} must be a decision log, as `glia-bench run --decisions` writes it") from error
    empty = Policy(name=name, track=track, kind="replay", source="", sha256="", path=str(path), fields_read=frozenset())
    parts: dict[str, Any] = {
        part: {hook.split(".")[1]: _answering(hook, rows) for hook in hooks if hook.split(".")[0] == part}
        for part in _PARTS
    }
    return dataclasses.replace(empty, **parts, **constants)


def tier_of(policy: Policy) -> Literal["compiled", "python"]:
    """Return how hooks run that listen, or that answer from a log; without any there is nothing to hear."""
    return "python" if policy.routing or policy.scheduling or policy.autoscaling else "compiled"


def _hook_of(policy: Policy, name: str) -> Callable[..., Any] | None:
    part, _, hook = name.partition(".")
    hooks: Mapping[str, Callable[..., Any]] = getattr(policy, part)
    return hooks.get(hook)


def _with_hooks(policy: Policy, wrap: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> Policy:
    parts: dict[str, Any] = {
        part: {hook: wrap(f"{part}.{hook}", function) for hook, function in getattr(policy, part).items()}
        for part in _PARTS
    }
    return dataclasses.replace(policy, **parts)


def _listening(name: str, hook: Callable[..., Any], log: Log) -> Callable[..., Any]:
    """Return a hook that answers as before and writes its answer down; event hooks stay as they are."""
    if name not in _ANSWERS:
        return hook

    def listen(*arguments: Any) -> Any:
        answer = hook(*arguments)
        written = arguments[-1] if name == "routing.assign" else answer
        log.append((name, np.atleast_1d(np.asarray(written, dtype=np.float64)).tolist()))
        return answer

    return listen


def _answering(name: str, rows: Iterator[tuple[str, list[float]]]) -> Callable[..., Any]:
    """Return a hook that gives the log's next answer."""

    def give(*arguments: Any) -> Any:
        asked, values = next(rows, ("nothing more", []))
        if asked != name:
            raise ValueError(f"the log answers {asked}, but {name} is asked")
        answer = _ANSWERS[name](values)
        if name == "routing.assign":
            arguments[-1][:] = answer
            return None
        return answer

    return give
