"""Hypothesis strategies for whole clusters: pools, sessions, shared prefixes, impatient clients, faults, autoscaling.

Sizes are small on purpose, like those of `strategies`: every rule is met within a few dozen requests. Numbers come from
a drawn seed; what hypothesis shrinks are the switches.
"""

import functools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from cluster_policies import SOURCES
from hypothesis import strategies as st

from glia_bench.case import Case, Fault, Trace
from glia_bench.cluster import (
    ClusterSpec,
    ColdStart,
    EngineSpec,
    Latency,
    LatencyGrid,
    LatencyTable,
    PoolSpec,
    SloClass,
    Trigger,
)
from glia_bench.loading import policy_from_source
from glia_bench.policy import Policy
from glia_bench.sim.latency_grid import pack_vidur
from glia_bench.sim.modes import MODES

MS = 1_000_000_000
"""One millisecond in picoseconds."""
LONGEST = 40
"""Longest prompt plus output."""
ROW_COLUMNS = (
    "arrival_ps",
    "prompt_tokens",
    "output_tokens",
    "max_tokens",
    "tenant",
    "session",
    "turn",
    "think_ps",
    "priority",
    "slo_class",
)
"""Columns of the traces drawn here."""


@functools.cache
def policy(name: str) -> Policy:
    """Return a cluster policy of `SOURCES`, the same object every time, so that it is compiled once."""
    return policy_from_source(SOURCES[name], name=name, path="<test>", track="cluster")


def policies(*, without: tuple[str, ...] = ()) -> st.SearchStrategy[Policy]:
    """Draw one of the cluster policies."""
    return st.sampled_from([name for name in SOURCES if name not in without]).map(policy)


def fits(case: Case, policy: Policy) -> bool:
    """Return whether a design's ENGINE_MODE, if it names one, can serve a case: some prefill whole prompts only."""
    budget = min(pool.engine.token_budget for pool in case.cluster.pools)
    return policy.engine_mode is None or MODES[policy.engine_mode]["chunked_prefill"] or budget >= LONGEST + 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """Which parts of the simulator a drawn case uses."""

    prefixes: bool
    sessions: bool
    patience: bool
    stale: bool
    routers: bool
    faults: bool
    elastic: bool
    pools: bool


SWITCHES = st.builds(Switches, **dict.fromkeys(Switches.__slots__, st.booleans()))


def drawn_latency(rng: np.random.Generator, token_budget: int, max_running: int) -> Latency:
    """Return iteration times of a few milliseconds: on a grid of milliseconds, any table, or looked up."""
    kind = rng.choice(["line", "table", "grid"], p=[0.4, 0.4, 0.2])
    if kind == "grid":
        packed = pack_vidur(
            1 + np.cumsum(rng.integers(0, MS, token_budget + 1)),
            rng.integers(0, MS, (max_running + 1, 2)).cumsum(axis=1),
            rng.integers(0, MS, (2, LONGEST)).cumsum(axis=1),
        )
        return LatencyGrid(name="drawn", packed=packed, max_tokens=token_budget, max_decodes=max_running)
    token_ps: Any = MS * (int(rng.integers(1, 6)) + int(rng.integers(0, 2)) * np.arange(token_budget + 1))
    context_ps: Any = np.zeros(1, dtype=np.int64)
    decode_ps, pair_ps, chunk_ps = context_ps, 0, 0
    if kind == "table":
        token_ps = 1 + np.cumsum(rng.integers(0, MS, token_budget + 1))
        size = int(rng.integers(1, 5))
        context_ps, decode_ps = rng.integers(0, MS // 16, size), rng.integers(0, MS, size)
        pair_ps, chunk_ps = int(rng.integers(0, MS // 256)), int(rng.integers(0, MS))
    return LatencyTable(
        name="drawn",
        token_ps=token_ps,
        context_ps=context_ps,
        decode_ps=decode_ps,
        pair_ps=pair_ps,
        chunk_ps=chunk_ps,
    )


def drawn_engine(rng: np.random.Generator, *, block_size_tokens: int, prefixes: bool) -> EngineSpec:
    """Return an engine of a named mode with few blocks, enough for one request of the longest kind."""
    mode = str(rng.choice(sorted(MODES)))
    rules: dict[str, Any] = {**MODES[mode]}
    if rng.random() < 0.3:
        rules |= {
            "order": str(rng.choice(["admission", "arrival"])),
            "watermark": float(rng.choice([0.0, 0.1])),
            "admit_after_preemption": bool(rng.random() < 0.5),
            "spare_block": bool(rng.random() < 0.5),
        }
    max_running = int(rng.choice([1, 2, 4, 8]))
    is_cut = rules["chunked_prefill"] and rng.random() < 0.6
    smallest_budget = max_running + 1 if is_cut else LONGEST + 12
    spare = LONGEST + 12 + 2 * block_size_tokens
    return EngineSpec(
        mode=mode,
        prefix_caching=prefixes,
        token_budget=max(max_running + 1, smallest_budget + int(rng.integers(0, 20))),
        max_running=max_running,
        num_blocks=int((-(-spare // block_size_tokens) + rng.integers(0, 8)) * 1.12) + 1,
        block_size_tokens=block_size_tokens,
        **rules,
    )


def drawn_cluster(rng: np.random.Generator, on: Switches) -> ClusterSpec:
    """Return one or two pools behind one to three routers."""
    block_size_tokens = int(rng.choice([1, 4, 8]))
    pools = []
    for k in range(2 if on.pools else 1):
        engine = drawn_engine(rng, block_size_tokens=block_size_tokens, prefixes=on.prefixes)
        start = int(rng.integers(1, 4))
        times = rng.choice([0.0, 0.013, 0.4], 2)
        pools.append(
            PoolSpec(
                name=f"pool {k}",
                num_replicas=start,
                min_replicas=int(rng.integers(0, start + 1)) if on.elastic else None,
                max_replicas=start + int(rng.integers(0, 3)) if on.elastic else None,
                engine=engine,
                latency=drawn_latency(rng, engine.token_budget, engine.max_running),
                gpus_per_replica=int(rng.integers(1, 5)),
                speed=float(rng.choice([1.0, 0.5])),
                cold_start=ColdStart(name="drawn", provision_s=float(times[0]), load_s=float(times[1])),
                drain_timeout_s=float(rng.choice([0.011, 0.2, 5.0])),
            )
        )
    others: list[Trigger] = ["completion", "restart", "capacity", "publication", "tick"]
    patience_s = float(rng.choice([0.01, 0.05, 0.3])) if on.patience else float("inf")
    return ClusterSpec(
        pools=tuple(pools),
        triggers=("arrival", *(x for x in others if rng.random() < 0.7)),
        idle_hold_limit_s=float(rng.choice([0.5, 2.0])),
        metrics_interval_s=float(rng.choice([0.004, 0.05])) if on.stale else 0.0,
        num_routers=int(rng.integers(2, 4)) if on.routers else 1,
        prefix_delay_s=float(rng.choice([0.0, 0.003, 0.05])),
        prefix_views=("own", "events", "truth"),
        window_lag_s=int(rng.choice([0, 0, 1])),
        slo_classes=(
            SloClass(name="patient", ttft_s=0.5, tpot_s=0.05),
            SloClass(name="other", ttft_s=0.2, ttft_per_prompt_token_s=0.001, patience_s=patience_s),
        ),
        num_tenants=3,
        engine_modes=tuple(sorted(MODES)),
    )


def drawn_trace(rng: np.random.Generator, on: Switches, *, num: int, block_size_tokens: int) -> Trace:
    """Return requests that share prefixes, some of them turns of sessions; many arrive at one instant."""
    gap_ms = int(rng.choice([2, 20, 120]))
    num_clock = num if not on.sessions else max(1, num // 2)
    arrival_ps = np.cumsum(rng.integers(0, 2 * gap_ms + 1, num_clock) * (rng.random(num_clock) < 0.7)) * MS
    in_session = (rng.random(num_clock) < 0.6) & on.sessions
    session = np.where(in_session, np.cumsum(in_session) - 1, -1)
    turn = np.zeros(num_clock, dtype=np.int64)
    prompts = rng.integers(1, LONGEST // 2, num_clock).tolist()
    outputs = rng.integers(1, 12, num_clock).tolist()
    contents = [_content(rng, row, prompts[row] + outputs[row], block_size_tokens) for row in range(num_clock)]
    last = {int(s): row for row, s in enumerate(session) if s >= 0}
    sessions, turns = session.tolist(), turn.tolist()
    for _ in range(num - num_clock):
        open_rows = [row for row in last.values() if prompts[row] + outputs[row] <= LONGEST - 3]
        if not open_rows:
            break
        before = int(rng.choice(open_rows))
        history = prompts[before] + outputs[before]
        row = len(prompts)
        prompts.append(history + int(rng.integers(0, 3)))
        outputs.append(int(rng.integers(1, min(8, LONGEST - prompts[row]) + 1)))
        sessions.append(sessions[before])
        turns.append(turns[before] + 1)
        whole = _content(rng, row, prompts[row] + outputs[row], block_size_tokens)
        kept = contents[before][: history // block_size_tokens]
        contents.append(kept + whole[len(kept) :])
        last[sessions[row]] = row
    num = len(prompts)
    later = np.full(num - num_clock, arrival_ps[-1])
    starts = np.cumsum([0, *(len(content) for content in contents)])
    output_tokens = np.array(outputs, dtype=np.int64)
    return Trace(
        arrival_ps=np.concatenate([arrival_ps, later]).astype(np.int64),
        prompt_tokens=np.array(prompts, dtype=np.int64),
        output_tokens=output_tokens,
        max_tokens=np.minimum(output_tokens + rng.integers(0, 9, num), LONGEST + 12 - np.array(prompts)),
        tenant=rng.integers(0, 3, num),
        session=np.array(sessions, dtype=np.int64),
        turn=np.array(turns, dtype=np.int64),
        think_ps=rng.integers(0, 60, num) * MS * (rng.random(num) < 0.7),
        priority=rng.integers(0, 3, num),
        slo_class=rng.integers(0, 2, num),
        block_start=starts.astype(np.int64) if on.prefixes else None,
        block_ids=np.array([x for content in contents for x in content], dtype=np.int64) if on.prefixes else None,
    )


def _content(rng: np.random.Generator, row: int, tokens: int, block_size_tokens: int) -> list[int]:
    """Return ids of the leading blocks of a request: shared with its group up to a point, its own from there."""
    num = int(rng.integers(0, tokens // block_size_tokens + 1))
    group, shared = int(rng.integers(0, 3)), int(rng.integers(0, 8))
    return [1000 * group + b if b < shared else 1000 * (row + 3) + b for b in range(num)]


def drawn_case(seed: int, on: Switches, *, num: int) -> Case:
    """Return a whole case of a seed."""
    rng = np.random.default_rng(seed)
    cluster = drawn_cluster(rng, on)
    trace = drawn_trace(rng, on, num=num, block_size_tokens=cluster.block_size_tokens)
    last_s = int(trace.arrival_ps[trace.num_clock - 1]) / 1e12
    faults = []
    for _ in range(int(rng.integers(1, 6)) if on.faults else 0):
        kind: Literal["fail", "slow"] = "fail" if rng.random() < 0.5 else "slow"
        time_s = round(float(rng.random()) * (last_s + 0.1), int(rng.integers(1, 5)))
        replica, factor = int(rng.integers(0, cluster.num_replicas)), float(rng.choice([0.5, 2.0, 1.333]))
        duration_s = float(rng.choice([0.0, 0.02, 0.5]))
        faults.append(Fault(time_s=time_s, replica=replica, kind=kind, duration_s=duration_s, factor=factor))
    return Case(
        cluster=cluster,
        trace=trace,
        drain_s=float(rng.choice([20.0, 3.0, 0.05])) if not on.elastic else float(rng.choice([3.5, 0.3])),
        clock_offset_ps=int(rng.choice([0, 123_456_789_012_345])),
        policy_seed=int(rng.integers(0, 5)),
        scenario_seed=int(rng.integers(0, 2**63)),
        faults=tuple(faults),
        predicted_tokens=rng.integers(0, 20, len(trace)) if rng.random() < 0.5 else None,
    )


def cases(*, num: int = 30) -> st.SearchStrategy[Case]:
    """Draw whole cases of so many requests."""
    return st.builds(drawn_case, st.integers(0, 2**32 - 1), SWITCHES, num=st.just(num))
