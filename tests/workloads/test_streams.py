"""Random streams: keyed, independent of one another, unbiased."""

import math

import numpy as np

from glia_bench.workloads.streams import Stream


def test_equal_keys_give_equal_words_in_any_portions() -> None:
    """A stream is one sequence: asking for it in pieces changes nothing."""
    whole = Stream("routing/a-v0", 3, "gaps").bits(10)
    pieces = Stream("routing/a-v0", 3, "gaps")
    assert np.array_equal(np.concatenate([pieces.bits(4), pieces.bits(0), pieces.bits(6)]), whole)


def test_words_are_frozen() -> None:
    """The first words of one stream: NumPy's PCG64 and our key derivation give these on every platform."""
    assert [hex(word) for word in Stream("routing/paper-v0", 0, "arrival gaps").bits(2).tolist()] == GOLDEN_WORDS


GOLDEN_WORDS = ["0x8dc342ba91c41604", "0x93efb007e6af4bad"]


def test_streams_of_different_tasks_seeds_and_purposes_are_uncorrelated() -> None:
    """No two of them correlate beyond chance (4.5 standard deviations over 28 pairs) or share a word."""
    count = 4096
    keys = [(task, seed, purpose) for task in ("a", "b") for seed in (0, 1) for purpose in ("x", "y")]
    words = np.array([Stream(*key).bits(count) for key in keys])
    assert len(np.unique(words)) == words.size
    correlations = np.corrcoef(words.astype(np.float64))[np.triu_indices(len(keys), k=1)]
    assert np.abs(correlations).max() < 4.5 / math.sqrt(count)


def test_permutation_is_a_uniform_shuffle() -> None:
    """Each element once; over 6,000 shuffles of three, each of the six orders comes 1,000 times (5 sigma: 145)."""
    stream = Stream("test", 0, "shuffle")
    assert sorted(stream.permutation(100)) == list(range(100))
    assert stream.permutation(1) == [0]
    counts = {}
    for _ in range(6000):
        order = tuple(stream.permutation(3))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert all(abs(count - 1000) < 145 for count in counts.values())


def test_below_stays_in_range_and_reaches_both_ends() -> None:
    """Every value of a small range comes, none outside."""
    stream = Stream("test", 0, "below")
    assert {stream.below(5) for _ in range(200)} == set(range(5))
