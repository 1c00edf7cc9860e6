"""Content that requests share: system prompts, histories of sessions and prompts of groups, as ids of whole blocks.

Equal ids at the same place mean equal content. Left out: content shared beyond a prefix, and text of any kind.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from glia_bench.cluster import Ints
from glia_bench.workloads.quantile_table import shipped_data
from glia_bench.workloads.streams import Stream

Content: TypeAlias = tuple[Ints, Ints]
"""block_start and block_ids of a trace."""


def group_content(group: Ints, prefix_tokens: Ints, block_size_tokens: int, common_tokens: int = 0) -> Content:
    """Return the content of requests that share a prompt with their group.

    Args:
        group: Of each request, -1 for none; int64, shape (num_requests,).
        prefix_tokens: Length of each group's shared prompt; int64, shape (num_groups,).
        block_size_tokens: Tokens of a block.
        common_tokens: How much of the prompts all groups share.
    """
    num_blocks = np.where(group < 0, 0, prefix_tokens[group] // block_size_tokens)
    num_common = common_tokens // block_size_tokens
    group_blocks = prefix_tokens // block_size_tokens
    first_id = num_common + np.cumsum(group_blocks) - group_blocks
    return _runs(num_blocks, num_common, np.zeros(len(group), dtype=np.int64), first_id[group])


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """How sessions share content: a system prompt each, one of a few, then what was said in the session.

    Attributes:
        system: Which system prompt each session has; int64, shape (num_sessions,).
        num_system_prompts: How many there are.
        system_tokens: Their length.
        block_size_tokens: Tokens of a block.
    """

    system: Ints
    num_system_prompts: int
    system_tokens: int
    block_size_tokens: int

    def content(self, session: Ints, tokens: Ints) -> Content:
        """Return the content of requests: whole blocks of a system prompt, then of the session's own.

        Args:
            session: Session of each request; int64, shape (num_requests,).
            tokens: Prompt plus output of each.
        """
        num_shared = self.system_tokens // self.block_size_tokens
        num_blocks = tokens // self.block_size_tokens
        most = np.zeros(len(self.system), dtype=np.int64)
        np.maximum.at(most, session, num_blocks)
        own = np.cumsum(most) - most + self.num_system_prompts * num_shared
        return _runs(num_blocks, num_shared, (self.system * num_shared)[session], own[session])


def ranked(stream: Stream, law: str, num: int) -> Ints:
    """Return a rank from 0 for each of `num` draws, by a law of workloads/tables/zipf_thresholds.json."""
    bounds = np.array(shipped_data("zipf_thresholds")["laws"][law][:-1], dtype=np.uint64)
    return np.searchsorted(bounds, stream.bits(num) >> np.uint64(32), side="right").astype(np.int64)


def _runs(num_blocks: Ints, num_shared: int, shared: Ints, own: Ints) -> Content:
    """Return the content of rows whose block k has the id shared + k, from the num_shared-th block on own + k."""
    block_start = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(num_blocks)))
    before = np.minimum(num_blocks, num_shared)
    lengths = np.stack((before, num_blocks - before), axis=1).ravel()
    offsets = (np.stack((shared, own), axis=1) - block_start[:-1, None]).ravel()
    return block_start, np.arange(block_start[-1]) + np.repeat(offsets, lengths)
