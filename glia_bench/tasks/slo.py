"""Latency objectives of request classes, by model size; the first token's scale with the prompt and the GPU.

A first token may take the class's limit and, for every prompt token, twice what prefilling it takes in a chunk of 2048
(four times in the class for long contexts, since attention grows with the square of the prompt): with an absolute limit
long prompts would miss on an idle replica. Left out: deadlines on the last token (the batch class has one on the first
instead), limits on single gaps between tokens.

Sources:
    MLPerf inference, loadgen/mlperf.conf (Apache-2.0), server and interactive scenarios: llama3.1-8b 2 s / 100 ms and
    0.5 s / 30 ms, llama2-70b 2 s / 200 ms and 0.45 s / 40 ms, llama3.1-405b 6 s / 175 ms (here the relaxed class and
    that of long contexts), deepseek-r1 2 s / 80 ms. The batch class is chosen here.
"""

from glia_bench.cluster import PS_PER_S, LatencyTable, PoolSpec, SloClass

SMALL: dict[str, tuple[float, float]] = {
    "interactive": (0.5, 0.03),
    "standard": (2.0, 0.1),
    "relaxed": (6.0, 0.175),
    "longctx": (6.0, 0.175),
    "reasoning": (2.0, 0.08),
    "batch": (300.0, 1.0),
}
"""Class to limits of first token and time per token in seconds, for models of 7 or 8 billion parameters."""

LARGE: dict[str, tuple[float, float]] = {
    **SMALL,
    "interactive": (0.45, 0.04),
    "standard": (2.0, 0.2),
}
"""Likewise for 70 billion."""

_PROBE_TOKENS = 2048


def slo_classes(pool: PoolSpec, *names: str) -> tuple[SloClass, ...]:
    """Return classes of these names for a pool made by `replica_pool`."""
    assert isinstance(pool.latency, LatencyTable)
    limits = LARGE if "70b" in pool.name else SMALL
    prefill_s = int(pool.latency.token_ps[_PROBE_TOKENS]) / (PS_PER_S * _PROBE_TOKENS)
    return tuple(
        SloClass(
            name=name,
            ttft_s=limits[name][0],
            tpot_s=limits[name][1],
            ttft_per_prompt_token_s=round((4 if name == "longctx" else 2) * prefill_s, 6),
        )
        for name in names
    )
