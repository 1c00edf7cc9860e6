"""Prompt and output lengths of measured services: two marginals tied by a Gaussian copula, and mixtures of services.

Left out: turns and shared content (sessions.py, groups.py), and drift within a service.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from glia_bench.cluster import Ints
from glia_bench.workloads.normal import correlated_bits
from glia_bench.workloads.quantile_table import shipped_data, shipped_table
from glia_bench.workloads.streams import Stream
from glia_bench.workloads.variation import Variation


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Tokens of requests; each int64 of shape (num_requests,)."""

    prompt: Ints
    output: Ints


def service_lengths(service: Ints, names: Sequence[str], stream: Callable[[str], Stream]) -> Lengths:
    """Return the lengths of requests, each of one of several services.

    The words drawn for request k do not depend on its service, nor on how many requests there are.

    Args:
        service: Place of each request's service in `names`; int64, shape (num_requests,).
        names: Services, as the tables in workloads/tables are called: NAME_prompt and NAME_output.
        stream: Gives the stream of a purpose.
    """
    num = len(service)
    prompt_bits, output_bits = (stream(purpose).bits(num) for purpose in ("prompt lengths", "output lengths"))
    prompt, output = np.zeros(num, dtype=np.int64), np.zeros(num, dtype=np.int64)
    for place, name in enumerate(names):
        rows = np.flatnonzero(service == place)
        rho = int(shipped_data(f"{name}_output")["copula_rho"])
        prompt[rows] = shipped_table(f"{name}_prompt").draw(prompt_bits[rows])
        output[rows] = shipped_table(f"{name}_output").draw(correlated_bits(prompt_bits[rows], output_bits[rows], rho))
    return Lengths(prompt=prompt, output=output)


def fitted(lengths: Lengths, variation: Variation, max_request_tokens: int) -> Lengths:
    """Return lengths scaled and cut: an output takes at most half of the context, a prompt what is then left."""
    output = np.minimum(variation.tokens(lengths.output), max_request_tokens // 2)
    return Lengths(prompt=np.minimum(variation.tokens(lengths.prompt), max_request_tokens - output), output=output)


def joined(parts: Sequence[Lengths], row: Ints) -> Lengths:
    """Return the lengths of several parts one after another, in the order of `row`."""
    prompt, output = (np.concatenate([getattr(part, name) for part in parts]) for name in ("prompt", "output"))
    return Lengths(prompt=prompt[row], output=output[row])


def chosen(stream: Stream, num: int, permilles: Sequence[int]) -> Ints:
    """Return an independent choice for each of `num` requests, with the given chances in thousandths."""
    bounds = np.cumsum(np.array(permilles, dtype=np.uint64))
    draws = (stream.bits(num) >> np.uint64(32)) * np.uint64(1000) >> np.uint64(32)
    return np.searchsorted(bounds, draws, side="right").astype(np.int64)
