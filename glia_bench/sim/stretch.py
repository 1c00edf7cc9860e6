"""A stretch: iterations of pure decode in a row, whose times and blocks have closed forms.

Within it the batch is fixed and the context grows by one token per decode and iteration, so the time of m iterations
is quadratic in m with integer coefficients, and every decode takes one block per `block_size_tokens` iterations.
"""

import numpy as np

from glia_bench.sim import columns as col
from glia_bench.sim.jit import inlined
from glia_bench.sim.state import State


@inlined
def blocks_of(s: State, tokens: int) -> int:
    """Return the KV blocks that hold this many tokens."""
    return (tokens + s.params[col.P_BLOCK] - 1) >> s.params[col.P_SHIFT]


@inlined
def stretch_blocks(s: State, g: int, iterations: int) -> int:
    """Return the blocks that decodes take in the iterations 2..`iterations` of replica g's stretch."""
    block = s.params[col.P_BLOCK]
    count = iterations - 1
    total = (count >> s.params[col.P_SHIFT]) * s.rep[g, col.R_DECODES]
    first = s.rep[g, col.R_ITER] + 1
    for j in range(first, first + (count & (block - 1))):
        total += s.ring[g, j & (block - 1)]
    return total


@inlined
def stretch_time(s: State, g: int, iterations: int) -> int:
    """Return the picoseconds that the first `iterations` iterations of replica g's stretch take."""
    growth = s.rep[g, col.R_DECODES] * ((iterations * (iterations - 1)) >> 1)
    context = iterations * s.rep[g, col.R_CONTEXT] + growth
    return iterations * s.rep[g, col.R_TOKEN_PS] + s.rep[g, col.R_SLOPE] * context


@inlined
def iteration_in_progress(s: State, g: int, now: int) -> int:
    """Return which iteration (1, 2, ...) of replica g's stretch is running at `now`: the least that ends after it."""
    elapsed = now - s.rep[g, col.R_START]
    if s.rep[g, col.R_SEG] == 1 or elapsed < stretch_time(s, g, 1):
        return 1
    slope = s.rep[g, col.R_SLOPE]
    half = 0.5 * slope * s.rep[g, col.R_DECODES]
    linear = float(s.rep[g, col.R_TOKEN_PS] + slope * s.rep[g, col.R_CONTEXT]) - half
    guess = int(2.0 * elapsed / (linear + np.sqrt(linear * linear + 4.0 * half * elapsed))) + 1
    guess = min(max(guess, 1), s.rep[g, col.R_SEG])
    while guess > 1 and stretch_time(s, g, guess - 1) > elapsed:
        guess -= 1
    while guess < s.rep[g, col.R_SEG] and stretch_time(s, g, guess) <= elapsed:
        guess += 1
    return guess


@inlined
def stretch_length(s: State, g: int, j: int) -> int:
    """Return how many pure-decode iterations from j on run until a completion or until a block could be short."""
    block = s.params[col.P_BLOCK]
    decodes = s.rep[g, col.R_DECODES]
    limit = (s.heap[g, 0] >> 32) - j + 1
    free = s.rep[g, col.R_FREE] - s.params[col.P_SPARE]
    if decodes * ((limit - 2 + block) >> s.params[col.P_SHIFT]) <= free:
        return limit
    cycles = max(free, 0) // decodes
    free -= cycles * decodes
    length = 1 + cycles * block
    while length < limit:
        free -= s.ring[g, (j + length) & (block - 1)]
        if free < 0:
            break
        length += 1
    return min(length, limit)


@inlined
def refresh_lazy_fields(s: State, g: int, now: int) -> None:
    """Bring the view's fields that change within a stretch up to the iteration in progress at `now`."""
    m = iteration_in_progress(s, g, now) if s.rep[g, col.R_BUSY] else 1
    free = s.rep[g, col.R_FREE] - stretch_blocks(s, g, m)
    s.view_int[col.V_ALLOCATED, g] = s.params[col.P_BLOCKS] - free
    context = s.rep[g, col.R_DECODES] * (s.rep[g, col.R_ITER] + m - 1) + s.rep[g, col.R_CSUM]
    s.view_int[col.V_INFLIGHT_TOKENS, g] = context + s.rep[g, col.R_PREFILLING] + s.view_int[col.V_WAITING_TOKENS, g]
