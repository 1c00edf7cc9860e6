"""What a policy is: a module of a few small pure functions, the hooks, and a few constants.

`HOOKS` is the table of all hooks of all tracks with the groups of features that they receive. A policy is loaded by
name (shipped) or from a path; its source is checked against the schema before anything runs. Compiling lives in
`sim/hooks.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Track: TypeAlias = Literal["routing", "scheduling", "autoscaling", "cluster"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One decision or event hook.

    Attributes:
        track: Where it belongs; `cluster` designs may combine the hooks of all tracks.
        parameters: What it receives, in order: names of feature groups, or `out`, `left`, and so on.
        returns: Its result, in words.
        meaning: What it decides, in one sentence.
        runs: Whether this version calls it.
    """

    track: Track
    parameters: tuple[str, ...]
    returns: str
    meaning: str
    runs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A loaded policy: its hooks as plain Python functions, its declarations, its source.

    Attributes:
        name: Shipped name, or the file's stem.
        track: Track that its hooks belong to.
        kind: "human", "published_ai", "null", ... as DESIGN kinds; "user" for a file.
        source: The file's text.
        sha256: Hash of the source.
        path: Where it was read from.
        hooks: Hook name to function.
        memory: Declared widths, e.g. {"shared": 8, "request": 2}.
        skip_blocked: SKIP_BLOCKED, default False.
        tick_s: TICK_S or None.
        fields_read: Every "group.field" that the source may read; None where the source cannot tell.
        is_shipped: Whether it is part of the distribution, and so may run in process.
        notes: Remarks for its author (hooks that this task ignores ...).
    """

    name: str
    track: Track
    kind: str
    source: str
    sha256: str
    path: str
    hooks: Mapping[str, Callable[..., Any]]
    memory: Mapping[str, int] = field(default_factory=dict)
    skip_blocked: bool = False
    tick_s: float | None = None
    fields_read: frozenset[str] | None = None
    is_shipped: bool = False
    notes: tuple[str, ...] = ()

    @property
    def needs_request_rows(self) -> bool:
        """Whether requests get rows of memory.request and memory.tag: if it declares some or may touch a tag."""
        tags = {"memory.tag", "request.tag"}
        return self.memory.get("request", 0) > 0 or self.fields_read is None or not tags.isdisjoint(self.fields_read)


HOOKS: dict[tuple[Track, str], Hook] = {
    ("routing", "route"): Hook(
        track="routing",
        parameters=("request", "replicas", "cluster", "memory"),
        returns="replica index | HOLD | REJECT",
        meaning="Where the request at the head of the held queue goes.",
        runs=True,
    ),
    ("routing", "rank"): Hook(
        track="routing",
        parameters=("request", "cluster", "memory"),
        returns="float, lower is sooner",
        meaning="Place of an arriving request in the held queue; ties by arrival.",
        runs=True,
    ),
    ("routing", "assign"): Hook(
        track="routing",
        parameters=("queue", "replicas", "cluster", "memory", "out"),
        returns="nothing; writes out[k] = replica index | HOLD | REJECT for queue row k",
        meaning="Decides for the whole held queue at once, in place of rank and route.",
        runs=True,
    ),
    ("routing", "on_dispatch"): Hook(
        track="routing",
        parameters=("request", "replica", "memory"),
        returns="nothing",
        meaning="Called right after a dispatch; `replica` is the replica index.",
        runs=True,
    ),
    ("routing", "on_first_token"): Hook(
        track="routing",
        parameters=("request", "replica", "memory"),
        returns="nothing",
        meaning="Called when a request's first output token arrives; `replica` is the replica index.",
        runs=True,
    ),
    ("routing", "on_finish"): Hook(
        track="routing",
        parameters=("request", "replica", "memory"),
        returns="nothing",
        meaning="Called when a request has finished; request.generated_tokens is now its output length.",
        runs=True,
    ),
    ("scheduling", "rank"): Hook(
        track="scheduling",
        parameters=("request", "replica", "memory"),
        returns="float, lower is sooner",
        meaning="Order of waiting requests; with PREEMPTIVE, of waiting and running ones.",
    ),
    ("scheduling", "admit"): Hook(
        track="scheduling",
        parameters=("request", "replica", "memory"),
        returns="bool",
        meaning="Whether the next request in order may be admitted now; False ends admission at this point.",
    ),
    ("scheduling", "evict_rank"): Hook(
        track="scheduling",
        parameters=("request", "replica", "memory"),
        returns="float, highest is preempted first",
        meaning="Who is preempted when a block is short.",
    ),
    ("scheduling", "tokens"): Hook(
        track="scheduling",
        parameters=("request", "replica", "left", "memory"),
        returns="int, tokens in this iteration; 0 pauses (decodes too)",
        meaning="Chunk size of a request given the budget left.",
    ),
    ("scheduling", "plan"): Hook(
        track="scheduling",
        parameters=("replica", "memory"),
        returns="(token_budget, max_running)",
        meaning="Budgets of the coming iterations, within the engine's own.",
    ),
    ("scheduling", "on_step"): Hook(
        track="scheduling",
        parameters=("replica", "memory"),
        returns="nothing",
        meaning="Called at scheduling points only.",
    ),
    ("autoscaling", "scale"): Hook(
        track="autoscaling",
        parameters=("window", "cluster", "memory"),
        returns="desired replicas: an integer, or one per pool",
        meaning="Desired size of each pool, every INTERVAL_S.",
    ),
    ("autoscaling", "drain_rank"): Hook(
        track="autoscaling",
        parameters=("replica", "memory"),
        returns="float, lowest is drained first",
        meaning="Which replica leaves when a pool shrinks.",
    ),
}
"""Every hook of every track; those with `runs` False are fixed in signature and called from the release that brings
their track."""
