"""Latency presets by name: coefficients fitted to published measurements, each with its source and its measured error.

Operators: Vidur's profiles (github.com/microsoft/vidur@7d475133, MIT), nine operators summed per layer, fitted on 70 %
of the rows up to 8192 tokens with layer_s = 12 us, errors on the other 30 %. Attention and all-reduce: measured vLLM
kernels of aiconfigurator-core 0.12.0 (PyPI, Apache-2.0), fitted by tools/derive_attention_latency.py. Whole iteration:
seven coefficients fitted together to the iteration logs of Vidur runs; errors on runs that were not used.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from glia_bench.sim.latency_parts import GPUS, MODELS, AllReduce, Attention, Formula, Points, Preset

_OPERATORS = "operators: Vidur's profile (github.com/microsoft/vidur@7d475133)"
_TRANSFERRED = (
    "operators: shares of Llama-2-7B on the same GPU (Vidur's profile; the same step costs 3.4 % on the A100)"
)
_KERNELS = "measured kernels (aiconfigurator-core 0.12.0)"
_A40_ATTENTION = Attention(bandwidth_share=Decimal("0.87"), compute_share=Decimal("0.45"), call_s=Decimal("12.5e-6"))
"""The A100's shares of its peak rates: no attention of the A40 is published."""

_ALL_REDUCE = {
    ("a100", 2): AllReduce(call_s=Decimal("5.0045e-6"), bytes_per_s=179_850_000_000),
    ("a100", 4): AllReduce(call_s=Decimal("5.6456e-6"), bytes_per_s=118_950_000_000),
    ("a100", 8): AllReduce(call_s=Decimal("6.6596e-6"), bytes_per_s=104_660_000_000),
    ("h100", 4): AllReduce(call_s=Decimal("4.8241e-6"), bytes_per_s=192_140_000_000),
    # no measurement: the L40S's call at TP 4 and its bytes/s at TP 2, PCIe 4 as well
    ("a40", 4): AllReduce(call_s=Decimal("12.665e-6"), bytes_per_s=19_089_000_000),
}
"""vLLM's custom all-reduce within a graph, by GPU and TP; mean errors 7 to 19 %."""


def _formula(
    gpu: str, model: str, tp: int, shares: tuple[str, str, str], mape: float | None, operators: str = _OPERATORS
) -> Formula:
    """Return a preset from its bandwidth share, compute share and sharpness."""
    sources = [operators]
    sources.append("attention: the A100's shares of the peak rates" if gpu == "a40" else f"attention: {_KERNELS}")
    if tp > 1:
        sources.append("all-reduce: that of an L40S" if gpu == "a40" else f"all-reduce: {_KERNELS}")
    return Formula(
        gpu=GPUS[gpu],
        model=MODELS[model],
        tp=tp,
        bandwidth_share=Decimal(shares[0]),
        compute_share=Decimal(shares[1]),
        sharpness=Decimal(shares[2]),
        attention=_A40_ATTENTION if gpu == "a40" else None,
        all_reduce=_ALL_REDUCE.get((gpu, tp)),
        linear_mape_percent=mape,
        source="; ".join(sources),
    )


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "a10-llama3-8b": Points(
            title="A10, Llama-3-8B bf16, TP 1",
            table="a10_llama3_8b.json",
            # 32 layers x 8 KV heads x 128 x 2 (K and V) x 2 bytes
            kv_bytes_per_token=131_072,
            # 0.8 x 600 GB/s
            bandwidth_bytes_per_s=480_000_000_000,
            # 32 layers x 32 heads x 128 x 2 matrix products x 2 FLOP
            attention_flop_per_pair=524_288,
            # about half of the A10's 125 TFLOP/s bf16 peak
            attention_flop_per_s=60_000_000_000_000,
            source="operators: Vidur's A10 profile (github.com/pouyahmdn/vidur@cd1adc83, MIT), medians; above its last "
            "count, 4096 tokens, the mean slope of its upper half; attention: analytic, as no A10 attention profile is "
            "published; 600 GB/s and 125 TFLOP/s from NVIDIA's A10 data sheet",
            licence="MIT (Vidur)",
        ),
        "a40-llama2-7b": _formula("a40", "llama2-7b", 1, ("0.77366", "0.74476", "1.4646"), 2.9),
        "a40-llama3-8b": _formula("a40", "llama3-8b", 1, ("0.77366", "0.74476", "1.4646"), None, _TRANSFERRED),
        "a40-llama2-70b-tp4": _formula("a40", "llama2-70b", 4, ("0.74702", "0.73654", "1.9972"), 3.4),
        "a100-llama2-7b": _formula("a100", "llama2-7b", 1, ("0.72308", "0.67199", "1.7702"), 3.0),
        "a100-llama3-8b": _formula("a100", "llama3-8b", 1, ("0.74291", "0.68218", "1.4345"), 3.6),
        "a100-llama3-8b-tp2": _formula("a100", "llama3-8b", 2, ("0.63587", "0.66990", "1.6100"), 3.5),
        "a100-llama3-8b-tp4": _formula("a100", "llama3-8b", 4, ("0.58384", "0.67222", "1.3303"), 4.4),
        "a100-llama3-70b-tp2": _formula("a100", "llama3-70b", 2, ("0.84369", "0.71635", "1.2414"), 3.2),
        "a100-llama3-70b-tp4": _formula("a100", "llama3-70b", 4, ("0.72585", "0.70453", "1.3954"), 2.8),
        "a100-llama3-70b-tp8": _formula("a100", "llama3-70b", 8, ("0.64726", "0.68078", "1.3601"), 3.3),
        "h100-llama2-7b": _formula("h100", "llama2-7b", 1, ("0.75247", "0.70108", "1.3476"), 5.0),
        "h100-llama3-8b": _formula("h100", "llama3-8b", 1, ("0.75247", "0.70108", "1.3476"), None, _TRANSFERRED),
        "h100-llama2-70b-tp4": _formula("h100", "llama2-70b", 4, ("0.79838", "0.69512", "1.3102"), 5.4),
        # seven coefficients to be read together; the attention part of Vidur's tables was itself a reconstruction
        "a100-llama3-8b-vidur": Formula(
            gpu=GPUS["a100"],
            model=MODELS["llama3-8b"],
            bandwidth_share=Decimal("0.66271"),
            compute_share=Decimal("0.97235"),
            sharpness=Decimal("3.0371"),
            layer_s=Decimal(0),
            token_s=Decimal("1e-6"),
            attention=Attention(bandwidth_share=Decimal("0.81724"), compute_share=Decimal("0.40668")),
            lm_head=False,
            iteration_mape_percent=1.6,
            source="whole iterations: fitted to logs of Vidur runs (github.com/microsoft/vidur@7d475133)",
            licence="MIT (Vidur)",
            note=", as Vidur predicts it",
        ),
    }
)
"""Name to preset."""
