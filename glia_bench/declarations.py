"""The values that a policy's constants may have: MEMORY and the settings of `policy.CONSTANTS`, checked.

Names are the text's business (`static_check`); this looks at what the names hold once the file has run. Whether a task
grants what is declared (an engine mode, a prefix view) is for the run to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from glia_bench.cluster import PrefixView
from glia_bench.errors import InvalidPolicyError, did_you_mean
from glia_bench.sim.modes import MODES

MEMORY_LIMITS = {"shared": 65_536, "replica": 1_024, "tenant": 1_024, "session": 64, "request": 64}
"""Tables that MEMORY may declare, with the widest row of each (float64 values)."""
MIN_TICK_S, MIN_INTERVAL_S = 0.01, 1.0
MAX_PERIOD_S = 3600
DEFAULT_INTERVAL_S = 15.0  # sync period of the Kubernetes HorizontalPodAutoscaler
PREFIX_VIEWS: tuple[PrefixView, ...] = get_args(PrefixView)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declarations:
    """The constants of a policy; fields as in `policy.Policy`."""

    memory: Mapping[str, int]
    skip_blocked: bool
    tick_s: float | None
    prefix_view: PrefixView
    preemptive: bool
    dynamic_rank: bool
    engine_mode: str | None
    interval_s: float | None


def declarations(values: Mapping[str, Any], *, path: str, scales: bool) -> Declarations:
    """Check what a policy declares and fill in what it leaves out.

    Args:
        values: Name of a constant to its value; others than those of `policy.CONSTANTS` are not looked at.
        path: How messages call the file.
        scales: Whether it has the hook `scale`, and so an interval.

    Raises:
        InvalidPolicyError: If a value has the wrong type or is out of range.
    """
    interval_s = _seconds(values, "INTERVAL_S", MIN_INTERVAL_S, f"to be asked every {DEFAULT_INTERVAL_S:g} s", path)
    return Declarations(
        memory=_memory(values.get("MEMORY", {}), path),
        skip_blocked=_flag(values, "SKIP_BLOCKED", path),
        tick_s=_seconds(values, "TICK_S", MIN_TICK_S, "to be asked at the task's triggers only", path),
        prefix_view=cast(PrefixView, _one_of(values, "PREFIX_VIEW", PREFIX_VIEWS, path) or "none"),
        preemptive=_flag(values, "PREEMPTIVE", path),
        dynamic_rank=_flag(values, "DYNAMIC_RANK", path),
        engine_mode=_one_of(values, "ENGINE_MODE", tuple(MODES), path),
        interval_s=(DEFAULT_INTERVAL_S if interval_s is None else interval_s) if scales else None,
    )


def _memory(memory: Any, path: str) -> Mapping[str, int]:
    if not isinstance(memory, dict):
        raise InvalidPolicyError(f"{path}: MEMORY must be a dict of widths like {{'shared': 8}} (got {memory!r})")
    for table, width in memory.items():
        if table not in MEMORY_LIMITS:
            raise InvalidPolicyError(
                f"{path}: MEMORY has no table {table!r} (known: {', '.join(MEMORY_LIMITS)})"
                f"{did_you_mean(str(table), MEMORY_LIMITS)}"
            )
        if not isinstance(width, int) or isinstance(width, bool) or not 0 <= width <= MEMORY_LIMITS[table]:
            raise InvalidPolicyError(
                f"{path}: MEMORY[{table!r}] must be an integer from 0 to {MEMORY_LIMITS[table]}, "
                f"the number of float64 values in a row (got {width!r})"
            )
    return dict(memory)


def _flag(values: Mapping[str, Any], name: str, path: str) -> bool:
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise InvalidPolicyError(f"{path}: {name} must be True or False (got {value!r})")
    return value


def _seconds(values: Mapping[str, Any], name: str, least: float, left_out: str, path: str) -> float | None:
    if name not in values:
        return None
    value = values[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= MAX_PERIOD_S:
        raise InvalidPolicyError(
            f"{path}: {name} must be a number of seconds from {least:g} to {MAX_PERIOD_S} (got {value!r}); "
            f"leave it out {left_out}"
        )
    return float(value)


def _one_of(values: Mapping[str, Any], name: str, known: tuple[str, ...], path: str) -> str | None:
    if name not in values:
        return None
    value = values[name]
    if not isinstance(value, str) or value not in known:
        listed = ", ".join(map(repr, known))
        hint = did_you_mean(str(value), known)
        raise InvalidPolicyError(f"{path}: {name} must be one of {listed} (got {value!r}){hint}")
    return value
