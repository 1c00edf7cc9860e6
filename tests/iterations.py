"""What an iteration's cost depends on, from its decodes and chunks: the arguments of the latency functions."""

MEASURES = (
    "tokens",
    "decodes",
    "context",
    "chunks",
    "sum_chunk",
    "sum_chunk2",
    "sum_cached",
    "sum_cached64",
    "pairs",
)
"""Their order in `grid_ps`."""


def measures(contexts: list[int], chunks: list[tuple[int, int]]) -> dict[str, int]:
    """Return the measures of a batch, from the decodes' contexts and (chunk, cached) pairs."""
    values = (
        len(contexts) + sum(c for c, _ in chunks),
        len(contexts),
        sum(contexts),
        len(chunks),
        sum(c for c, _ in chunks),
        sum(c * c for c, _ in chunks),
        sum(k for _, k in chunks),
        sum(-(-k // 64) * 64 for _, k in chunks),
        sum(2 * c * k + c * c for c, k in chunks),
    )
    return dict(zip(MEASURES, values, strict=True))
