"""How long each request would take alone on an empty replica: what slowdown is measured against.

No cache holds any of its prompt, nobody shares its batch, and its engine prefills whole chunks of the token budget. In
a cluster of several pools each request counts with the pool that serves it fastest, so that a slowdown below 1 comes
from a prefix cache alone. Left out: what a router or a cold start would add.
"""

import itertools

import numpy as np

from glia_bench.case import Case, Trace
from glia_bench.cluster import Ints, Latency, LatencyTable, PoolSpec
from glia_bench.sim.reference_latency import iteration_ps


def unloaded_ps(case: Case) -> Ints:
    """Return each request's end-to-end latency alone on an empty replica, in picoseconds; int64, one per request."""
    fastest = [_in_pool(case.trace, pool) for pool in case.cluster.pools]
    return np.asarray(np.minimum.reduce(fastest), dtype=np.int64)


def _in_pool(trace: Trace, pool: PoolSpec) -> Ints:
    """Return the latency of lone requests in a pool.

    With prompt P, output O and chunks of B tokens: prefill chunks after 0, B, 2 B ... tokens, the last of which yields
    the first token, then O - 1 decodes of one token each over contexts P + 1 ... P + O - 1. Without chunked prefill the
    prompt is one chunk.
    """
    prompt, output = trace.prompt_tokens, trace.output_tokens
    longest = int(prompt.max())
    chunk_tokens = pool.engine.token_budget if pool.engine.chunked_prefill else longest
    if isinstance(pool.latency, LatencyTable):
        return _prefill_by_table(pool.latency, prompt, chunk_tokens) + _decodes_by_table(pool.latency, prompt, output)
    lengths, place = np.unique(prompt, return_inverse=True)
    prefill = np.array([_lone_prefill_ps(pool.latency, int(p), chunk_tokens) for p in lengths], dtype=np.int64)
    # one evaluation per context rather than one per token: a request's decodes are a difference of running sums
    contexts = range(1, int((prompt + output).max()))
    sums = np.cumsum([0, *(_lone_decode_ps(pool.latency, context) for context in contexts)], dtype=np.int64)
    return np.asarray(prefill[place] + sums[prompt + output - 1] - sums[prompt], dtype=np.int64)


def _prefill_by_table(latency: LatencyTable, prompt: Ints, chunk_tokens: int) -> Ints:
    total = np.zeros_like(prompt)
    for done in range(0, int(prompt.max()), chunk_tokens):
        chunk = np.clip(prompt - done, 0, chunk_tokens)
        iteration = latency.token_ps[chunk] + latency.chunk_ps + latency.pair_ps * (2 * chunk * done + chunk * chunk)
        total += np.where(chunk > 0, iteration, 0)
    return total


def _decodes_by_table(latency: LatencyTable, prompt: Ints, output: Ints) -> Ints:
    fixed, slope = latency.decode_terms(1)
    count = output - 1
    total: Ints = count * (int(latency.token_ps[1]) + fixed) + slope * (count * prompt + count * output // 2)
    return total


def _lone_prefill_ps(latency: Latency, prompt: int, chunk_tokens: int) -> int:
    ends = [*range(0, prompt, chunk_tokens), prompt]
    return sum(_chunk_ps(latency, done, end - done) for done, end in itertools.pairwise(ends))


def _chunk_ps(latency: Latency, done: int, chunk: int) -> int:
    return iteration_ps(
        latency,
        tokens=chunk,
        decodes=0,
        context=0,
        chunks=1,
        sum_chunk=chunk,
        sum_chunk2=chunk * chunk,
        sum_cached=done,
        sum_cached64=-(-done // 64) * 64,
        pairs=2 * chunk * done + chunk * chunk,
    )


def _lone_decode_ps(latency: Latency, context: int) -> int:
    return iteration_ps(
        latency,
        tokens=1,
        decodes=1,
        context=context,
        chunks=0,
        sum_chunk=0,
        sum_chunk2=0,
        sum_cached=0,
        sum_cached64=0,
        pairs=0,
    )
