"""The scenarios: frozen traces, rates, contexts, classes, shared content, and independence of keys, seeds and loads."""

import ast
import inspect
import time
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from glia_bench.case import Trace
from glia_bench.errors import InvalidSpecError
from glia_bench.workloads import (
    dialogue_scenarios,
    group_scenarios,
    mixed_scenarios,
    normal,
    open_scenarios,
    rate_processes,
    scenario,
    services,
    shared_content,
    variation,
)
from glia_bench.workloads.scenarios import SCENARIOS
from glia_bench.workloads.variation import Variation

GOLDEN = {
    "chat_steady": "e213deba178fd88e",
    "code_bursty": "85fb0d917154c96b",
    "chat_multiturn": "9a7f994d518f8793",
    "longctx_chat": "e29bfc062874620f",
    "reasoning_long_output": "fd14df83962d78a0",
    "agentic_coding": "993412aee1b2e204",
    "toolagent_shared_prompts": "106f34abb8433a8d",
    "flash_crowd": "2ff35f61cf5c8e60",
    "diurnal_day": "b5f88052452ca41e",
    "diurnal_day_12x": "1a2bc19ec31afb2d",
    "heavy_tail_mix": "d2e5f7d74b78f500",
    "multi_tenant_slo": "a9e93dc8d4ceb4ca",
    "workload_shift": "fd6ad1f4dfe9d711",
    "workload_shift_mild": "b070602d342e1893",
    "rag_hot_documents": "d1f0e9c686b935c1",
}
"""First 16 digits of the hash of each scenario's trace of seed 0, at its nominal rate over 600 s."""

DRIFTING = ("flash_crowd", "workload_shift", "workload_shift_mild")
"""What a request is depends on when it comes."""

SESSIONS = ("chat_multiturn", "longctx_chat", "agentic_coding")


def trace_of(
    name: str,
    seed: int = 0,
    *,
    key: str = "golden",
    load: float = 1.0,
    horizon_s: int = 600,
    variation: Variation = variation.PLAIN,
) -> Trace:
    """Return a trace at a fraction of the nominal rate."""
    rate_urps = round(SCENARIOS[name].nominal_rate_rps * load * 1_000_000)
    return SCENARIOS[name].trace(key, seed, rate_urps=rate_urps, horizon_s=horizon_s, variation=variation)


@pytest.mark.parametrize("name", SCENARIOS)
def test_traces_are_frozen(name: str) -> None:
    """Seed 0 gives the committed bytes on every platform, twice; another seed and another key give others."""
    found = trace_of(name).sha256
    assert found[:16] == GOLDEN[name]
    assert trace_of(name).sha256 == found
    assert len({found, trace_of(name, 1).sha256, trace_of(name, key="other").sha256}) == 3


def test_scenarios_share_no_draws() -> None:
    """Of one key and seed, chat and flash crowd have the same law of lengths, but not the same lengths."""
    one, other = (trace_of(name).output_tokens[:500] for name in ("chat_steady", "flash_crowd"))
    assert (one == other).mean() < 0.05


@pytest.mark.parametrize("name", SCENARIOS)
def test_rate_context_and_columns(name: str) -> None:
    """Requests come at the rate asked for (5 standard errors at a CV of 3), fit the context, and name known classes."""
    spec = SCENARIOS[name]
    horizon_s = min(spec.nominal_horizon_s, 3600)
    trace = trace_of(name, horizon_s=horizon_s)
    expected = spec.nominal_rate_rps * horizon_s
    assert len(trace) == pytest.approx(expected, abs=1 if name in SESSIONS else 5 * 3 * expected**0.5)
    assert trace.arrival_ps.min() >= 0
    assert trace.arrival_ps.max() < horizon_s * 10**12
    assert np.all(trace.arrival_ps % 10**6 == 0)
    assert (trace.prompt_tokens + trace.output_tokens).max() <= spec.max_request_tokens
    assert np.array_equal(trace.max_tokens, spec.max_request_tokens - trace.prompt_tokens)
    classes = {0} if trace.slo_class is None else set(trace.slo_class.tolist())
    assert classes == set(range(len(spec.slo_classes)))
    assert (1 if trace.tenant is None else len(set(trace.tenant.tolist()))) == spec.num_tenants
    assert (trace.block_ids is not None) == (spec.block_size_tokens > 0)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in (*DRIFTING, *SESSIONS)])
def test_the_load_leaves_lengths_as_they_are(name: str) -> None:
    """At half the rate the requests are the first half of those at the whole rate, tenant by tenant."""
    full, half = (trace_of(name, load=load, horizon_s=3600) for load in (1, 0.5))
    for tenant in range(SCENARIOS[name].num_tenants):
        few, many = (
            np.stack((t.prompt_tokens, t.output_tokens))[:, slice(None) if t.tenant is None else t.tenant == tenant]
            for t in (half, full)
        )
        num = min(few.shape[1], many.shape[1])
        assert num > 0
        assert np.array_equal(few[:, :num], many[:, :num])


@pytest.mark.parametrize("name", SESSIONS)
def test_the_load_leaves_sessions_as_they_are(name: str) -> None:
    """At half the rate the turns are among those at the whole rate, but for what is left of the last session."""
    full, half = (
        Counter(zip(t.prompt_tokens.tolist(), t.output_tokens.tolist(), strict=True))
        for t in (trace_of(name), trace_of(name, load=0.5))
    )
    assert (half - full).total() == 0


@pytest.mark.parametrize("name", SCENARIOS)
def test_lengths_vary_as_asked(name: str) -> None:
    """Mean tokens at a scale of 0.8 are 0.8 of the plain ones, within 3 per cent (contexts are cut less)."""
    plain, short = trace_of(name), trace_of(name, variation=Variation(length_permille=800))
    if name == "agentic_coding":  # its contexts are reset where they are full, so prompts do not scale
        assert short.output_tokens.mean() == pytest.approx(0.8 * plain.output_tokens.mean(), rel=0.03)
        return
    for column in ("prompt_tokens", "output_tokens"):
        assert getattr(short, column).mean() == pytest.approx(0.8 * getattr(plain, column).mean(), rel=0.03)


@pytest.mark.parametrize("burst_permille", [700, 1500])
@pytest.mark.parametrize("name", ["heavy_tail_mix", "toolagent_shared_prompts", "rag_hot_documents"])
def test_the_cv_of_gaps_varies_as_asked(name: str, burst_permille: int) -> None:
    """Renewals of CV 1.6 and 1.118 get gaps of the scaled CV within 5 per cent over 10,000 requests."""
    horizon_s = round(10_000 / SCENARIOS[name].nominal_rate_rps)
    trace = trace_of(name, horizon_s=horizon_s, variation=Variation(burst_permille=burst_permille))
    gaps = np.diff(trace.arrival_ps)
    plain = 1.6 if name == "heavy_tail_mix" else 1.118
    assert gaps.std() / gaps.mean() == pytest.approx(plain * burst_permille / 1000, rel=0.05)


@pytest.mark.parametrize("name", ["chat_steady", "code_bursty", "flash_crowd", "diurnal_day_12x", "multi_tenant_slo"])
def test_counts_vary_with_unevenness(name: str) -> None:
    """The variance of counts in 10 s is lower at 0.7 and higher at 1.5 than plain, by at least a tenth."""
    iods = []
    for permille in (700, 1000, 1500):
        trace = trace_of(name, horizon_s=3600, variation=Variation(burst_permille=permille))
        counts = np.bincount(trace.arrival_ps // 10**13, minlength=360)
        iods.append(counts.var() / counts.mean())
    assert iods[0] < 0.9 * iods[1] < 0.81 * iods[2]


@pytest.mark.parametrize("name", [name for name, spec in SCENARIOS.items() if spec.block_size_tokens])
def test_shared_content_is_a_tree(name: str) -> None:
    """Every block has one place and one block before it, so a parent and a shared length say all: none is lost."""
    trace = trace_of(name)
    assert trace.block_start is not None
    assert trace.block_ids is not None
    size = SCENARIOS[name].block_size_tokens
    rows = np.repeat(np.arange(len(trace)), np.diff(trace.block_start))
    place = np.arange(len(trace.block_ids)) - trace.block_start[rows]
    before = np.where(place == 0, -1, np.roll(trace.block_ids, 1))
    first = np.unique(trace.block_ids, return_index=True, return_inverse=True)
    assert np.array_equal(place, place[first[1]][first[2]])
    assert np.array_equal(before, before[first[1]][first[2]])
    assert np.all(np.diff(trace.block_start) * size <= trace.prompt_tokens + trace.output_tokens)
    rebuilt: list[list[int]] = []
    last_with: dict[int, int] = {}
    order = np.argsort(trace.arrival_ps, kind="stable").tolist()
    for child, row in enumerate(order):
        ids = trace.block_ids[trace.block_start[row] : trace.block_start[row + 1]].tolist()
        shared = next((k for k, block in enumerate(ids) if block not in last_with), len(ids))
        parent = last_with[ids[shared - 1]] if shared else -1
        assert parent < child
        assert shared <= len(ids)
        assert parent < 0 or shared <= len(rebuilt[parent])
        rebuilt.append((rebuilt[parent][:shared] if shared else []) + ids[shared:])
        assert rebuilt[-1] == ids
        last_with |= dict.fromkeys(ids, child)


def test_classes_of_the_heavy_tail_mix_have_their_shares() -> None:
    """Interactive 0.6, standard 0.25, longctx 0.15 of 20,000, within 5 standard errors; long prompts are longctx."""
    trace = trace_of("heavy_tail_mix", horizon_s=3600)
    assert trace.slo_class is not None
    shares = np.bincount(trace.slo_class) / len(trace)
    assert shares == pytest.approx([0.6, 0.25, 0.15], abs=0.018)
    means = [trace.prompt_tokens[trace.slo_class == place].mean() for place in range(3)]
    assert means[2] > 4 * max(means[:2])


def test_tenants_have_their_shares_and_classes() -> None:
    """Each tenant's share over two hours is the table's within 5 standard errors at its CV; its class is one."""
    trace = trace_of("multi_tenant_slo", horizon_s=7200)
    assert trace.tenant is not None
    assert trace.slo_class is not None
    for number, tenant in enumerate(mixed_scenarios.TENANTS):
        own = trace.tenant == number
        expected = tenant.share / 1e4 * 8 * 7200
        assert own.sum() == pytest.approx(expected, abs=5 * tenant.cv_permille / 1000 * expected**0.5)
        assert set(trace.slo_class[own].tolist()) == {tenant.slo_class}


@pytest.mark.parametrize(("name", "outputs"), [("workload_shift", (204, 63, 1353)), ("workload_shift_mild", None)])
def test_shifts_change_at_bounds_that_differ_by_seed(name: str, outputs: tuple[float, ...] | None) -> None:
    """Mean outputs well inside the phases are those described, within 15 per cent; no bound is at a known time."""
    trace = trace_of(name, horizon_s=5400)
    second = trace.arrival_ps // 10**12
    inside = [
        trace.output_tokens[(second >= a) & (second < b)].mean() for a, b in ((0, 990), (1410, 2190), (4410, 5400))
    ]
    if outputs:
        assert inside == pytest.approx(outputs, rel=0.15)
    else:
        assert inside == pytest.approx((202, 150, 770), rel=0.15)
    rates = {
        int(np.bincount(t.arrival_ps // 10**12, minlength=5400)[3000:4200].sum())
        for t in (trace_of(name, seed, horizon_s=5400) for seed in range(4))
    }
    assert len(rates) == 4


def test_the_crowd_shares_a_prompt_and_nobody_else_does() -> None:
    """At the height of the crowd 70 per cent (0.8 of 7/8) begin with the same 64 blocks; before it, nobody does."""
    trace = trace_of("flash_crowd", horizon_s=3600)
    assert trace.block_start is not None
    is_hot = np.diff(trace.block_start) > 0
    assert set(np.diff(trace.block_start).tolist()) == {0, 64}
    counts = np.bincount(trace.arrival_ps // 10**12, minlength=3600)
    middle = int(np.convolve(counts, np.ones(200), mode="valid").argmax())
    second = trace.arrival_ps // 10**12
    assert is_hot[(second >= middle) & (second < middle + 200)].mean() == pytest.approx(0.7, abs=0.03)
    assert not is_hot[second < middle - 100].any()
    assert trace.prompt_tokens[is_hot].min() > 1024


@pytest.mark.parametrize("name", SCENARIOS)
def test_generators_are_fast(name: str) -> None:
    """6,000 requests are drawn within 50 ms, the checks of a trace aside: best of 5, tables already read."""
    horizon_s = round(6000 / SCENARIOS[name].nominal_rate_rps)
    best = np.inf
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trace, "__post_init__", lambda self: None)
        for seed in range(5):
            begin = time.perf_counter()
            trace_of(name, seed, horizon_s=horizon_s)
            best = min(best, time.perf_counter() - begin)
    assert best < 0.05


@pytest.mark.parametrize(("rate_urps", "horizon_s"), [(0, 100), (5_000_000, 0), (1000, 10)])
def test_orders_without_a_request_are_refused(rate_urps: int, horizon_s: int) -> None:
    """A rate or a horizon of 0, and less than one expected request, are said to be impossible."""
    with pytest.raises(InvalidSpecError, match="at least one request is expected"):
        SCENARIOS["chat_steady"].trace("k", 0, rate_urps=rate_urps, horizon_s=horizon_s)


@pytest.mark.parametrize("name", SCENARIOS)
def test_tiny_traces_are_traces(name: str) -> None:
    """Some 20 requests over 2 s are drawn for each of 20 seeds, at every corner of the variation."""
    for seed in range(20):
        corner = Variation(length_permille=(800, 1250)[seed % 2], burst_permille=(700, 1500)[seed // 2 % 2])
        trace = SCENARIOS[name].trace("tiny", seed, rate_urps=20_000_000, horizon_s=2, variation=corner)
        assert len(trace) > 0


@pytest.mark.parametrize(
    "module",
    [
        *(dialogue_scenarios, group_scenarios, mixed_scenarios, normal, open_scenarios, rate_processes, scenario),
        *(services, shared_content, variation),
    ],
)
def test_no_floating_point_stands_between_seed_and_trace(module: object) -> None:
    """The generators' sources hold no division but `//`, and no number with a point but nominal rates."""
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]
    nominal = {
        id(word.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in node.keywords
        if word.arg == "nominal_rate_rps"
    }
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Div)
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float) and id(node) not in nominal)


def test_sources_are_named() -> None:
    """Every scenario says where it comes from and what is weaker; days of other speeds have other names."""
    assert all(spec.source and spec.weaker and spec.title for spec in SCENARIOS.values())
    assert all(one != other for one, other in pairwise(sorted(spec.title for spec in SCENARIOS.values())))
    assert open_scenarios.diurnal_day(24).name == "diurnal_day_24x"
