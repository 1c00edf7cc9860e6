"""What a cluster is: engines, iteration times, pools of replicas, service classes. Frozen records, checked once.

Times are seconds where a person writes them and int64 picoseconds where a simulator reads them.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from glia_bench.errors import InvalidSpecError

Ints: TypeAlias = npt.NDArray[np.int64]
Order: TypeAlias = Literal["admission", "arrival"]
Trigger: TypeAlias = Literal["arrival", "completion", "restart", "capacity", "publication", "tick"]
PrefixView: TypeAlias = Literal["none", "own", "events", "truth"]

PS_PER_S = 1_000_000_000_000
MAX_REPLICAS = 4096
MAX_ROUTERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """Continuous-batching engine of one replica: its rules (a row of the mode table) and its sizes.

    Attributes:
        mode: Name of the rule set, for records and messages.
        order: Order of running requests: the last in it is preempted first. By admission or by original arrival.
        watermark: Share of the KV blocks that an admission must leave free (floor).
        admit_after_preemption: Whether an iteration that preempted may still admit.
        spare_block: Whether every decode requires one free block, needed or not (Vidur's code).
        chunked_prefill: Whether a prompt may be cut to the budget left; else it is prefilled whole.
        prefill_first: Whether an iteration that admits runs those prefills alone, decodes waiting.
        reserve_output: Whether admission takes the blocks of prompt plus max_tokens, so that nothing is ever preempted.
        padded_budget: Whether a batch of whole prompts counts as its number times its longest (Vidur's vLLM).
        prefix_caching: Whether computed blocks are kept and shared.
        token_budget: Most tokens in one iteration.
        max_running: Most requests that hold blocks.
        num_blocks: KV blocks of the replica.
        block_size_tokens: Tokens per block; a power of two.
    """

    mode: str
    order: Order
    watermark: float
    admit_after_preemption: bool
    spare_block: bool
    chunked_prefill: bool = True
    prefill_first: bool = False
    reserve_output: bool = False
    padded_budget: bool = False
    prefix_caching: bool = False
    token_budget: int
    max_running: int
    num_blocks: int
    block_size_tokens: int = 16

    def __post_init__(self) -> None:
        if self.order not in ("admission", "arrival"):
            raise InvalidSpecError(f"order must be 'admission' or 'arrival' (got {self.order!r})")
        if self.block_size_tokens < 1 or self.block_size_tokens & (self.block_size_tokens - 1):
            raise InvalidSpecError(f"block_size_tokens must be a positive power of two (got {self.block_size_tokens})")
        if not 0 <= self.watermark < 1:
            raise InvalidSpecError(f"watermark must be in [0, 1) (got {self.watermark})")
        if self.max_running < 1:
            raise InvalidSpecError(f"max_running must be at least 1 (got {self.max_running})")
        if self.token_budget <= self.max_running:
            raise InvalidSpecError(
                f"token_budget must exceed max_running, so that every decode gets its token "
                f"(got {self.token_budget} and {self.max_running})"
            )
        if self.num_blocks < 1:
            raise InvalidSpecError(f"num_blocks must be at least 1 (got {self.num_blocks})")
        if self.chunked_prefill and (self.prefill_first or self.padded_budget):
            raise InvalidSpecError("prefill_first and padded_budget belong to engines without chunked prefill")

    @property
    def watermark_blocks(self) -> int:
        """Blocks that an admission must leave free."""
        return int(self.watermark * self.num_blocks)

    @property
    def max_request_tokens(self) -> int:
        """Longest prompt plus output that an empty replica can always finish."""
        blocks = (self.num_blocks - self.watermark_blocks - self.spare_block) * self.block_size_tokens
        return blocks if self.chunked_prefill else min(blocks, self.token_budget)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatencyTable:
    """Iteration time in integers, affine in the context: picoseconds of n tokens of which D decodes.

    token_ps[n] + [D > 0] * (decode_ps[D] + context_ps[D] * K) + chunk_ps * (number of prefill chunks) + pair_ps * 2S.

    Attributes:
        name: GPU, model and source, for records.
        token_ps: Cost of n tokens in the batch, n = 0..token_budget; int64.
        context_ps: Per context token read by D decodes (K = sum of their contexts); int64, entry D, the last one
            holding for all larger D. One entry: the same for every D.
        pair_ps: Per unit of 2S = sum over prefill chunks of 2*chunk*cached + chunk^2.
        decode_ps: Decode attention of D decodes apart from the context; int64, entry D like context_ps.
        chunk_ps: Per prefill chunk.
    """

    name: str
    token_ps: Ints
    context_ps: Ints
    pair_ps: int
    decode_ps: Ints
    chunk_ps: int = 0

    def __post_init__(self) -> None:
        if self.token_ps.ndim != 1 or self.token_ps.dtype != np.int64 or len(self.token_ps) < 2:
            raise InvalidSpecError(f"token_ps of {self.name!r} must be a one-dimensional int64 array of at least 2")
        if np.any(self.token_ps[1:] <= 0):
            raise InvalidSpecError(f"token_ps of {self.name!r} must be positive")
        for column in ("context_ps", "decode_ps"):
            values = getattr(self, column)
            if values.ndim != 1 or values.dtype != np.int64 or len(values) < 1 or np.any(values < 0):
                raise InvalidSpecError(f"{column} of {self.name!r} must be one-dimensional int64, none below 0")
        if self.pair_ps < 0 or self.chunk_ps < 0:
            raise InvalidSpecError(f"pair_ps and chunk_ps of {self.name!r} must not be negative")

    @property
    def max_tokens(self) -> int:
        """Largest batch that the table covers."""
        return len(self.token_ps) - 1

    def decode_terms(self, num_decodes: int) -> tuple[int, int]:
        """Return decode_ps and context_ps of a number of decodes, at least 1."""
        fixed, slope = (int(a[min(num_decodes, len(a) - 1)]) for a in (self.decode_ps, self.context_ps))
        return fixed, slope

    def _parts(self) -> tuple[object, ...]:
        arrays = (self.token_ps, self.context_ps, self.decode_ps)
        return (self.name, self.pair_ps, self.chunk_ps, *(a.tobytes() for a in arrays))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LatencyTable):
            return NotImplemented
        return self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash((self.name, self.pair_ps, self.chunk_ps, len(self.token_ps)))


def affine_table(*, name: str, token_ps: Ints, context_ps: int, pair_ps: int) -> LatencyTable:
    """Return a table whose context costs the same whatever the number of decodes that read it."""
    slope, none = np.array([context_ps], dtype=np.int64), np.zeros(1, dtype=np.int64)
    return LatencyTable(name=name, token_ps=token_ps, context_ps=slope, decode_ps=none, pair_ps=pair_ps)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatencyGrid:
    """Iteration time looked up in grids of measurements: any form, at the price of one evaluation per iteration.

    Attributes:
        name: GPU, model and source, for records.
        packed: The grids as one int64 array, laid out by sim/latency_grid.py.
        max_tokens: Largest batch that the grids cover.
        max_decodes: Most decodes that they cover.
    """

    name: str
    packed: Ints
    max_tokens: int
    max_decodes: int

    def __post_init__(self) -> None:
        if self.packed.ndim != 1 or self.packed.dtype != np.int64 or len(self.packed) < 2:
            raise InvalidSpecError(f"packed of {self.name!r} must be a one-dimensional int64 array of at least 2")
        if self.max_tokens < 1 or self.max_decodes < 1:
            raise InvalidSpecError(f"grids of {self.name!r} must cover at least one token and one decode")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LatencyGrid):
            return NotImplemented
        return self.name == other.name and np.array_equal(self.packed, other.packed)

    def __hash__(self) -> int:
        return hash((self.name, len(self.packed)))


Latency: TypeAlias = LatencyTable | LatencyGrid


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """How long a new replica takes: from request to loading, and from loading to ready.

    Each start multiplies both by one factor, lognormal with median 1 and sigma `sigma_percent` / 100.
    """

    name: str
    provision_s: float
    load_s: float
    sigma_percent: int = 20

    def __post_init__(self) -> None:
        for field in ("provision_s", "load_s"):
            if not 0 <= getattr(self, field) <= 1e6:
                raise InvalidSpecError(f"{field} must be between 0 and 1e6 s (got {getattr(self, field)})")
        if not 0 <= self.sigma_percent <= 100:
            raise InvalidSpecError(f"sigma_percent must be between 0 and 100 (got {self.sigma_percent})")


NO_COLD_START = ColdStart(name="none", provision_s=0.0, load_s=0.0, sigma_percent=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """Equal replicas: of one GPU, model and engine.

    Attributes:
        name: For records and messages.
        num_replicas: Replicas that are ready when the run starts.
        min_replicas, max_replicas: Quota of an autoscaler; None = num_replicas.
        engine: The engine of each.
        latency: Their iteration times; reaches at least the engine's token budget.
        gpus_per_replica: GPUs that each holds; what GPU time is billed by.
        speed: Relative speed that policies see; 1 for the task's reference GPU.
        cold_start: What a new replica, or one that failed, waits for.
        drain_timeout_s: A draining replica gives its requests back to the router after this long.
    """

    num_replicas: int
    engine: EngineSpec
    latency: Latency
    name: str = "pool"
    min_replicas: int | None = None
    max_replicas: int | None = None
    gpus_per_replica: int = 1
    speed: float = 1.0
    cold_start: ColdStart = NO_COLD_START
    drain_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        if not 0 <= self.smallest <= self.num_replicas <= self.largest or self.largest < 1:
            raise InvalidSpecError(
                f"pool {self.name!r} must start within its quota: 0 <= min <= start <= max, max at least 1 "
                f"(got {self.smallest} <= {self.num_replicas} <= {self.largest})"
            )
        if self.latency.max_tokens < self.engine.token_budget:
            raise InvalidSpecError(
                f"latency table {self.latency.name!r} must reach the token budget {self.engine.token_budget} "
                f"(got {self.latency.max_tokens})"
            )
        if isinstance(self.latency, LatencyGrid) and self.latency.max_decodes < self.engine.max_running:
            raise InvalidSpecError(
                f"latency grids {self.latency.name!r} must reach max_running {self.engine.max_running} "
                f"(got {self.latency.max_decodes})"
            )
        if not 1 <= self.gpus_per_replica <= 1024:
            raise InvalidSpecError(f"gpus_per_replica must be between 1 and 1024 (got {self.gpus_per_replica})")
        if not (math.isfinite(self.speed) and self.speed > 0):
            raise InvalidSpecError(f"speed must be a positive number (got {self.speed})")
        if not 0 < self.drain_timeout_s <= 1e6:
            raise InvalidSpecError(f"drain_timeout_s must be above 0 and at most 1e6 (got {self.drain_timeout_s})")

    @property
    def smallest(self) -> int:
        """Fewest replicas that an autoscaler may ask for."""
        return self.num_replicas if self.min_replicas is None else self.min_replicas

    @property
    def largest(self) -> int:
        """Most replicas, and so the rows that the pool takes in replica arrays."""
        return self.num_replicas if self.max_replicas is None else self.max_replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class SloClass:
    """Latency objectives of a class of requests; inf where there is none.

    Attributes:
        name: For tables.
        ttft_s: Time to first token.
        tpot_s: Mean time per output token after the first.
        ttft_per_prompt_token_s: Added to ttft_s for every prompt token: long prompts may take longer.
        patience_s: A request that no engine has admitted this long after its arrival is given up by its client.
    """

    name: str = "default"
    ttft_s: float = math.inf
    tpot_s: float = math.inf
    ttft_per_prompt_token_s: float = 0.0
    patience_s: float = math.inf

    def __post_init__(self) -> None:
        for field in ("ttft_s", "tpot_s", "patience_s"):
            if not getattr(self, field) > 0:
                raise InvalidSpecError(f"{field} of class {self.name!r} must be above 0 (got {getattr(self, field)})")
        if not 0 <= self.ttft_per_prompt_token_s < math.inf:
            raise InvalidSpecError(f"ttft_per_prompt_token_s of class {self.name!r} must be at least 0 and finite")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """Pools of replicas behind one or more routers.

    Replicas are numbered pool by pool, each pool taking its `largest` rows; those that do not exist are not ready.

    Attributes:
        pools: At least one; all with the same block size and prefix caching.
        triggers: What starts a scan of the held queue; "tick" lets a design's TICK_S act.
        idle_hold_limit_s: An idle cluster with everything held for this long is a `bad_decision`.
        metrics_interval_s: Publication interval of engine metrics; 0 = always fresh.
        num_routers: Routers that share the arrivals and know nothing of each other.
        prefix_delay_s: Delay of KV events in the prefix view "events".
        prefix_views: Prefix views that a design may declare.
        window_lag_s: Age of the newest sample that an autoscaler sees; whole seconds.
        slo_classes: Classes by number; every request's `slo_class` is an index.
        num_tenants: Tenants of the workload.
        engine_modes: Modes that a design's ENGINE_MODE may choose; none: the engine is fixed.
    """

    pools: tuple[PoolSpec, ...]
    triggers: tuple[Trigger, ...] = ("arrival", "completion")
    idle_hold_limit_s: float = 60.0
    metrics_interval_s: float = 0.0
    num_routers: int = 1
    prefix_delay_s: float = 0.05
    prefix_views: tuple[PrefixView, ...] = ("own", "events")
    window_lag_s: int = 0
    slo_classes: tuple[SloClass, ...] = (SloClass(),)
    num_tenants: int = 1
    engine_modes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.pools:
            raise InvalidSpecError("a cluster needs at least one pool (got none)")
        if not 1 <= self.num_replicas <= MAX_REPLICAS:
            raise InvalidSpecError(f"a cluster needs 1 to {MAX_REPLICAS} replicas (got {self.num_replicas})")
        for field in ("block_size_tokens", "prefix_caching"):
            if len({getattr(pool.engine, field) for pool in self.pools}) > 1:
                raise InvalidSpecError(f"all pools must have the same {field}")
        if "arrival" not in self.triggers:
            raise InvalidSpecError("triggers must include 'arrival', or nothing would ever be routed")
        for field in ("metrics_interval_s", "prefix_delay_s", "idle_hold_limit_s"):
            if not 0 <= getattr(self, field) <= 1e6:
                raise InvalidSpecError(f"{field} must be between 0 and 1e6 (got {getattr(self, field)})")
        if 0 < self.metrics_interval_s < 0.001:
            raise InvalidSpecError(f"metrics_interval_s must be 0 or at least 0.001 (got {self.metrics_interval_s})")
        if not 1 <= self.num_routers <= MAX_ROUTERS:
            raise InvalidSpecError(f"num_routers must be between 1 and {MAX_ROUTERS} (got {self.num_routers})")
        if not 0 <= self.window_lag_s < 600:
            raise InvalidSpecError(f"window_lag_s must be a whole number from 0 to 599 (got {self.window_lag_s})")
        if not self.slo_classes:
            raise InvalidSpecError("slo_classes needs at least one class")
        names = [slo_class.name for slo_class in self.slo_classes]
        if len(set(names)) < len(names):
            raise InvalidSpecError(f"slo_classes must have different names (got {', '.join(names)})")
        if self.num_tenants < 1:
            raise InvalidSpecError(f"num_tenants must be at least 1 (got {self.num_tenants})")

    @property
    def num_replicas(self) -> int:
        """Rows of the replica arrays."""
        return sum(pool.largest for pool in self.pools)

    @property
    def pool_of(self) -> tuple[int, ...]:
        """Pool index of every replica row."""
        return tuple(k for k, pool in enumerate(self.pools) for _ in range(pool.largest))

    @property
    def is_elastic(self) -> bool:
        """Whether an autoscaler has anything to decide."""
        return any(pool.smallest < pool.largest for pool in self.pools)

    @property
    def block_size_tokens(self) -> int:
        """Tokens per KV block, the same in all pools."""
        return self.pools[0].engine.block_size_tokens

    @property
    def has_prefix_cache(self) -> bool:
        """Whether replicas share computed blocks."""
        return self.pools[0].engine.prefix_caching

    @property
    def max_request_tokens(self) -> int:
        """Longest prompt plus output that an empty replica of every pool can finish."""
        return min(pool.engine.max_request_tokens for pool in self.pools)


def uniform_cluster(
    *,
    num_replicas: int,
    engine: EngineSpec,
    latency: Latency,
    triggers: tuple[Trigger, ...] = ("arrival", "completion"),
    idle_hold_limit_s: float = 60.0,
) -> ClusterSpec:
    """Return a cluster of equal replicas, all there from the start, behind one router with fresh metrics."""
    pool = PoolSpec(num_replicas=num_replicas, engine=engine, latency=latency)
    return ClusterSpec(pools=(pool,), triggers=triggers, idle_hold_limit_s=idle_hold_limit_s)
