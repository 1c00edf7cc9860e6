"""Timelines of the prefix cache, each small enough to check on paper.

The sums stand beside the numbers. Times, blocks and requests are those of `timeline`, the unit is a picosecond. Blocks
are named b0, b1, ... in the order of the free queue at the start.
"""

from typing import Any

import pytest
from timeline import Simulate, column, contents, line, run

CACHED: dict[str, Any] = {"prefix_caching": True}


def test_hit(cluster_simulators: Simulate) -> None:
    """A later request computes only what the cache does not hold, and at least one token."""
    requests = [(0, 8, 1), (100, 9, 1), (200, 8, 1)]
    ids = contents([[1, 2], [1, 2], [1, 2]])
    result = run(cluster_simulators, requests, trace=ids, latency=line(32, pair=1), **CACHED)
    # 8 tokens: 18 + 64; 1 token after 8: 11 + 2 * 8 + 1; (8 - 1) // 4 = 1 block, 4 tokens after 4: 14 + 2 * 16 + 16
    assert result.cached_tokens.tolist() == [0, 8, 4]
    assert column(result, "finished_ps") == [82, 128, 262]


def test_no_hit_within_one_step(cluster_simulators: Simulate) -> None:
    """Two equal prompts admitted together both miss; when they have been computed, they share the blocks."""
    requests = [(0, 1, 1), (1, 8, 2), (1, 8, 2)]
    ids = contents([[], [1, 2], [1, 2]])
    result = run(cluster_simulators, requests, trace=ids, sample_interval_s=1e-12, drain_s=1e-10, **CACHED)
    # 0..11; 8 + 8 tokens: 11..37, 4 blocks; from 37 to 49 both decode with 9 known: 2 shared blocks and one each
    assert result.cached_tokens.tolist() == [0, 0, 0]
    assert column(result, "finished_ps") == [11, 49, 49]
    assert result.samples is not None
    assert result.samples.allocated_blocks[10:50, 0].tolist() == [1] + 26 * [4] + 12 * [4] + [0]


def test_sharing_frees_blocks(cluster_simulators: Simulate) -> None:
    """What two requests share counts once: three equal prompts of two blocks and a tail each."""
    requests = [(0, 1, 1), (1, 8, 2), (1, 8, 2), (1, 8, 2)]
    ids = contents([[], [1, 2], [1, 2], [1, 2]])
    result = run(cluster_simulators, requests, trace=ids, sample_interval_s=1e-12, drain_s=1e-10, **CACHED)
    # 11..45 prefill of 24 tokens with 6 blocks; then 2 + 3
    assert result.samples is not None
    assert result.samples.allocated_blocks[[44, 45], 0].tolist() == [6, 5]


def test_preempted_request_finds_its_blocks(cluster_simulators: Simulate) -> None:
    """Recomputation starts from what has survived in the cache, generated tokens included."""
    requests = [(0, 1, 1), (1, 7, 6), (1, 7, 6)]
    ids = contents([[], [10, 11, 12], [20, 21, 22]])
    result = run(cluster_simulators, requests, trace=ids, num_blocks=4, **CACHED)
    # as in test_preemption_in_vllm_v1 up to 47: request 2 goes with 8 tokens stored, so 20 and 21 are cached, 21 at the
    # head of the free queue: request 1 takes it; 20 survives until 91, where 5 of 9 tokens are computed: 91..106
    # then tokens 4 to 6: 117, 128, 139
    assert result.cached_tokens.tolist() == [0, 0, 0]
    assert column(result, "restarts") == [0, 0, 1]
    assert column(result, "finished_ps") == [11, 91, 139]


def test_eviction_order(cluster_simulators: Simulate) -> None:
    """The least recently released content is forgotten first, and of one request its last block."""
    requests = [(0, 8, 1), (100, 8, 1), (200, 4, 1), (300, 9, 1), (400, 9, 1)]
    ids = contents([[1, 2], [3, 4], [], [1, 2], [3, 4]])
    result = run(cluster_simulators, requests, trace=ids, num_blocks=4, **CACHED)
    # free queue after request 0: b2, b3, b1 (2), b0 (1); after 1: b1 (2), b0 (1), b3 (4), b2 (3)
    # request 2 takes b1, so 2 is forgotten; afterwards b0 (1), b3 (4), b2 (3), b1
    # request 3 finds 1 and takes b3 and b2 for 5 tokens: 300..315; request 4 finds nothing: 400..419
    assert result.cached_tokens.tolist() == [0, 0, 0, 4, 0]
    assert column(result, "finished_ps") == [18, 118, 214, 315, 419]


def test_blocks_without_content_go_first(cluster_simulators: Simulate) -> None:
    """Of the blocks that a request releases, those that hold nothing to be shared are taken again first."""
    ids = contents([[1], [], [1]])
    result = run(cluster_simulators, [(0, 6, 1), (100, 4, 1), (200, 5, 1)], trace=ids, num_blocks=2, **CACHED)
    # request 0 releases b1 (two tokens), then b0 (1); request 1 takes b1; request 2 finds 1 and computes 1 token
    assert result.cached_tokens.tolist() == [0, 0, 4]
    assert column(result, "finished_ps") == [16, 114, 211]


def test_unreferenced_hits_need_room(cluster_simulators: Simulate) -> None:
    """Blocks of a hit that nobody references are free blocks which admission takes too."""
    requests = [(0, 8, 1), (100, 4, 9), (101, 9, 1)]
    ids = contents([[1, 2], [], [1, 2]])
    result = run(cluster_simulators, requests, trace=ids, num_blocks=4, **CACHED)
    # request 1 holds b2 from 100; at 114 it takes b3 for its context of 5; 2 of 4 blocks are free, both cached, both of
    # the hit, and 1 more is needed: request 2 waits. At 158 context 9: b1 (2) is taken. Request 1 ends at 202; then
    # request 2 finds 1 and computes 5 tokens
    assert result.cached_tokens.tolist() == [0, 0, 4]
    assert column(result, "scheduled_ps") == [0, 100, 202]
    assert column(result, "finished_ps") == [18, 202, 217]


def test_generated_blocks_serve_the_next_turn(cluster_simulators: Simulate) -> None:
    """Output blocks enter the cache when a request ends, all but the one that its last token would complete."""
    ids = contents([[1, 2, 3], [1, 2, 3]])
    result = run(cluster_simulators, [(0, 4, 8), (200, 13, 1)], trace=ids, **CACHED)
    # 12 known at the end, 11 stored: 2 whole blocks; the next turn computes 13 - 8 tokens
    assert result.cached_tokens.tolist() == [0, 8]
    assert column(result, "finished_ps") == [14 + 77, 215]


@pytest.mark.parametrize(
    ("view", "replicas"), [("own", [0, 1, 1, 1]), ("truth", [0, 0, 1, 1]), ("events", [0, 0, 0, 1]), ("none", 4 * [0])]
)
def test_prefix_views(cluster_simulators: Simulate, view: str, replicas: list[int]) -> None:
    """What was sent is known to the router at once, what is cached when it is computed, its events after a delay."""
    source = f"""
PREFIX_VIEW = "{view}"

def route(request, replicas, cluster, memory):
    return 1 if replicas.prefix_hit_tokens[0] == 8 else 0
"""
    requests = [(0, 9, 1), (5, 9, 1), (38, 9, 1), (39, 9, 1)]
    ids = contents([[1, 2]] * 4)
    cluster = {"prefix_delay_s": 20e-12, "prefix_views": ("own", "events", "truth")}
    result = run(
        cluster_simulators, requests, source=source, track="cluster", replicas=2, trace=ids, cluster=cluster, **CACHED
    )
    # request 0 is computed at 19: its blocks are cached then, and reported at 39
    assert column(result, "replica") == replicas
