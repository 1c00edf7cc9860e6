"""What latency presets are made of: GPUs, models, and the two kinds of preset.

A `Formula` is the roofline that latency_formula.py turns into integers; a `Points` is a measured line over the tokens
in the batch with analytic attention. Coefficients are decimal numbers as published or fitted, never binary fractions,
so that every CPU computes the same picoseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias

from glia_bench.errors import InvalidSpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """Data-sheet numbers of one GPU: memory, its bandwidth, and dense bf16 compute without sparsity."""

    name: str
    title: str
    memory_bytes: int
    bandwidth_bytes_per_s: int
    flop_per_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Shape of a dense decoder with gated feed-forward layers, 2 bytes per number."""

    title: str
    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int

    def heads_on(self, tp: int) -> tuple[int, int]:
        """Return the query and KV heads that each of `tp` GPUs holds; KV heads are repeated where there are fewer.

        Raises:
            InvalidSpecError: If the heads cannot be shared out equally.
        """
        if tp < 1 or self.heads % tp:
            raise InvalidSpecError(f"TP {tp} does not divide the model's {self.heads} attention heads")
        if self.kv_heads % tp and tp % self.kv_heads:
            raise InvalidSpecError(f"TP {tp} does not divide the model's {self.kv_heads} KV heads")
        return self.heads // tp, max(1, self.kv_heads // tp)

    def layer_weights_on(self, tp: int) -> int:
        """Return the weights of one layer on each of `tp` GPUs."""
        heads, kv_heads = self.heads_on(tp)
        return self.hidden * self.head_size * (2 * heads + 2 * kv_heads) + 3 * self.hidden * self.ffn // tp


GPUS: Mapping[str, Gpu] = MappingProxyType(
    {
        "a10": Gpu(
            name="a10",
            title="A10",
            memory_bytes=24 * 2**30,
            bandwidth_bytes_per_s=600_000_000_000,
            flop_per_s=125_000_000_000_000,
        ),
        "a40": Gpu(
            name="a40",
            title="A40",
            memory_bytes=48 * 2**30,
            bandwidth_bytes_per_s=696_000_000_000,
            flop_per_s=149_700_000_000_000,
        ),
        "a100": Gpu(
            name="a100",
            title="A100-SXM 80GB",
            memory_bytes=80 * 2**30,
            bandwidth_bytes_per_s=2_039_000_000_000,
            flop_per_s=312_000_000_000_000,
        ),
        "h100": Gpu(
            name="h100",
            title="H100-SXM 80GB",
            memory_bytes=80 * 2**30,
            bandwidth_bytes_per_s=3_350_000_000_000,
            flop_per_s=989_500_000_000_000,
        ),
    }
)
"""Source: NVIDIA's data sheets."""

MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "llama2-7b": Model(
            title="Llama-2-7B",
            layers=32,
            hidden=4096,
            ffn=11008,
            heads=32,
            kv_heads=32,
            head_size=128,
            vocabulary=32_000,
        ),
        "llama3-8b": Model(
            title="Llama-3-8B",
            layers=32,
            hidden=4096,
            ffn=14336,
            heads=32,
            kv_heads=8,
            head_size=128,
            vocabulary=128_256,
        ),
        "llama2-70b": Model(
            title="Llama-2-70B",
            layers=80,
            hidden=8192,
            ffn=28672,
            heads=64,
            kv_heads=8,
            head_size=128,
            vocabulary=32_000,
        ),
        "llama3-70b": Model(
            title="Llama-3-70B",
            layers=80,
            hidden=8192,
            ffn=28672,
            heads=64,
            kv_heads=8,
            head_size=128,
            vocabulary=128_256,
        ),
    }
)
"""Source: the models' published config.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """A measured line over the tokens in the batch, with analytic attention.

    Attributes:
        title: For people and records.
        table: File in sim/tables with measured [tokens, nanoseconds] points of the non-attention operators.
        kv_bytes_per_token: KV cache of one token, all layers.
        bandwidth_bytes_per_s: Memory bandwidth that decode attention reaches.
        attention_flop_per_pair: Prefill attention per pair of tokens, all layers.
        attention_flop_per_s: Compute rate that prefill attention reaches.
        source: Where each number comes from.
        licence: Of what the numbers were derived from.
    """

    title: str
    table: str
    kv_bytes_per_token: int
    bandwidth_bytes_per_s: int
    attention_flop_per_pair: int
    attention_flop_per_s: int
    source: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Attention by shares of the peak rates, for GPUs without measured kernels and for whole-iteration fits.

    Attributes:
        bandwidth_share: Share of memory bandwidth that decodes reach.
        compute_share: Share of compute that prefill reaches.
        call_s: Fixed time of the decode kernel and of each chunk, per layer.
    """

    bandwidth_share: Decimal
    compute_share: Decimal
    call_s: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllReduce:
    """An all-reduce of b bytes takes call_s + 2 * b / bytes_per_s; two per layer."""

    call_s: Decimal
    bytes_per_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """Coefficients of one GPU, model and tensor-parallel degree; see latency_formula.py for the formula.

    Attributes:
        gpu, model, tp: The system.
        bandwidth_share: Share of memory bandwidth that reading the weights reaches.
        compute_share: Share of compute that matrix products reach.
        sharpness: Exponent of the smooth maximum of the two.
        layer_s: Fixed time per layer.
        token_s: Extra time per token and layer.
        attention: Shares, or None for the measured kernels in sim/tables/attention.json.
        all_reduce: None with one GPU.
        lm_head: Whether the time to read the LM head's weights is included.
        linear_mape_percent: Mean absolute error of the operators against measured rows not used in the fit.
        iteration_mape_percent: The same of whole iterations. Both None where nothing was measured.
        source: Where each number comes from.
        licence: Of what the numbers were derived from.
        note: End of the title.
    """

    gpu: Gpu
    model: Model
    tp: int = 1
    bandwidth_share: Decimal
    compute_share: Decimal
    sharpness: Decimal
    layer_s: Decimal = Decimal("12e-6")
    token_s: Decimal = Decimal(0)
    attention: Attention | None = None
    all_reduce: AllReduce | None = None
    lm_head: bool = True
    linear_mape_percent: float | None = None
    iteration_mape_percent: float | None = None
    source: str
    licence: str = "MIT (Vidur), Apache-2.0 (aiconfigurator-core)"
    note: str = ""

    def __post_init__(self) -> None:
        self.model.heads_on(self.tp)
        if (self.all_reduce is None) != (self.tp == 1):
            raise InvalidSpecError(f"TP {self.tp} needs the time of an all-reduce if and only if it is above 1")

    @property
    def title(self) -> str:
        """For people and records."""
        return f"{self.gpu.title}, {self.model.title} bf16, TP {self.tp}{self.note}"


Preset: TypeAlias = Points | Formula
