"""A roofline for one iteration, turned into integers once.

    t = L * [ layer_s + ((2W / (share * BW))^s + (2W * n / (share * F))^s)^(1/s)      weights read, or computed with
              + 2 * ACT * n / (0.8 * BW) + token_s * n                               activations, other per-token work
              + [TP > 1] 2 * (call_s + 2 * (2 * h * n) / bytes_per_s) ]               two all-reduces
        + 2 * h * V / (TP * share * BW)                                              LM head
        + attention

n tokens in the batch, L layers, h hidden size, V vocabulary, BW and F bandwidth and compute of one GPU, s the
sharpness of the smooth maximum, 2 bytes per number; W weights of one layer on each GPU; ACT = 6h + ((Hq + 2 Hkv) d +
3 ffn) / TP numbers moved per token. Attention is affine in the context at a fixed number of decodes, so that a stretch
of pure decodes is still summed in closed form: measured lines (sim/tables/attention.json) or shares of the peak rates.

Powers are taken in decimal arithmetic of 28 digits, which is the same on every CPU, at about 250 token counts with
straight lines in between (within 0.01 % of the formula). Left out: embedding, sampling, CPU and launch overhead, noise.
"""

import json
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from glia_bench.cluster import PS_PER_S, Ints, LatencyTable
from glia_bench.sim.latency_lines import Points, interpolated, rounded
from glia_bench.sim.latency_parts import Formula

_BYTES = 2
_ACTIVATION_SHARE = Decimal("0.8")


def formula_table(formula: Formula, *, name: str, token_budget: int, scale: Fraction) -> LatencyTable:
    """Return a formula as integers for batches of up to `token_budget` tokens, times `scale`."""
    token_ps = np.zeros(token_budget + 1, dtype=np.int64)
    token_ps[1:] = interpolated(_token_points(formula, token_budget), token_budget, scale)
    if formula.attention is None:
        decode_ps, context_ps, chunk_ps, pair_ps = _measured_attention(formula, token_budget, scale)
    else:
        decode_ps, context_ps, chunk_ps, pair_ps = _attention_by_shares(formula, scale)
    return LatencyTable(
        name=name, token_ps=token_ps, decode_ps=decode_ps, context_ps=context_ps, chunk_ps=chunk_ps, pair_ps=pair_ps
    )


@cache
def attention_lines() -> dict[str, Any]:
    """Return the measured attention of GPUs: `[gpu]["query heads/KV heads"]`, as the file describes it."""
    text = resources.files("glia_bench.sim").joinpath("tables", "attention.json").read_text(encoding="utf-8")
    lines: dict[str, Any] = json.loads(text)["gpus"]
    return lines


def measured_attention_of(formula: Formula) -> dict[str, Any]:
    """Return the measured lines of the kernels that one GPU of a formula runs, and their errors."""
    heads, kv_heads = formula.model.heads_on(formula.tp)
    lines: dict[str, Any] = attention_lines()[formula.gpu.name][f"{heads}/{kv_heads}"]
    return lines


def _token_points(formula: Formula, token_budget: int) -> Points:
    """Return (tokens, ps) of the formula without attention, up to the first node at or beyond the budget."""
    gpu, model, tp = formula.gpu, formula.model, formula.tp
    with localcontext(Context(prec=28)):
        weights = Decimal(_BYTES * model.layer_weights_on(tp))
        read = (weights / (formula.bandwidth_share * gpu.bandwidth_bytes_per_s)) ** formula.sharpness
        compute = weights / (formula.compute_share * gpu.flop_per_s)
        moved = 6 * model.hidden + (model.head_size * (model.heads + 2 * model.kv_heads) + 3 * model.ffn) // tp
        per_token = formula.token_s + _BYTES * moved / (_ACTIVATION_SHARE * gpu.bandwidth_bytes_per_s)
        fixed = formula.layer_s
        if formula.all_reduce is not None:
            fixed += 2 * formula.all_reduce.call_s
            per_token += Decimal(4 * _BYTES * model.hidden) / formula.all_reduce.bytes_per_s
        head = Decimal(0)
        if formula.lm_head:
            head_bytes = Decimal(_BYTES * model.hidden * model.vocabulary) / tp
            head = head_bytes / (formula.bandwidth_share * gpu.bandwidth_bytes_per_s)
        points = []
        for n in _nodes(token_budget):
            roofline = (read + (compute * n) ** formula.sharpness) ** (1 / formula.sharpness)
            seconds = model.layers * (fixed + roofline + per_token * n) + head
            points.append((n, int((seconds * PS_PER_S).to_integral_value())))
    return points


def _nodes(token_budget: int) -> list[int]:
    """Return token counts: all to 64, then in steps that stay within 2 % of the count, to the budget or just beyond."""
    nodes = list(range(1, 65))
    while nodes[-1] < token_budget:
        nodes.append(nodes[-1] + max(1, nodes[-1] // 50))
    return nodes


def _measured_attention(formula: Formula, token_budget: int, scale: Fraction) -> tuple[Ints, Ints, int, int]:
    lines = measured_attention_of(formula)
    factor = scale * formula.model.layers
    last = min(lines["decode"][-1][0], token_budget)
    columns = []
    for column, unit in ((1, 1), (2, 1000)):
        points = [(row[0], row[column]) for row in lines["decode"]]
        columns.append(np.array([0, *interpolated(points, last, factor / unit)], dtype=np.int64))
    chunk_ps, pair_fs = lines["prefill"]
    return columns[0], columns[1], rounded(chunk_ps * factor), rounded(pair_fs * factor / 1000)


def _attention_by_shares(formula: Formula, scale: Fraction) -> tuple[Ints, Ints, int, int]:
    shares = formula.attention
    assert shares is not None
    model = formula.model
    heads, kv_heads = model.heads_on(formula.tp)
    factor = scale * model.layers * PS_PER_S
    call = rounded(Fraction(shares.call_s) * factor)
    context = Fraction(2 * _BYTES * kv_heads * model.head_size, formula.gpu.bandwidth_bytes_per_s)
    # 4 * heads * head size FLOP per pair; per unit of 2S, hence half of it
    pair = Fraction(2 * heads * model.head_size, formula.gpu.flop_per_s)
    context_ps = rounded(context / Fraction(shares.bandwidth_share) * factor)
    pair_ps = rounded(pair / Fraction(shares.compute_share) * factor)
    return np.array([call], dtype=np.int64), np.array([context_ps], dtype=np.int64), call, pair_ps
