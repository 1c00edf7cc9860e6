"""Prompt and output lengths of the paper's requests: drawn from tables, or known ones with the rest filled in.

The tables are the two marginals; prompt and output are independent (correlation of the logarithms in the data: 0.02).
Left out: turns, shared prefixes, other services.
"""

import numpy as np

from glia_bench.cluster import Ints
from glia_bench.workloads.lengths_file import Lengths
from glia_bench.workloads.quantile_table import shipped_table
from glia_bench.workloads.streams import Stream

MAX_REQUEST_TOKENS = 8192
"""Prompt plus output of one request, as in the paper's experiment."""


def sharegpt_lengths(task_id: str, seed: int, count: int) -> tuple[Ints, Ints]:
    """Return prompt and output tokens of `count` requests, each int64 of shape (count,).

    The first requests of a seed are the same for every count. An output is cut where prompt and output together would
    pass MAX_REQUEST_TOKENS (about four requests in a million).
    """
    prompt = shipped_table("sharegpt_prompt").draw(Stream(task_id, seed, "prompt tokens").bits(count))
    output = shipped_table("sharegpt_output").draw(Stream(task_id, seed, "output tokens").bits(count))
    return prompt, np.minimum(output, MAX_REQUEST_TOKENS - prompt)


def completed_lengths(known: Lengths, task_id: str, seed: int, count: int) -> tuple[Ints, Ints]:
    """Return prompt and output tokens of `count` requests: the known pairs in order, then known pairs reshuffled.

    The remainder is a Fisher-Yates shuffle of the known pairs keyed by the seed, from its start; further shuffles of
    the same stream follow where one is not enough.
    """
    rows = list(range(min(count, len(known))))
    stream = Stream(task_id, seed, "shuffled lengths")
    while len(rows) < count:
        rows += stream.permutation(len(known))[: count - len(rows)]
    return known.prompt_tokens[rows], known.output_tokens[rows]
