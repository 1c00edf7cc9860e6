"""What a policy is: a module of a few small pure functions, the hooks, and a few constants.

`HOOKS` is the table of all hooks with the groups of features that they receive, `CONSTANTS` the table of what a policy
may declare. A policy is loaded by name (shipped) or from a path; its source is checked against the schema before
anything runs. Compiling lives in `sim/hooks.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from glia_bench.cluster import PrefixView
from glia_bench.tunables import Tunable

Track: TypeAlias = Literal["routing", "scheduling", "autoscaling", "cluster"]

TRACKS: tuple[Track, ...] = ("routing", "scheduling", "autoscaling", "cluster")
"""All tracks. A design for one of the first three has that track's hooks alone; a cluster design may have any."""
WRITTEN_IN_CLUSTER: dict[tuple[Track, str], str] = {("scheduling", "rank"): "schedule_rank"}
"""Hooks that a cluster design writes under another name, because the router has one of theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One decision or event hook.

    Attributes:
        parameters: What it receives, in order: names of feature groups, or `out`, `left`, and so on. `replica` is the
            group of that name, but for the router's event hooks: those get the replica's index.
        returns: Its result, in words.
        meaning: What it decides, in one sentence.
    """

    parameters: tuple[str, ...]
    returns: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """One constant that a policy may declare for the simulator.

    Attributes:
        track: Whose designs may declare it (and cluster designs); None: all.
        default: What holds where it is left out, in words.
        meaning: What it does and what it may be.
    """

    track: Track | None
    default: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A loaded policy: its hooks as plain Python functions, its declarations, its source.

    Attributes:
        name: Shipped name, or the file's stem.
        track: Track that it was loaded for.
        kind: "human", "published_ai", "null", ... as DESIGN kinds; "user" for a file.
        source: The file's text.
        sha256: Hash of the source.
        path: Where it was read from.
        weights: Content of its weights file; empty: it has none.
        routing: Hook name to function, of the router's hooks; empty: the default router.
        scheduling: Likewise of the batch scheduler; `rank` by this name, however it is written in the file.
        autoscaling: Likewise of the autoscaler.
        memory: Declared widths, e.g. {"shared": 8, "request": 2}.
        skip_blocked: SKIP_BLOCKED.
        tick_s: TICK_S or None.
        prefix_view: PREFIX_VIEW.
        preemptive: PREEMPTIVE.
        dynamic_rank: DYNAMIC_RANK.
        engine_mode: ENGINE_MODE or None: the task's.
        interval_s: INTERVAL_S of a design with `scale`, else None.
        fields_read: Every "group.field" that the source may read; None where the source cannot tell.
        tunable: Constants that its author would try other values of.
        is_shipped: Whether it is a module of the distribution as it is, whose compiled code is kept and not checked.
        notes: Remarks for its author (hooks that are never called ...).
    """

    name: str
    track: Track
    kind: str
    source: str
    sha256: str
    path: str
    weights: bytes = b""
    routing: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    scheduling: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    autoscaling: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    skip_blocked: bool = False
    tick_s: float | None = None
    prefix_view: PrefixView = "none"
    preemptive: bool = False
    dynamic_rank: bool = False
    engine_mode: str | None = None
    interval_s: float | None = None
    fields_read: frozenset[str] | None = None
    tunable: tuple[Tunable, ...] = ()
    is_shipped: bool = False
    notes: tuple[str, ...] = ()

    @property
    def needs_request_rows(self) -> bool:
        """Whether requests get rows of memory.request and memory.tag: if it declares some or may touch a tag."""
        tags = {"memory.tag", "request.tag"}
        return self.memory.get("request", 0) > 0 or self.fields_read is None or not tags.isdisjoint(self.fields_read)

    @property
    def hooks(self) -> Mapping[str, Callable[..., Any]]:
        """Interim: the router's hooks, until their last user asks for `routing`."""
        return self.routing


HOOKS: dict[tuple[Track, str], Hook] = {
    ("routing", "route"): Hook(
        parameters=("request", "replicas", "cluster", "memory"),
        returns="replica index | HOLD | REJECT",
        meaning="Where the request at the head of the held queue goes.",
    ),
    ("routing", "rank"): Hook(
        parameters=("request", "cluster", "memory"),
        returns="float, lower is sooner",
        meaning="Place of an arriving request in the held queue; ties by arrival.",
    ),
    ("routing", "assign"): Hook(
        parameters=("queue", "replicas", "cluster", "memory", "out"),
        returns="nothing; writes out[k] = replica index | HOLD | REJECT for queue row k",
        meaning="Decides for the whole held queue at once, in place of rank and route.",
    ),
    ("routing", "on_dispatch"): Hook(
        parameters=("request", "replica", "memory"),
        returns="nothing",
        meaning="Called right after a dispatch; `replica` is the replica index.",
    ),
    ("routing", "on_first_token"): Hook(
        parameters=("request", "replica", "memory"),
        returns="nothing",
        meaning="Called when a request's first output token arrives; `replica` is the replica index.",
    ),
    ("routing", "on_finish"): Hook(
        parameters=("request", "replica", "memory"),
        returns="nothing",
        meaning="Called when a request has finished; request.generated_tokens is now its output length.",
    ),
    ("scheduling", "rank"): Hook(
        parameters=("request", "replica", "memory"),
        returns="float, lower is sooner",
        meaning="Order of waiting requests; with PREEMPTIVE, of waiting and running ones.",
    ),
    ("scheduling", "admit"): Hook(
        parameters=("request", "replica", "memory"),
        returns="bool",
        meaning="Whether the next request in order may be admitted now; False ends admission at this point.",
    ),
    ("scheduling", "evict_rank"): Hook(
        parameters=("request", "replica", "memory"),
        returns="float, highest is preempted first",
        meaning="Who is preempted when a block is short.",
    ),
    ("scheduling", "tokens"): Hook(
        parameters=("request", "replica", "left", "memory"),
        returns="int, tokens in this iteration; 0 pauses (decodes too)",
        meaning="Chunk size of a request given the budget left.",
    ),
    ("scheduling", "plan"): Hook(
        parameters=("replica", "memory"),
        returns="(token_budget, max_running)",
        meaning="Budgets of the coming iterations, within the engine's own.",
    ),
    ("scheduling", "on_step"): Hook(
        parameters=("replica", "memory"),
        returns="nothing",
        meaning="Called at scheduling points only.",
    ),
    ("autoscaling", "scale"): Hook(
        parameters=("window", "cluster", "memory"),
        returns="int, replicas of the one pool | tuple of ints, replicas of each pool",
        meaning="Desired size of each pool, asked every INTERVAL_S.",
    ),
    ("autoscaling", "drain_rank"): Hook(
        parameters=("replica", "memory"),
        returns="float, lowest is drained first",
        meaning="Which replica leaves when a pool shrinks.",
    ),
}
"""Every hook, by the track that it belongs to and its name there."""

CONSTANTS: dict[str, Constant] = {
    "MEMORY": Constant(
        track=None,
        default="`{}`",
        meaning='widths of the memory tables, e.g. `{"shared": 8, "request": 2}`',
    ),
    "TUNABLE": Constant(
        track=None,
        default="`{}`",
        meaning='constants of the file that `run --tune` may change, with their ranges, e.g. `{"THETA": (0.5, 0.99), '
        '"GROWTH_BLOCKS": (0, 16), "PATIENCE_S": (1.0, 600.0, "log")}`',
    ),
    "WEIGHTS": Constant(
        track=None,
        default="none",
        meaning="SHA-256 of the .npz file of the same stem beside it; its arrays are the names that the text annotates "
        "without a value (`w1: FloatArray`)",
    ),
    "SKIP_BLOCKED": Constant(
        track="routing",
        default="`False`",
        meaning="after a `HOLD`, go on with the next request of the queue",
    ),
    "TICK_S": Constant(
        track="routing",
        default="none",
        meaning="0.01 to 3600 s: scan at multiples of it too, while requests are held, if the task ticks",
    ),
    "PREFIX_VIEW": Constant(
        track="routing",
        default='`"none"`',
        meaning='`"own"`, `"events"` or `"truth"`, where granted: the view that `replicas.prefix_hit_tokens` is of',
    ),
    "PREEMPTIVE": Constant(
        track="scheduling",
        default="`False`",
        meaning="a waiting request takes the place of a running one of higher `rank` if it finds no other",
    ),
    "DYNAMIC_RANK": Constant(
        track="scheduling",
        default="`False`",
        meaning="ask `rank` anew at every scheduling point, not once when a request begins to wait; slower",
    ),
    "ENGINE_MODE": Constant(
        track="scheduling",
        default="the task's",
        meaning="the engine's rules, by the name of their mode, where the task allows a choice",
    ),
    "INTERVAL_S": Constant(
        track="autoscaling",
        default="`15.0`",
        meaning="1 to 3600 s: `scale` is asked at multiples of it",
    ),
}
"""Every constant that the benchmark reads; all others are a policy's own."""


def hooks_of(track: Track) -> dict[str, tuple[Track, str]]:
    """Return what a design for a track may write: the function's name, to the hook that it is in `HOOKS`."""
    if track != "cluster":
        return {name: (of, name) for of, name in HOOKS if of == track}
    return {WRITTEN_IN_CLUSTER.get(hook, hook[1]): hook for hook in HOOKS}


def constants_of(track: Track) -> tuple[str, ...]:
    """Return the constants that a design for a track may declare."""
    return tuple(name for name, constant in CONSTANTS.items() if track == "cluster" or constant.track in (None, track))
