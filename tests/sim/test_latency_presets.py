"""Formula presets: against the formula in floating point, their sources and errors, heads, and memory for KV blocks."""

import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from glia_bench.errors import InvalidSpecError
from glia_bench.sim.kv_capacity import kv_capacity_blocks, weight_bytes
from glia_bench.sim.latency import PRESETS, latency_table, linear_perf
from glia_bench.sim.latency_formula import formula_table, measured_attention_of
from glia_bench.sim.latency_parts import GPUS, MODELS, Formula

FORMULAS = {name: preset for name, preset in PRESETS.items() if isinstance(preset, Formula)}


def formula_s(preset: Formula, n: int) -> float:
    """Seconds of n tokens without attention, in floating point, term by term."""
    model, tp = preset.model, preset.tp
    heads, kv_heads = model.heads / tp, model.kv_heads / tp
    bandwidth, flops = preset.gpu.bandwidth_bytes_per_s, preset.gpu.flop_per_s
    weights = model.hidden * model.head_size * (heads + 2 * kv_heads) + heads * model.head_size * model.hidden
    weights += 3 * model.hidden * model.ffn / tp
    moved = 6 * model.hidden + ((model.heads + 2 * model.kv_heads) * model.head_size + 3 * model.ffn) / tp
    s = float(preset.sharpness)
    read = 2 * weights / (float(preset.bandwidth_share) * bandwidth)
    compute = 2 * weights * n / (float(preset.compute_share) * flops)
    layer = float(preset.layer_s) + (read**s + compute**s) ** (1 / s)
    layer += 2 * moved * n / (0.8 * bandwidth) + float(preset.token_s) * n
    if preset.all_reduce is not None:
        message = 2 * model.hidden * n
        layer += 2 * (float(preset.all_reduce.call_s) + 2 * message / preset.all_reduce.bytes_per_s)
    head = 2 * model.hidden * model.vocabulary / tp / (float(preset.bandwidth_share) * bandwidth)
    return model.layers * layer + head * preset.lm_head


@pytest.mark.parametrize("name", FORMULAS)
def test_tables_follow_the_formula(name: str) -> None:
    """Every table entry is within 0.01 % of the formula in floating point, and never falls."""
    table = latency_table(name, token_budget=8192)
    for n in (*range(1, 80), *range(80, 8193, 97), 8192):
        assert table.token_ps[n] * 1e-12 == pytest.approx(formula_s(FORMULAS[name], n), rel=1e-4)
    assert np.all(np.diff(table.token_ps[1:]) > 0)


# measured rows of the profiles, one layer, ms: the sum of the nine operators
@pytest.mark.parametrize(
    ("name", "tokens", "layer_ms"),
    [("a100-llama3-8b", 1, 0.303), ("a100-llama3-70b-tp8", 1, 0.1785), ("h100-llama2-7b", 1, 0.175)],
)
def test_one_token_takes_about_the_measured_time(name: str, tokens: int, layer_ms: float) -> None:
    """Reading all weights for one token is met within 5 %."""
    preset = replace(FORMULAS[name], lm_head=False, all_reduce=None if FORMULAS[name].tp == 1 else FREE)
    table = formula_table(preset, name=name, token_budget=1, scale=Fraction(1))
    assert table.token_ps[tokens] / 1e9 / preset.model.layers == pytest.approx(layer_ms, rel=0.05)


FREE = replace(FORMULAS["a100-llama3-8b-tp2"].all_reduce, call_s=Decimal(0), bytes_per_s=10**18)  # type: ignore[type-var]


def test_decode_attention_depends_on_the_number_of_decodes() -> None:
    """Measured lines are met at measured batches and joined in between; beyond the last it holds."""
    table = latency_table("a100-llama3-8b-tp4", token_budget=2048)
    lines = dict((d, (fixed, fs)) for d, fixed, fs in measured_attention_of(FORMULAS["a100-llama3-8b-tp4"])["decode"])
    for decodes in (1, 32, 1024):
        fixed, slope_fs = lines[decodes]
        assert table.decode_terms(decodes) == (32 * fixed, round(32 * slope_fs / 1000))
    middle = [(a + b) / 2 for a, b in zip(table.decode_terms(32), table.decode_terms(64), strict=True)]
    assert table.decode_terms(48) == pytest.approx(tuple(middle), abs=1)
    assert table.decode_terms(2000) == table.decode_terms(1024)
    # one request does not fill the GPU: a token of its context costs twice what one of 128 requests costs
    assert table.decode_terms(1)[1] > 2 * table.decode_terms(128)[1]


def test_attention_by_shares_has_the_hand_computed_cost() -> None:
    """131,072 B per token at 0.81724 of 2.039 TB/s = 78.66 ns; 262,144 FLOP at 0.40668 of 312 TFLOP/s = 2.066 ns."""
    table = latency_table("a100-llama3-8b-vidur", token_budget=8)
    assert (table.context_ps.tolist(), table.decode_ps.tolist()) == ([78_658], [0])
    assert (table.pair_ps, table.chunk_ps) == (2066, 0)


@pytest.mark.parametrize("name", PRESETS)
def test_times_scale(name: str) -> None:
    """Twice the scale is twice every time, to the rounding of a picosecond."""
    one, two = (latency_table(name, token_budget=64, time_scale=scale) for scale in (1.0, 2.0))
    assert np.abs(two.token_ps - 2 * one.token_ps).max() <= 1
    for a, b in ((one.context_ps, two.context_ps), (one.decode_ps, two.decode_ps)):
        assert np.abs(b - 2 * a).max() <= 1
    assert abs(two.pair_ps - 2 * one.pair_ps) <= 1


def test_formula_tables_are_frozen() -> None:
    """Sums of every formula table are committed: a change is a new version of every task on it, on any CPU."""
    path = resources.files("glia_bench.sim") / "tables" / "attention.json"
    assert json.loads(path.read_text())["licence"] == "Apache-2.0"
    sums = {}
    for name in FORMULAS:
        table = latency_table(name, token_budget=4096)
        sums[name] = (*(int(a.sum()) for a in (table.token_ps, table.decode_ps, table.context_ps)), table.pair_ps)
    assert sums == GOLDEN


GOLDEN = {
    "a40-llama2-7b": (1074053633063075, 400000000, 865848, 3891),
    "a40-llama3-8b": (1161715131143949, 400000000, 216462, 3891),
    "a40-llama2-70b-tp4": (5127933315870546, 1000000000, 135289, 4864),
    "a100-llama2-7b": (547993087582718, 640007464320, 72689367, 1896),
    "a100-llama3-8b": (588977230961385, 323878116048, 19585455, 1776),
    "a100-llama3-8b-tp2": (353878320027255, 671543189344, 19811020, 981),
    "a100-llama3-8b-tp4": (234212253600718, 1372549628592, 19986010, 525),
    "a100-llama3-70b-tp2": (2977635521697511, 622069318136, 26813510, 4509),
    "a100-llama3-70b-tp4": (1774103144373125, 1218871706376, 27912852, 2319),
    "a100-llama3-70b-tp8": (1173853842043683, 1723160228608, 27162616, 1280),
    "h100-llama2-7b": (181394812863199, 784892781968, 36302419, 569),
    "h100-llama3-8b": (196299848444397, 960351409408, 18576364, 486),
    "h100-llama2-70b-tp4": (713690997036765, 2959308395264, 24796273, 561),
    "a100-llama3-8b-vidur": (680807249674839, 0, 78658, 2066),
}


def test_presets_name_source_licence_and_error() -> None:
    """Every preset says where its numbers come from; every measured one how far off it is."""
    for name, preset in PRESETS.items():
        assert "Vidur" in preset.source
        assert preset.licence.startswith("MIT")
        if isinstance(preset, Formula):
            errors = preset.linear_mape_percent, preset.iteration_mape_percent
            is_transferred = "same GPU" in preset.source
            assert (errors == (None, None)) == is_transferred, name
            assert max(error or 0.0 for error in errors) <= 10
            if preset.attention is None:
                lines = measured_attention_of(preset)
                assert max(lines["decode_mape_percent"], lines["prefill_mape_percent"]) < 20, name


@pytest.mark.parametrize("name", PRESETS)
def test_granted_lines_say_how_far_off_they_are(name: str) -> None:
    """Every preset's line is fitted with no negative term and an error below 100 %."""
    perf = linear_perf(latency_table(name, token_budget=2048))
    assert min(perf[:4]) >= 0
    assert perf.fixed_s > 0
    assert 0 < perf.relative_error < 0.5


def test_tp_must_divide_the_heads() -> None:
    """TP 3 cuts no model's heads; KV heads may be repeated, but only evenly."""
    with pytest.raises(InvalidSpecError, match="TP 3 does not divide the model's 32 attention heads"):
        replace(FORMULAS["a100-llama3-8b-tp2"], tp=3)
    with pytest.raises(InvalidSpecError, match="TP 0 does not divide"):
        MODELS["llama3-8b"].heads_on(0)
    assert MODELS["llama3-8b"].heads_on(16) == (2, 1)
    with pytest.raises(InvalidSpecError, match="TP 12 does not divide the model's 8 KV heads"):
        replace(MODELS["llama3-8b"], heads=48).heads_on(12)
    with pytest.raises(InvalidSpecError, match="TP 2 needs the time of an all-reduce"):
        replace(FORMULAS["a100-llama3-8b-tp2"], all_reduce=None)


# billions of parameters as published
@pytest.mark.parametrize(
    ("model", "billions"), [("llama2-7b", 6.74), ("llama3-8b", 8.03), ("llama2-70b", 68.98), ("llama3-70b", 70.55)]
)
def test_weights_are_the_models(model: str, billions: float) -> None:
    """On one GPU the weights are the model's parameters at 2 bytes; on four each holds a quarter of what is shared."""
    assert weight_bytes(MODELS[model], 1) / 2e9 == pytest.approx(billions, rel=1e-3)
    assert weight_bytes(MODELS[model], 4) == pytest.approx(weight_bytes(MODELS[model], 1) / 4, rel=1e-3)


def test_kv_blocks_fill_what_is_left() -> None:
    """A100, Llama-3-8B: 72 GiB - 14.96 GiB - 0.28 GiB at 2 MiB per block of 16 tokens; TP 2 halves a block's share."""
    sizes = {"token_budget": 2048, "max_running": 128}
    blocks = kv_capacity_blocks(GPUS["a100"], MODELS["llama3-8b"], **sizes)
    per_token = 3 * 4096 + 3 * 14336
    spare = int(80 * 2**30 * 0.9) - weight_bytes(MODELS["llama3-8b"], 1) - 2 * 2048 * per_token - 4 * 128 * 128_256
    assert blocks == spare // 2**21
    assert 28_000 < blocks < 30_000
    assert kv_capacity_blocks(GPUS["a100"], MODELS["llama3-8b"], tp=2, **sizes) > 2 * blocks
    assert kv_capacity_blocks(GPUS["a100"], MODELS["llama3-8b"], block_size_tokens=32, **sizes) == blocks // 2


def test_a_model_that_does_not_fit_is_refused() -> None:
    """What does not fit is told with its sizes, and so is a number out of range."""
    sizes = {"token_budget": 2048, "max_running": 128}
    with pytest.raises(InvalidSpecError, match=r"Llama-3-70B at TP 1 leaves no memory .*131\.4 GiB of weights"):
        kv_capacity_blocks(GPUS["a100"], MODELS["llama3-70b"], **sizes)
    with pytest.raises(InvalidSpecError, match=r"utilisation must be above 0 and at most 1 \(got 1.2\)"):
        kv_capacity_blocks(GPUS["a100"], MODELS["llama3-8b"], utilisation=1.2, **sizes)
    with pytest.raises(InvalidSpecError, match="token_budget must be at least 1"):
        kv_capacity_blocks(GPUS["a100"], MODELS["llama3-8b"], token_budget=0, max_running=1)


def table_row(name: str) -> str:
    """Return a preset's row of the table in docs/latency.md."""
    table, preset = latency_table(name, token_budget=2048), PRESETS[name]
    fixed, slope = table.decode_terms(32)
    decode_ms = (table.token_ps[32] + fixed + slope * 32_000) / 1e9
    prefill_ms = (table.token_ps[2048] + table.chunk_ps + table.pair_ps * 2048**2) / 1e9
    operators, attention = "-", "-"
    if isinstance(preset, Formula):
        if preset.linear_mape_percent is not None:
            operators = f"{preset.linear_mape_percent} %"
        if preset.iteration_mape_percent is not None:
            operators = f"{preset.iteration_mape_percent} % (whole iteration)"
        if preset.attention is None:
            lines = measured_attention_of(preset)
            attention = f"{lines['decode_mape_percent']} / {lines['prefill_mape_percent']} %"
    return (
        f"| `{name}` | {table.token_ps[1] / 1e9:.1f} | {decode_ms:.1f} | {prefill_ms:.0f} | {operators} | {attention} |"
    )


def test_the_page_lists_every_preset() -> None:
    """docs/latency.md shows each preset's times and errors as they are."""
    page = (Path(__file__).parents[2] / "docs" / "latency.md").read_text()
    assert [row for row in map(table_row, PRESETS) if row not in page] == []
    assert page.count("\n| `a") + page.count("\n| `h") == len(PRESETS)
