"""Which requests of a recorded trace begin alike: block ids of the cluster's block size, from what a file tells.

A file tells one of three things: `hash_ids`, the ids of 512-token blocks of the prompt (Mooncake); `block_ids`, ids of
the cluster's own blocks (our tables); or `parent` and `shared_blocks`, the row, counted from 0, with whose 512-token
blocks a request begins, and how many of them. A block of 512 tokens becomes 512 / block size blocks, so that no more is
shared than was recorded. Only whole blocks have ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glia_bench.cluster import Ints
from glia_bench.workloads.trace_formats import MAX_NUMBER, Place, number_lists, whole_numbers

if TYPE_CHECKING:
    import pandas as pd

HASH_TOKENS = 512
"""Tokens of a block that `hash_ids` and `shared_blocks` count."""

PREFIX_COLUMNS = ("block_ids", "hash_ids", "parent", "shared_blocks")


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Lists of ids, one a request: ids[starts[i]:starts[i + 1]] are those of request i.

    Attributes:
        starts: int64, shape (num_requests + 1,).
        ids: int64, shape (num_ids,).
    """

    starts: Ints
    ids: Ints

    def taken(self, rows: Ints | npt.NDArray[np.bool_]) -> "Blocks":
        """Return the lists of some requests, in the order of `rows`: indices, or a mask."""
        picked = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        sizes = np.diff(self.starts)[picked]
        starts = _starts(sizes)
        places = np.arange(starts[-1]) + np.repeat(self.starts[picked] - starts[:-1], sizes)
        return Blocks(starts, self.ids[places])

    @classmethod
    def joined(cls, parts: Sequence["Blocks | None"]) -> "Blocks | None":
        """Return the lists of all parts, or None where the file has none."""
        known = [part for part in parts if part is not None]
        if not known:
            return None
        sizes = np.concatenate([np.diff(part.starts) for part in known])
        return cls(_starts(sizes), np.concatenate([part.ids for part in known]))


class PrefixReader:
    """Reads the blocks of a file's tables, one table after the other; what it remembers between them are parents."""

    def __init__(self, columns: Sequence[str], block_size_tokens: int) -> None:
        self._size = block_size_tokens
        self._columns = columns
        self._prompts: list[Ints] = []  # 512-token blocks of every row so far, for children to come
        self._num_fresh = 0

    def read(self, table: "pd.DataFrame", place: Place, prompt_tokens: Ints, output_tokens: Ints) -> Blocks | None:
        """Return the blocks of a table's requests, or None where the file does not tell.

        Raises:
            InvalidTraceError: At the first row whose blocks cannot be those of its tokens.
        """
        if "block_ids" in self._columns:
            starts, ids = number_lists(table, "block_ids", place)
            most = (prompt_tokens + output_tokens) // self._size
            self._check_sizes(table, "block_ids", place, np.diff(starts), most, self._size)
            return Blocks(starts, ids)
        if "hash_ids" in self._columns:
            starts, ids = number_lists(table, "hash_ids", place)
            self._check_sizes(table, "hash_ids", place, np.diff(starts), -(-prompt_tokens // HASH_TOKENS), HASH_TOKENS)
            return self._split(Blocks(starts, ids), prompt_tokens)
        if {"parent", "shared_blocks"} <= set(self._columns):
            return self._split(self._from_parents(table, place, prompt_tokens), prompt_tokens)
        return None

    def _check_sizes(
        self, table: "pd.DataFrame", column: str, place: Place, sizes: Ints, most: Ints, block_tokens: int
    ) -> None:
        if (is_bad := sizes > most).any():
            index = int(is_bad.argmax())
            rule = f"at most {most[index]} ids, as many blocks of {block_tokens} tokens as the request has"
            place.refuse(column, index, f"{sizes[index]} ids", rule)

    def _from_parents(self, table: "pd.DataFrame", place: Place, prompt_tokens: Ints) -> Blocks:
        seen = len(self._prompts)
        parents = whole_numbers(table, "parent", place, low=-1, high=MAX_NUMBER)
        shared = whole_numbers(table, "shared_blocks", place, low=0, high=MAX_NUMBER)
        for index, (parent, count, tokens) in enumerate(zip(parents, shared, prompt_tokens, strict=True)):
            if parent >= seen + index:
                place.refuse("parent", index, parent, f"-1 or an earlier row, counted from 0, below {seen + index}")
            known = self._prompts[parent] if parent >= 0 else np.zeros(0, dtype=np.int64)
            num_blocks = -(-int(tokens) // HASH_TOKENS)
            if count > min(len(known), num_blocks):
                place.refuse(
                    "shared_blocks", index, count, f"at most {min(len(known), num_blocks)}, what both rows have"
                )
            fresh = np.arange(self._num_fresh, self._num_fresh + num_blocks - count)
            self._num_fresh += len(fresh)
            self._prompts.append(np.concatenate((known[:count], fresh)))
        new: list[Any] = self._prompts[seen:]
        return Blocks(_starts(np.array([len(ids) for ids in new])), np.concatenate(new))

    def _split(self, hashes: Blocks, prompt_tokens: Ints) -> Blocks:
        """Return the cluster's blocks of prompts whose 512-token blocks are known."""
        per_hash = HASH_TOKENS // self._size
        sizes = np.minimum(prompt_tokens // self._size, np.diff(hashes.starts) * per_hash)
        starts = _starts(sizes)
        place = np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)
        hashed = np.repeat(hashes.starts[:-1], sizes) + place // per_hash
        return Blocks(starts, hashes.ids[hashed] * per_hash + place % per_hash)


def _starts(sizes: Ints) -> Ints:
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
