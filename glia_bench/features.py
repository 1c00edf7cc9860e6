"""The one schema of what a policy may see: every field with its dtype, unit, freshness and meaning, declared once.

The classes below are the declaration. Hooks receive them as NamedTuples, compiled and plain Python alike; `schema()`
reads the same annotations for the Gymnasium spaces, the policy reference page, the static policy check and the
question "which fields does this design read". Nothing here knows a true output length, a future arrival, the horizon,
the seed or the workload's name, and no field may be added that does.

Freshness of a field:
    fixed    set before the run, never changes;
    exact    the reader's own knowledge, true at this instant (a router's ledger, its clock, its queue);
    engine   reported by the replica: true at this instant where the task's `metrics_interval_s` is 0, else as of the
             last publication, `replicas.metrics_age_s` ago;
    granted  a service that a task may grant (length predictor, prefix view); neutral where it does not.
"""

from collections import namedtuple
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]
Freshness: TypeAlias = Literal["fixed", "exact", "engine", "granted"]

HOLD = -1
"""Answer of `route`: keep the request in the held queue until the next trigger."""
REJECT = -2
"""Answer of `route`: drop the request for good; it is charged as if unfinished."""


@dataclass(frozen=True, slots=True)
class F:
    """What an annotation says of a field beside its type: unit, freshness, meaning."""

    unit: str
    freshness: Freshness
    meaning: str


class Request(NamedTuple):
    """One request, as the hook that receives it may see it."""

    id: Annotated[int, F("-", "exact", "arrival counter of this run, from 0")]
    slot: Annotated[int, F("-", "exact", "its row of memory.request; recycled after on_finish; 0 without such memory")]
    tenant: Annotated[int, F("-", "fixed", "tenant number: its row of memory.tenant")]
    session: Annotated[int, F("-", "fixed", "its row of memory.session, or -1 outside a session")]
    turn: Annotated[int, F("-", "fixed", "turn within its session, from 0")]
    prompt_tokens: Annotated[int, F("tokens", "fixed", "length of the prompt")]
    max_tokens: Annotated[int, F("tokens", "fixed", "most output tokens that its client allows")]
    priority: Annotated[int, F("-", "fixed", "lower is sooner; 0 where a task has no priorities")]
    slo_class: Annotated[int, F("-", "fixed", "index of its SLO class")]
    generated_tokens: Annotated[int, F("tokens", "exact", "output tokens streamed so far")]
    restarts: Annotated[int, F("-", "exact", "preemptions by recompute so far")]
    computed_tokens: Annotated[int, F("tokens", "exact", "tokens of its prefill computed so far; 0 for routers")]
    cached_tokens: Annotated[int, F("tokens", "granted", "its prefix in the asking scheduler's cache; 0 for routers")]
    predicted_tokens: Annotated[float, F("tokens", "granted", "a length predictor's estimate of the output; 0 if none")]
    ttft_slo_s: Annotated[float, F("s", "fixed", "its TTFT objective; inf if none")]
    tpot_slo_s: Annotated[float, F("s", "fixed", "its TPOT objective; inf if none")]
    arrival_s: Annotated[float, F("s", "exact", "when it arrived, on the clock of cluster.now_s")]
    tag: Annotated[float, F("-", "exact", "what the router wrote to memory.tag[slot]; 0 before")]
    u: Annotated[
        tuple[float, float, float, float],
        F("-", "exact", "four uniforms in [0, 1) keyed by (policy seed, request id): a policy's only randomness"),
    ]


class Replicas(NamedTuple):
    """All replicas, one array per field, each of shape (num_replicas,), read-only."""

    ready: Annotated[IntArray, F("0/1", "exact", "1 if the replica takes requests")]
    state: Annotated[IntArray, F("-", "exact", "0 gone, 1 requested, 2 loading, 3 ready, 4 draining")]
    pool: Annotated[IntArray, F("-", "fixed", "pool that the replica belongs to")]
    waiting: Annotated[IntArray, F("requests", "engine", "requests in its waiting queue, preempted ones included")]
    running: Annotated[IntArray, F("requests", "engine", "requests that hold KV blocks")]
    waiting_tokens: Annotated[IntArray, F("tokens", "engine", "tokens that its waiting requests must prefill")]
    waiting_blocks: Annotated[IntArray, F("blocks", "engine", "KV blocks that its waiting requests need on admission")]
    allocated_blocks: Annotated[IntArray, F("blocks", "engine", "KV blocks held by running requests")]
    capacity_blocks: Annotated[IntArray, F("blocks", "fixed", "KV blocks of the replica")]
    max_running: Annotated[IntArray, F("requests", "fixed", "most requests that may hold KV blocks at once")]
    token_budget: Annotated[IntArray, F("tokens", "fixed", "most tokens in one iteration")]
    preemptions: Annotated[IntArray, F("-", "engine", "preemptions by recompute so far")]
    inflight: Annotated[IntArray, F("requests", "exact", "ledger: dispatched there and not finished")]
    inflight_prompt_tokens: Annotated[IntArray, F("tokens", "exact", "ledger: prompt tokens of those")]
    inflight_blocks: Annotated[IntArray, F("blocks", "exact", "ledger: KV blocks that those prompts commit")]
    inflight_tokens: Annotated[IntArray, F("tokens", "exact", "ledger: prompt plus streamed tokens of those")]
    unprefilled_tokens: Annotated[IntArray, F("tokens", "exact", "ledger: prompts whose first token is not yet seen")]
    prefix_hit_tokens: Annotated[IntArray, F("tokens", "granted", "cached prefix of this request; 0 without a cache")]
    speed: Annotated[FloatArray, F("-", "fixed", "relative speed; 1 for the task's reference GPU")]
    metrics_age_s: Annotated[FloatArray, F("s", "exact", "age of the engine fields")]


class Perf(NamedTuple):
    """Iteration-time model granted to policies: fixed + token*n + context*K + pair*S seconds."""

    fixed_s: Annotated[float, F("s", "fixed", "per iteration")]
    token_s: Annotated[float, F("s/token", "fixed", "per token in the batch")]
    context_token_s: Annotated[float, F("s/token", "fixed", "per context token read by decodes")]
    prefill_pair_s: Annotated[float, F("s/token^2", "fixed", "per pair of prefill attention")]
    relative_error: Annotated[float, F("-", "fixed", "largest relative error against the simulated times")]


class Inflight(NamedTuple):
    """A router's dispatched and unfinished requests, one array per field, in dispatch order, read-only."""

    replica: Annotated[IntArray, F("-", "exact", "where it runs")]
    prompt_tokens: Annotated[IntArray, F("tokens", "exact", "its prompt")]
    streamed_tokens: Annotated[IntArray, F("tokens", "exact", "output tokens seen so far")]
    dispatch_s: Annotated[FloatArray, F("s", "exact", "when it was dispatched")]
    first_token_s: Annotated[FloatArray, F("s", "exact", "when its first token came; inf before")]


class Cluster(NamedTuple):
    """The cluster as a whole."""

    now_s: Annotated[float, F("s", "exact", "the clock; its origin is random per seed")]
    num_replicas: Annotated[int, F("replicas", "exact", "length of the replica arrays")]
    num_held: Annotated[int, F("requests", "exact", "requests in the held queue, the considered one included")]
    num_routers: Annotated[int, F("routers", "fixed", "routers that share the arrivals")]
    router: Annotated[int, F("-", "fixed", "index of the router that asks")]
    block_size_tokens: Annotated[int, F("tokens", "fixed", "tokens per KV block")]
    metrics_interval_s: Annotated[float, F("s", "fixed", "publication interval of engine fields; 0 = always fresh")]
    perf: Annotated[Perf, F("-", "fixed", "linear iteration-time model with its error; of the first pool")]
    inflight: Annotated[Inflight, F("-", "exact", "this router's unfinished requests, in dispatch order")]


class Memory(NamedTuple):
    """A design's only state: zeroed float64 tables of the widths that it declares in MEMORY; hooks write in place."""

    shared: Annotated[FloatArray, F("-", "exact", "shape (width,)")]
    replica: Annotated[FloatArray, F("-", "exact", "shape (num_replicas, width)")]
    tenant: Annotated[FloatArray, F("-", "exact", "shape (num_tenants, width)")]
    session: Annotated[FloatArray, F("-", "exact", "shape (sessions, width); rows recycled")]
    request: Annotated[FloatArray, F("-", "exact", "shape (slots, width); row request.slot, recycled after on_finish")]
    tag: Annotated[FloatArray, F("-", "exact", "shape (slots,); in cluster tasks the scheduler sees it as request.tag")]


class Replica(NamedTuple):
    """One replica as its own batch scheduler sees it at a scheduling point: engine truth, always fresh."""

    id: Annotated[int, F("-", "fixed", "replica index")]
    now_s: Annotated[float, F("s", "exact", "the clock; its origin is random per seed")]
    waiting: Annotated[int, F("requests", "exact", "requests in the waiting set")]
    running: Annotated[int, F("requests", "exact", "requests that hold KV blocks")]
    free_blocks: Annotated[int, F("blocks", "exact", "KV blocks that nobody references")]
    capacity_blocks: Annotated[int, F("blocks", "fixed", "KV blocks of the replica")]
    decode_tokens: Annotated[int, F("tokens", "exact", "decodes in the batch: one token each")]
    context_tokens: Annotated[int, F("tokens", "exact", "context that those decodes read")]
    token_budget: Annotated[int, F("tokens", "fixed", "most tokens in one iteration")]
    max_running: Annotated[int, F("requests", "fixed", "most requests that may hold KV blocks")]
    block_size_tokens: Annotated[int, F("tokens", "fixed", "tokens per KV block")]
    perf: Annotated[Perf, F("-", "fixed", "linear iteration-time model with its error")]


class Window(NamedTuple):
    """The last 600 one-second samples per pool, newest last, shape (600, num_pools), with the scenario's lag."""

    arrivals: Annotated[FloatArray, F("requests/s", "engine", "arrivals")]
    arrival_tokens: Annotated[FloatArray, F("tokens/s", "engine", "prompt tokens arrived")]
    finished: Annotated[FloatArray, F("requests/s", "engine", "completions")]
    generated_tokens: Annotated[FloatArray, F("tokens/s", "engine", "output tokens")]
    held: Annotated[FloatArray, F("requests", "engine", "requests in the held queue")]
    waiting: Annotated[FloatArray, F("requests", "engine", "waiting requests, summed over ready replicas")]
    running: Annotated[FloatArray, F("requests", "engine", "running requests, summed over ready replicas")]
    kv_utilisation: Annotated[FloatArray, F("-", "engine", "allocated over capacity, mean over ready replicas")]
    ttft_s: Annotated[FloatArray, F("s", "engine", "mean TTFT of first tokens in the second; 0 if none")]
    tpot_s: Annotated[FloatArray, F("s", "engine", "mean TPOT of completions in the second; 0 if none")]
    ready: Annotated[FloatArray, F("replicas", "engine", "ready replicas")]
    loading: Annotated[FloatArray, F("replicas", "engine", "requested or loading replicas")]
    draining: Annotated[FloatArray, F("replicas", "engine", "draining replicas")]
    min_replicas: Annotated[IntArray, F("replicas", "fixed", "smallest size of each pool; shape (num_pools,)")]
    max_replicas: Annotated[IntArray, F("replicas", "fixed", "largest size of each pool; shape (num_pools,)")]
    desired: Annotated[IntArray, F("replicas", "exact", "size last asked for; shape (num_pools,)")]
    gpus_per_replica: Annotated[IntArray, F("GPUs", "fixed", "of each pool; shape (num_pools,)")]
    cold_start_s: Annotated[FloatArray, F("s", "fixed", "median time from request to ready; shape (num_pools,)")]


_namedtuple: Any = namedtuple
Queue: Any = _namedtuple("Queue", Request._fields)
"""The held queue for `assign`: the fields of `Request` as columns, one row per held request in arrival order; column
`u` has shape (num_held, 4)."""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One declared field: `group.name` with its dtype ("int64" or "float64"), unit, freshness and meaning."""

    group: str
    name: str
    dtype: str
    is_array: bool
    unit: str
    freshness: Freshness
    meaning: str


GROUPS: dict[str, Any] = {
    "request": Request,
    "replicas": Replicas,
    "cluster": Cluster,
    "memory": Memory,
    "perf": Perf,
    "inflight": Inflight,
    "replica": Replica,
    "window": Window,
}
"""Group name, as hooks call their parameter, to the class that declares it."""


def schema(group: str) -> tuple[FieldSpec, ...]:
    """Return the declared fields of a group, in declaration order.

    Raises:
        KeyError: If no group has this name.
    """
    specs = []
    for name, annotated in get_type_hints(GROUPS[group], include_extras=True).items():
        base, note = get_args(annotated)
        is_array = base in (IntArray, FloatArray)
        is_float = base in (float, FloatArray, Perf, Inflight) or get_origin(base) is tuple
        specs.append(
            FieldSpec(
                group=group,
                name=name,
                dtype="float64" if is_float else "int64",
                is_array=is_array,
                unit=note.unit,
                freshness=note.freshness,
                meaning=note.meaning,
            )
        )
    return tuple(specs)


INT_REPLICA_FIELDS: tuple[str, ...] = tuple(f.name for f in schema("replicas") if f.dtype == "int64")
"""Order of the rows of the kernel's int64 replica view."""
FLOAT_REPLICA_FIELDS: tuple[str, ...] = tuple(f.name for f in schema("replicas") if f.dtype == "float64")
"""Order of the rows of the kernel's float64 replica view."""
