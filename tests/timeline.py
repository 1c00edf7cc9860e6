"""A few requests on a small cluster, for timelines that can be checked on paper.

Unless a test says otherwise an iteration with n tokens lasts 10 + n units, a block holds 4 tokens, and requests are
(arrival, prompt tokens, output tokens). A unit is a picosecond, or what the test says.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from glia_bench.case import Case, Trace
from glia_bench.cluster import ClusterSpec, EngineSpec, LatencyTable, PoolSpec, Trigger, uniform_cluster
from glia_bench.loading import policy_from_source
from glia_bench.policy import Policy, Track
from glia_bench.sim import modes
from glia_bench.sim.modes import MODES
from glia_bench.types import NEVER_PS, RunResult

Simulate: TypeAlias = Callable[..., RunResult]

FAST_SIMULATES_CLUSTERS = True
"""Whether timelines of schedulers, prefixes and clusters run on the fast simulator too, or on the reference alone."""

S = 10**12
MS = 10**9

TO_ZERO = """
def route(request, replicas, cluster, memory):
    return 0
"""
FIRST_READY = """
def route(request, replicas, cluster, memory):
    for k in range(cluster.num_replicas):
        if replicas.ready[k] == 1:
            return k
    return -1
"""


@functools.cache
def policy(source: str, track: Track = "routing") -> Policy:
    """Return the policy of a source, the same object every time."""
    return policy_from_source(source, name="timeline", path="<test>", track=track)


def ints(values: Sequence[int]) -> Any:
    """Return an int64 array."""
    return np.array(values, dtype=np.int64)


def line(token_budget: int, *, unit: int = 1, **terms: int) -> LatencyTable:
    """Return iteration times of 10 + n units, with further terms in units."""
    token_ps = unit * (10 + np.arange(token_budget + 1, dtype=np.int64))
    context, decode, pair, chunk = (unit * terms.get(name, 0) for name in ("context", "decode", "pair", "chunk"))
    return LatencyTable(
        name="10 + n",
        token_ps=token_ps,
        context_ps=ints([context]),
        decode_ps=ints([decode]),
        pair_ps=pair,
        chunk_ps=chunk,
    )


def run(
    simulate: Simulate,
    requests: Sequence[tuple[int, int, int]],
    *,
    source: str = TO_ZERO,
    track: Track = "routing",
    mode: str = "vllm_v1",
    replicas: int = 1,
    unit: int = 1,
    latency: LatencyTable | None = None,
    triggers: tuple[Trigger, ...] = ("arrival", "completion"),
    drain_s: float = 1000.0,
    sample_interval_s: float | None = None,
    pool: dict[str, Any] | None = None,
    cluster: dict[str, Any] | None = None,
    trace: Mapping[str, Sequence[int]] | None = None,
    case: dict[str, Any] | None = None,
    **engine_settings: Any,
) -> RunResult:
    """Run one small case; engine settings override a mode's rules and roomy sizes, other settings their defaults."""
    sizes = {"token_budget": 32, "max_running": 8, "num_blocks": 1000, "block_size_tokens": 4}
    spec = EngineSpec(mode=mode, **{**sizes, **MODES[mode], **engine_settings})
    if latency is None:
        latency = line(spec.token_budget, unit=unit)
    arrival, prompt, output = (ints(column) for column in zip(*requests, strict=True))
    columns = {"max_tokens": output} | {name: ints(column) for name, column in (trace or {}).items()}
    return simulate(
        Case(
            cluster=ClusterSpec(
                pools=(PoolSpec(num_replicas=replicas, engine=spec, latency=latency, **(pool or {})),),
                triggers=triggers,
                **(cluster or {}),
            ),
            trace=Trace(arrival_ps=unit * arrival, prompt_tokens=prompt, output_tokens=output, **columns),
            drain_s=drain_s,
            **(case or {}),
        ),
        policy(source, track),
        sample_interval_s=sample_interval_s,
    )


def column(result: RunResult, name: str, *, unit: int = 1) -> list[int]:
    """Return one column of the records as a list, times in units."""
    values = getattr(result.records, name).tolist()
    if unit > 1:
        assert all(value == NEVER_PS or value % unit == 0 for value in values)
    return [value if value == NEVER_PS else value // unit for value in values]


def contents(lists: Sequence[Sequence[int]]) -> dict[str, Sequence[int]]:
    """Return the two trace columns of the requests' block ids."""
    starts = np.cumsum([0, *(len(ids) for ids in lists)]).tolist()
    return {"block_start": starts, "block_ids": [x for ids in lists for x in ids]}


def small_case(
    num_requests: int = 3, *, num_replicas: int = 4, pool: dict[str, Any] | None = None, **settings: Any
) -> Case:
    """Return equal requests of 4 prompt and 2 output tokens, 5 ps apart; an iteration of n tokens lasts 10 + n ps."""
    engine = modes.engine("vllm_v1", token_budget=32, max_running=8, num_blocks=100, block_size_tokens=4)
    cluster = uniform_cluster(num_replicas=num_replicas, engine=engine, latency=line(32))
    if pool is not None:
        cluster = dataclasses.replace(cluster, pools=(dataclasses.replace(cluster.pools[0], **pool),))
    lengths = np.full(num_requests, 2, dtype=np.int64)
    arrival_ps = 5 * np.arange(num_requests, dtype=np.int64)
    trace = Trace(arrival_ps=arrival_ps, prompt_tokens=2 * lengths, output_tokens=lengths, max_tokens=lengths)
    return Case(cluster=cluster, trace=trace, **{"drain_s": 1.0, **settings})


def recording(calls: list[tuple[str, Any, Any]], **hooks: Callable[..., Any]) -> Policy:
    """Return a policy with request memory that writes down every event hook's call: name, request, replica."""

    def event_hook(name: str) -> Callable[..., None]:
        def hook(request: Any, replica: Any, memory: Any) -> None:
            calls.append((name, request, replica))

        return hook

    events = {name: event_hook(name) for name in ("on_dispatch", "on_first_token", "on_finish")}
    design = dataclasses.replace(policy(TO_ZERO), memory={"request": 1})
    return dataclasses.replace(design, routing={**design.routing, **events, **hooks})
